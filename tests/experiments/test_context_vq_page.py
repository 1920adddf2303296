"""The page about context says what its results say; they keep to what must hold; indices through the coder and back."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from experiments.context_vq.fit import TRAINED
from experiments.context_vq.measure import code, limits_of
from experiments.context_vq.page import tables
from experiments.script import CONFIGS
from lvm_mtc import from_dict
from lvm_mtc.cli.train import read_config
from lvm_mtc.report.pages import fill_page
from lvm_mtc.training.recipe import Recipe

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "context_vq.md").read_text()
RESULTS = json.loads((DOCS / "context_vq" / "results.json").read_text())


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE
    changed = copy.deepcopy(RESULTS)
    changed["rates"][0]["gain"][0] += 0.1
    assert fill_page(PAGE, tables(changed)) != PAGE


def test_context_gains_half_a_decibel_and_bits_are_exact():
    for rate in RESULTS["rates"]:
        mean, half_width = rate["gain"]
        assert mean - half_width > 0.5
        assert abs(mean - (rate["context_vq"]["psnr_db"] - rate["plain"]["psnr_db"])) < 1e-9
        assert rate["bits"] == 576 * np.log2(rate["codebook_size"]) and rate["plain_coded_bits"] < rate["bits"]
        for name in ("context_vq", "plain"):
            assert all(book["entropy"] <= np.log2(rate["codebook_size"]) for book in rate[name]["books"])
    assert np.all(np.diff([rate["context_vq"]["psnr_db"] for rate in RESULTS["rates"]]) > 0.5)
    assert RESULTS["weights_bytes"] < 5e5


def test_with_networks_both_were_trained_alike():
    recipes = {
        file: from_dict(Recipe, read_config(CONFIGS / f"context_vq.py:{name}", [])) for file, name in TRAINED.items()
    }
    ours, plain = recipes.values()
    assert ours.stages == plain.stages and ours.start == plain.start and ours.scenarios == plain.scenarios
    assert ours.config | {"context": False, "hidden": 0} == plain.config | {"context": False, "hidden": 0}
    assert ours.make_scheme().config.context and not plain.make_scheme().config.context
    assert "1,000 steps of 8 pictures" in PAGE and ours.stages["codec"].total_steps == 1000
    assert ours.stages["codec"].batch_size == 8


def test_what_the_page_says_of_networks():
    linear, rates = RESULTS["rates"], RESULTS["networks"]
    for rate, before in zip(rates, linear, strict=True):
        assert rate["bits"] == before["bits"] and rate["progressive_psnr_db"] == pytest.approx(
            before["progressive_psnr_db"], abs=1e-3
        )
        assert abs(rate["gain"][0] - (rate["context_vq"]["psnr_db"] - rate["plain"]["psnr_db"])) < 1e-9
        for name in ("context_vq", "plain"):
            assert all(book["entropy"] <= np.log2(rate["codebook_size"]) for book in rate[name]["books"])
    for name, least, most in (("context_vq", 0.4, 0.8), ("plain", 1.0, 1.6)):
        more = [rate[name]["psnr_db"] - before[name]["psnr_db"] for rate, before in zip(rates, linear, strict=True)]
        assert (round(min(more), 1), round(max(more), 1)) == (least, most)
    (first, half), *rest = (rate["gain"] for rate in rates)
    assert first - half > 0 and round(first, 2) == 0.13 and all(abs(gain) < width for gain, width in rest)
    behind = [-rate["ahead"][0] for rate in rates]
    assert (round(min(behind), 1), round(max(behind), 1)) == (0.4, 0.7)


def test_files_are_better():
    ours = np.array([rate["context_vq"]["psnr_db"] for rate in RESULTS["rates"]])
    found = {name: np.array([np.nan if one is None else one for one, _ in of]) for name, of in RESULTS["files"].items()}
    assert (min(found["avif"] - ours), max(found["avif"] - ours)) == pytest.approx((2.7, 3.4), abs=0.05)
    np.testing.assert_allclose(found["webp"] - ours, [np.nan, np.nan, 1.5, 1.9], atol=0.05)
    assert np.isnan(found["heic"][0]) and np.abs(found["heic"] - found["avif"])[1:].max() < 0.1


def test_stages_are_of_exact_size_and_take_less_time_than_a_sequential_coder():
    rows = RESULTS["progressive"]
    assert [row["stages"] for row in rows] == [1, 4, 8] and all(row["bits"] == 1152 * row["stages"] for row in rows)
    assert all(0.86 < row["coded_bits"] / row["bits"] < 0.91 for row in rows)
    assert all(row["encode_ms"] + row["decode_ms"] < row["coder_ms"] for row in rows)


def test_the_coder_gives_indices_back_at_their_entropy():
    rng = np.random.default_rng(0)
    use = np.array([[0.5, 0.25, 0.125, 0.125], [0.25] * 4])
    limits = limits_of([{"log_use": np.log(one)} for one in use], 8, 8)
    assert limits.shape == (64, 5)
    colour = (np.arange(8)[:, None] + np.arange(8)).ravel() % 2
    indices = np.array([rng.choice(4, p=use[one]) for one in colour])
    bits, told = code(indices, limits)
    assert told == indices.tolist()
    ideal = -np.log2(use[colour, indices]).sum()
    assert ideal <= len(bits) + 1e-3 and len(bits) < ideal + 2
