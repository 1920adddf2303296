"""The page about multimodal tokens shows what its file of results says, and that says what the page claims."""

import copy
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.optimize import minimize

from experiments.multimodal import budgets, measure, realise
from experiments.multimodal.page import CONTROLS, CONTROLS_AT, tables
from lvm_mtc.data import presence
from lvm_mtc.link import LinkConfig
from lvm_mtc.phy.coding import code_blocks
from lvm_mtc.report.pages import fill_page
from lvm_mtc.schemes.multimodal.scheme import Multimodal, MultimodalConfig

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = json.loads((DOCS / "multimodal" / "results.json").read_text())
PAGE = (DOCS / "multimodal.md").read_text()


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE, "run python -m experiments.multimodal.measure --page-only"
    drifted = copy.deepcopy(RESULTS)
    drifted["losses"][3]["loss"][0] = 7.0
    assert fill_page(PAGE, tables(drifted)) != PAGE


def test_both_modalities_are_needed_and_do():
    at = {row["run"]: row["accuracy"] for row in RESULTS["links"]
          if (row["fading"], row["snr_db"], row["log2_window"]) == CONTROLS_AT}  # fmt: skip
    assert at["two_stage"][0] >= 0.75 and at["two_stage"][0] - at["two_stage"][1] > 0.7
    assert all(abs(at[run][0] - 0.5) <= 0.03 for run in CONTROLS)
    assert RESULTS["questions"] == 1000 and RESULTS["pictures"] == 200


def test_lengths_hardly_matter_to_bits_without_errors():
    for task in measure.TASKS:
        losses = [row["loss"] for row in RESULTS["losses"] if row["task"] == task]
        assert len(losses) == 5
        assert max(mean for mean, _ in losses) - min(mean for mean, _ in losses) < min(half for _, half in losses)
    for weight in measure.WEIGHTS:
        own = [row for row in RESULTS["allocations"] if row["weight"] == weight]
        assert -0.01 < np.mean([row["allocated"]["objective"] / row["equal"]["objective"] - 1 for row in own]) < 0
    at = {tuple(row[name] for name in ("run", "fading", "snr_db", "log2_window")): row for row in RESULTS["links"]}
    for fading in measure.LINKS:
        for snr_db in (0, 5):
            long, short = (at["two_stage", fading, snr_db, window]["accuracy"][0] for window in (0, 4))
            assert long - short > 0.02
    network, linear = at["two_stage", *CONTROLS_AT]["accuracy"], RESULTS["least_squares"]
    assert abs(network[0] - linear[0]) < linear[1]


def test_allocations_are_never_above_equal_shares():
    rows = RESULTS["allocations"]
    assert RESULTS["users"] == 6 and {row["weight"] for row in rows} == set(measure.WEIGHTS)
    for weight in measure.WEIGHTS:
        own = [row for row in rows if row["weight"] == weight]
        assert len(own) == 50 and all(row["monotone"] for row in own)
        assert all(row["allocated"]["objective"] <= row["equal"]["objective"] * (1 + 1e-9) for row in own)
    again = measure.allocation(measure.uplink_of(RESULTS["losses"], RESULTS["token_bits"], 6, 3, 0.1))
    (stored,) = [row for row in rows if row["weight"] == 0.1][3:4]
    assert again["allocated"]["objective"] == pytest.approx(stored["allocated"]["objective"], rel=1e-5)


def test_no_rule_is_better_at_any_budget_or_weight():
    rows = RESULTS["budgets"]
    assert [(row["axis"], row["value"]) for row in rows] == [
        *(("bandwidth", value) for value in budgets.FACTORS), *(("power", value) for value in budgets.FACTORS),
        *(("weight", value) for value in budgets.WEIGHTS),
    ]  # fmt: skip
    above = {name: max(row["objective"][name] / row["objective"]["optimised"] - 1 for row in rows)
             for name in rows[0]["objective"]}  # fmt: skip
    assert max(row["worst"] for row in rows) < 1e-9
    said = ("longest, best shares", 57), ("equal shares, common length", 2), ("equal shares, own lengths", 0.6)
    for name, percent in said:
        assert 100 * above[name] == pytest.approx(percent, rel=0.1)
    for axis in ("bandwidth", "power"):  # more of either never harms
        own = [row["objective"]["optimised"] for row in rows if row["axis"] == axis]
        assert (np.diff(own) < 0).all()
    again = measure.uplink_of(RESULTS["losses"], RESULTS["token_bits"], 6, 0, 0.1)
    found = budgets.rules(again)
    assert min(found.values()) == pytest.approx(found["optimised"], rel=1e-9)


