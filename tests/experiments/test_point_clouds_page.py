"""Tables and figure of the study of point clouds, of numbers made up here."""

from pathlib import Path

import numpy as np
import pytest

from experiments.point_clouds import measure, page
from experiments.stores import read_points
from lvm_mtc.report.clouds import project
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.programs import Arrived


def points(scheme, offset, prefix=""):
    """Two SNRs on two channels."""
    return [
        Point(
            config_hash="k", coordinates={"scheme": scheme, "channel": channel, "snr_db": snr_db}, seed=0,
            snr_convention="rx_per_antenna", snr_db=snr_db, realised_snr_db=None,
            metrics={prefix + name: Measured(offset + snr_db / 10, None if snr_db else 0.02, 9)
                     for name in ("d1_psnr_db", "chamfer", "hausdorff")},
            ledger={"channel_uses": 320.0, "side_information_bits": 16.0, "num_pictures": 9}, device="cpu", versions={},
        )
        for channel in ("awgn", "rayleigh") for snr_db in (0.0, 5.0)
    ]  # fmt: skip


EVERY = [p for i, name in enumerate((*page.SHOWN, *page.VARIANTS)) for p in points(name, 30 - i)]
GAPS = [p for i, name in enumerate(page.OTHERS) for p in points(f"learned minus {name}", i + 1.0, page.PREFIX)]


def test_tables_stand_side_by_side():
    assert (
        page.quality(EVERY).splitlines()[2]
        == "| AWGN | 0 | 30.00 ± 0.02 | 29.00 ± 0.02 | 28.00 ± 0.02 | 27.00 ± 0.02 |"
    )
    assert page.gaps(GAPS).splitlines()[5] == "| Rayleigh | 5 | 1.50 | 2.50 | 3.50 |"
    assert page.variants(EVERY).splitlines()[3] == "| AWGN | 5 | 30.50 | 26.50 | 25.50 | 24.50 |"
    assert len(page.costs(EVERY).splitlines()) == 2 + 7 and "| moments | 320 | 16 |" in page.costs(EVERY)


def test_the_figure_draws_them():
    rows = page.panels(EVERY, GAPS)
    assert [len(row) for row in rows] == [2] * 3 and rows[2][1].title == "Rayleigh"
    assert [curve.label for curve in rows[0][0].curves] == list(page.SHOWN)
    assert rows[2][0].curves[1].mean == pytest.approx([2.0, 2.5]) and len(page.rows(EVERY[0])) == 3


def test_the_best_mode_is_taken_and_differences_are_of_each_cloud():
    low, high = (Arrived({"d1_psnr_db": np.full((2, 3, 1), v), "chamfer": np.full((2, 3, 1), -v)}, 1.0, None, None, {})
                 for v in (3.0, 5.0))  # fmt: skip
    assert measure.best((low, high)) is high
    np.testing.assert_array_equal(measure.difference(high, low).metrics["difference_chamfer"], -2)


def test_the_store_says_what_the_page_says():
    docs = Path(__file__).resolve().parents[2] / "docs"
    with ResultStore(docs / "point_clouds" / "results.sqlite", create=False) as store:
        names = (page.differences_name(page.NAME), page.NAME, f"{page.NAME}, {page.BITS}")
        gaps, *every = (read_points(store, name, "point_clouds") for name in names)
        every = [*every[0], *every[1]]
    assert len(gaps) == 3 * 2 * 4
    for gap in gaps:
        value = gap.metrics["difference_d1_psnr_db"]
        assert value.mean > value.half_width or (gap.snr_db == 20 and gap.coordinates["channel"] == "awgn")
    assert {point.ledger["channel_uses"] for point in every} == {320}
    text = (docs / "point_clouds.md").read_text()
    assert page.quality(every) in text and "24 clouds of the test list" in text and "four channel realisations" in text
    counts = {(point.ledger["num_pictures"], point.metrics["d1_psnr_db"].count) for point in every}
    assert counts == {(24, 4)}


def test_clouds_are_turned_to_the_eye():
    turn = project(np.eye(3))
    np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1) and turn[2, 1] > 0.9 and turn[2, 0] == 0
