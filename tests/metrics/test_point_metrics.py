"""Metrics of point clouds against SciPy's k-d tree, and the gradient of the loss against finite differences."""

import jax
import numpy as np
import pytest
from scipy.spatial import cKDTree

from lvm_mtc.metrics import METRICS
from lvm_mtc.metrics.points import chamfer_distance, d1_psnr, hausdorff_distance
from lvm_mtc.schemes.point_clouds.losses import chamfer

RNG = np.random.default_rng(3)
ONE, TWO = np.float32(RNG.uniform(-1, 1, (4, 50, 3))), np.float32(RNG.uniform(-1, 1, (4, 37, 3)))


def by_tree(a, b):
    return cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]


def test_distances_are_those_of_a_tree():
    found = [np.asarray(of(ONE, TWO)) for of in (chamfer_distance, d1_psnr, hausdorff_distance, chamfer)]
    for i, (a, b) in enumerate(zip(np.float64(ONE), np.float64(TWO), strict=True)):
        there, back = by_tree(a, b)
        squares = (there**2).mean(), (back**2).mean()
        assert found[0][i] == pytest.approx(sum(squares), rel=1e-6)
        assert found[1][i] == pytest.approx(10 * np.log10(12 / max(squares)), rel=1e-6)
        assert found[2][i] == pytest.approx(max(there.max(), back.max()), rel=1e-6)
        assert found[3][i] == pytest.approx(found[0][i], rel=1e-6)


def test_they_are_symmetric_and_vanish_for_the_same_set():
    for of in (chamfer_distance, d1_psnr, hausdorff_distance):
        np.testing.assert_allclose(of(ONE, TWO), of(TWO, ONE), rtol=1e-6)
    mixed = ONE[:, RNG.permutation(50)]
    assert not np.asarray(chamfer_distance(ONE, mixed)).any() and not np.asarray(hausdorff_distance(ONE, mixed)).any()
    assert np.isinf(d1_psnr(ONE, mixed)).all()
    np.testing.assert_allclose(d1_psnr(ONE, TWO, 1.0), d1_psnr(ONE, TWO) - 20 * np.log10(2), rtol=1e-5)
    assert list(METRICS["points"])[:3] == ["d1_psnr_db", "chamfer", "hausdorff"]


def test_the_loss_has_the_gradient_of_finite_differences():
    gradient = np.asarray(jax.grad(lambda a: chamfer(a, TWO).sum())(ONE), np.float64)
    step = 1e-4
    for cloud, point, axis in ((0, 3, 1), (1, 20, 2), (3, 49, 0)):
        values = []
        for sign in (1, -1):
            moved = np.float64(ONE[cloud])
            moved[point, axis] += sign * step
            values.append(sum((d**2).mean() for d in by_tree(moved, np.float64(TWO[cloud]))))
        assert gradient[cloud, point, axis] == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-3, abs=1e-7)
