"""The result store: whole points after kills, a full disk and two writers; exports; wrong input."""

import csv
import dataclasses
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lvm_mtc.results import export as store_export
from lvm_mtc.results.export import export_store
from lvm_mtc.results.points import Measured, Point, StoreError, canonical_json, config_hash
from lvm_mtc.results.store import ResultStore

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"scheme": {"name": "object first"}, "link": {"fading": "rayleigh", "num_rx_ant": 4}, "weights": "ab12"}
BATCH = 4

# A sweep as a user would write it: what is missing, computed and stored batch by batch. No jax, so that it starts fast.
SWEEP = f"""
import math, sys, time
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore

CONFIG, BATCH = {CONFIG!r}, {BATCH}

def point(sweep, at):
    value = math.sin(at["snr_db"] + 10 * at.get("csi_error_var", 0))
    return Point(config_hash=sweep, coordinates=at, seed=7, snr_convention="esno", snr_db=at["snr_db"],
                 realised_snr_db=at["snr_db"] + 0.01 * value, device="cpu", versions={{"numpy": "2.4"}},
                 ledger={{"slots": 512, "channel_uses": 2048.5}},
                 metrics={{"psnr_db": (30 + value, 0.1, 32), "ssim": (0.9 + value / 20, None, 32)}})

def run(path, snrs, seconds=0.0, tell=lambda: None):
    with ResultStore(path) as store:
        sweep = store.register(CONFIG)
        grid = [{{"snr_db": snr, "csi_error_var": csi}} for csi in (0.0, 0.05, 0.1, 0.2) for snr in range(snrs)]
        missing = store.missing(sweep, grid)
        new = 0
        for start in range(0, len(missing), BATCH):
            tell()
            time.sleep(seconds)
            new += store.add([point(sweep, at) for at in missing[start : start + BATCH]])
        return new

"""
NAMESPACE = {}
exec(SWEEP, NAMESPACE)  # the same code here and in the children
run, make_point = NAMESPACE["run"], NAMESPACE["point"]


