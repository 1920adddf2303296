"""Token sharing's study: what its judgements and interpolations are, against numbers worked out by hand."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.token_sharing.measure import Compared, K, judge_merges, merges, side_bits
from experiments.token_sharing.page import fewer_tokens, loss_at, tables
from lvm_mtc.report.pages import fill_page
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.masking import KeptPatches
from lvm_mtc.schemes.lvm_mtc.records import Encoded
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_page_and_results_agree():
    page = (DOCS / "token_sharing.md").read_text()
    results = json.loads((DOCS / "token_sharing" / "results.json").read_text())
    assert fill_page(page, tables(results)) == page, "run experiments/token_sharing/measure.py --page-only"
    curve = results["curves"][0]
    other = results | {"curves": [curve | {"psnr_db": [30.0, *curve["psnr_db"][1:]]}, *results["curves"][1:]]}
    assert fill_page(page, tables(other)) != page


def test_merges_of_equal_patches_cost_nothing_and_of_opposite_ones_their_square():
    config = LvmMtcConfig(variant="tiny", image_size=16, patch_size=8, num_kept=2, num_symbols=4)
    images = np.zeros((1, 2, 16, 16, 3), np.float32)
    images[0, 0, :8, :8], images[0, 1, :8, 8:] = 0.4, 0.8  # patch 0 of the first UAV, patch 1 of the second
    ids = jnp.array([[[0, 3], [1, 2]]])
    kept = KeptPatches(ids, jnp.ones((1, 2, 2), bool), jnp.zeros((1, 2, 4)), jnp.zeros((1, 2), jnp.int32))
    tokens = jnp.array([[[[3.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, -1.0]]]])
    encoded = Encoded(tokens, tokens, kept, jnp.ones((1, 2)), jnp.ones((1, 2)))
    compared = Compared(np.array([[0.1, 0.3]]), np.array([[[0, 1], [0, 1]]]))
    found = merges(LvmMtc(config), encoded, images, compared)
    np.testing.assert_allclose(found["mse"], [0.04, 0.0], atol=1e-7)  # 0.4 and 0.8 about 0.6
    np.testing.assert_allclose(found["cosine"], [1.0, -1.0], atol=1e-6)


def test_wrong_merges_at_the_papers_threshold_and_at_equal_savings():
    count = 30
    found = {"score": np.arange(count) / 100, "mse": np.where(np.arange(count) % 2, 0.02, 0.005),
             "cosine": np.ones(count)}  # fmt: skip
    judged = judge_merges(found)
    assert judged["at_0.1"]["slots"] == 10 and judged["at_0.1"]["wrong"] == 0.5
    assert judged["at_0.1"]["rms"] == pytest.approx(np.sqrt(0.0125))
    assert judged["saving_at_0.1"] == pytest.approx((K - 1) / K * 10 / count)
    # A tenth of the transmissions of K UAVs: 4 of 30 slots, each of which saves three of four.
    assert judged["at_saving"]["0.1"]["slots"] == 4
    found["score"][3:] = np.inf
    assert judge_merges(found)["at_saving"]["0.1"] is None


def test_the_loss_at_a_saving_lies_on_the_line_between_points_and_counts_side_information():
    curve = {"channel_uses": [900.0, 700.0], "side_bits": [100.0, 100.0], "psnr_db": [20.0, 18.0]}
    assert loss_at(curve, 0.1) == "1.00"
    assert loss_at(curve | {"side_bits": [100.0, 150.0]}, 0.1) == "1.33"
    assert loss_at(curve | {"side_bits": [100.0, 250.0]}, 0.1) == "-"


def test_side_information_is_that_of_the_ledger():
    config = LvmMtcConfig(variant="tiny", image_size=32, patch_size=8, num_kept=10, num_symbols=4)
    compared = Compared(np.array([[0.05] * 3 + [1.0] * 7]), np.zeros((1, 2, 10), np.int32))
    # Two masks of 16 patches, a bit a slot, and a gain of 16 bits for each UAV and the public tokens.
    assert side_bits(LvmMtc(config), compared, 0.1) == 2 * 16 + 10 + 3 * 16
    assert side_bits(LvmMtc(config), compared, 0.0) == 2 * 16 + 2 * 16


def test_fewer_tokens_begin_where_nothing_is_shared():
    curves = [
        {"groups": "a", "comparator": "cosine", "channel_uses": [9, 8], "side_bits": [1, 2], "psnr_db": [20, 19]},
        {"groups": "b", "comparator": "cosine", "channel_uses": [7, 6], "side_bits": [1, 2], "psnr_db": [10, 9]},
        {"groups": "a", "comparator": "fewer tokens", "channel_uses": [5], "side_bits": [1], "psnr_db": [15]},
    ]
    assert fewer_tokens(curves, "a") == {"channel_uses": [9, 5], "side_bits": [1, 1], "psnr_db": [20, 15]}


def test_every_table_has_a_column_for_each_cell():
    one = {"slots": 1, "wrong": 0.5, "rms": 0.1, "cosine": 0.9, "epsilon": 0.05}
    merged = {"groups": "a", "comparator": "intensity", "alignment": "index", "saving_at_0.1": 0.1, "at_0.1": one,
              "at_saving": {"0.1": None}}  # fmt: skip
    curve = {"groups": "a", "comparator": "intensity", "alignment": "index", "channel_uses": [9, 8],
             "side_bits": [1, 1], "psnr_db": [20.0, 19.0]}  # fmt: skip
    about = {"groups": 2, "num_kept": 72, "num_symbols": 32, "seed": 0}
    found = tables(about | {"merges": [merged], "curves": [curve]})
    for name in ("paper", "equal", "cost"):
        assert len({line.count("|") for line in found[name].splitlines()}) == 1
    assert "| a | intensity | index | 10.0 % | 1 | 50 % | 0.100 | 0.90 | 1.00 |" in found["paper"]
