"""The text study's table, figure and differences, of numbers made up here."""

from pathlib import Path

import numpy as np
import pytest

from experiments.stores import read_points
from experiments.text import page
from experiments.text.measure import VALIDATION, VALIDATION_SNR_DB, difference
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.programs import Arrived

DOCS = Path(__file__).resolve().parents[2] / "docs"


def points(scheme, offset, prefix="", names=page.DRAWN):
    """Two SNRs on two channels; the metrics differ by tenths."""
    return [
        Point(
            config_hash="k", coordinates={"scheme": scheme, "channel": channel, "snr_db": snr_db}, seed=0,
            snr_convention="rx_per_antenna", snr_db=snr_db, realised_snr_db=None,
            metrics={prefix + name: Measured(offset + i / 10 + snr_db / 100, None if snr_db else 0.02, 9)
                     for i, name in enumerate(names)},
            ledger={"channel_uses": 80.25, "side_information_bits": 4.0, "num_pictures": 9}, device="cpu", versions={},
        )
        for channel in ("awgn", "rayleigh") for snr_db in (0.0, 6.0)
    ]  # fmt: skip


@pytest.fixture
def study():
    return points("learned", 0.5), points("bits", 0.3), points("both", -0.125, page.PREFIX, ("bleu1",))


def test_the_table_has_both_schemes_and_their_paired_difference(study):
    head, _, *rows = page.comparison(*study).splitlines()
    assert head.count("learned") == head.count("bits") == 3
    assert rows[0] == (
        "| AWGN | 0 | 0.500 ± 0.020 | 0.300 ± 0.020 | 0.600 ± 0.020 | 0.400 ± 0.020 | 0.700 ± 0.020 | 0.500 ± 0.020 | "
        "-0.125 ± 0.020 |"
    )
    assert [row.split(" | ")[0] for row in rows] == ["| AWGN"] * 2 + ["| Rayleigh"] * 2
    assert rows[3].endswith("| -0.065 |")
    assert page.costs(*study[:2]).splitlines()[2:] == ["| learned | 80.2 | 4 | 9 |", "| bits | 80.2 | 4 | 9 |"]


def test_the_figure_draws_them(study):
    rows = page.panels(*study)
    assert [len(row) for row in rows] == [2] * 4 and rows[0][1].title == "Rayleigh"
    learned, bits = rows[2][0].curves
    assert (learned.label, bits.label) == ("learned", "bits") and learned.mean == pytest.approx([0.7, 0.76])
    assert rows[3][1].curves[0].mean == pytest.approx([-0.125, -0.065])
    assert len(page.rows(study[0])) == 4 * 3 and len(page.rows(study[2])) == 4


def test_2000_validation_captions_arrive():
    with ResultStore(DOCS / "text" / "results.sqlite", create=False) as store:
        points = read_points(store, VALIDATION, "text")
    least = {("awgn", 6.0): 0.90, ("awgn", 10.0): 0.95, ("rayleigh", 10.0): 0.80}
    found = {(point.coordinates["channel"], point.snr_db): point for point in points}
    assert least.keys() < found.keys() and len(found) == 2 * len(VALIDATION_SNR_DB)
    for at, bound in least.items():
        bleu = found[at].metrics["bleu1"]
        assert found[at].ledger["num_pictures"] == 2000 and bleu.mean - bleu.half_width > bound, at
    written = page.validation(points)
    assert written in (DOCS / "text.md").read_text() and written.count("| 2000 |") == len(found)


def test_a_difference_is_of_each_sentence_and_unit():
    first, second = (
        Arrived({"bleu1": np.random.default_rng(seed).random((2, 3, 1))}, 1.0, None, None, {}) for seed in (0, 1)
    )
    found = difference(first, second).metrics
    np.testing.assert_array_equal(found["difference_bleu1"], first.metrics["bleu1"] - second.metrics["bleu1"])
    assert list(found) == ["difference_bleu1"]
