"""Sampling, groups and cells of clouds against loops in NumPy."""

import jax
import numpy as np
import pytest

from lvm_mtc.models.point_geometry import ball_groups, cells, farthest_points, take_points

RNG = np.random.default_rng(0)
CLOUDS = np.float32(RNG.normal(size=(3, 60, 3)))
CLOUDS[2, 30:] = CLOUDS[2, :30]  # every point twice


def plain_farthest(points, count):
    points = np.float64(points)
    places = [int(np.argmax(((points - points.mean(0)) ** 2).sum(1)))]
    nearest = np.full(len(points), np.inf)
    gaps = []
    for _ in range(count - 1):
        nearest = np.minimum(nearest, ((points - points[places[-1]]) ** 2).sum(1))
        places.append(int(np.argmax(nearest)))
        gaps.append(nearest[places[-1]])
    return places, gaps


def test_farthest_points_are_those_of_a_loop():
    found = np.asarray(jax.jit(farthest_points, static_argnums=1)(CLOUDS, 12))
    for cloud, places in zip(CLOUDS, found, strict=True):
        wanted, gaps = plain_farthest(cloud, 12)
        assert places.tolist() == wanted and len(set(wanted)) == 12
        assert np.all(np.diff(gaps) <= 1e-6)
    order = RNG.permutation(60)
    again = np.asarray(farthest_points(CLOUDS[:2, order], 12))
    np.testing.assert_array_equal(order[again], found[:2])


def test_balls_hold_the_nearest_and_repeat_the_first():
    centres = CLOUDS[:, :5] + np.float32(0.05)
    for radius in (0.4, 9.0):
        found = np.asarray(ball_groups(CLOUDS, centres, 8, radius))
        for cloud, of_cloud, middles in zip(CLOUDS[:2], found, centres, strict=False):
            for middle, places in zip(middles, of_cloud, strict=True):
                gap = np.linalg.norm(np.float64(cloud) - middle, axis=1)
                order = np.argsort(gap)[:8]
                wanted = np.where(gap[order] <= radius, order, order[0])
                np.testing.assert_array_equal(places, wanted)
    assert (np.asarray(ball_groups(CLOUDS, centres, 8, 0.4))[..., -1] == found[..., 0]).any()  # balls with fewer
    assert take_points(CLOUDS, found).shape == (3, 5, 8, 3)


def test_cells_are_those_of_lloyd_and_their_means_make_the_centroid():
    start = CLOUDS[:, :6]
    means, covariance, count = (np.asarray(a, np.float64) for a in cells(CLOUDS, start, 2))
    for cloud, centres, *found in zip(np.float64(CLOUDS), np.float64(start), means, covariance, count, strict=True):
        for _ in range(3):
            own = np.argmin(((cloud[:, None] - centres) ** 2).sum(-1), axis=1)
            centres = np.stack([cloud[own == k].mean(0) if (own == k).any() else centres[k] for k in range(6)])
        np.testing.assert_allclose(found[0], centres, atol=1e-5)
        np.testing.assert_array_equal(found[2], np.bincount(own, minlength=6))
        np.testing.assert_allclose(found[0].T @ found[2] / 60, cloud.mean(0), atol=1e-6)
        for k in range(6):
            np.testing.assert_allclose(found[1][k], np.cov(cloud[own == k].T, bias=True), atol=1e-5)


def test_a_cell_without_points_keeps_its_centre():
    centres = np.float32([[[0, 0, 0], [50, 50, 50]]])
    means, covariance, count = cells(CLOUDS[:1], centres, 1)
    assert np.asarray(count)[0].tolist() == [60, 0] and np.asarray(means)[0, 1].tolist() == [50, 50, 50]
    assert not np.asarray(covariance)[0, 1].any()


def test_more_points_than_there_are_are_refused():
    with pytest.raises(ValueError, match=r"1 ... 60, got 61"):
        farthest_points(CLOUDS, 61)
