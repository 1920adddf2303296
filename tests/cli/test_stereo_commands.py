"""Stereo pairs through ``lvm-mtc transmit --stereo`` and ``sweep --stereo``."""

import dataclasses
import json
import shlex
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from lvm_mtc.cli import main
from lvm_mtc.cli.plain import say_groups
from lvm_mtc.cli.stereo import lack_of_room, read_pairs
from lvm_mtc.data.synthetic_stereo import synthetic_stereo
from lvm_mtc.models.weights import save_weights
from lvm_mtc.results.points import Measured
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import read_csv
from lvm_mtc.schemes.gs_scnet.scheme import GsScnet, GsScnetConfig
from lvm_mtc.schemes.loading import identity

pytestmark = pytest.mark.usefixtures("fast_compile")

SCHEME = GsScnet(GsScnetConfig(size=(32, 32), features=8, symbols_per_position=2, max_disparity=8, capacity=200))
SEND = "transmit --stereo pairs --weights stereo.npz --uavs 1 --channel awgn --realisations 2 --snr-db 0,20"
SWEEP = "sweep --stereo pairs --set weights=stereo.npz --channel awgn --units 2 --snr-db 0,20 --uavs 1"


@pytest.fixture(scope="module")
def params():
    return jax.device_get(jax.jit(SCHEME.init)(jax.random.key(0)))


@pytest.fixture
def pairs(folder, params):
    """The common folder with weights for pairs, three pairs of 50 x 36 pixels, and what is none."""
    save_weights(folder / "stereo.npz", params, identity(SCHEME), dtype="float32")
    for i, views in enumerate(synthetic_stereo(3, (36, 50), seed=0).pictures):
        (folder / "pairs" / f"scene{i}").mkdir(parents=True)
        for name, view in zip(("left", "right"), views, strict=True):
            Image.fromarray(view).save(folder / "pairs" / f"scene{i}" / f"{name}.png")
    (folder / "tiny" / "scene").mkdir(parents=True)
    (folder / "nopairs").mkdir()
    for name in ("left", "right"):
        Image.new("RGB", (400, 20)).save(folder / "tiny" / "scene" / f"{name}.png")
    return folder


@pytest.mark.slow
def test_transmit_sends_pairs_and_shows_views(pairs, capsys):
    assert main(shlex.split(f"{SEND} --limit 2 --out out")) == 0
    out, err = capsys.readouterr()
    assert err == "" and "2 x 1 pairs of 48 x 32 pixels, 2 realisations" in out
    made = sorted(path.name for path in (pairs / "out").iterdir())
    assert made == ["curves.png", "lvm-mtc-result.json", "sheet.png", "table.csv"]
    rows = read_csv(pairs / "out" / "table.csv")
    assert rows[0]["num_pairs"] == 2 and rows[0]["channel_uses"] == 2 * 24 * 2
    assert rows[0]["side_information_bits"] == 192 and rows[0]["overflow"] == 0
    record = json.loads((pairs / "out" / "lvm-mtc-result.json").read_text())
    assert record["systems"]["gs_scnet"]["size"] == [32, 48]


@pytest.mark.slow
def test_a_sweep_stores_what_transmit_measures(pairs):
    assert main(shlex.split(f"{SEND} --limit 2 --out out")) == 0
    assert main(shlex.split(f"{SWEEP} --set limit=2 --store s.sqlite")) == 0
    with ResultStore(pairs / "s.sqlite", create=False) as store:
        points = store.read()
    rows = read_csv(pairs / "out" / "table.csv")
    assert [point.snr_db for point in points] == [row["snr_db"] for row in rows] == [0, 20]
    for point, row in zip(points, rows, strict=True):
        assert set(point.metrics) >= {"psnr_db", "ssim", "overflow"}
        assert point.metrics["psnr_db"].mean == pytest.approx(row["psnr_db"], abs=1e-4)


