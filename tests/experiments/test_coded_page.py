"""The page about coded bits says what its results say, at equal uses, and the cliffs lie where the code's are."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.constellation.coded import ANALOG, CODES, as_bits, on_air, tables
from lvm_mtc import phy
from lvm_mtc.report.pages import fill_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "coded.md").read_text()
RESULTS = json.loads((DOCS / "coded" / "results.json").read_text())
SNR_DB = np.array(RESULTS["snr_db"])


def mean(name, link):
    return np.array(RESULTS["levels"][name][link])[:, 0]


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE
    assert f"{RESULTS['uses']:,} channel uses" in PAGE and f"{RESULTS['pictures']} of the hold-out" in PAGE


def test_each_cliff_lies_above_its_capacity_and_ends_at_the_quantiser():
    for count, (bits, rate) in CODES.items():
        assert bits * rate == np.log2(count)
        coded = mean(as_bits(count), "awgn")
        limit_db = SNR_DB[np.argmax(phy.awgn_capacity(10 ** (-SNR_DB / 10)) >= bits * rate)]
        assert np.all(coded[SNR_DB < limit_db - 3] < coded[-1] - 3)
        arrived = coded[SNR_DB >= limit_db + 3]
        assert np.ptp(arrived) < 0.6  # the receiver's own knowledge of the SNR apart, what arrives is the same
        quiet = mean(on_air(count), "awgn")[-1]
        assert abs(coded[-1] - quiet) < 0.3  # the same points, one without errors and one nearly so
    assert all(np.all(np.diff(mean(name, "rayleigh")) > -0.1) for name in RESULTS["levels"])


def test_what_the_page_says_of_them():
    for count, first_db in zip(CODES, (7.0, 16.0, 22.0), strict=True):
        coded = mean(as_bits(count), "awgn")
        assert (
            np.all(abs(coded - coded[-1])[first_db <= SNR_DB] < 0.1) and coded[SNR_DB < first_db].max() < coded[-1] - 4
        )
        best = np.array(RESULTS["gains"][as_bits(count)]["awgn"])[:, 0].max()
        assert -6 < best < -1.3 and (count == 64) == (best > -4)
    assert mean(as_bits(64), "awgn")[SNR_DB == 10][0] == pytest.approx(20.6, abs=0.05)
    for link in RESULTS["channels"]:
        ahead = np.stack([mean(as_bits(count), link) - mean(on_air(count), link) for count in CODES])
        assert ahead.max() == pytest.approx(0.4, abs=0.05) if link == "awgn" else ahead[:, SNR_DB < 16].max() < 0


def test_symbols_as_they_are_gain_with_every_decibel():
    assert np.all(mean(ANALOG, "awgn")[1:] > mean(ANALOG, "awgn")[:-1])
