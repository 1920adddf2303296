"""The page about public codes says what its presets say, and its shifts are those of the curves."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from experiments.audit import page as audit_page
from experiments.audit.conventions import PUBLIC_CONVENTIONS
from experiments.audit.page import SNR_DB, SWEEP, curves_of_store, page_tables, shift_db, tables
from lvm_mtc.report.pages import fill_page
from lvm_mtc.results.points import Point, StoreError
from lvm_mtc.results.store import ResultStore

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "audit.md").read_text()
WITT = {"awgn": {"WITT": (SNR_DB, (29.55, 32.6, 35.35, 37.75, 39.7))}}  # as published, AWGN, CBR 1/3
LINE = ((0.0, 10.0, 20.0), (20.0, 30.0, 35.0))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A copy: reading a store must leave the shipped file alone."""
    return shutil.copy(DOCS / "results" / "results.sqlite", tmp_path_factory.mktemp("store") / "results.sqlite")


def rows_of(table, name):
    return [row.split(" | ") for row in table.splitlines() if row.startswith(f"| {name} |")]


def test_page_and_table_agree(store):
    assert fill_page(PAGE, page_tables(store)) == PAGE, "run experiments/audit/page.py"


def test_a_changed_offset_or_curve_is_seen(store, monkeypatch):
    assert fill_page(PAGE, tables(WITT, "elsewhere")) != PAGE
    code = PUBLIC_CONVENTIONS["padc"]
    awgn = dataclasses.replace(code.channels["awgn"], offset_db=-3.5)
    changed = dataclasses.replace(code, channels=code.channels | {"awgn": awgn})
    monkeypatch.setattr(audit_page, "PUBLIC_CONVENTIONS", PUBLIC_CONVENTIONS | {"padc": changed})
    assert fill_page(PAGE, page_tables(store)) != PAGE


@pytest.mark.parametrize(
    ("offset_db", "snr_db", "shift"), [(3.0, 1.0, 3.0), (-4.0, 12.0, -3.0), (2.0, 9.0, 1.5), (10.0, 10.0, 5.0)]
)
def test_shift_on_straight_lines(offset_db, snr_db, shift):
    assert shift_db(LINE, offset_db, snr_db) == pytest.approx(shift)


@pytest.mark.parametrize(("offset_db", "snr_db"), [(-1.5, 1.0), (10.5, 10.0), (-5.0, 21.0), (5.0, -1.0)])
def test_nothing_is_extrapolated(offset_db, snr_db):
    assert shift_db(LINE, offset_db, snr_db) is None


def test_published_shift_by_hand():
    """WITT at 4 dB: 32.6 + 3 dB x (35.35 - 32.6) / 3 + 0.0103 dB x (37.75 - 35.35) / 3 - 32.6 = 2.76."""
    (witt,) = rows_of(tables(WITT, "")["shifts"], "deepsc")
    assert witt[4:] == ["+3.06", "+2.76", "+2.41", "-", "- |"]
    assert witt[3] == "WITT"


def test_curves_go_to_the_channel_that_they_belong_to():
    found = tables({"rayleigh": {"own": LINE}}, "here")
    assert found["curves"] == "here"
    assert {row[1] for row in rows_of(found["shifts"], "sem_vit")} == {"Rayleigh"}
    assert not rows_of(found["shifts"], "deep_jscc_awgn")


def test_curves_of_a_store(tmp_path):
    path = tmp_path / "store.sqlite"
    with ResultStore(path) as store:
        for name, convention, lift in ((SWEEP, "rx_per_antenna", 0.0), ("other", "esno", 9.0)):
            key = store.register({"name": name})
            store.add(
                Point(config_hash=key, coordinates={"scheme": "own", "channel": channel, "snr_db": snr_db}, seed=0,
                      metrics={"psnr_db": (20 + snr_db + lift, 0.1, 9)}, snr_convention=convention, snr_db=snr_db)
                for channel in ("awgn", "rayleigh") for snr_db in (13.0, 1.0, 7.0)
            )  # fmt: skip
    curves = curves_of_store(path)
    assert curves == {name: {"own": ((1.0, 7.0, 13.0), (21.0, 27.0, 33.0))} for name in ("awgn", "rayleigh")}
    assert {row[1] for row in rows_of(tables(curves, "")["shifts"], "semcom_pytorch")} == {"AWGN", "Rayleigh"}
    with pytest.raises(StoreError, match="psnr_db.*'nothing'"):
        curves_of_store(path, "nothing")
    with pytest.raises(StoreError, match="there is no such"):
        curves_of_store(tmp_path / "absent.sqlite")
