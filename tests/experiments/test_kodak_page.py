"""The page about Kodak beside codecs of files shows what its results say, and they are what they can be."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.native import kodak
from experiments.native.kodak_page import OURS, chosen, curve, levels, systems, tables
from lvm_mtc.data.picture_codecs import decode, largest_fits
from lvm_mtc.report.pages import fill_page
from lvm_mtc.results.rate_distortion import bd_psnr, bd_rate

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = json.loads((DOCS / "kodak" / "results.json").read_text())
PAGE = (DOCS / "kodak.md").read_text()
FILES = ("jpeg", "webp", "avif", "heic")


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE, "run python -m experiments.native.kodak --page-only"
    drifted = copy.deepcopy(RESULTS)
    drifted["rows"][0]["psnr_db"][1] += 1
    assert fill_page(PAGE, tables(drifted)) != PAGE


def test_every_codec_saw_the_same_pictures():
    numbers = {codec: [row["number"] for row in RESULTS["rows"] if row["codec"] == codec] for codec in (OURS, *FILES)}
    assert all(sorted(found) == sorted(numbers[OURS]) for found in numbers.values()) and len(numbers[OURS]) >= 4


def test_budgets_are_those_of_the_code_and_of_the_capacity():
    """Information bits of the fastest pair that arrives, less checksums and the frame's end; log2(1 + SNR) a use."""
    pair = chosen(RESULTS["pairs"])
    assert kodak.budgets(pair) == RESULTS["budgets"]
    for ratio, named, ideal in zip(RESULTS["ratios"], *RESULTS["budgets"].values(), strict=True):
        uses = 3 * 768 * 512 / ratio
        bits = uses * pair["bits_per_symbol"] * pair["rate"]
        assert 0 < bits - named < 30 + 2 * np.ceil(bits / 8448)  # rounding of each block, CRC and the payload's end
        assert 0 <= uses * np.log2(11) - ideal < 1 and named < ideal
    for one in RESULTS["pairs"]:
        assert one["bits"] == pytest.approx(one["bits_per_symbol"] * one["rate"], abs=3e-3)
        assert one["arrived"] < 1 or one["bits"] <= pair["bits"]


def test_our_ratios_are_exact_and_side_information_is_booked():
    for row in RESULTS["rows"]:
        if row["codec"] == OURS:
            assert row["cbr"] == pytest.approx([1 / ratio for ratio in RESULTS["ratios"]])
            assert np.all(np.array(row["cbr_with_side_information"]) > row["cbr"])


@pytest.mark.parametrize("codec", FILES)
def test_more_bits_are_more_psnr(codec):
    named, ideal = (levels(RESULTS, codec, code) for code in ("named", "ideal"))
    both = np.stack([named, ideal], axis=-1).reshape(len(named), -1)  # budgets rise along it
    steps = np.diff(both, axis=1)
    assert np.all(steps[np.isfinite(steps)] >= 0) and np.isfinite(both[:, 2:]).all()


def test_a_row_is_measured_again(shared_data):
    """JPEG, the fastest, of the last picture at one budget, and HEIC decoded from its payload alone."""
    row = max((row for row in RESULTS["rows"] if row["codec"] == "jpeg"), key=lambda row: row["number"])
    files = sorted((shared_data / "kodak").glob("*.png"))
    picture = np.asarray(Image.open(files[row["number"]]).convert("RGB"))
    bits = RESULTS["budgets"]["named"][2]
    found = kodak.measure_file("jpeg", picture, {"named": [bits], "ideal": []})
    assert found["named"][0] == pytest.approx(row["named"][2], abs=1e-9)
    pytest.importorskip("pillow_heif", reason="needs pillow-heif (extra heic)")
    part = picture[:64, :96].copy()
    (one,) = largest_fits(part, "heic", [6000])
    np.testing.assert_array_equal(decode(one.payload, "heic", part.shape[:2]), one.picture)


def test_what_the_page_says():
    delta = {(codec, code): bd_psnr(curve(RESULTS, codec, code), curve(RESULTS, OURS))
             for codec, code, _ in systems(RESULTS) if codec != OURS}  # fmt: skip
    assert abs(delta["jpeg", "named"]) < 0.3
    assert all(delta[codec, code] < -1 for codec, code in delta if (codec, code) != ("jpeg", "named"))
    rate = {codec: bd_rate(curve(RESULTS, codec, "named"), curve(RESULTS, OURS)) for codec in FILES}
    assert [f"{100 * rate[codec]:.0f}" for codec in ("jpeg", "webp")] == ["2", "76"]
    assert [f"{1 + rate[codec]:.1f}" for codec in ("heic", "avif")] == ["2.3", "2.4"]
    named, ideal = (np.stack([levels(RESULTS, codec, code).mean(0) for codec in FILES]) for code in ("named", "ideal"))
    gap = (ideal - named)[:, 1:]
    assert 1.0 < gap.min() and gap.max() < 1.85
    assert np.abs(named[2] - named[3]).max() < 0.22
