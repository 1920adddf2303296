"""Waterfalls of the page on channel codes: what the results say, against limits that are known."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.coding import waterfall
from lvm_mtc.report.pages import fill_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "waterfalls.md").read_text()
RESULTS = json.loads((DOCS / "waterfalls" / "results.json").read_text())


def test_page_and_results_agree():
    assert fill_page(PAGE, waterfall.tables(RESULTS)) == PAGE
    assert [(curve["bits_per_symbol"], curve["rate"]) for curve in RESULTS["curves"]] == list(waterfall.PAIRS)


def test_limits_are_those_of_the_binary_channel():
    """Eb/N0 0.187 dB at rate 1/2 and -0.495 dB at rate 1/3 (Richardson and Urbanke, Modern Coding Theory, 2008)."""
    for curve, eb_no_db in zip(RESULTS["curves"][:2], (-0.495, 0.187), strict=True):
        assert curve["limit_db"] == pytest.approx(eb_no_db + 10 * np.log10(2 * curve["rate"]), abs=0.02)


@pytest.mark.parametrize("curve", RESULTS["curves"], ids=lambda curve: waterfall.name_of(*list(curve.values())[:2]))
def test_no_code_beats_the_limits_and_all_come_near(curve):
    words, share = RESULTS["words"], np.array(curve["lost"]) / RESULTS["words"]
    best = waterfall.approximation(curve, RESULTS["num_symbols"], np.array(curve["esno_db"]))
    slack = 5 * np.sqrt(share * (1 - share) / words + 1 / words**2)
    assert np.all(share + slack >= best)
    assert np.all(np.diff(share) <= 5 * np.sqrt(2 * 0.25 / words)) and share[-1] < 1e-3 < 0.8 < share[0]
    ten = waterfall.reaches_db(np.array(curve["esno_db"]), share, 0.1)
    assert 0.3 < ten - curve["limit_db"] < 1.6


def test_the_measured_point_is_repeated():
    """One point of the table anew, with fewer words."""
    curve = RESULTS["curves"][1]
    near = int(np.argmin(np.abs(np.array(curve["lost"]) / RESULTS["words"] - 0.3)))
    share, words = curve["lost"][near] / RESULTS["words"], 256
    lost = waterfall.words_lost(curve["bits_per_symbol"], curve["rate"], curve["esno_db"][near], words)
    assert abs(lost / words - share) < 5 * np.sqrt(share * (1 - share) / words)


def test_intervals_and_crossings():
    low, high = waterfall.wilson(np.array([0, 5, 10]), 10)
    assert low[0] == 0 and high[0] == pytest.approx(1.96**2 / (10 + 1.96**2)) and high[2] == pytest.approx(1)
    assert low[1] + high[1] == pytest.approx(1)
    assert waterfall.reaches_db(np.array([0.0, 1.0]), np.array([1.0, 0.01]), 0.1) == pytest.approx(0.5)
    assert np.isnan(waterfall.reaches_db(np.array([0.0, 1.0]), np.array([1.0, 0.5]), 0.1))
