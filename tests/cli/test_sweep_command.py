"""``lvm-mtc sweep``: from a file and flags into a store; wrong input in one line."""

import csv
import json
import shlex

import numpy as np
import pytest

from lvm_mtc.cli import main
from lvm_mtc.results.store import ResultStore

STORED = "sweep --store s.sqlite"
SWEEP = f"{STORED} --set weights=small.npz --set loc=centre"
SMALL = f"{SWEEP} --images photos --uavs 2 --snr-db 0:20:10 --channel awgn --units 3 --schemes object --no-pictures"

# Command line -> words that its one line must hold.
WRONG = {
    "sweep": ["--store", "required"],
    f"{SWEEP} --snr 3": ["--snr", "not a flag of 'lvm-mtc sweep'"],
    f"{SWEEP} --snr-dbs 3": ["--snr-dbs", "did you mean --snr-db?"],
    f"{SWEEP} --snr-db 0:20": ["--snr-db", "'0:20'", "0:20:5"],
    f"{SWEEP} --snr-db 0:20:0": ["--snr-db", "'0:20:0'", "0:20:5"],
    f"{SWEEP} --snr-db 0:20:-1": ["--snr-db", "'0:20:-1'", "steps"],
    f"{SWEEP} --snr-db 0:20:1e-9": ["--snr-db", "'0:20:1e-9'", "steps"],
    f"{SWEEP} --snr-db 0:b:1": ["--snr-db", "'0:b:1'", "0:20:5"],
    f"{SWEEP} --snr-db 0:200:50": ["--snr-db", "150 is not", "[-50, 100]"],
    f"{SWEEP} --snr-db 0:10:5,5": ["--snr-db", "twice"],
    f"{SWEEP} --snr-db 0:nan:1": ["--snr-db", "'0:nan:1'", "0:20:5"],
    f"{SWEEP} --snr-db 0:inf:1": ["--snr-db", "'0:inf:1'", "0:20:5"],
    f"{SWEEP} --snr-db 10,10.0000001": ["--snr-db", "twice"],
    f"{SWEEP} --csi-error -1": ["--csi-error", "-1", "[0, 1e+06]"],
    f"{SWEEP} --csi-error ,": ["--csi-error", "','", "list such as"],
    f"{SWEEP} --channel rayleig": ["--channel", "'rayleig'", "did you mean 'rayleigh'"],
    f"{SWEEP} --uavs 2,x": ["--uavs", "'x'", "whole number in 1 ... 64"],
    f"{SWEEP} --uavs 65": ["--uavs", "65", "1 ... 64"],
    f"{SWEEP} --mask-prob 1.5": ["--mask-prob", "1.5", "(0, 1)"],
    f"{SWEEP} --mask-prob 0.2,1": ["--mask-prob", "1 is not", "(0, 1)"],
    f"{SWEEP} --mask-prob 0.99999999": ["--mask-prob", "0.99999999 is not", "(0, 1) in single precision"],
    f"{SWEEP} --set mask_prob=[0.2,1]": ["SweepConfig.mask_prob 1.0 is not a number in (0, 1)"],
    f"{SWEEP} --set snr_db=[NaN]": ["SweepConfig.snr_db[0]", "finite", "nan"],
    f"{SWEEP} --set epsilon=[1e39]": ["SweepConfig.epsilon[0]", "finite", "1e+39"],
    f"{SWEEP} --epsilon nan --schemes sharing": ["--epsilon", "nan", ">= 0"],
    f"{SWEEP} --epsilon 0.1 --schemes object": ["SweepConfig.epsilon", "none of the schemes object"],
    f"{SWEEP} --mask-prob 0.2 --schemes uniform,all": ["SweepConfig.mask_prob", "none of the schemes uniform, all"],
    f"{SWEEP} --schemes best": ["--schemes", "'best'", "uniform"],
    f"{SWEEP} --seeds -1": ["--seeds", "-1", "0 ... 4294967295"],
    f"{SWEEP} --convention ebno": ["--convention", "'ebno'", "esno"],
    f"{SWEEP} --units 1": ["--units", "1 is not", "2 ..."],
    f"{SWEEP} --target 0": ["--target", "0 is not", "> 0"],
    f"{SWEEP} --target 0.1 --units 8": ["StoppingRule.max_units 8", "StoppingRule.min_units 32"],
    f"{SWEEP} --memory 0": ["--memory", "0 is not", "> 0"],
    f"{SWEEP} --images photos --memory 0.000001": ["Resources.memory_budget 1073 bytes", "pictures_per_step"],
    f"{SWEEP} --devices 0": ["--devices", "0", ">= 1"],
    f"{SWEEP} --devices 99": ["num_devices", "99", "1 ... 8"],
    f"{SWEEP} --set keep": ["--set", "'keep'", "FIELD=VALUE"],
    f"{SWEEP} --set kep=1": ["SweepConfig.kep", "did you mean 'keep'", "snr_db"],
    f"{SWEEP} --set keep=2": ["SweepConfig.keep 2.0", "(0, 1]"],
    f"{SWEEP} --set keep=much": ["SweepConfig.keep", "a number", "'much'"],
    f"{SWEEP} --set stopping.levels=1": ["SweepConfig.stopping.levels", "did you mean 'level'"],
    f"{SWEEP} --set stopping.level=2": ["SweepConfig.stopping", "StoppingRule.level", "(0, 1)", "2"],
    f"{SWEEP} --set stopping=3": ["SweepConfig.stopping", "mapping", "3"],
    f"{SWEEP} --set link.num_rx=8": ["LinkConfig.num_rx", "did you mean 'num_rx_ant'"],
    f"{SWEEP} --set link=8": ["SweepConfig.link", "mapping", "8"],
    f"{SWEEP} --set link.equalizer=best": ["LinkConfig.equalizer", "'best'", "robust"],
    f"{SWEEP} --set link.topology=joint --uavs 3": ["K = 3", "'joint'", "num_tx_ant, 4"],
    f"{SWEEP} --set link.csi=mmse --csi-error 1.5": ["SweepSpec.csi_error_var 1.5", "csi=mmse", "< 1"],
    f"{STORED} --set weights=small.npz --set loc=middle": ["SweepConfig.loc 'middle'", "knowledge-base"],
    f"{SWEEP} --set task=dog": ["SweepConfig.loc 'centre'", "'dog'"],
    f"{SWEEP} --set views=zigzag": ["SweepConfig.views 'zigzag'", "cut, folder"],
    f"{SWEEP} --set overlap=1": ["SweepConfig.overlap", "[0, 1)", "1"],
    f"{SWEEP} --set limit=3": ["SweepConfig.boxes, limit and views", "SweepConfig.images"],
    f"{SWEEP} --images photos --set limit=0": ["SweepConfig.limit", ">= 1", "0"],
    f"{SWEEP} --images nothing": ["SweepConfig.images nothing", "no such"],
    f"{SWEEP} --images empty": ["empty"],
    f"{SWEEP} --images broken": ["broken/a.jpg"],
    f"{SWEEP} --set weights=nothing.npz": ["nothing.npz"],
    f"{SWEEP} --set perceptual=nothing.npz": ["nothing.npz"],
    f"{SWEEP} --set perceptual=foreign.npz": ["foreign.npz"],
    f"{STORED} --set loc=centre --set weights=half.npz": ["half.npz", "truncated"],
    f"{SWEEP} --set 'metrics=[\"psnr\"]'": ["metric 'psnr'", "did you mean 'psnr_db'"],
    f"{SWEEP} --set stop_metric=ms_ssim": ["SweepSpec.stop_metric 'ms_ssim'", "SweepSpec.metrics"],
    f"{SWEEP} --set pictures_per_step=0": ["SweepSpec.pictures_per_step", ">= 1", "0"],
    f"{SWEEP} --images photos --set random_pictures=true": ["SweepSpec.random_pictures", "four", "3"],
    f"{SWEEP} --config nothing.json": ["nothing.json"],
    f"{SWEEP} --config text.json": ["--config text.json", "not JSON"],
    f"{SWEEP} --config list.json": ["--config list.json", "list"],
    f"{SWEEP} --config bare.py": ["--config bare.py", "get_config"],
    f"{SWEEP} --config sweep.json": ["SweepConfig.snr", "did you mean 'snr_db'"],
    f"{SWEEP} --store small.npz": ["small.npz", "no SQLite file"],
    f"{SWEEP} --store nowhere/s.sqlite": ["nowhere/s.sqlite", "cannot be opened"],
    f"{SWEEP} --store photos": ["photos", "is no file"],
}


