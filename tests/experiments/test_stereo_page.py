"""The stereo study's tables and words against its store, and what counts as reached."""

import json
from pathlib import Path

import pytest

from experiments.stereo import page
from experiments.stereo.measure import DECOUPLED, FULL, OTHER
from lvm_mtc.report.pages import fill_page
from lvm_mtc.results.points import Measured, Point

KNOWN = [{"view": "the left view", "psnr_middle_db": 15.0, "half_width": 0.5, "overflow": 0}]

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def found():
    """What was measured."""
    return page.read(DOCS / "stereo" / "results.sqlite", DOCS / "stereo")


def test_the_page_has_the_numbers_of_its_store_and_bounds(found):
    text = (DOCS / "stereo.md").read_text()
    assert fill_page(text, page.tables(found, DOCS.parent / page.SPEED)) == text
    moved = [row | {"psnr_middle_db": row["psnr_middle_db"] + 0.01} for row in found.known]
    assert fill_page(text, page.tables(found._replace(known=moved), DOCS.parent / page.SPEED)) != text


def test_what_the_page_says_of_its_targets_holds(found):
    lines = page.targets(found.synthetic, [*found.gaps, *found.fusion_gaps], found.known).splitlines()[2:]
    reached = {line.split(" | ")[0].removeprefix("| "): line.endswith("| reached |") for line in lines}
    assert len(reached) == 8 and all(reached.values()) and "disparity fusion over none at 5 dB, dB" in reached
    # Every interval is of fifty scenes and four realisations.
    for snr_db in (0.0, 5.0, 10.0):
        gap = page.value(found.gaps, f"{FULL} minus {DECOUPLED}", snr_db, "difference_psnr_middle_db")
        assert gap.mean - gap.half_width > 0 and gap.count == 4
    assert {point.ledger["num_pictures"] for point in found.synthetic} == {50}
    assert {point.ledger["num_pictures"] for point in found.real} == {8}


def test_the_page_says_in_words_what_was_measured(found):
    text = " ".join((DOCS / "stereo.md").read_text().split())
    known = {row["view"]: row["psnr_middle_db"] for row in found.known}
    coarse, fine = (known[f"true pictures and disparity, density {density}"] for density in (2, 1))
    assert f"{coarse:.1f} dB with one Gaussian for 2 x 2 pixels and {fine:.1f} dB with one for each" in text
    last = found.learning[-1]
    gains = [row["psnr_db_fused"] - row["psnr_db_alone"] for row in found.learning]
    assert last["step"] == 1500
    assert f"the longer both learn: {gains[-1]:.2f} dB at step {last['step']:g}" in text
    assert 0 < gains[0] < gains[len(gains) // 2] < gains[-1]
    assert all(row["epe_fused"] < row["epe_alone"] for row in found.learning[3:])


def test_speed_is_of_one_core():
    speed = json.loads((DOCS.parent / page.SPEED).read_text())
    rows = page.of_speed(speed).splitlines()[2:]
    assert len(rows) == 4 and rows[0].startswith("| encode, pairs a second | ")
    low, high = speed["step_ms"]["quartiles"]
    assert low <= speed["step_ms"]["median"] <= high
    # As was wanted: half a second a step, 30 ms a view of 2,048 Gaussians.
    assert high <= 500 and speed["view"]["quartiles"][0] >= 1 / 0.030


def point(scheme, snr_db, metric, value, half_width=0.1):
    metrics = {metric: Measured(value, half_width, 4), "overflow": Measured(0.0, None, 4)}
    return Point(
        config_hash="k", coordinates={"scheme": scheme, "channel": "awgn", "snr_db": snr_db}, seed=0,
        snr_convention="rx_per_antenna", snr_db=snr_db, realised_snr_db=None, metrics=metrics,
        ledger={"channel_uses": 768.0, "side_information_bits": 192.0}, device="cpu", versions={},
    )  # fmt: skip


def study(half_width, *others):
    snrs = (0.0, 5.0, 10.0)
    points = [
        point(name, snr, "psnr_middle_db", 20.2 - number) for snr in snrs for number, name in enumerate((FULL, *others))
    ]
    gaps = [
        point(f"{FULL} minus {name}", snr, "difference_psnr_middle_db", 0.3, half_width)
        for snr in snrs
        for name in others
    ]
    return points, gaps


@pytest.mark.parametrize(("half_width", "told"), [(0.2, "reached"), (0.4, "missed"), (None, "missed")])
def test_a_difference_counts_where_its_whole_interval_is_above_zero(half_width, told):
    rows = page.targets(*study(half_width, DECOUPLED, OTHER), KNOWN).splitlines()[2:]
    assert len(rows) == 2 + 2 + 3 + 1
    assert all(row.endswith(f"| {told} |") for row in rows if "| above 0 |" in row)


def test_what_is_missed_or_not_measured_is_printed():
    rows = page.targets(*study(0.2, DECOUPLED), KNOWN).splitlines()[2:]
    assert rows[0] == "| middle view at 10 dB, dB | 20 | 20.20 | reached |"
    assert rows[1] == "| over the left view as it is, dB | 5 | 5.20 | reached |"
    assert "| disparity fusion over none, dB | above 0 | not measured | missed |" in rows
    rows = page.targets(*study(0.2, DECOUPLED), [KNOWN[0] | {"psnr_middle_db": 16.0}]).splitlines()[2:]
    assert rows[1].endswith("| missed |")


def test_tables_have_a_line_an_snr_and_the_codec_first():
    points, _ = study(0.2, DECOUPLED)
    assert page.side_by_side(points, "psnr_middle_db").splitlines() == [
        f"| SNR, dB | {FULL} | {DECOUPLED} |",
        "| --- | --- | --- |",
        *(f"| {snr} | 20.20 ± 0.10 | 19.20 ± 0.10 |" for snr in (0, 5, 10)),
    ]
    assert page.costs(points).splitlines()[2] == f"| {FULL} | 768 | 192 |"
