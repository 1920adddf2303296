"""The video codec that the package brings."""

import dataclasses

import jax
import numpy as np
import pytest

from lvm_mtc.data.clips import load_clip, middle
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.weights import load_weights
from lvm_mtc.schemes.loading import CLIP_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.mark.slow
def test_it_beats_its_own_linear_codec_on_clips_that_nobody_trained_on(shared_data):
    clips = [middle(load_clip(shared_data / "clips" / "test" / name, limit=8), (96, 96)) for name in ("boat1", "gull1")]
    source = Source(np.float32(clips)[:, None] / 255)
    scheme, params = load_scheme(CLIP_WEIGHTS)
    scheme = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, num_frames=8))
    linear = dataclasses.replace(scheme, config=scheme.linear_config)
    link, point = LinkConfig(fading="awgn", convention="rx_per_antenna"), OperatingPoint(snr_db=10.0)

    @jax.jit
    def send(params, data):
        both = [forward(s, params, Source(data), jax.random.key(0), link, point) for s in (scheme, linear)]
        return [out.estimate.data for out in both], both[0].ledger

    (learned, start), ledger = send(params, source.data)
    psnr = [-10 * np.log10(np.mean((a - source.data) ** 2, axis=(-3, -2, -1))).mean((1, 2)) for a in (learned, start)]
    assert (psnr[0] > psnr[1] + 0.1).all() and (psnr[1] > [24.5, 26]).all()
    np.testing.assert_array_equal(ledger.channel_uses(), 8 * 864)
    assert (ledger.side_information_bits < 8 * 200).all()


def test_the_file_says_where_it_comes_from():
    assert CLIP_WEIGHTS.stat().st_size <= 2 * 2**20
    params, about = load_weights(CLIP_WEIGHTS, dtype=None)
    assert about["seed"] == 0 and about["data"]["clips"] == [11, 64, 144, 176, 3]
    assert about["recipe"]["stages"]["system"]["batch_size"] == 1
    assert {"jax", "flax", "optax", "python"} <= set(about["versions"])
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float16")}
