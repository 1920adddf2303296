"""``lvm-mtc results``: what is printed and written, and wrong input."""

import csv
import json
import shlex
import sqlite3

import pytest

from lvm_mtc.cli import main
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore

CONFIGS = [
    {"scheme": name, "link": {"fading": fading, "num_rx_ant": 4}}
    for name, fading in (("object", "rayleigh"), ("uniform", "rayleigh"), ("uniform", "awgn"))
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a store of three sweeps, one with a single sweep, one without any, and other files."""
    monkeypatch.chdir(tmp_path)
    with ResultStore("three.sqlite") as store:
        for i, config in enumerate(CONFIGS):
            sweep = store.register(config)
            store.add([_point(sweep, snr, i) for snr in (-5, 0, 10)])
    with ResultStore("one.sqlite") as store:
        store.add([_point(store.register(CONFIGS[0]), 10, 0)])
    ResultStore("none.sqlite").close()
    (tmp_path / "text").write_text("no store\n" * 50)
    (tmp_path / "old.csv").write_text("old")
    with sqlite3.connect("songs.db") as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    return tmp_path


def _point(sweep, snr, shift):
    return Point(
        config_hash=sweep,
        coordinates={"snr_db": snr, "scheme_seed": 0},
        seed=3,
        snr_convention="esno",
        snr_db=snr,
        created=f"2026-01-0{shift + 1}T00:00:00+00:00",
        metrics={"psnr_db": (20 + snr + shift, 0.123, 32), "ssim": (0.75, None, 32)},
    )


def _sweeps():
    with ResultStore("three.sqlite") as store:
        return [sweep.config_hash for sweep in store.sweeps()]


def _run(command, capsys):
    assert main(shlex.split(f"results {command}")) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def test_list_tells_sweeps_apart(folder, capsys):
    head, *lines = _run("list --store three.sqlite", capsys)
    assert head.split() == ["sweep", "points", "first", "last", "differs", "in"]
    want = [
        "scheme=object link.fading=rayleigh",
        "scheme=uniform link.fading=rayleigh",
        "scheme=uniform link.fading=awgn",
    ]
    for i, (line, sweep) in enumerate(zip(lines, _sweeps(), strict=True)):
        date = f"2026-01-0{i + 1}T00:00:00+00:00"
        assert line.split(maxsplit=4) == [sweep[:12], "3", date, date, " ".join(sorted(want[i].split()))]


def test_list_of_a_store_without_sweeps(folder, capsys):
    assert _run("list --store none.sqlite", capsys) == ["none.sqlite: no sweeps"]


def test_show_prints_settings_and_points(folder, capsys):
    key = _sweeps()[1]
    lines = _run(f"show --store three.sqlite --sweep {key[:6]}", capsys)
    assert lines[:4] == [f"sweep {key}", "  link.fading = rayleigh", "  link.num_rx_ant = 4", "  scheme = uniform"]
    assert lines[4].split() == ["scheme_seed", "snr_db", "psnr_db", "ssim"]
    assert [line.split() for line in lines[5:]] == [
        ["0", str(snr), str(21 + snr), "+-", "0.12", "(n=32)", "0.75", "(n=32)"] for snr in (-5, 0, 10)
    ]


def test_show_chooses_points_and_metrics(folder, capsys):
    lines = _run(f"show --store three.sqlite --sweep {_sweeps()[0]} --at snr_db=10.0 --metrics ssim", capsys)
    assert lines[-2].split() == ["scheme_seed", "snr_db", "ssim"]
    assert lines[-1].split() == ["0", "10", "0.75", "(n=32)"]
    assert _run("show --store one.sqlite", capsys)[-1].split()[:3] == ["0", "10", "30"]


@pytest.mark.parametrize(("flags", "name"), [("", "a.csv"), ("--format csv", "a.txt"), ("--overwrite", "old.csv")])
def test_export_writes_csv(folder, capsys, flags, name):
    assert _run(f"export --store three.sqlite --out {name} {flags}", capsys) == [f"{name}: 9 points"]
    with open(name, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(float(row["metrics.psnr_db.mean"]) for row in rows) == sorted(
        20 + snr + shift for snr in (-5, 0, 10) for shift in range(3)
    )


def test_export_of_one_sweep_as_json(folder, capsys):
    key = _sweeps()[2]
    assert _run(f"export --store three.sqlite --out a.json --sweep {key[:9]}", capsys) == ["a.json: 3 points"]
    content = json.loads((folder / "a.json").read_text())
    assert [sweep["config"] for sweep in content["sweeps"]] == [CONFIGS[2]]
    assert {point["config_hash"] for point in content["points"]} == {key}


WRONG = {
    "": ["ACTION", "lvm-mtc results --help"],
    "lst": ["'lst'", "list", "show", "export"],
    "list": ["--store", "required"],
    "list --stor three.sqlite": ["--stor"],
    "list --store nothing.sqlite": ["nothing.sqlite", "no such result store"],
    "list --store .": ["is no file"],
    "list --store text": ["text", "no SQLite file"],
    "list --store songs.db": ["songs.db", "no result store"],
    "show --store none.sqlite": ["--store none.sqlite", "holds no sweeps"],
    "show --store three.sqlite": ["--sweep", "3 sweeps", "name one"],
    "show --store three.sqlite --sweep xyz": ["--sweep xyz", "0 sweeps"],
    "show --store one.sqlite --at snr_db": ["--at", "'snr_db'", "FIELD=VALUE"],
    "show --store one.sqlite --at snr_db=11": ["one.sqlite", "no point", "--at snr_db=11"],
    "show --store one.sqlite --at snr=10": ["no point", "--at snr=10", "snr_db", "to choose by"],
    "show --store one.sqlite --at snr_db=12": ["no point", "there is snr_db 10"],
    "redo --store one.sqlite --at foo=1": ["no point", "--at foo=1", "snr_db"],
    "delete --store one.sqlite --at foo=1": ["no point", "--at foo=1", "snr_db"],
    "show --store one.sqlite --metrics psnr": ["--metrics", "'psnr'", "did you mean 'psnr_db'", "ssim"],
    "show --store one.sqlite --metrics ssim,,": ["--metrics", "'ssim,,'"],
    "export --store one.sqlite": ["--out", "required"],
    "export --store one.sqlite --out a.xls": ["--out a.xls", "csv, json, parquet", "--format"],
    "export --store one.sqlite --out a.csv --format xls": ["--format", "'xls'", "csv, json, netcdf, parquet"],
    "export --store one.sqlite --out a.nc": ["--out a.nc", "netcdf", "--each"],
    "export --store one.sqlite --out old.csv": ["--out old.csv", "there already", "--overwrite"],
    "export --store one.sqlite --out one.sqlite --format csv --overwrite": ["--out one.sqlite", "the store itself"],
    "export --store one.sqlite --out nowhere/a.csv": ["nowhere/a.csv", "cannot be written"],
    "export --store none.sqlite --out a.csv": ["none.sqlite", "no points"],
    "export --store three.sqlite --out a.csv --sweep 0z": ["--sweep 0z", "0 sweeps"],
}


@pytest.mark.parametrize("command", WRONG, ids=lambda command: command or "nothing")
def test_wrong_input(command, folder, capsys):
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    assert main(shlex.split(f"results {command}")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lvm-mtc: error: ") and err.endswith("\n") and err.count("\n") == 1, err
    missing = [word for word in WRONG[command] if word not in err]
    assert not missing, f"{err} lacks {missing}"
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before
