"""A standing check over every scheme: what its receivers are told besides the symbols is paid for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import OperatingPoint
from lvm_mtc.models.patch_features import grid_places
from lvm_mtc.schemes import SCHEMES, make_scheme, name_of
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import all_knobs, encode
from lvm_mtc.schemes.tiled import tiled

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fast_compile")]

BATCH = 16
"""Sources that differ in all that a source can, hints too."""
RNG = np.random.default_rng(0)


def pictures(side, num_uavs=2, **hints):
    noise = RNG.normal(size=(BATCH, num_uavs, side, side, 3)).cumsum(2).cumsum(3)
    low, high = (f(noise, axis=(2, 3, 4), keepdims=True) for f in (np.min, np.max))
    return Source(np.float32((noise - low) / (high - low)), hints)


def boxes(side, num_uavs=2):
    corner, size = np.sort(RNG.uniform(0.2, 0.8, (2, BATCH, num_uavs, 2)) * side, axis=0)
    return np.float32(np.concatenate([corner, size], -1))


def clip():
    return Source(np.float32(RNG.random((BATCH, 1, 16, 32, 32, 3))).cumsum(2) / 17)


def scenes():
    places = np.float32(RNG.random((BATCH, 1, 60, 4)).cumsum(-1) / 4)
    places[:, :, 30:] = np.resize(grid_places(np.float32([0, 0, 1, 1])), (30, 4))
    data = {
        "patches": np.float32(RNG.normal(size=(BATCH, 1, 60, 8))), "places": places,
        "question": RNG.integers(0, 4, (BATCH, 1, 2)), "answer": RNG.integers(0, 11, (BATCH, 1)),
    }  # fmt: skip
    weights = np.float32(RNG.random((2, BATCH, 1, 60)))
    hints = {"objective": weights[0], "subjective": weights[1], "valid": RNG.random((BATCH, 1, 60)) < 0.9}
    return Source(data, hints)


def stereo():
    pairs = np.float32(RNG.random((BATCH, 1, 2, 32, 32, 3)))
    middle, disparity = np.float32(RNG.random((BATCH, 1, 32, 32, 3))), np.float32(RNG.random((BATCH, 1, 2, 32, 32)))
    return Source(pairs, {"disparity": disparity, "middle": middle})


def asked():
    data = {
        "picture": np.float32(RNG.normal(size=(BATCH, 2, 6, 4))),
        "words": np.float32(RNG.normal(size=(BATCH, 2, 16, 5))),
        "words_valid": np.arange(16) < RNG.integers(1, 17, (BATCH, 2, 1)), "answer": RNG.integers(0, 2, (BATCH, 2)),
    }  # fmt: skip
    return Source(data)


def large(**hints):
    return Source(np.float32(RNG.random((BATCH, 2, 24, 40, 3))), hints)


def extents():
    return RNG.integers(8, 24, (BATCH, 2, 2), np.int32)


TOKENS = dict(image_size=16, patch_size=8, num_symbols=4, variant="tiny")
CLOUDS = dict(num_points=48, num_symbols=40)
CASES = {
    "lvm_mtc": (TOKENS, lambda: pictures(16, loc=boxes(16))),
    "constellation": (dict(scheme="lvm_mtc", config=TOKENS, num_points=16), lambda: pictures(16, loc=boxes(16))),
    "coded": (dict(scheme="lvm_mtc", config=TOKENS, num_points=16), lambda: pictures(16, loc=boxes(16))),
    "fa_semcom": (dict(patch_size=8, num_features=16, num_bits=4, width=16), scenes),
    "gs_scnet": (dict(size=(32, 32), features=16, max_disparity=8, symbols_per_position=3, capacity=400), stereo),
    "deepjscc": (dict(image_size=8, num_symbols=4), lambda: pictures(8)),
    "deepjscc_streams": (dict(image_size=8, num_symbols=6, num_streams=3, order="sorted"), lambda: pictures(8)),
    "menu": ({}, lambda: pictures(32)),
    "token2": (dict(variant="tiny", num_symbols=4), lambda: pictures(32)),
    "witt": ({}, lambda: pictures(32, 1)),
    "importance": (dict(image_size=16, patch_size=4, num_uses=96), lambda: pictures(16, loc=boxes(16))),
    "isfr": (dict(image_size=24, patch_size=4, num_groups=4, group_size=4, quantiser_bits=4), lambda: pictures(24, 4)),
    "linear": (dict(image_size=16, patch_size=8, num_symbols=16), lambda: pictures(16)),
    "linear_clouds": (CLOUDS, lambda: Source(np.float32(RNG.normal(size=(BATCH, 2, 48, 3)) / 4))),
    "point_clouds": (
        CLOUDS | dict(num_tokens=8, slots=8, neighbours=6, width=8, attention=4, allocation="importance"),
        lambda: Source(np.float32(RNG.normal(size=(BATCH, 2, 48, 3)) / 4)),
    ),
    "multimodal": (dict(rows=2, columns=3, place_width=4, word_width=5, width=8, depth=1), asked),
    "multitask": (
        dict(num_symbols=4, width=8, depth=(1, 1), num_heads=2, rank=2, fine=4, image_size=8, vocabulary=12,
             word_width=4, num_words=5, patch_size=6, answer_width=8),
        lambda: pictures(8, labels=RNG.integers(0, 10, (BATCH, 2))),
    ),
    "sfma": (dict(image_size=16, patch_size=4, num_symbols=8, width=16), lambda: pictures(16)),
    "context_vq": (dict(image_size=32, slices=(2, 6), codebook_sizes=(4, 16), codebook_size=16), lambda: pictures(32)),
    "progressive": (
        dict(variant="tiny", image_size=32, num_features=8, num_stages=3, codebook_size=16), lambda: pictures(32)
    ),
    "pvsc": (dict(size=(32, 32), num_frames=16, gop=4, num_uses=40, features=24, chunk=2), clip),
    "softcast": (dict(size=(32, 32), num_frames=16, gop=4, num_uses=96), clip),
    "tiled": (("linear", dict(image_size=16, patch_size=8, num_symbols=16)), lambda: large(extent=extents())),
    "tiled_masking": (("lvm_mtc", TOKENS), lambda: large(loc=boxes(24))),
    "vlm_csc": (
        dict(vocabulary=12, num_words=5, num_symbols=4, width=16, depth=1, num_heads=2, hidden=24),
        lambda: Source(RNG.integers(1, 12, (BATCH, 2, 5), np.int32)),
    ),
}  # fmt: skip


def test_every_scheme_stands_here():
    assert set(CASES) == set(SCHEMES)


@pytest.mark.parametrize("name", CASES)
def test_what_differs_from_source_to_source_costs_the_bits_to_tell_it(name):
    config, source = CASES[name]
    scheme = make_scheme(name, config) if isinstance(config, dict) else tiled(make_scheme(*config), 24, 40)
    assert name_of(scheme) == name
    source = jax.tree.map(jnp.asarray, source())
    shapes = jax.eval_shape(functools.partial(scheme.init, num_uavs=source.lead()[1]), jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.asarray(0.3 * RNG.normal(size=leaf.shape), leaf.dtype), shapes)
    point = OperatingPoint(snr_db=jnp.float32(8.0), knobs=all_knobs(scheme, {}))

    @jax.jit
    def told(params, source):
        sent = scheme.modulate(params, encode(scheme, params, source, jax.random.key(1), point.knobs), point)
        return [leaf for leaf in jax.tree.leaves(sent.side) if jnp.ndim(leaf)], sent.side_bits

    leaves, bits = jax.device_get(told(params, source))
    # Whatever else an axis holds, such as tiles, is within a source.
    rows = [leaf.reshape(BATCH, -1) for leaf in leaves]
    rows = {b"".join(row[n].tobytes() for row in rows) for n in range(BATCH)}
    assert bits.shape == (BATCH,) and np.all(bits >= np.log2(len(rows))), (len(rows), bits)