@pytest.mark.parametrize("command", WRONG)
def test_wrong_input_is_one_line(folder, capsys, command):
    (folder / "sweep.json").write_text(json.dumps({"snr": [1]}))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "Traceback" not in err
    for word in WRONG[command]:
        assert word in err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_table_of_wrong_input_is_long_enough():
    assert len(WRONG) >= 40


def test_a_sweep_is_stored_and_goes_on(folder, capsys):
    assert main(shlex.split(SMALL)) == 0
    assert "3 points" in capsys.readouterr().out
    with ResultStore(folder / "s.sqlite") as store:
        first = store.read()
    assert [point.snr_db for point in first] == [0, 10, 20]
    assert np.all(np.diff([point.metrics["psnr_db"].mean for point in first]) > 0)
    assert {point.metrics["psnr_db"].count for point in first} == {3}
    assert main(shlex.split(SMALL.replace("0:20:10", "0:20:5"))) == 0
    assert "5 points" in capsys.readouterr().out
    with ResultStore(folder / "s.sqlite") as store:
        assert [point for point in store.read() if point.snr_db in (0, 10, 20)] == first


def test_pictures_for_the_report(folder):
    command = SMALL.replace("0:20:10", "0,20").replace(" --no-pictures", "")
    assert main(shlex.split(command)) == 0
    with ResultStore(folder / "s.sqlite") as store:
        pictures = store.pictures(store.sweeps()[0].config_hash)
    found = [(one.name, one.uav, one.coordinates.get("snr_db")) for one in pictures]
    want = [("original", None), ("kept", None), ("received", 0), ("received", 20), ("error", 0), ("error", 20)]
    assert sorted(found, key=str) == sorted([(name, uav, snr) for name, snr in want for uav in (0, 1)], key=str)


