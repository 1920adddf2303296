"""Rectification: turned cameras see every point in one row, and what they see is the picture between its pixels."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from lvm_mtc.data.llff import CaptureError
from lvm_mtc.data.rectification import bilinear, rectify, turned, turned_focal_length
from lvm_mtc.data.stereo import vertical_mismatch

RNG = np.random.default_rng(3)
POINTS = RNG.uniform([-4, -3, 6], [4, 3, 20], (200, 3))
FOCAL = 100.0


def cameras(seed):
    """Three cameras that look about forward, one beside the other, in a world that is turned itself."""
    rng = np.random.default_rng(seed)
    world = Rotation.random(random_state=seed).as_matrix()
    own = Rotation.from_euler("xyz", rng.uniform(-15, 15, (3, 3)), degrees=True).as_matrix()
    centre = np.array([[0, 0, 0], [0.4, 0, 0], [1, 0, 0]]) + rng.uniform(-0.1, 0.1, (3, 3))
    return world @ own, centre @ world.T, POINTS @ world.T


def seen(points, axes, centre):
    """Columns and rows, pixels from the optical axis, and depth, ``[n, 3]``."""
    x, y, z = ((points - centre) @ axes).T
    return np.stack([FOCAL * x / z, FOCAL * y / z, z], axis=-1)


@pytest.mark.parametrize("seed", range(5))
def test_after_it_both_cameras_see_every_point_in_one_row(seed):
    rotation, centre, points = cameras(seed)
    common = rectify(rotation[[0, 2]], centre[[0, 2]])
    left, right = (seen(points, common.rotation, centre[i]) for i in (0, 2))
    assert np.abs(left[:, 1] - right[:, 1]).max() < 1e-9
    np.testing.assert_allclose(left[:, 0] - right[:, 0], FOCAL * common.baseline / left[:, 2], atol=1e-9)
    np.testing.assert_allclose(common.rotation.T @ common.rotation, np.eye(3), atol=1e-12)
    assert np.linalg.det(common.rotation) > 0
    # Without it they do not.
    left, right = (seen(points, rotation[i], centre[i]) for i in (0, 2))
    assert np.abs(left[:, 1] - right[:, 1]).max() > 1


def test_a_rectified_pair_stays_as_it_is():
    axes = Rotation.random(random_state=1).as_matrix()
    centre = np.array([1.0, 2, 3]) + np.array([0, 2.5])[:, None] * axes[:, 0]
    common = rectify(np.stack([axes, axes]), centre)
    np.testing.assert_allclose(common.rotation, axes, atol=1e-12)
    assert common.baseline == pytest.approx(2.5, abs=1e-12)
    assert common.place(centre[0])[0] == 0 and common.place(centre[1])[0] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_a_third_camera_has_a_place_between_and_a_distance_from_the_line(seed):
    rotation, centre, points = cameras(seed)
    common = rectify(rotation[[0, 2]], centre[[0, 2]])
    place, (down, forward) = common.place(centre[1])
    assert 0 < place < 1
    on_the_line = centre[0] + place * (centre[2] - centre[0])
    assert np.hypot(down, forward) == pytest.approx(np.linalg.norm(centre[1] - on_the_line), abs=1e-12)
    # Where a camera is off the line by y alone, points are f y / z too high.
    off = on_the_line + down * common.rotation[:, 1]
    rows, moved = (seen(points, common.rotation, at) for at in (on_the_line, off))
    np.testing.assert_allclose(rows[:, 1] - moved[:, 1], FOCAL * down / rows[:, 2], atol=1e-9)
    # The place on the line is also that of a synthetic view: between both others, by the disparity.
    left, right = (seen(points, common.rotation, centre[i]) for i in (0, 2))
    np.testing.assert_allclose(rows[:, 0], (1 - place) * left[:, 0] + place * right[:, 0], atol=1e-9)


def test_impossible_pairs_say_what_is_wrong():
    rotation, centre, _ = cameras(0)
    for both, words in ((centre[[2, 0]], "to the right of the first"), (centre[[0, 0]], "to the right of the first")):
        with pytest.raises(CaptureError, match=words):
            rectify(rotation[[0, 2]], both)
    with pytest.raises(CaptureError, match="look away from each other"):
        rectify(np.stack([np.eye(3), np.diag([1.0, -1, -1])]), np.array([[0.0, 0, 0], [1, 0, 0]]))


def test_between_pixels_it_is_scipys_interpolation():
    picture = RNG.integers(0, 256, (7, 9, 3), np.uint8)
    x, y = RNG.uniform(-2, 11, 400), RNG.uniform(-2, 9, 400)
    found, inside = bilinear(picture, x, y)
    at = np.clip(y, 0, 6), np.clip(x, 0, 8)
    wanted = np.stack([map_coordinates(np.float64(picture[..., c]), at, order=1) for c in range(3)], axis=-1)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    np.testing.assert_array_equal(inside, (x >= 0) & (x <= 8) & (y >= 0) & (y <= 6))
    np.testing.assert_array_equal(bilinear(picture, *np.float64(np.meshgrid(range(9), range(7))))[0], picture)
    assert not bilinear(picture, np.array([np.nan]), np.array([0.0]))[1].any()


def test_a_camera_that_is_not_turned_sees_its_picture():
    picture = RNG.integers(0, 256, (12, 16, 3), np.uint8)
    axes = Rotation.random(random_state=2).as_matrix()
    same, valid = turned(picture, axes, 20.0, axes, (12, 16), rays=1)
    # Rays meet the pixels' centres but for rounding, which at most moves an edge pixel's ray out.
    np.testing.assert_array_equal(same, picture)
    assert valid[1:-1, 1:-1].all()
    # Of two rays a pixel of half the size, each meets one pixel's centre: the mean of 2 x 2.
    half, _ = turned(picture, axes, 20.0, axes, (6, 8), rays=2)
    wanted = picture.reshape(6, 2, 8, 2, 3).mean((1, 3))
    assert np.abs(half - wanted).max() <= 0.5 and turned_focal_length(20.0, (12, 16), (6, 8)) == 10
    # Of another form it shows all of the height, or all of the width.
    assert turned_focal_length(20.0, (12, 16), (6, 16)) == 20 and turned_focal_length(20.0, (12, 16), (12, 8)) == 20


def test_turned_pictures_of_a_textured_wall_correspond_row_by_row():
    rotation, centre, _ = cameras(4)
    common = rectify(rotation[[0, 2]], centre[[0, 2]])
    pictures = [wall(rotation[i], centre[i], common.rotation) for i in (0, 2)]
    both = np.stack(
        [turned(p, rotation[i], 90.0, common.rotation, (96, 96))[0] for p, i in zip(pictures, (0, 2), strict=True)]
    )
    assert vertical_mismatch(np.stack(pictures)) > 1
    assert vertical_mismatch(both) == 0


def wall(axes, centre, common, side=96, focal=90.0):
    """What a camera sees of a wall across the common z axis, with waves on it, ``[side, side, 3]`` uint8."""
    v, u = np.mgrid[:side, :side] + 0.5 - side / 2
    rays = np.stack([u / focal, v / focal, np.ones_like(u)], axis=-1) @ axes.T @ common
    at = rays[..., :2] / rays[..., 2:] * 10 + (centre @ common)[:2]
    waves = [np.sin(a * at[..., 0] + b * at[..., 1]) for a, b in ((2.1, 0.7), (0.9, -2.6), (-1.3, 1.9))]
    return np.uint8(127 + 100 * np.stack(waves, axis=-1))
