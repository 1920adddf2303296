"""The weights of the stereo codec that come with the package."""

import jax
import numpy as np
import pytest

from lvm_mtc.data.images import load_image
from lvm_mtc.data.synthetic_stereo import synthetic_stereo
from lvm_mtc.data.voc import read_voc_list
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.pictures import psnr
from lvm_mtc.models.weights import load_weights
from lvm_mtc.schemes.loading import STEREO_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward


def test_the_file_is_small_and_says_where_it_comes_from():
    scheme, _ = load_scheme(STEREO_WEIGHTS)
    assert STEREO_WEIGHTS.stat().st_size <= 0.9e6 and scheme.config.decoder == "gaussians"
    _, about = load_weights(STEREO_WEIGHTS)
    assert about["scheme"] == "gs_scnet" and about["recipe"]["stages"]["joint"]["total_steps"] == 1500
    assert scheme.config.fusion == "disparity"


@pytest.mark.slow
def test_the_view_that_was_not_sent_is_better_than_the_nearest_one(shared_data):
    """Textures of photographs that training had none of."""
    names = read_voc_list(shared_data / "voc2012_320" / "ImageSets" / "Main" / "val.txt")[:40]
    textures = [load_image(shared_data / "voc2012_320" / "JPEGImages" / f"{name}.jpg") for name in names]
    pairs = synthetic_stereo(8, 64, seed=1, textures=textures)
    scheme, params = load_scheme(STEREO_WEIGHTS)
    send = jax.jit(lambda source: forward(
        scheme, params, source, jax.random.key(0), LinkConfig(fading="awgn"), OperatingPoint(snr_db=10.0)))  # fmt: skip
    estimate = jax.device_get(send(Source(np.float32(pairs.pictures[:, None]) / 255)).estimate)
    middle = np.float32(pairs.middle) / 255
    reached, copied = psnr(middle, estimate.data[:, 0, 2].clip(0, 1)), psnr(middle, pairs.pictures[:, 0] / 255)
    assert np.mean(reached - copied) > 3 and np.all(estimate.tells["overflow"] == 0)
