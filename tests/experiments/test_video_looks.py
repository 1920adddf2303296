"""How the video codec's frames look: tables of numbers made up here, and what stands on the page."""

from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.video import measure, perceptual, perceptual_page
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.loading import CLIP_WEIGHTS

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAMES = (measure.FULL, perceptual.PERCEPTUAL, perceptual.MILD, perceptual.LONGER)


def point(**values):
    return Point(
        config_hash="k", coordinates={}, seed=0, snr_convention="rx_per_antenna", snr_db=0.0, realised_snr_db=None,
        metrics={name: Measured(value, None, 24) for name, value in values.items()}, ledger={}, device="cpu",
        versions={},
    )  # fmt: skip


@pytest.fixture
def looks():
    """A distance of 0.4 without the perceptual stage and of 0.3 with it, a tenth of it less from clip to clip."""
    points, bits = {}, {}
    for number, clip in enumerate(measure.CLIPS):
        scale = 1 - 0.1 * number
        for place, scheme in enumerate(NAMES):
            distance = scale * (0.4, 0.3, 0.36, 0.4)[place]
            for fading, snr_db, rate in perceptual.PLACES[scheme]:
                # Distances fall with the uses: half as many, twice the distance.
                values = dict(psnr_db=30 - place, ssim=0.8, flicker=2e-4, perceptual=distance / rate, uses=1000 * rate)
                points[clip, scheme, fading, snr_db, rate] = point(**values)
        for codec in ("x264", "x265"):
            for share in perceptual.SHARES[1:]:
                value = scale * (0.15 if codec == "x264" else 0.01) / share
                bits[clip, codec, 10.0, share] = point(uses=1000 * share, perceptual=value)
    return perceptual_page.Looks(points, bits)


def test_differences_are_of_each_clip(looks):
    _, first, *_, faded = perceptual_page.distances(looks).splitlines()[2:]
    assert first == (
        "| AWGN | 5 | 0.300 | 0.225 | 0.270 | 0.300 | -25.0 ± 0.0 | -25.0 ± 0.0 "
        "| 30.00 | 29.00 | 28.00 | 27.00 | -1.00 ± 0.00 |"
    )
    assert faded == "| Rayleigh | 15 | 0.300 | 0.225 |  |  | -25.0 ± 0.0 |  | 30.00 | 29.00 |  |  | -1.00 ± 0.00 |"
    _, first, *_, faded = perceptual_page.structure(looks).splitlines()[2:]
    assert first == "| AWGN | 5" + 4 * " | 0.800" + 4 * " | 2.00" + " |"
    assert faded == "| Rayleigh | 15 | 0.800 | 0.800 |  |  | 2.00 | 2.00 |  |  |"


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


@pytest.mark.slow
def test_networks_differ_in_the_network_alone():
    clips = {name: np.zeros((measure.FRAMES, *measure.SIZE, 3), np.uint8) for name in measure.CLIPS}
    full = measure.contenders(CLIP_WEIGHTS, clips)[0]
    jax.tree.map(np.testing.assert_array_equal, perceptual.network_of(full, CLIP_WEIGHTS), full.params)
    full.params["leak"] = full.params["leak"] + 0.1
    with pytest.raises(ValueError, match=r"pvsc\.npz: 'leak' is not that of pvsc\.npz"):
        perceptual.network_of(full, CLIP_WEIGHTS)


def test_the_page_says_in_words_what_was_measured():
    with ResultStore(DOCS / "video" / "results.sqlite", create=False) as store:
        looks = perceptual_page.read_looks(store)
    assert looks is not None
    text = " ".join((DOCS / "video.md").read_text().split())

    def of(metric, scheme, snr_db):
        return perceptual_page.of_clips(looks.points, metric, scheme, "awgn", snr_db)

    less = [
        100 * (1 - of("perceptual", perceptual.PERCEPTUAL, snr_db) / of("perceptual", measure.FULL, snr_db))
        for snr_db in (0, 5, 10, 15)
    ]
    told = "{:.0f} % less ST-LPIPS than the shipped network at 0 dB, {:.0f} % at 5 dB, {:.0f} % at 10 dB and {:.0f} %"
    assert told.format(*(of_clips.mean() for of_clips in less)) in text
    # What the stage was to reach: 20 % less, for 0.7 dB of PSNR at most.
    lost = [(of("psnr_db", measure.FULL, v) - of("psnr_db", perceptual.PERCEPTUAL, v)).mean() for v in (0, 5, 10, 15)]
    assert min(of_clips.mean() for of_clips in less) > 20 and f"{min(lost):.2f} to {max(lost):.2f} dB of PSNR" in text
    boat, others = less[0][2], np.delete(less[0], 2)
    assert f"on boat1 it is {-boat:.0f} % more at 0 dB and {-less[1][2]:.0f} % more at 5 dB" in text
    assert f"on the other five {others.min():.0f} to {others.max():.0f} % less at 0 dB" in text
