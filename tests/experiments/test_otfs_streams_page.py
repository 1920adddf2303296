"""The page about features on streams by importance shows what its results say, and they say what it claims."""

import copy
import json
from pathlib import Path

import numpy as np

from experiments.otfs import streams
from experiments.otfs.streams_page import tables
from lvm_mtc.link.ranked import order_bits
from lvm_mtc.report.pages import fill_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = json.loads((DOCS / "otfs_streams" / "results.json").read_text())
PAGE = (DOCS / "otfs_streams.md").read_text()


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE, "run python -m experiments.otfs.streams --page-only"
    drifted = copy.deepcopy(RESULTS)
    next(row for row in drifted["rows"] if row["allocation"] == "sorted")["psnr_gain"][0] = 7.0
    assert fill_page(PAGE, tables(drifted)) != PAGE


def test_uses_are_the_same_and_bits_are_those_of_the_orders():
    for count in {row["streams"] for row in RESULTS["rows"]}:
        own = [row for row in RESULTS["rows"] if row["streams"] == count]
        assert len({row["uses"] for row in own}) == 1 and {row["allocation"] for row in own} == set(streams.ALLOCATIONS)
        for row in own:
            _, order, age = streams.ALLOCATIONS[row["allocation"]]
            orders = (order != "fixed") + (age is not None)
            assert row["side_bits"] == 16 + orders * order_bits(count)
            assert orders * order_bits(count) < 0.01 * row["uses"]
        (grid,) = {streams.link_of(count, fading, 0).grid for fading in streams.FADINGS}
        assert grid.slots_per_grid * count == streams.SYMBOLS
        samples = grid.num_ofdm_symbols * (grid.fft_size + grid.cyclic_prefix_length)
        assert own[0]["uses"] == count * samples


def test_sorted_groups_go_to_better_streams():
    taus = {name: np.array([row["tau"][0] for row in RESULTS["rows"] if row["allocation"] == name])
            for name in streams.ALLOCATIONS}  # fmt: skip
    assert np.allclose(taus["sorted"], 1) and np.all(taus["learned"] > 0.8)
    assert np.all(np.abs(taus["random"]) < 0.3)
