"""The page on pictures of native size shows what its file of results says, and the results are what they can be."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from experiments.native import measure
from experiments.native.measure import NUM_PICTURES
from experiments.native.page import CODECS, seam_db, tables
from lvm_mtc.report.pages import fill_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = json.loads((DOCS / "native_size" / "results.json").read_text())
PAGE = (DOCS / "native_size.md").read_text()
KODAK = {(512, 768): 18, (768, 512): 6}


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE, "run python -m experiments.native.measure --page-only"
    drifted = copy.deepcopy(RESULTS)
    drifted["rows"][0]["awgn psnr_db"] += 1
    assert fill_page(PAGE, tables(drifted)) != PAGE


@pytest.mark.parametrize("row", RESULTS["rows"], ids=lambda row: row["codec"])
def test_channel_uses_are_those_of_the_tiles(row):
    """Every tile or picture, the mirrored part too, over the samples of the pictures alone."""
    frames, symbols = measure.contender(row["codec"], 512, 768).scheme.scheme.frames()
    tile, uses = row["tile"] or [4, 4], (frames if row["tile"] else 1) * symbols
    want = 0.0
    for (height, width), count in KODAK.items():
        tiles = -(-height // tile[0]) * -(-width // tile[1])
        want += count / NUM_PICTURES * tiles * uses / (3 * height * width)
    assert row["cbr"] == pytest.approx(want, rel=1e-5)
    assert row["cbr_with_side_information"] > row["cbr"]
    assert row["rayleigh psnr_db"] < row["awgn psnr_db"]


def test_codecs_stand_in_their_order():
    measured = [row["codec"] for row in RESULTS["rows"]]
    assert measured == [name for name in CODECS if name in measured] and len(measured) >= 5


def test_the_page_says_what_was_measured():
    row = {row["codec"]: row for row in RESULTS["rows"]}
    whole, tiles = row["deepjscc_whole"], row["deepjscc_tiles"]
    assert whole["awgn psnr_db"] - tiles["awgn psnr_db"] == pytest.approx(0.3, abs=0.05)
    assert seam_db(tiles) == pytest.approx(1.6, abs=0.05) and abs(seam_db(whole)) < 0.1
    assert all(0.35 < seam_db(one) < 0.95 for one in row.values() if one["tile"] == [96, 96])
    lower = {name: one["awgn psnr_db"] - one["awgn psnr_inside_db"] for name, one in row.items()}
    assert all(0.65 < lower[name] < 0.95 for name in ("all", "pca", "deepjscc_whole", "deepjscc_tiles"))
    assert abs(lower["importance"]) < 0.1
    first, every = row["importance"], row["all"]
    ahead = {kind: first[f"{kind} psnr_db"] - every[f"{kind} psnr_db"] for kind in ("rayleigh", "awgn")}
    assert ahead == pytest.approx({"rayleigh": 1.2, "awgn": -1.3}, abs=0.05)
    assert 2 * first["cbr"] == pytest.approx(every["cbr"])


def test_the_frame_went_as_it_is():
    frame = RESULTS["frame"]
    assert frame["psnr_db"] > 20 and frame["said"][0] == "frame.png: 4000 x 3000: whole, every pixel as it is"
    tiles, symbols = 42 * 32, 2304
    assert frame["cbr"] == pytest.approx(tiles * symbols / (3 * 4000 * 3000), rel=1e-4)


def test_a_seam_is_the_error_beside_the_borders():
    error = np.full((12, 20), 8.0)
    error[[3, 4, 7, 8]] = error[:, [7, 8, 15, 16]] = 32.0
    sign = np.random.default_rng(0).choice([-1, 1], size=(12, 20, 1))
    received = np.uint8(128 + sign * error[..., None]) * np.ones(3, np.uint8)
    beside, elsewhere = measure.seam(np.full((12, 20, 3), 128 / 255), received, (4, 8))
    assert beside == pytest.approx((32 / 255) ** 2) and elsewhere == pytest.approx((8 / 255) ** 2)
    assert seam_db({"beside_borders": beside, "elsewhere": elsewhere}) == pytest.approx(20 * np.log10(4))


def test_means_are_of_codecs_that_saw_every_picture():
    lines = [{"codec": "pca", "number": i, "tile": [96, 96], "cbr": 0.1 * i} for i in range(NUM_PICTURES)]
    lines += [{"codec": "all", "number": 0, "tile": [96, 96], "cbr": 1.0}]
    (row,) = measure.rows(lines)
    assert row == {"codec": "pca", "tile": [96, 96], "cbr": pytest.approx(1.15)}