def start(path, snrs, seconds=0.0, before=""):
    """A process that runs the sweep, with a line a batch on its output, and at last the number of new points."""
    call = f"print(run({str(path)!r}, {snrs}, {seconds}, lambda: print(flush=True)))"
    return subprocess.Popen(
        [sys.executable, "-c", before + SWEEP + call],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def contents(path):
    with ResultStore(path) as store:
        assert store._connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert store._connection.execute("PRAGMA foreign_key_check").fetchall() == []
        points = [dataclasses.asdict(dataclasses.replace(point, created="")) for point in store.read()]
        return points, [sweep[:3] for sweep in store.sweeps()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "store.sqlite"
    run(path, 10)
    return contents(path)


@pytest.fixture
def filled(tmp_path):
    path = tmp_path / "store.sqlite"
    run(path, 3)
    return path


def test_what_is_stored_is_read_back(tmp_path):
    with ResultStore(tmp_path / "a.sqlite") as store:
        sweep = store.register(CONFIG)
        point = Point(
            config_hash=sweep,
            coordinates={"snr_db": np.float32(2.5), "scheme": "pca", "csi_error_var": 0.1},
            metrics={"psnr_db": Measured(np.float64(1) / 3, np.float32(0.25), np.int64(32)), "mse": (1e-300, None, 1)},
            seed=2**63 - 1,
            snr_convention="esno",
            snr_db=-3,
            realised_snr_db=np.pi,
            device="cpu x 8",
            versions={"jax": "0.10.1"},
            ledger={"slots": np.int32(5), "side_information_bits": 0.1},
        )
        assert store.add([point]) == 1
        (found,) = store.read()
        assert found == point
        assert (found.device, found.versions) == ("cpu x 8", {"jax": "0.10.1"})
        assert found.metrics["psnr_db"] == (1 / 3, 0.25, 32) and found.metrics["mse"].half_width is None
        assert found.created.endswith("+00:00")
        assert store.sweeps() == [(sweep, CONFIG, 1, found.created, found.created)]


def test_the_hash_is_sha256_of_canonical_json():
    text = '{"a":[1,2.5,null,true],"b":{"c":"\\u00e9","d":10}}'
    config = {"b": {"d": 10.0, "c": "é"}, "a": (1, np.float64(2.5), None, True)}
    assert canonical_json(config) == text
    assert config_hash(config) == hashlib.sha256(text.encode()).hexdigest()
    assert config_hash(config) != config_hash(config | {"a": [1, 2.5, None, 1]})
    assert canonical_json({"x": -0.0}) == canonical_json({"x": 0}) == '{"x":0}'


def test_only_what_is_missing(filled):
    with ResultStore(filled) as store:
        sweep = config_hash(CONFIG)
        grid = [{"snr_db": snr, "csi_error_var": csi} for snr in (2, 3, 4.5, 3.0) for csi in (0, 0.05)]
        assert store.missing(sweep, grid) == grid[2:6]
        assert store.missing(config_hash({}), grid[:2]) == grid[:2]


def test_points_are_chosen_and_ordered(filled):
    with ResultStore(filled) as store:
        store.register(CONFIG | {"scheme": "other"})
        found = [(point.coordinates["csi_error_var"], point.coordinates["snr_db"]) for point in store.read()]
        assert found == [(csi, snr) for csi in (0, 0.05, 0.1, 0.2) for snr in (0, 1, 2)]
        assert len(store.read(config_hash(CONFIG))) == 12
        assert store.read(config_hash({})) == [] and store.read(at={"snr": 1}) == []
        assert {point.coordinates["csi_error_var"] for point in store.read(at={"snr_db": 1.0})} == {0, 0.05, 0.1, 0.2}
        assert [sweep.num_points for sweep in store.sweeps()] == [0, 12]


def test_adding_a_point_again(filled):
    with ResultStore(filled) as store:
        before = contents(filled)
        point = store.read()[5]
        elsewhere = dataclasses.replace(point, device="gpu", versions={}, created="2031-01-01")
        assert store.add([elsewhere, elsewhere]) == 0
        fresh = make_point(point.config_hash, {"snr_db": 77, "csi_error_var": 0})
        for change, words in (
            ({"metrics": point.metrics | {"ssim": (0.5, None, 32)}}, ["metrics.ssim.mean is 0.9", "0.5 here"]),
            ({"metrics": {"ssim": point.metrics["ssim"]}}, ["metrics.psnr_db.mean", "None here"]),
            ({"seed": 8}, ["seed is 7 there, 8 here"]),
            ({"ledger": {"slots": 513}}, ["ledger.channel_uses is 2048.5 there"]),
        ):
            with pytest.raises(StoreError, match="snr_db.*is stored with other numbers") as error:
                store.add([fresh, dataclasses.replace(point, **change)])
            assert all(word in str(error.value) for word in [*words, canonical_json(point.coordinates)])
        assert contents(filled) == before


def test_kills_at_random_moments_leave_whole_batches_and_nothing_is_lost(tmp_path, undisturbed):
    rng, kills, halves = random.Random(1), 0, set()
    while kills < 20:
        path, code, count = tmp_path / f"{kills}.sqlite", None, 0
        while code != 0:
            process = start(path, 10, 0.002)
            for _ in range(rng.randrange(1, 5)):  # in steps of the child, as a busy machine has no measure of time
                process.stdout.readline()
            time.sleep(rng.uniform(0, 0.01))
            process.kill()
            code, _, err = finished(process)
            assert code in (0, -signal.SIGKILL), err
            kills += code != 0
            assert kills < 200
            before, count = count, len(contents(path)[0])
            assert count % BATCH == 0 and before <= count
            halves |= {count}
        assert contents(path) == undisturbed
    # Kills between the first and the last point, or nothing was shown.
    assert len(halves - {0, 40}) >= 2, halves


def test_a_kill_within_a_transaction_is_rolled_back(tmp_path, undisturbed):
    path = tmp_path / "store.sqlite"
    # Stops after the pages have begun to change on the disk: a cache of one page spills at once.
    stop = """
import os, signal, sqlite3
class Dying(sqlite3.Connection):
    def execute(self, sql, *values):
        if sql.startswith("BEGIN IMMEDIATE"):
            super().execute("PRAGMA cache_size = 1")
        if sql == "COMMIT" and super().execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 6:
            if super().execute("SELECT count(*) FROM point").fetchone()[0] > 12:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(sql, *values)
connect = sqlite3.connect
sqlite3.connect = lambda *a, **k: connect(*a, factory=Dying, **k)
"""
    run(path, 3)
    before = contents(path)
    code, _, err = finished(start(path, 10, before=stop))
    assert code == -signal.SIGKILL, err
    assert (tmp_path / "store.sqlite-journal").exists()
    assert contents(path) == before
    run(path, 10)
    assert contents(path) == undisturbed


def test_two_processes_write_the_same_sweep(tmp_path, undisturbed):
    path = tmp_path / "store.sqlite"
    done = [finished(process) for process in [start(path, 10, 0.02) for _ in range(2)]]
    assert [code for code, _, _ in done] == [0, 0], done
    assert sum(int(out) for _, out, _ in done) == 40
    assert contents(path) == undisturbed


def test_a_writer_waits_for_another_and_then_gives_up(filled):
    with ResultStore(filled) as one, ResultStore(filled, busy_timeout=0.1) as two:
        with one._transaction("IMMEDIATE"):
            began = time.monotonic()
            with pytest.raises(StoreError, match=r"store.sqlite: another process has kept it locked for 0.1 s"):
                two.register({})
            assert time.monotonic() - began > 0.08
            assert len(two.read()) == 12  # reading goes on
        assert two.register(CONFIG) == config_hash(CONFIG)


def test_a_full_disk_loses_nothing(filled, undisturbed):
    before = contents(filled)
    with ResultStore(filled) as store:
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        sweep = config_hash(CONFIG)
        grid = [{"snr_db": snr, "csi_error_var": csi} for csi in (0.0, 0.05, 0.1, 0.2) for snr in range(3, 10)]
        points = [make_point(sweep, at) for at in grid]
        with pytest.raises(StoreError, match="no space left on the disk") as error:
            store.add(points)
        assert "\n" not in str(error.value) and str(filled) in str(error.value)
        assert contents(filled) == before
        store._connection.execute("PRAGMA max_page_count = 1000000")
        assert store.add(points) == 28
    assert contents(filled) == undisturbed


def test_a_full_tmpfs_loses_nothing(tmp_path, undisturbed):
    (tmp_path / "disk").mkdir()
    script = """
mount -t tmpfs -o size=52k tmpfs disk || exit 42
"$PYTHON" -c "$SWEEP
try:
    run('disk/store.sqlite', 10)
except ValueError as error:
    print(error)
with ResultStore('disk/store.sqlite') as store:
    print(len(store.read()))
" && mount -o remount,size=4m disk && "$PYTHON" -c "$SWEEP
run('disk/store.sqlite', 10)
" && cp disk/store.sqlite copy.sqlite
"""
    variables = {"PYTHON": sys.executable, "SWEEP": SWEEP, "PYTHONPATH": str(ROOT)}
    # A mount of its own, which no other process sees and which ends with this one.
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", script],
        cwd=tmp_path,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode == 42 or done.stderr.startswith("unshare"):
        pytest.skip(f"a user may not mount a tmpfs here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    message, count = done.stdout.splitlines()
    assert message.startswith("disk/store.sqlite: no space left on the disk")
    assert 0 < int(count) < 40 and int(count) % BATCH == 0
    assert contents(tmp_path / "copy.sqlite") == undisturbed


def test_the_store_starts_without_jax():
    code = "import sys, lvm_mtc.results.store, lvm_mtc.results.export; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_json_holds_all(filled, tmp_path):
    with ResultStore(filled) as store:
        assert export_store(store, tmp_path / "a.json", "json") == 12
        content = json.loads((tmp_path / "a.json").read_text())
        assert [Point(**point) for point in _with_tuples(content["points"])] == store.read()
        assert content["points"][0]["created"] == store.read()[0].created
        assert [sweep["config"] for sweep in content["sweeps"]] == [CONFIG]


def _with_tuples(points):
    return [
        point | {"metrics": {name: tuple(value.values()) for name, value in point["metrics"].items()}}
        for point in points
    ]


def test_csv_holds_all_numbers_in_full(filled, tmp_path):
    with ResultStore(filled) as store:
        other = store.register(CONFIG | {"scheme": "pca", "snrs": [1, 2]})
        store.add([dataclasses.replace(make_point(other, {"snr_db": 1}), realised_snr_db=None)])
        assert export_store(store, tmp_path / "a.csv", "csv") == 13
        points = store.read()
    with open(tmp_path / "a.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row, point in zip(rows, points, strict=True):
        assert row["config_hash"] == point.config_hash
        for name in ("psnr_db", "ssim"):
            mean, half_width, count = point.metrics[name]
            assert float(row[f"metrics.{name}.mean"]) == mean and int(row[f"metrics.{name}.count"]) == count
            assert row[f"metrics.{name}.half_width"] == ("" if half_width is None else str(half_width))
        assert float(row["coordinates.snr_db"]) == point.coordinates["snr_db"] == float(row["snr_db"])
        assert row["realised_snr_db"] == ("" if point.realised_snr_db is None else repr(point.realised_snr_db))
        assert row["config.link.fading"] == "rayleigh" and row["versions.numpy"] == "2.4"
    (of_other,) = (row for row in rows if row["config_hash"] == other)
    assert (of_other["config.scheme"], of_other["config.scheme.name"]) == ("pca", "")
    assert of_other["config.snrs"] == "[1, 2]" and of_other["coordinates.csi_error_var"] == ""


def test_parquet_holds_the_numbers_of_csv(filled, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    with ResultStore(filled) as store:
        sweep = store.register(CONFIG | {"mixed": [1]})
        store.add(
            [
                make_point(sweep, {"snr_db": 1, "csi_error_var": 0.5}),
                make_point(sweep, {"snr_db": 2.5, "csi_error_var": 0, "flag": True}),
            ]
        )
        assert export_store(store, tmp_path / "a.parquet", "parquet") == 14
        points = store.read()
    rows = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["metrics.psnr_db.mean"] for row in rows] == [point.metrics["psnr_db"].mean for point in points]
    assert [row["coordinates.snr_db"] for row in rows] == [point.coordinates["snr_db"] for point in points]
    assert [row["coordinates.flag"] for row in rows].count(True) == 1
    assert {row["metrics.ssim.half_width"] for row in rows} == {None}


def test_parquet_without_pyarrow_names_it(filled, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with ResultStore(filled) as store, pytest.raises(ValueError, match=r"pip install 'lvm-mtc\[parquet\]'"):
        export_store(store, tmp_path / "a.parquet", "parquet")
    assert not list(tmp_path.glob("*parquet*"))


def test_columns_of_mixed_kinds_become_text():
    assert store_export._of_one_kind([1, None, 2.5]) == [1.0, None, 2.5]
    assert store_export._of_one_kind([1, "a", None, [2]]) == ["1", '"a"', None, "[2]"]
    assert store_export._of_one_kind([True, 1]) == ["true", "1"]
    assert store_export._of_one_kind([1, 2]) == [1, 2]


def test_an_export_that_fails_leaves_the_old_file(filled, tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("old")
    monkeypatch.setattr(store_export, "_cell", lambda value: 1 / 0)
    with ResultStore(filled) as store, pytest.raises(ZeroDivisionError):
        export_store(store, tmp_path / "a.csv", "csv")
    assert (tmp_path / "a.csv").read_text() == "old"
    assert not list(tmp_path.glob(".a*"))


@pytest.mark.parametrize(("path", "file_format", "words"), [
    ("a.xlsx", "xlsx", "'xlsx' is not known; known: csv, json, parquet"),
    ("nowhere/a.csv", "csv", "nowhere"),
    ("folder", "csv", "folder: is a folder"),
])  # fmt: skip
def test_exports_that_are_refused(filled, tmp_path, path, file_format, words):
    (tmp_path / "folder").mkdir()
    with ResultStore(filled) as store, pytest.raises(ValueError, match=words):
        export_store(store, tmp_path / path, file_format)
    with ResultStore(tmp_path / "empty.sqlite") as store, pytest.raises(ValueError, match="holds no points"):
        export_store(store, tmp_path / "a.csv", "csv")


def _foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")


def _newer(path):
    run(path, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")


def _cut_off(path):
    run(path, 10)
    path.write_bytes(path.read_bytes()[:9000])


@pytest.mark.parametrize(("make", "words"), [
    (lambda path: path.write_text("scheme,psnr\n" * 100), "is no SQLite file, so no result store"),
    (_foreign, "is an SQLite file, but no result store"),
    (_newer, "is a result store of schema version 7; this program knows versions 1 to 3"),
    (_cut_off, "is damaged, or cut off"),
    (lambda path: path.mkdir(), "is no file, so no result store"),
    (lambda path: os.mkfifo(path), "is no file, so no result store"),
], ids=["text", "foreign", "newer", "cut off", "folder", "pipe"])  # fmt: skip
@pytest.mark.parametrize("create", [True, False])
def test_files_that_are_no_stores(tmp_path, make, words, create):
    path = tmp_path / "a #1?.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreError) as error:
        with ResultStore(path, create=create) as store:
            store.read()
    assert str(error.value) == f"{path}: {words}"
    assert before is None or path.read_bytes() == before


def test_a_store_that_is_missing(tmp_path):
    with pytest.raises(StoreError, match="there is no such result store"):
        ResultStore(tmp_path / "a.sqlite", create=False)
    (tmp_path / "empty").touch()
    with pytest.raises(StoreError, match="no result store"):
        ResultStore(tmp_path / "empty", create=False)
    with pytest.raises(StoreError, match="cannot be opened or made"):
        ResultStore(tmp_path / "nowhere" / "a.sqlite")
    assert os.listdir(tmp_path) == ["empty"]


def test_points_of_a_sweep_that_is_not_registered(filled):
    with ResultStore(filled) as store:
        with pytest.raises(StoreError, match="not registered"):
            store.add([make_point("abc", {"snr_db": 1, "csi_error_var": 0})])
        assert len(store.read()) == 12


@pytest.mark.parametrize(("change", "words"), [
    ({"config_hash": 3}, "Point.config_hash must be a text, got 3"),
    ({"coordinates": [1]}, r"Point.coordinates must be a mapping, got \[1\]"),
    ({"coordinates": {"snr_db": np.nan}}, "Point.coordinates.snr_db must be finite, got nan"),
    ({"coordinates": {1: 2}}, "Point.coordinates must have texts for keys, got 1"),
    ({"coordinates": {"x": {1, 2}}}, "Point.coordinates.x must be a number"),
    ({"ledger": {"slots": np.zeros(3)}}, "Point.ledger.slots must be a number"),
    ({"metrics": {}}, "Point.metrics is empty"),
    ({"metrics": {2: (1, 1, 1)}}, "Point.metrics must have texts for keys, got 2"),
    ({"metrics": {"psnr": 30.0}}, "Point.metrics.psnr must be .mean, half width, count., got 30.0"),
    ({"metrics": {"psnr": (np.inf, 1, 2)}}, "Point.metrics.psnr.mean must be a finite number, got inf"),
    ({"metrics": {"psnr": (1, "a", 2)}}, "Point.metrics.psnr.half_width must be a finite number, got 'a'"),
    ({"metrics": {"psnr": (1, 1, 0)}}, "Point.metrics.psnr.count must be a whole number in 1 .* got 0"),
    ({"metrics": {"psnr": (1, 1, 2.5)}}, "Point.metrics.psnr.count must be a whole number .* got 2.5"),
    ({"seed": 2**63}, "Point.seed must be a whole number in 0"),
    ({"seed": -1}, "Point.seed must be a whole number in 0 .* got -1"),
    ({"snr_db": None}, "Point.snr_db must be a finite number, got None"),
    ({"realised_snr_db": np.nan}, "Point.realised_snr_db must be a finite number, got nan"),
])  # fmt: skip
def test_wrong_points(change, words):
    point = make_point("abc", {"snr_db": 1, "csi_error_var": 0})
    with pytest.raises(StoreError, match=words) as error:
        dataclasses.replace(point, **change)
    assert "\n" not in str(error.value)


def test_a_configuration_that_cannot_be_hashed():
    with pytest.raises(StoreError, match=r"config.link.taps\[1\] must be a number"):
        config_hash({"link": {"taps": [1, object()]}})
