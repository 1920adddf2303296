"""How the video codec's frames look: tables of numbers made up here, and what stands on the page."""

from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.video import measure, perceptual, perceptual_page
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.schemes.loading import CLIP_WEIGHTS, load_scheme

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAMES = (measure.FULL, perceptual.PERCEPTUAL, perceptual.LONGER)


def point(snr_db=0.0, uses=1000.0, **values):
    """Of a frame's uses a tenth is side information."""
    values |= {"uses": uses}
    ledger = {"channel_uses": 0.9 * uses * measure.FRAMES, "side_information_bits": 0.1 * uses * measure.FRAMES}
    return Point(
        config_hash="k", coordinates={}, seed=0, snr_convention="rx_per_antenna", snr_db=snr_db, realised_snr_db=None,
        metrics={name: Measured(value, None, 2) for name, value in values.items()}, ledger=ledger, device="cpu",
        versions={},
    )  # fmt: skip


@pytest.fixture
def looks():
    """A distance of 0.4 without the perceptual stage and of 0.3 with it, 0.1 times the clip's number less."""
    points, budgets, bits = {}, {}, {}
    for number, clip in enumerate(measure.CLIPS):
        scale = 1 - 0.1 * number
        for place, scheme in enumerate(NAMES):
            # Distances fall with the uses: half as many, twice the distance.
            distance = scale * (0.4, 0.3, 0.4)[place]
            values = dict(psnr_db=30 - place, ssim=0.8, flicker=2e-4, perceptual=distance)
            for snr_db in perceptual.SNR_DB:
                points[clip, scheme, "awgn", snr_db] = point(**values)
                for rate in perceptual.RATES:
                    budgets[clip, scheme, snr_db, rate] = point(uses=1000 * rate, perceptual=distance / rate)
            if scheme != perceptual.LONGER:
                points[clip, scheme, "rayleigh", 5.0] = point(**values)
        for codec in ("x264", "x265"):
            for snr_db in perceptual.SNR_DB:
                for share in perceptual.SHARES[1:]:
                    value = scale * (0.15 if codec == "x264" else 0.01) / share
                    if snr_db > 5:
                        bits[clip, codec, snr_db, share] = point(uses=1000 * share, perceptual=value)
    return perceptual_page.Looks(points, budgets, bits)


def test_differences_are_of_each_clip(looks):
    first, _, faded = perceptual_page.distances(looks).splitlines()[2:]
    assert first == (
        "| AWGN | 5 | 0.300 | 0.225 | 0.300 | -25.0 ± 0.0 | -25.0 ± 0.0 | 30.00 | 29.00 | 28.00 | -1.00 ± 0.00 |"
    )
    assert faded == "| Rayleigh | 5 | 0.300 | 0.225 |  | -25.0 ± 0.0 |  | 30.00 | 29.00 |  | -1.00 ± 0.00 |"
    first, _, faded = perceptual_page.structure(looks).splitlines()[2:]
    assert first == "| AWGN | 5 | 0.800 | 0.800 | 0.800 | 2.00 | 2.00 | 2.00 |"
    assert faded == "| Rayleigh | 5 | 0.800 | 0.800 |  | 2.00 | 2.00 |  |"


def test_uses_are_told_at_equal_distance(looks):
    rows = perceptual_page.savings(looks).splitlines()[2:]
    # Three quarters of the distance is three quarters of the uses; x264 needs half, x265 less than its least.
    assert rows[1] == "| 10 | 25 ± 0 | 6 of 6 | 50 ± 0 | 0 of 6 | 25 ± 0 | 6 of 6 |"
    assert rows[0] == "| 5 | 25 ± 0 | 6 of 6 | none fits |  | none fits |  |"


def test_a_curve_is_not_left_at_its_ends():
    curve = [(100.0, 0.4), (400.0, 0.1), (200.0, 0.2)]
    assert perceptual_page.uses_at(curve, 0.15) == (pytest.approx(400 * 0.1 / 0.15), True)
    assert perceptual_page.uses_at(curve, 0.9) == (pytest.approx(100), False)
    assert perceptual_page.uses_at(curve, 0.01) == (pytest.approx(400), False)


def test_rivals_differ_in_the_network_alone(tmp_path):
    clips = {name: np.zeros((measure.FRAMES, *measure.SIZE, 3), np.uint8) for name in measure.CLIPS}
    full = measure.contenders(CLIP_WEIGHTS, clips)[0]
    rival = perceptual.rival(full, "other", CLIP_WEIGHTS)
    assert rival.scheme == full.scheme and rival.swept == ("rate",)
    jax.tree.map(np.testing.assert_array_equal, rival.params, load_scheme(CLIP_WEIGHTS)[1])
    full.params["leak"] = full.params["leak"] + 0.1
    with pytest.raises(ValueError, match=r"pvsc\.npz: 'leak' is not that of pvsc\.npz"):
        perceptual.rival(full, "other", CLIP_WEIGHTS)