@pytest.mark.parametrize("what", ["bandwidth", "power"])
def test_one_resource_is_shared_as_a_general_solver_does(what):
    uplink, choice = (
        measure.uplink_of(RESULTS["losses"], RESULTS["token_bits"], 6, 1, 0.1),
        np.array([2, 3, 0, 1, 2, 4]),
    )
    band, power = budgets.one_share(uplink, choice, what)

    def latency(z):
        part = np.exp(z) / np.exp(z).sum()
        shares = (part * uplink.bandwidth, power) if what == "bandwidth" else (band, part * uplink.power)
        return 1e3 * uplink.latencies(*shares, choice).sum()

    found = minimize(latency, np.zeros(6), tol=1e-10).fun
    assert 1e3 * uplink.latencies(band, power, choice).sum() == pytest.approx(found, rel=1e-8)
    assert 1e3 * uplink.latencies(*uplink.share(choice), choice).sum() < found < latency(np.zeros(6))


def test_codes_are_slower_than_shannon_and_bring_the_answers():
    rows = RESULTS["realised"]
    assert len(rows) == 6 and {row["tokens"] for row in rows} <= set(measure.lengths())
    for row in rows:
        assert row["uses"] > row["uses_by_shannon"]
        least = row["tokens"] * RESULTS["token_bits"] / np.log2(1 + 10 ** (row["snr_db"] / 10))
        assert row["uses_by_shannon"] == pytest.approx(least, rel=1e-4)
        mean, half = row["under_error_free"]
        assert row["delivered"] == 1 and mean == half == 0
    ratios = [row["uses"] / row["uses_by_shannon"] for row in rows]
    found = re.search(r"costs (\d+) to (\d+) % over Shannon", PAGE).groups()
    assert found == tuple(f"{100 * (ratio - 1):.0f}" for ratio in (min(ratios), max(ratios)))


@pytest.mark.slow
def test_every_word_arrives_as_error_free_bits_or_not_at_all(monkeypatch):
    """Above any threshold the code changes no answer; below, the receiver has no token and says the same always."""
    monkeypatch.setattr(realise, "SLOTS", 256)
    monkeypatch.setattr(realise, "WORDS", 10)
    rng = np.random.default_rng(0)
    present, numbers = rng.random((12, 20)) < 0.15, {}
    asked, described = (presence.words_of(of, numbers) for of in
                        ([presence.question_of(name) for name in presence.NAMES], ["a picture"] * 12))  # fmt: skip
    packed = presence.PackedPresence(np.float16(rng.normal(size=(12, 6, 4))), present,
                                     np.float32(rng.normal(size=(len(numbers), 5))), asked, described,
                                     presence.crossed_questions(present, 3))  # fmt: skip
    scheme = Multimodal(MultimodalConfig(rows=2, columns=3, place_width=4, word_width=5, width=8, depth=1))
    trained = scheme, scheme.init(jax.random.key(0))
    link = LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)
    for snr_db, arrives in ((20.0, 1.0), (-30.0, 0.0)):
        row = realise.realised(link, trained, packed, np.arange(12), 1, snr_db, jax.random.key(1))
        assert row["delivered"] == arrives and row["questions"] == 12
        assert row["transmissions"] == (1 if arrives else 4)
        assert row["uses_by_shannon"] == pytest.approx(7 * 64 / np.log2(1 + 10 ** (snr_db / 10)))
        if arrives:
            assert row["under_error_free"] == [0, 0] and row["uses"] > row["uses_by_shannon"]
        else:
            assert row["accuracy"][0] == 0.5


@pytest.mark.parametrize(("bits", "rate"), [(2, 1 / 5), (4, 1 / 2), (6, 5 / 6)])
def test_words_are_as_short_as_they_can_be(bits, rate):
    for payload in (512, 12_345):
        pair = realise.word_for(payload, bits, rate)
        num_symbols = pair.blocks.num_coded_bits // bits
        assert pair.blocks.payload_bits >= payload > code_blocks(num_symbols - 1, bits, rate).payload_bits