@pytest.mark.slow
def test_tiles_without_room_are_told_on_stderr(pairs, capsys, params):
    tight = GsScnet(dataclasses.replace(SCHEME.config, capacity=8))
    save_weights(pairs / "stereo.npz", params, identity(tight), dtype="float32")
    assert main(shlex.split(f"{SEND} --limit 1 --out out")) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.endswith("raise GsScnetConfig.capacity, 8\n")
    assert read_csv(pairs / "out" / "table.csv")[0]["overflow"] > 0


def test_the_line_names_the_field_its_value_and_what_was_lost():
    points = [SimpleNamespace(metrics={"overflow": Measured(lost, None, 4)}) for lost in (0.0, 12.25)]
    line = lack_of_room(points, 256)
    assert "left out 12.2 Gaussians" in line and line.endswith("raise GsScnetConfig.capacity, 256")
    assert lack_of_room(points[:1], 256) is None


def test_a_pair_and_a_folder_of_pairs_are_read(pairs):
    one, all_three = read_pairs(pairs / "pairs" / "scene1", num_uavs=1), read_pairs(pairs / "pairs", num_uavs=2)
    assert one.labels == [["scene1"]] and all_three.labels == [["scene0", "scene1"]] and all_three.left_out == 1
    np.testing.assert_array_equal(one.source.data[0, 0], all_three.source.data[0, 1])
    assert one.source.data.dtype == np.float32 and one.source.hints == {}


def test_scenes_come_in_the_order_of_their_numbers_and_groups_are_told(pairs, capsys):
    for i in range(3):
        (pairs / "pairs" / f"scene{i}").rename(pairs / "pairs" / f"scene{9 + i}")
    Image.open(pairs / "pairs" / "scene9" / "left.png").resize((64, 64)).save(pairs / "pairs" / "scene9" / "left.png")
    Image.open(pairs / "pairs" / "scene9" / "right.png").resize((64, 64)).save(pairs / "pairs" / "scene9" / "right.png")
    found = read_pairs(pairs / "pairs", num_uavs=3)
    # Its size is that of the first, scene9, though "scene10" comes before it as text.
    assert found.labels == [["scene9", "scene10", "scene11"]] and found.source.data.shape[3:5] == (64, 64)
    say_groups(found.labels)
    assert capsys.readouterr().out == "group scene9: scene9, scene10, scene11\n"
    say_groups([["scene9"]])
    assert capsys.readouterr().out == ""


# Command line -> words that its one line must hold.
WRONG = {
    f"{SEND} --out o --task dog": ["--task is for pictures", "--stereo sends pairs"],
    f"{SEND} --out o --clouds c.ply": ["--stereo", "not allowed with", "--clouds"],
    "transmit --stereo pairs --weights small.npz --uavs 1 --out o": ["small.npz", "'lvm_mtc' sends pictures"],
    "transmit --images photos --weights stereo.npz --out o": ["stereo.npz", "'gs_scnet' sends stereo"],
    "transmit --stereo pairs --weights stereo.npz --uavs 4 --out o": ["pairs", "there are 3 pairs", "4 UAVs"],
    "transmit --stereo tiny --weights stereo.npz --uavs 1 --out o": ["scene", "400 x 20 pixels", "16 or more"],
    "transmit --stereo nopairs --weights stereo.npz --uavs 1 --out o": ["nopairs", "holds no pair", "left.png"],
    f"{SWEEP} --store o --images photos": ["SweepConfig.images is for pictures", "SweepConfig.stereo sends pairs"],
    f"{SWEEP} --store o --text t.txt": ["SweepConfig.stereo is for pairs", "SweepConfig.text"],
    "sweep --stereo nopairs --set weights=stereo.npz --uavs 1 --store o": ["nopairs", "holds no pair"],
    "transmit --stereo nothing --weights stereo.npz --uavs 1 --out o": ["nothing", "does not exist"],
}


@pytest.mark.parametrize("command", WRONG)
def test_wrong_input_is_one_line(pairs, capsys, command):
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and not (pairs / "o").exists()
    for word in WRONG[command]:
        assert word in err
