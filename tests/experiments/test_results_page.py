"""The results page shows what its store holds, and the store holds what issue and page claim."""

import dataclasses
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from experiments.results import codecs
from experiments.results.measure import (
    CODECS,
    DRAWN,
    GAIN,
    MASK_PROB,
    MASKING,
    MEASUREMENTS,
    OBJECT,
    SCALE_AWARE,
    SNR,
    UNIFORM,
    minus_end,
)
from experiments.results.page import main, write_page
from experiments.results.page_masking import PSNR, SSIM, Optimum, optimum, verdict
from experiments.results.page_sharing import saving
from experiments.results.parts import CHANNELS, read
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.separation.modulation_coding import SeparationScheme
from lvm_mtc.sweep.paired import PREFIX, differences_name, find_sweep
from lvm_mtc.sweep.plan import _DRAWS_VERSION

DOCS = Path(__file__).resolve().parents[2] / "docs"
STORE = DOCS / "results" / "results.sqlite"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A copy: reading a store must leave the shipped file alone, whatever SQLite does beside it."""
    path = tmp_path_factory.mktemp("store") / "results.sqlite"
    shutil.copy(STORE, path)
    with ResultStore(path, create=False) as opened:
        yield opened


def changed(store, tmp_path, statement):
    """Another copy, with one thing changed."""
    path = tmp_path / "changed.sqlite"
    shutil.copy(store.path, path)
    with sqlite3.connect(path) as connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()
    return path


def point(mean, half_width=None, metric=PSNR, **metrics):
    return Point(config_hash="", coordinates={}, metrics={metric: (mean, half_width, 9)} | metrics, seed=0,
                 snr_convention="rx_per_antenna", snr_db=10.0)  # fmt: skip


@pytest.mark.slow
def test_page_and_store_agree(store, tmp_path):
    assert main(["--store", str(store.path), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "results.md").read_text() == (DOCS / "results.md").read_text(), "run experiments/results/page.py"
    made = sorted(path.name for path in (tmp_path / "results").iterdir())
    kept = sorted(path.name for path in STORE.parent.iterdir() if path.name != STORE.name)
    assert made == kept and {Path(name).suffix for name in made} == {".png", ".csv"}
    for name in made:
        written, shipped = ((folder / name).read_bytes() for folder in (tmp_path / "results", STORE.parent))
        # Letters and lines depend on the versions of what draws them; the data do not.
        assert written == shipped if name.endswith(".csv") else written[:4] == shipped[:4] == b"\x89PNG"
        assert f"results/{name}" in (DOCS / "results.md").read_text()


def test_every_interval_on_the_page_is_a_rows(store):
    known = {f"{round(value.mean, digits) + 0.0:.{digits}f} ± {value.half_width:.{digits}f}"
             for row in store.read() for value in row.metrics.values() if value.half_width is not None
             for digits in (2, 3)}  # fmt: skip
    shown = re.findall(r"-?\d+\.\d+ ± \d+\.\d+", (DOCS / "results.md").read_text())
    assert len(shown) > 200 and set(shown) <= known


@pytest.mark.parametrize("metric", [PSNR, f"{PREFIX}{PSNR}", "keep_rate_inside", "cbr", f"{PREFIX}psnr_db"])
def test_a_number_that_drifted_is_seen(store, tmp_path, metric):
    path = changed(store, tmp_path, f"UPDATE metric SET mean = mean + 0.02 WHERE name = '{metric}'")
    with ResultStore(path, create=False) as other:
        assert write_page(other)[0] != (DOCS / "results.md").read_text()


def test_object_first_is_better_at_every_snr_on_both_channels(store):
    gains = read(store, differences_name(SNR), scheme=GAIN)
    snrs = {channel: [row.snr_db for row in gains if row.coordinates["channel"] == channel] for channel in CHANNELS}
    assert snrs["awgn"] == snrs["rayleigh"] and len(snrs["awgn"]) >= 6
    for row in gains:
        for metric in (PSNR, SSIM):
            value = row.metrics[PREFIX + metric]
            assert value.mean - value.half_width > 0, (row.coordinates, metric)
    assert verdict(gains).count("at every SNR on both channels") == 2
    worse = dataclasses.replace(gains[0], metrics=gains[0].metrics | {PREFIX + PSNR: (0.1, 0.2, 8)})
    assert verdict([worse, *gains[1:]]).count("at every SNR on both channels") == 1


def test_the_comparisons_are_fair(store):
    """Equal channel uses, one convention, pictures and channels both a sample, as many as the page says."""
    for name in (SNR, MASK_PROB):
        points, sweep = read(store, name), find_sweep(store, name)
        assert len({row.ledger["channel_uses"] for row in points}) == 1
        assert {row.snr_convention for row in points} == {"rx_per_antenna"}
        assert sweep.config["random_pictures"] and sweep.config["pictures"]["1"]["groups"] == 200
    assert STORE.stat().st_size < 3e6


def test_all_codecs_and_files_are_of_one_size(store):
    digital = [row for name in codecs.DIGITAL for row in read(store, codecs.separation_name(name))]
    learned = [row for name in (codecs.ACCURACY, codecs.CSI) for row in read(store, name)]
    assert {row.ledger["channel_uses"] for row in (*learned, *digital)} == {codecs.NUM_SYMBOLS}
    assert [row.metrics["cbr"].mean for row in learned] == pytest.approx([1 / 3] * len(learned))


def test_the_digital_rows_name_their_decoder(store):
    named = {find_sweep(store, codecs.separation_name(name)).config["decoder"] for name in codecs.DIGITAL}
    assert named == {f"layered, up to {SeparationScheme.num_iter} iterations"}
    assert f"([coded bits](coding.md)): {named.pop()}." in (DOCS / "results.md").read_text()


def test_the_store_holds_what_the_page_shows_of_todays_draws_and_nothing_else(store):
    sweeps = {sweep.config["name"]: sweep for sweep in store.sweeps()}
    assert set(sweeps) - {differences_name(name) for name in MEASUREMENTS} == set(MEASUREMENTS)
    assert all(sweep.num_points for name, sweep in sweeps.items() if name in MEASUREMENTS)
    drawn = [sweep.config["draws_version"] for sweep in sweeps.values() if "pictures" in sweep.config]
    assert drawn == [_DRAWS_VERSION] * len(CODECS | MASKING)


def test_without_a_csi_error_robust_and_unbiased_are_one(store):
    for scheme in (codecs.TOKEN2, codecs.DEEPJSCC):
        name = codecs.minus_rule(scheme, "unbiased")
        of = [row.metrics[f"{PREFIX}psnr_db"] for row in read(store, differences_name(codecs.CSI), scheme=name)
              if row.coordinates["csi_error_var"] == 0]  # fmt: skip
        assert len(of) == len(codecs.CSI_SNR_DB) and all(abs(value.mean) < 1e-4 for value in of)


def test_what_was_not_measured_is_said(store, tmp_path):
    hashes = [find_sweep(store, name).config_hash for name in (MASK_PROB, SNR)]
    path = changed(store, tmp_path, f"DELETE FROM metric WHERE config_hash = '{hashes[0]}'")
    with sqlite3.connect(path) as connection:
        connection.execute(f"DELETE FROM point WHERE config_hash = '{hashes[0]}'")
    connection.close()
    with ResultStore(path, create=False) as other:
        page, _ = write_page(other)
    assert page.count("Not measured yet") == write_page(store)[0].count("Not measured yet") + 1
    assert f"## P_r\n\nNot measured yet: the store has no rows of `{MASK_PROB}`.\n" in page


def test_without_a_store_or_points_there_is_one_line(tmp_path, capsys):
    assert main(["--store", str(tmp_path / "none.sqlite"), "--out", str(tmp_path)]) == 2
    assert "there is no such result store" in capsys.readouterr().err
    ResultStore(tmp_path / "empty.sqlite").close()
    assert main(["--store", str(tmp_path / "empty.sqlite"), "--out", str(tmp_path)]) == 2
    assert "holds no points to show" in capsys.readouterr().err


def test_an_optimum_is_interior_where_both_ends_are_told_from_it():
    points = {0.1: point(20.0), 0.2: point(21.0), 0.5: point(19.0)}
    sure, unsure = ({0.2: point(1.0, half, f"{PREFIX}{PSNR}")} for half in (0.5, 1.5))
    assert optimum(points, (sure, sure), PSNR) == Optimum(0.2, True)
    assert optimum(points, (sure, unsure), PSNR) == Optimum(0.2, None)
    assert optimum({**points, 0.1: point(22.0)}, (sure, sure), PSNR) == Optimum(0.1, False)
    assert minus_end(OBJECT, 0.1) == "object first minus itself at P_r 0.1"


def test_savings_are_of_channel_uses():
    nothing, some = point(1.0, cbr=(0.08, None, 1)), point(1.0, cbr=(0.06, None, 1))
    assert saving(some, nothing) == pytest.approx(0.25)


def test_the_rules_of_masking_have_names_of_their_own():
    assert len({OBJECT, UNIFORM, SCALE_AWARE, DRAWN}) == 4