@pytest.mark.slow
def test_learned_distance(folder, shared_data):
    path = shared_data / "weights" / "stlpips_alex_fp16.npz"
    command = SMALL.replace("0:20:10", "20") + f" --set perceptual={path} --set 'metrics=[\"psnr_db\"]'"
    assert main(shlex.split(command)) == 0
    with ResultStore(folder / "s.sqlite") as store:
        (point,) = store.read()
    for name in ("perceptual", "perceptual_inside"):
        assert 0.01 < point.metrics[name].mean < 1 and point.metrics[name].count == 3


@pytest.mark.slow
def test_dry_run_stores_nothing(folder, capsys):
    assert main(shlex.split(SMALL + " --dry-run --target 0.1 --units 40")) == 0
    out = capsys.readouterr().out
    for words in (
        "grid: 3 points, 0 of them in s.sqlite",
        "snr_db: 0, 10, 20",
        "pictures: 3 groups of 2, 32 pixels",
        "channel realisations: 40 a point, at least 32, until psnr_db is known to +- 0.1",
        "programs: 3",
        "MiB",
        "time: ",
    ):
        assert words in out
    assert not (folder / "s.sqlite").exists()


def test_the_file_and_the_flags_over_it(folder):
    from lvm_mtc.cli.parser import build_parser
    from lvm_mtc.cli.sweep import sweep_config

    (folder / "sweep.json").write_text(json.dumps({"snr_db": [1, 2], "keep": 0.3, "link": {"num_rx_ant": 8}}))
    options = build_parser().parse_args(shlex.split(f"{SWEEP} --config sweep.json --snr-db 5 --set link.num_tx_ant=2"))
    config = sweep_config(options)
    assert config.snr_db == (5.0,) and config.keep == 0.3
    assert config.link == {"num_rx_ant": 8, "num_tx_ant": 2}
    assert config.stopping.max_units == 32 and config.stopping.target_half_width is None


def results(command):
    return main(shlex.split(f"results {command} --store s.sqlite"))


@pytest.mark.slow
def test_a_named_sweep_grows_and_points_are_computed_again(folder, capsys):
    named = SMALL.replace("--snr-db 0:20:10", "--snr-db 0,10") + " --name flight"
    assert main(shlex.split(named)) == 0 and main(shlex.split(named.replace("--uavs 2", "--uavs 2,3"))) == 0
    out = capsys.readouterr().out
    assert "sweep 'flight'" in out and "4 points" in out
    with ResultStore(folder / "s.sqlite") as store:
        (sweep,) = store.sweeps()
        first = store.read(sweep.config_hash)
        assert sweep.config["name"] == "flight" and len(first) == 4
    assert results("export --sweep flight --each --out each.csv") == 0
    with open(folder / "each.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 3 * 3 * (2 + 3)  # SNRs, channel realisations, groups, UAVs
    for point in first:
        at = {name: str(value) for name, value in point.coordinates.items()}
        values = [float(row["psnr_db"]) for row in rows if at.items() <= row.items()]
        assert len(values) == 3 * 3 * point.coordinates["num_uavs"]
        np.testing.assert_allclose(np.mean(values), point.metrics["psnr_db"].mean, rtol=1e-6)
    capsys.readouterr()
    assert results("delete --sweep flight --at snr_db=10 --at num_uavs=3") == 0
    assert "1 points deleted" in capsys.readouterr().out
    assert results("redo --sweep flight --at num_uavs=2") == 0
    assert "2 points computed again" in capsys.readouterr().out
    with ResultStore(folder / "s.sqlite") as store:
        again = store.read(sweep.config_hash)
    assert again == first  # what was missing is computed too
    (folder / "photos" / "p0.png").unlink()
    for command, words in (
        ("redo --at snr_db=0", "pictures, weights or code are not what they were"),
        ("redo --at snr_db=5", "has no point with --at snr_db=5"),
        ("delete --at snr_db=5", "has no point with --at snr_db=5"),
        ("delete", "--at is missing"),
        ("delete --at snr_db=0 --sweep flght", "--sweep flght: 0 sweeps"),
    ):
        assert results(command) == 2
        assert words in capsys.readouterr().err


def test_progress_without_a_terminal(folder, capsys, monkeypatch):
    from lvm_mtc.cli import sweep

    monkeypatch.setattr(sweep, "_SECONDS_BETWEEN_LINES", 0.0)
    assert main(shlex.split(SMALL.replace("0:20:10", "0:9:1"))) == 0
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("sweep: ") and " of 10 points" in line for line in lines)
    assert [line for line in lines if line.startswith("sweep: 8 of 10")], "the first points are stored before the last"
    assert lines[-1].startswith("sweep: 10 of 10 points, 0 s left")
