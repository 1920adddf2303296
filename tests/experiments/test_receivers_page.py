"""The page about receivers says what its results say, and what it says of them holds word by word."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from experiments.receivers.measure import ORTHOGONAL, SETUPS, shares, tables
from lvm_mtc.report.pages import fill_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "receivers.md").read_text()
RESULTS = json.loads((DOCS / "receivers" / "results.json").read_text())


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE
    changed = copy.deepcopy(RESULTS)
    changed["uplink"]["lost"]["exact"][1] = "4" + changed["uplink"]["lost"]["exact"][1][1:]
    assert fill_page(PAGE, tables(changed)) != PAGE
    for setup, (num_uavs, snr_db, receivers) in SETUPS.items():
        found = RESULTS[setup]
        assert (found["num_uavs"], tuple(found["snr_db"]), set(found["lost"])) == (num_uavs, snr_db, set(receivers))
        assert all(len(lost) == 240 // num_uavs for of_snr in found["lost"].values() for lost in of_snr)


@pytest.mark.parametrize(
    ("setup", "snr_db", "better", "worse"),
    [
        ("downlink", 7.0, "exact", "L-MMSE"),
        ("downlink", 7.0, "exact, 4 detections", "exact"),
        ("downlink", 7.0, "PIC, 4 detections", "L-MMSE"),
        ("uplink", -3.0, "exact", "L-MMSE"),
        ("uplink", -3.0, "PIC, 4 detections", "exact"),
        ("uplink", -3.0, "exact, 4 detections", "PIC, 4 detections"),
        ("uplink", 0.0, "L-MMSE", ORTHOGONAL),
    ],
)
def test_what_the_page_says_holds_pair_by_pair(setup, snr_db, better, worse):
    found = RESULTS[setup]
    at = found["snr_db"].index(snr_db)
    gained = shares(found, worse)[at] - shares(found, better)[at]
    assert gained.mean() > 3 * gained.std(ddof=1) / np.sqrt(gained.size)


def test_shares_that_the_page_names():
    def lost(setup, snr_db):
        found = RESULTS[setup]
        return {name: shares(found, name)[found["snr_db"].index(snr_db)].mean() for name in found["lost"]}

    at_7_db, at_2_db, at_minus_3 = lost("downlink", 7.0), lost("uplink", 2.0), lost("uplink", -3.0)
    assert abs(1 - at_7_db["exact"] / at_7_db["L-MMSE"] - 1 / 3) < 0.05
    assert abs(1 - at_7_db["exact, 4 detections"] / at_7_db["L-MMSE"] - 4 / 5) < 0.05
    assert at_7_db["PIC, 4 detections"] < 1.1 * at_7_db["exact"]
    assert round(at_minus_3["exact"], 2) == 0.56 and round(at_minus_3["exact, 4 detections"], 2) == 0.01
    assert at_2_db["L-MMSE"] == 0 and abs(at_2_db[ORTHOGONAL] - 3 / 4) < 0.05
