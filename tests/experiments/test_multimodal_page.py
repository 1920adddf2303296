"""The page about multimodal tokens shows what its file of results says, and that says what the page claims."""

import copy
import json
from pathlib import Path

import numpy as np
from scipy.optimize import isotonic_regression

from experiments.multimodal import measure
from experiments.multimodal.page import CONTROLS_AT, tables
from lvm_mtc.report.pages import fill_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = json.loads((DOCS / "multimodal" / "results.json").read_text())
PAGE = (DOCS / "multimodal.md").read_text()


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE, "run python -m experiments.multimodal.measure --page-only"
    drifted = copy.deepcopy(RESULTS)
    drifted["losses"][3]["loss"][0] = 7.0
    assert fill_page(PAGE, tables(drifted)) != PAGE


def test_both_modalities_are_needed_and_do():
    at = {row["run"]: row["accuracy"][0] for row in RESULTS["links"]
          if (row["fading"], row["snr_db"], row["log2_window"]) == CONTROLS_AT}  # fmt: skip
    assert at["two_stage"] >= 0.75
    assert abs(at["picture"] - 0.5) < 0.03 and abs(at["question"] - 0.5) < 0.03


def test_allocations_are_never_worse_and_codes_are_slower_than_shannon():
    for row in RESULTS["allocations"]:
        assert row["monotone"] and row["allocated"]["objective"] <= row["equal"]["objective"] * (1 + 1e-6)
    assert all(row["ratio"] > 1 for row in RESULTS["realised"] if row["ratio"] is not None)
    assert {row["length"] for row in RESULTS["losses"]} == set(measure.lengths())
    uplink = measure.uplink_of(RESULTS["losses"], 0, 0.1)
    assert np.all(np.diff(uplink.validation_loss, axis=1) <= 0)


def test_falling_is_isotonic_regression():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.normal(size=7) - np.arange(7) * 0.2
        expected = isotonic_regression(values, increasing=False).x
        np.testing.assert_allclose(measure.falling(values), expected, atol=1e-12)
