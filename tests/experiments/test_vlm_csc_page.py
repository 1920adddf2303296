"""The study of pictures as captions: its tables of numbers made up here, and the class sent alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.stores import read_points
from experiments.vlm_csc import page
from experiments.vlm_csc.class_index import ClassIndex
from experiments.vlm_csc.paint import FINER, GUIDANCES, HELD_OUT, TEST, paint_each
from lvm_mtc.data.captions import Vocabulary, split_words
from lvm_mtc.data.colours import COLOURS
from lvm_mtc.data.grammar import CLASS_WORDS
from lvm_mtc.results.bootstrap import two_way_interval
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.training.memory import RULES

DOCS = Path(__file__).resolve().parents[2] / "docs"
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
    level, noise = np.array([-0.4, 0.4, 0.5, 0.5, 0.5]), np.random.default_rng(0).normal(size=(4, 100)) * 0.4
    units = {(page.LEARNED, metric): np.full((5, 4, 100), 0.5) for metric in page.GENERATORS}
    units |= {
        (page.SAME, "accuracy"): 0.5 - level[:, None, None] - noise,
        (page.LARGE, "accuracy"): np.ones((5, 4, 100)),
    }
    lines = [line.split(" | ")[2:] for line in page.crossed(units).splitlines()[2:]]
    assert lines[2:] == [["nowhere", " |"]] * 2 and lines[0] == lines[1]
    # Halfway from -6 to -2 dB, where the difference rises by 0.2 a dB: its half width there over that slope.
    half, x = two_way_interval(noise).half_width / 0.2, -4 - noise.mean() / 0.2
    ends = [float(end) for end in lines[0][1].removesuffix(" dB |").split(" to ")]
    assert lines[0][0] == f"from about {x:.1f} dB on" and ends == pytest.approx([x - half, x + half], abs=0.1)
    assert page.ahead(np.array([0.2, 0.1, -0.3]), [0, 2, 4]) == "up to about 2.5 dB"
    assert page.ahead(np.array([0.2, 0.1]), [0, 2]) == "everywhere"
    assert page.ahead(np.array([-0.1, 0.3, 0.2]), [0, 4, 8]) == "from about 1.0 dB on"
    assert page.ahead(np.array([0.1, -0.3, 0.2]), [0, 4, 8]) == "at 0, 8 dB"
    assert len(page.rows(curves)) == len(page.CURVES) * len(page.SNR_DB)


def test_rules_of_the_memory_are_compared_seed_by_seed():
    def row(rule, seed, end):
        bleu = [[0.9, 0.5], [end, 0.8]]
        return {
            "rule": rule,
            "seed": seed,
            "channel": "awgn",
            "kept": 5,
            "bleu1": bleu,
            "bleu2": (np.array(bleu) * 0.4).tolist(),
        }

    rows = [row(*of) for of in (("none", 2, 0.7), ("none", 1, 0.6), ("coverage", 1, 0.7), ("coverage", 2, 0.9))]
    results = {"kinds": ["a", "b"], "rows": rows}
    # Two seeds: Student's factor is 12.706, of half the difference of the two.
    assert page.continual(results).splitlines()[2:] == [
        "| AWGN | coverage | 5 | 0.900, 0.800 | 0.800, 0.800 | 0.800 ± 0.635 | 0.320 ± 0.254 |",
        "| AWGN | none | 5 | 0.900, 0.650 | 0.800, 0.800 | 0.725 ± 0.318 | 0.290 ± 0.127 |",
    ]
    assert page.continual_differences(results).splitlines()[2:] == [
        "| AWGN | coverage | 0.100 ± 1.271 |  |  |",
        "| AWGN | none | 0.250 ± 0.635 | -0.075 ± 0.318 | -0.030 ± 0.127 |",
    ]


def test_all_six_rules_at_equal_capacity():
    results = json.loads((DOCS / "vlm_csc" / "continual.json").read_text())
    assert results["ltm_capacity"] == 500 and len(results["kinds"]) == 3
    kept = {(row["channel"], row["rule"], row["kept"]) for row in results["rows"]}
    size = {"none": 0, "literal": 4500, "joint": 4500}
    assert kept == {(channel, rule, size.get(rule, 500)) for channel in ("awgn", "rayleigh") for rule in RULES}
    scores = page.by_rule(results, "bleu1")
    lost = {of: (bleu[:, 0, 0] - bleu[:, -1, 0]).mean() for of, bleu in scores.items()}
    assert {len(bleu) for bleu in scores.values()} == {3}
    for channel in ("awgn", "rayleigh"):
        assert lost[channel, "none"] >= 0.10 and lost[channel, "coverage"] <= 0.04
        # The page says that these are the same, and that lots are drawn as well as chosen.
        np.testing.assert_array_equal(scores[channel, "literal"], scores[channel, "joint"])
        assert scores[channel, "coverage"][:, -1].mean() <= scores[channel, "reservoir"][:, -1].mean() + 0.001
    text = (DOCS / "vlm_csc.md").read_text()
    assert page.continual(results) in text and page.continual_differences(results) in text


def test_equal_captions_are_painted_of_unequal_noise():
    def generator(texts, seed):
        return np.array([[float(text), seed] for text in texts])

    assert paint_each(generator, ["3", "1", "3", "2", "3", "1"]).tolist() == [
        [3, 0], [1, 0], [3, 1], [2, 0], [3, 2], [1, 1],
    ]  # fmt: skip


def test_the_judge_names_more_than_three_fifths_of_1000_painted_captions_right():
    with ResultStore(DOCS / "vlm_csc" / "results.sqlite", create=False) as store:
        points = {name: read_points(store, name, "vlm_csc") for name in (HELD_OUT, TEST)}
    held_out, test = ({p.coordinates["scheme"]: p.metrics["accuracy"] for p in of} for of in points.values())
    assert len(held_out) == len(GUIDANCES) + len(FINER) and max(GUIDANCES) <= 5
    shipped, chosen = test["guidance 5"], max(held_out, key=lambda name: held_out[name].mean)
    assert chosen == "guidance 5, 16 steps" and shipped.count == test[chosen].count == 1000
    assert shipped.mean - shipped.half_width > 0.60 and round(shipped.mean, 2) == 0.69
    # The page says that twice the steps only seem to help.
    assert abs(test[chosen].mean - shipped.mean) < 0.005 < held_out[chosen].mean - held_out["guidance 5"].mean
    assert page.painted(points) in (DOCS / "vlm_csc.md").read_text()
    assert len(page.SHEET_COLOURS) == len(set(page.SHEET_COLOURS)) == 12


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
