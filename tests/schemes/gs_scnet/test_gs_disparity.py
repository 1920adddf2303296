"""Matching and warping of stereo pairs against rolls, closed forms and scenes whose disparity is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.data.synthetic_stereo import Plane, Scene
from lvm_mtc.schemes.gs_scnet.disparity import (
    around,
    canonical,
    cost_volume,
    partner,
    pool,
    soft_argmax,
    spread,
    visible,
    warp,
)

pytestmark = pytest.mark.usefixtures("fast_compile")
RNG = np.random.default_rng(0)


def wave(frequency=(1.0, 1.0), phase=0.0):
    """A texture without edges, [160, 160, 3] uint8."""
    y, x = np.mgrid[:160, :160] / 159 * np.pi
    of = [127 + 100 * np.cos(k * x * frequency[0] + phase) * np.cos(y * frequency[1]) for k in (1, 2, 3)]
    return np.uint8(np.stack(of, -1))


def plane(disparity, centre=(16.0, 16.0), half_axes=(np.inf, np.inf), texture=None):
    texture = wave() if texture is None else texture
    return Plane(disparity, centre, half_axes, 0.0, True, texture, 0.03)


def test_a_whole_disparity_moves_columns_and_repeats_the_border():
    x = RNG.normal(size=(2, 5, 9, 3))
    for shift in (0, 3, -2):
        moved = warp(jnp.asarray(x), jnp.full(x.shape[:3], float(shift)))
        place = np.clip(np.arange(9) - shift, 0, 8)
        np.testing.assert_allclose(moved, x[:, :, place], atol=1e-6)


def test_between_columns_the_warp_is_numpys_interpolation():
    x, shift = RNG.normal(size=(3, 11)), RNG.uniform(-4, 4, (3, 11))
    got = warp(jnp.asarray(x)[None, ..., None], jnp.asarray(shift)[None])[0, ..., 0]
    for row in range(3):
        np.testing.assert_allclose(got[row], np.interp(np.arange(11) - shift[row], np.arange(11), x[row]), atol=1e-5)


def test_the_warped_right_view_of_a_slanted_plane_is_the_left_one():
    scene = Scene((plane((3.0, 0.02, 0.05)),), (32, 32))
    (left, disparity), (right, _) = (scene.view(place) for place in (0.0, 1.0))
    made = warp(jnp.asarray(right / 255.0)[None], jnp.asarray(disparity)[None])[0]
    inside = np.arange(32)[None] - disparity >= 0
    # The views are rounded to 256 levels, and the disparity is that of a pixel's middle.
    error = np.abs(made - left / 255.0)[inside]
    assert error.mean() < 2e-3 and error.max() < 1e-2
    assert np.abs(right - left.astype(float))[inside].mean() / 255 > 0.02


def test_the_left_right_check_flags_the_occluded_columns_alone():
    behind, front, size = 2.0, 8.0, (16, 48)
    box = plane((front, 0.0, 0.0), centre=(24.0, 8.0), half_axes=(8.0, np.inf))
    scene = Scene((plane((behind, 0.0, 0.0)), box), size)
    pair = jnp.asarray(np.stack([scene.view(place)[1] for place in (0.0, 1.0)]))[None]
    seen = canonical(visible(canonical(pair)))[0]
    # The box covers columns 20 ... 36 of the left view; beside it, d_front - d_behind columns are hidden on the right.
    edge = int(24 - 8 + front / 2)
    hidden = np.zeros(48, bool)
    hidden[edge - int(front - behind) : edge] = True
    inside = np.arange(48) >= front
    np.testing.assert_array_equal((np.asarray(seen[0, 8]) < 0.5)[inside], hidden[inside])
    np.testing.assert_allclose(seen[0, 8][hidden], np.exp(-(front - behind)), rtol=1e-5)
    assert hidden.sum() == front - behind


def test_canonical_views_are_mirrored_pairs():
    pair = jnp.asarray(RNG.normal(size=(2, 2, 3, 4, 5)))
    np.testing.assert_array_equal(canonical(canonical(pair)), pair)
    views = canonical(pair)
    np.testing.assert_array_equal(partner(views)[:, 0], pair[:, 1])
    np.testing.assert_array_equal(canonical(partner(views)), pair[:, ::-1])


def test_the_cost_volume_is_the_mean_difference_at_each_shift():
    own, other = RNG.uniform(size=(2, 4, 8, 3))
    volume = cost_volume(jnp.asarray(own), jnp.asarray(other), 4, 2)
    for k in range(4):
        moved = other[:, np.maximum(np.arange(8) - k, 0)]
        want = np.abs(own - moved).mean(-1).reshape(2, 2, 4, 2).mean((1, 3))
        np.testing.assert_allclose(volume[..., k], want, atol=1e-6)
    wide = np.pad(np.asarray(volume), [(1, 1), (1, 1), (0, 0)], mode="edge")
    mean = sum(wide[i : i + 2, j : j + 4] for i in range(3) for j in range(3)) / 9
    np.testing.assert_allclose(around(volume), mean, atol=1e-6)


def test_the_soft_argmax_of_a_peak_is_its_place():
    for place in (0, 3, 8):
        assert abs(float(soft_argmax(100 * jax.nn.one_hot(jnp.array(place), 9))) - place) < 1e-4
    assert float(soft_argmax(jnp.zeros(9))) == pytest.approx(4)


def test_means_leave_out_what_is_unknown_and_a_slope_survives_the_finer_grid():
    disparity = np.float32([[1, 3, 0, 0], [2, 0, 0, 0]])
    np.testing.assert_allclose(pool(jnp.asarray(disparity), 2), [[2.0, 0.0]])
    slope = jnp.arange(6.0)[None] * jnp.ones((2, 1))
    fine = spread(slope, 4)
    np.testing.assert_allclose(fine[3, 2:-2], (np.arange(24)[2:-2] - 1.5) / 4, atol=1e-5)
