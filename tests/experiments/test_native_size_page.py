"""The page on pictures of native size shows what its file of results says, and the results are what they can be."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from experiments.native import measure
from experiments.native.page import CODECS, tables
from lvm_mtc.report.pages import fill_page
from lvm_mtc.report.shown import Shown
from lvm_mtc.sweep.plan import picture_source

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = json.loads((DOCS / "native_size" / "results.json").read_text())
PAGE = (DOCS / "native_size.md").read_text()
KODAK = {(512, 768): 18, (768, 512): 6}


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE, "run python -m experiments.native.measure --page-only"
    drifted = copy.deepcopy(RESULTS)
    drifted["rows"][0]["points"]["awgn 10 dB"]["psnr_db"] += 1
    assert fill_page(PAGE, tables(drifted)) != PAGE


@pytest.mark.parametrize("row", RESULTS["rows"], ids=lambda row: row["codec"])
def test_channel_uses_are_those_of_the_tiles(row):
    """Every tile or picture, the mirrored part too, over the samples of the pictures alone."""
    fitted = measure.contender(row["codec"], 768, 768)
    scheme = fitted.scheme.scheme
    frames, symbols = scheme.frames()
    side_of_tile = row["tile"] or [4, 4]
    per_tile = frames * symbols if row["tile"] else symbols
    want = 0.0
    for (height, width), count in KODAK.items():
        tiles = -(-height // side_of_tile[0]) * -(-width // side_of_tile[1])
        want += count / 24 * tiles * per_tile / (3 * height * width)
    assert row["cbr"] == pytest.approx(want, rel=1e-6)
    assert row["cbr_with_side_information"] > row["cbr"]
    for low, high in (("awgn 1 dB", "awgn 10 dB"), ("rayleigh 10 dB", "awgn 10 dB")):
        assert row["points"][low]["psnr_db"] < row["points"][high]["psnr_db"]


def test_every_codec_and_the_frame_are_there():
    assert [row["codec"] for row in RESULTS["rows"]] == list(CODECS)
    assert RESULTS["frame"]["psnr_db"] > 20 and "4000 x 3000: whole, every pixel as it is" in RESULTS["frame"]["said"][0]


def test_a_seam_is_the_error_beside_the_borders():
    rng = np.random.default_rng(0)
    original = np.full((1, 1, 12, 20, 3), 0.5, np.float32)
    error = np.full((12, 20), 8.0)
    error[[3, 4, 7, 8]] = error[:, [7, 8, 15, 16]] = 32.0
    sign = rng.choice([-1, 1], size=(12, 20, 1))
    received = np.uint8(np.round(127.5 + sign * error[..., None] - 0.5))[None, None, None] * np.ones(3, np.uint8)
    shown = Shown([{}], original, original, received, np.zeros((1, 1, 1)), np.array([[[12, 20]]]))
    assert measure.seam_db(shown, (4, 8)) == pytest.approx(20 * np.log10(4), abs=0.1)
    assert measure.seam_db(shown, (12, 20)) is None


def test_pictures_of_one_size_stand_together():
    images = np.random.default_rng(0).uniform(size=(3, 1, 20, 24, 3)).astype(np.float32)
    extent = np.int32([[[20, 16]], [[12, 24]], [[20, 16]]])
    parts = measure.of_one_size(picture_source(images, np.ones((3, 1, 4), np.float32), extent=extent))
    assert [part.data.shape for part in parts] == [(1, 1, 12, 24, 3), (2, 1, 20, 16, 3)]
    np.testing.assert_array_equal(parts[1].data[1], images[2, :, :, :16])
