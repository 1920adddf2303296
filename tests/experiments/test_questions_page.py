"""The page about questions shows what its file of results says, and the answers are possible ones."""

import copy
import json
import math
from pathlib import Path

import pytest

from experiments.questions.page import tables
from lvm_mtc.report.pages import fill_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = json.loads((DOCS / "questions" / "results.json").read_text())
PAGE = (DOCS / "questions.md").read_text()


def changed(*place, value):
    results = copy.deepcopy(RESULTS)
    entry = results
    for name in place[:-1]:
        entry = entry[name]
    entry[place[-1]] = value
    return results


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE, "run experiments/questions/measure.py --page-only"


@pytest.mark.parametrize(
    "place",
    [("setup", "units"), ("crossings", 0, "x"), ("pilots", 1, "high"), ("sensitivities", 0, "csi_error_std", 0)],
)
def test_a_number_that_drifted_is_seen(place):
    assert fill_page(PAGE, tables(changed(*place, value=12.5))) != PAGE


def test_ends_beyond_the_bracket_and_no_crossing():
    low, high = RESULTS["crossings"][0]["bracket"]
    found = tables(changed("crossings", 0, "low", value=None))["crossings"].splitlines()[2]
    assert f"(below {low:g} to " in found
    found = tables(changed("crossings", 0, "high", value=None))["crossings"].splitlines()[2]
    assert f" to above {high:g})" in found
    without = {name: value for name, value in RESULTS["crossings"][0].items() if name not in ("x", "low", "high")}
    assert f"| none from {low:g} to {high:g} |" in tables(changed("crossings", 0, value=without))["crossings"]


def test_crossings_lie_where_the_signs_say():
    for row in RESULTS["crossings"]:
        (first, _), (last, _) = row["at_ends_db"]
        low, high = row["bracket"]
        assert ("x" in row) == (first * last < 0)
        if "x" in row:
            assert low < row["x"] < high
            assert row["low"] is None or low <= row["low"] <= row["x"]
            assert row["high"] is None or row["x"] <= row["high"] <= high
    assert any("x" in row for row in RESULTS["crossings"])


def test_the_smallest_possible_answers():
    """More SNR helps and CSI error harms; users' shares add up; nothing was compiled anew for an evaluation."""
    assert RESULTS["setup"]["units"] >= 32
    assert RESULTS["setup"]["compiled"] == len(RESULTS["setup"]["channel_uses"]) < RESULTS["setup"]["evaluations"]
    for row in RESULTS["sensitivities"]:
        assert row["snr_db"][0] > row["snr_db"][1] and row["csi_error_std"][0] < -row["csi_error_std"][1]
        assert math.isclose(sum(row["power_db"][0]), row["snr_db"][0], rel_tol=1e-3)
        assert min(row["power_db"][0]) > 0
    for row in RESULTS["pilots"]:
        assert row["low"] < row["x"] < row["high"]
