"""The stereo study's tables and words against its store, and what counts as reached."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.stereo import page
from experiments.stereo.measure import DECOUPLED, FULL, OTHER, SNR_DB
from experiments.stereo.places import CLEAN, NEAREST, PLACES
from experiments.stereo.thirds import LEFT
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


def test_the_page_says_in_words_what_other_places_are_worth(found):
    text = " ".join((DOCS / "stereo.md").read_text().split())
    at = {(row["scheme"], row["place"]): row["psnr_db"] for row in found.places}
    codec, other, clean, near = (
        {place: at.get((name, place)) for place in PLACES} for name in (FULL, DECOUPLED, CLEAN, NEAREST)
    )
    between = [codec[place] for place in PLACES if 0 <= place <= 1]
    assert f"the place hardly matters: {min(between):.2f} to {max(between):.2f} dB" in text
    for beyond, camera in ((-0.25, 0.0), (1.25, 1.0)):
        assert f"codec is {codec[camera] - codec[beyond]:.1f} dB below its view from that camera" in text
        assert f"and {codec[beyond] - near[beyond]:.1f} dB above the nearest view" in text
        assert abs(other[beyond] - near[beyond]) < 0.05
    assert (
        f"{clean[0.5]:.2f} dB half way between, {codec[0.5] - clean[0.5]:.2f} dB less than the codec at 10 dB" in text
    )
    assert f"which loses {clean[0.5] - other[0.5]:.2f} dB to symbols and noise" in text
    assert all(row["overflow"] == 0 for row in found.places)
    # Another realisation of the noise and the same scenes: within what other scenes would change.
    for name, values in ((FULL, codec), (DECOUPLED, other)):
        stored = page.value(found.synthetic, name, 10.0, "psnr_middle_db")
        assert abs(values[0.5] - stored.mean) < stored.half_width


def test_the_page_says_in_words_what_third_views_are_worth(found):
    text = " ".join((DOCS / "stereo.md").read_text().split())
    triples = [row["triple"] for row in found.geometry]
    at = {(row["scheme"], row["snr_db"], row["triple"]): row for row in found.thirds}
    of = lambda name, snr_db, key="psnr_middle_db": np.array([at[name, snr_db, t][key] for t in triples])  # noqa: E731
    codec = of(FULL, 10.0)
    assert f"{codec.mean():.2f} dB in the mean at 10 dB, from {codec.min():.2f} to {codec.max():.2f}" in text
    assert f"{(codec - of(LEFT, None)).mean():.1f} dB above the left view as it is" in text
    assert f"and {(codec - of(DECOUPLED, 10.0)).mean():.1f} dB above decoupled" in text
    assert all((of(FULL, snr_db) > of(DECOUPLED, snr_db)).all() for snr_db in SNR_DB)
    assert f"the middle one loses {(of(FULL, 10.0, 'psnr_db') - codec).mean():.1f} dB" in text
    largest = np.array([row["largest_disparity"] for row in found.geometry])
    worst = largest[np.argsort(codec)[:3]]
    assert f"largest disparities, {worst.min():.1f} to {worst.max():.1f} pixels at the nearest point" in text
    assert sorted(worst) == sorted(largest)[3:]
    assert all(row["rows_off"] + row["edge_off"] < 1 and row["rows_after"] <= 1 for row in found.geometry)
    assert max(max(row["rows_off"], row["edge_off"]) for row in found.geometry) < 0.5
    assert all(row["overflow"] == 0 for row in found.thirds) and len(found.thirds) == 6 * (2 * len(SNR_DB) + 3)


def test_the_page_says_in_words_what_bits_are_worth(found):
    text = " ".join((DOCS / "stereo.md").read_text().split())
    at = {row["snr_db"]: row for row in found.digital}
    codec, other = (
        {snr_db: page.value(found.synthetic, name, snr_db, "psnr_middle_db").mean for snr_db in SNR_DB}
        for name in (FULL, DECOUPLED)
    )
    less = {snr_db: codec[snr_db] - row["psnr_db_middle"] for snr_db, row in at.items()}
    assert at[0.0]["without"] == 1 and at[5.0]["without"] > 0.5 and at[10.0]["without"] == at[20.0]["without"] == 0
    assert f"at 10 dB bits are {less[10.0]:.2f} dB below the codec and at 20 dB {less[20.0]:.2f} dB" in text
    assert all(row["psnr_db_middle"] < other[snr_db] for snr_db, row in at.items())
    pictures = at[20.0]["psnr_db_pictures"]
    assert f"{pictures:.2f} dB at 20 dB: {pictures - at[20.0]['psnr_db_middle']:.2f} dB of that are lost" in text
    assert all(row["overflow"] == 0 for row in at.values())


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
