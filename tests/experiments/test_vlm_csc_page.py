"""The study of pictures as captions: its tables of numbers made up here, and the class sent alone."""

import numpy as np
import pytest

from experiments.vlm_csc import page
from experiments.vlm_csc.class_index import ClassIndex
from lvm_mtc.data.captions import Vocabulary, split_words
from lvm_mtc.data.colours import COLOURS
from lvm_mtc.data.grammar import CLASS_WORDS
from lvm_mtc.results.points import Measured, Point

VOCABULARY = Vocabulary(("a", "on", "background", *CLASS_WORDS, *COLOURS))


def points(offset, half=0.016):
    metrics = ("accuracy", "accuracy_flow", "accuracy_retrieval", "accuracy_named")
    return [
        Point(
            config_hash="k", coordinates={"scheme": "s", "channel": "awgn", "snr_db": snr_db}, seed=0,
            snr_convention="rx_per_antenna", snr_db=snr_db, realised_snr_db=None,
            metrics={name: Measured(offset, half, 4) for name in metrics},
            ledger={"channel_uses": 56.0, "side_information_bits": 4.0, "num_pictures": 9}, device="cpu", versions={},
        )
        for snr_db in page.SNR_DB
    ]  # fmt: skip


def test_tables_have_ratios_floor_costs_and_crossings():
    curves = {label: (points(0.4), metric) for label, (_, metric) in page.CURVES.items()}
    lines = page.quality(curves, 0.8).splitlines()
    assert lines[2].startswith("| oracle, painted | 0.50 ± 0.02 |") and len(lines) == 2 + len(page.CURVES) + 1
    assert lines[-1].startswith("| chance | 0.12 |") or lines[-1].startswith("| chance | 0.13 |")
    drawn = page.panel(curves, 0.8)
    assert drawn.curves[0].mean == pytest.approx([0.5] * len(page.SNR_DB))
    assert drawn.curves[-1].mean == pytest.approx([0.125] * 2)
    found = {page.CLEAN: points(0.8)} | {name: points(0.4) for name, _ in page.CURVES.values()}
    assert page.costs(found).splitlines()[2] == f"| {page.ORACLE} | 56.0 | 4 |"
    assert page.ceiling(found).splitlines()[2] == "| test pictures, JPEG copies | 0.800 ± 0.016 |"
    crossed = page.crossed(found | {page.LARGE: points(0.2)})
    assert [line.split(" | ")[-1] for line in crossed.splitlines()[2:]] == ["nowhere |"] * 2 + ["everywhere |"] * 2
    assert page.ahead(np.array([0.2, 0.1, -0.3]), [0, 2, 4]) == "up to about 2.5 dB"
    assert page.ahead(np.array([0.2, 0.1]), [0, 2]) == "everywhere"
    assert page.ahead(np.array([-0.1, 0.3, 0.2]), [0, 4, 8]) == "from about 1.0 dB on"
    assert page.ahead(np.array([0.1, -0.3, 0.2]), [0, 4, 8]) == "at 0, 8 dB"
    results = {"kinds": ["a", "b"], "rows": [{"rule": "none", "kept": 0, "bleu1": [[0.9, 0.5], [0.7, 0.8]]}]}
    assert page.continual(results).splitlines()[2] == "| none | 0 | 0.900, 0.700 | 0.800, 0.800 | 0.750 |"
    assert len(page.rows(curves)) == len(page.CURVES) * len(page.SNR_DB)


def test_ten_classes_are_orthogonal_and_come_back_through_noise():
    sender = ClassIndex(VOCABULARY)
    texts = [f"a red {word} on a green background" for word in CLASS_WORDS]
    words, kept = VOCABULARY.encode(list(map(split_words, texts)), 16)
    assert kept.all()
    coded = sender.encode(words)
    assert coded.bits.shape == (10, 16, 16) and not coded.bits[:, 7:].any()
    signs = 2.0 * coded.bits[:, :7].reshape(10, -1) - 1
    np.testing.assert_array_equal(signs @ signs.T, 112 * np.eye(10))
    rng = np.random.default_rng(0)
    llr = np.zeros((10, 16, 16))
    llr[:, :7] = 0.5 * signs.reshape(10, 7, 16) + rng.normal(size=(10, 7, 16))
    found = VOCABULARY.decode(sender.decode(llr, coded._replace(bits=None)))
    assert found == list(CLASS_WORDS)
    assert sender.side_bits(16) == 4 and sender.sent(words).sum() == 70
