"""The page about public codes says what its presets say, and its shifts are those of the curves."""

import dataclasses
from pathlib import Path

import pytest

from experiments.audit import page as audit_page
from experiments.audit.conventions import PUBLIC_CONVENTIONS
from experiments.audit.page import SHIFTED, SNR_DB, curves_of_zoo, shift_db, tables
from lvm_mtc import zoo
from lvm_mtc.report.pages import fill_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "audit.md").read_text()
WITT = {"awgn": {"WITT": (SNR_DB, (29.55, 32.6, 35.35, 37.75, 39.7))}}  # as published, AWGN, CBR 1/3
LINE = ((0.0, 10.0, 20.0), (20.0, 30.0, 35.0))


def rows_of(table, name):
    return [row.split(" | ") for row in table.splitlines() if row.startswith(f"| {name} |")]


def test_page_and_table_agree():
    assert fill_page(PAGE, tables(curves_of_zoo())) == PAGE, "run experiments/audit/page.py"


def test_a_changed_offset_or_curve_is_seen(monkeypatch):
    assert fill_page(PAGE, tables(WITT)) != PAGE
    code = PUBLIC_CONVENTIONS["padc"]
    awgn = dataclasses.replace(code.channels["awgn"], offset_db=-3.5)
    changed = dataclasses.replace(code, channels=code.channels | {"awgn": awgn})
    monkeypatch.setattr(audit_page, "PUBLIC_CONVENTIONS", PUBLIC_CONVENTIONS | {"padc": changed})
    assert fill_page(PAGE, tables(curves_of_zoo())) != PAGE


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
    (witt,) = rows_of(tables(WITT)["shifts"], "deepsc")
    assert witt[4:] == ["+3.06", "+2.76", "+2.41", "-", "- |"]
    assert witt[3] == "WITT"


def test_curves_go_to_the_channel_that_they_belong_to():
    found = tables({"rayleigh": {"own": LINE}})
    assert {row[1] for row in rows_of(found["shifts"], "sem_vit")} == {"Rayleigh"}
    assert not rows_of(found["shifts"], "deep_jscc_awgn")


def test_curves_are_the_zoos_scores():
    curves, cards = curves_of_zoo(), zoo.list_codecs()
    for channel in ("awgn", "rayleigh"):
        for name, (snr_db, psnr_db) in curves[channel].items():
            scores = cards[SHIFTED[name]].psnr_db[channel]
            assert snr_db == SNR_DB and psnr_db[2] == scores["7"] and list(psnr_db) == sorted(scores.values())
    assert {row[1] for row in rows_of(tables(curves)["shifts"], "semcom_pytorch")} == {"AWGN", "Rayleigh"}
