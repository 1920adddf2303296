import itertools
import math

import numpy as np
import pytest

from lvm_mtc.data import center_to_corners, load_image, uav_views
from lvm_mtc.data.views import MIN_VIEW_SIDE, largest_side, view_lattice, view_windows


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def shared_area(first, second):
    """Area of the intersection over the area of one view, from the rectangles alone."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0) / ((first[2] - first[0]) * (first[3] - first[1]))


CASES = list(itertools.product(range(1, 11), (0.0, 0.3, 0.75, 0.99), ((400, 400), (300, 451), (640, 200))))


@pytest.mark.parametrize("num_uavs, overlap, shape", CASES)
def test_neighbours_share_exactly_the_overlap(num_uavs, overlap, shape):
    out = uav_views(noise(*shape), num_uavs, overlap, size=8)
    assert out.views.shape == (num_uavs, 8, 8, 3) and out.views.dtype == np.uint8
    lattice = view_lattice(num_uavs)
    assert len({tuple(place) for place in lattice}) == num_uavs
    for i, j in itertools.combinations(range(num_uavs), 2):
        column, row = np.abs(lattice[i] - lattice[j])
        expected = max(1 - column * (1 - overlap), 0) * max(1 - row * (1 - overlap), 0)
        assert shared_area(out.windows[i], out.windows[j]) == pytest.approx(expected, abs=1e-9)
        if (column, row) in ((0, 1), (1, 0)):
            assert expected == pytest.approx(overlap)


@pytest.mark.parametrize("num_uavs, overlap, shape", CASES)
def test_views_are_equal_squares_inside_and_as_large_as_they_can_be(num_uavs, overlap, shape):
    windows = uav_views(noise(*shape), num_uavs, overlap, size=8).windows
    sides = windows[:, 2:] - windows[:, :2]
    np.testing.assert_allclose(sides, sides[0, 0])
    assert windows.min() >= 0 and (windows[:, 2] <= shape[1]).all() and (windows[:, 3] <= shape[0]).all()
    spread = windows[:, 2:].max(axis=0) - windows[:, :2].min(axis=0)
    assert max(spread / [shape[1], shape[0]]) == pytest.approx(1)
    np.testing.assert_allclose(windows[:, 2:].max(axis=0) + windows[:, :2].min(axis=0), [shape[1], shape[0]])


def test_every_neighbour_pair_exists_on_the_lattice():
    for num_uavs in range(2, 11):
        lattice = view_lattice(num_uavs)
        distance = np.abs(lattice[:, None] - lattice[None]).sum(axis=-1)
        assert ((distance == 1).sum(axis=1) >= 1).all()
        assert lattice.max() + 1 == math.ceil(math.sqrt(num_uavs))


def test_overlapping_views_hold_the_same_pixels():
    image = noise(120, 120)
    views = uav_views(image, 4, 0.75, size=96).views  # 120 = 96 + 24: nothing is resampled
    np.testing.assert_array_equal(views[0], image[:96, :96])
    np.testing.assert_array_equal(views[1][:, :72], views[0][:, 24:])
    np.testing.assert_array_equal(views[2][:72], views[0][24:])
    np.testing.assert_array_equal(views[3], image[24:, 24:])
    assert (views[1][:, :72] != views[0][:, :72]).mean() > 0.9


def test_the_box_follows_the_object():
    """A red rectangle is found again in each view by its colour, apart from the code under test."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        height, width = rng.integers(150, 400, 2)
        w, h = rng.integers(20, 90, 2)
        left, top = rng.integers(0, width - w), rng.integers(0, height - h)
        image = np.zeros((height, width, 3), np.uint8)
        image[top : top + h, left : left + w, 0] = 255
        box = (left + w / 2, top + h / 2, w, h)
        out = uav_views(image, 4, 0.5, size=80, box=box)
        for view, found, visible in zip(out.views, out.boxes, out.visible, strict=True):
            rows, columns = np.nonzero(view[..., 0] > 127)
            assert (visible > 0) == (len(rows) > 0)
            if len(rows):
                measured = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                np.testing.assert_allclose(center_to_corners(found), measured, atol=1.01)
            assert (center_to_corners(found) >= -1e-4).all() and (center_to_corners(found) <= 80 + 1e-4).all()


def test_a_box_shifted_by_two_pixels_would_be_noticed():
    image = np.zeros((200, 200, 3), np.uint8)
    image[60:100, 60:100, 0] = 255
    found = uav_views(image, 1, 0, size=200, box=(82, 80, 40, 40)).boxes[0]
    columns = np.nonzero(image[..., 0].any(axis=0))[0]
    assert abs(center_to_corners(found)[0] - columns.min()) > 1.01


def test_the_side_gives_the_box_its_share():
    out = uav_views(noise(600, 600), 4, size=96, box=(300, 310, 120, 80), box_fraction=0.2)
    np.testing.assert_allclose(out.boxes[:, 2] * out.boxes[:, 3] / 96**2, 0.2, rtol=1e-5)
    np.testing.assert_array_equal(out.visible, 1)


def test_views_of_a_small_object_are_not_enlarged():
    out = uav_views(noise(600, 600), 4, size=96, box=(300, 310, 12, 8))
    assert out.windows[0, 2] - out.windows[0, 0] == pytest.approx(96)


def test_views_that_fill_the_photograph_do_not_leave_it():
    out = uav_views(noise(100, 100), 4, 0.75, size=96, box=(50, 50, 100, 100))
    assert out.windows.max() == pytest.approx(100) and out.boxes.shape == (4, 4)
    np.testing.assert_allclose(out.boxes, [[48, 48, 96, 96]] * 4, atol=1e-3)


def test_every_view_has_a_part_of_the_box_whenever_it_can():
    """Where a view was left without the object, no side and no place on a fine grid would have helped."""
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(300):
        num_uavs, overlap = int(rng.integers(1, 11)), rng.choice([0.0, 0.25, 0.5, 0.75, 0.9])
        height, width = rng.integers(80, 300, 2)
        w, h = rng.integers(4, 80, 2)
        box = (rng.uniform(w / 2, width - w / 2), rng.uniform(h / 2, height - h / 2), w, h)
        out = uav_views(np.zeros((height, width, 3), np.uint8), num_uavs, overlap, size=8, box=box)
        if out.visible.min() > 0:
            continue
        missed += 1
        columns, rows = view_lattice(num_uavs).max(axis=0) * (1 - overlap)
        for side in np.arange(MIN_VIEW_SIDE, largest_side(height, width, num_uavs, overlap), 0.5):
            possible = []
            for center, extent, length, steps in ((box[0], w, width, columns), (box[1], h, height, rows)):
                origin = np.arange(0, length - side * (1 + steps) + 1e-9, 0.5)
                first_sees = (origin < center + extent / 2 - 1) & (origin + side > center - extent / 2 + 1)
                last = origin + steps * side
                last_sees = (last < center + extent / 2 - 1) & (last + side > center - extent / 2 + 1)
                possible.append((first_sees & last_sees).any())
            assert not all(possible), (num_uavs, overlap, height, width, box, side)
    assert 5 < missed < 200


def test_an_object_that_a_view_cannot_see_leaves_an_empty_box_at_the_border():
    out = uav_views(noise(300, 300), 4, 0.0, size=32, box=(4, 4, 8, 8))
    np.testing.assert_allclose(out.visible, [1, 0, 0, 0])
    assert (out.boxes[1:, 2:].min(axis=1) == 0).all()
    np.testing.assert_allclose(out.boxes[3], [0, 0, 0, 0])


def test_without_a_box_every_view_has_the_centre_prior():
    out = uav_views(noise(100, 140), 3, 0.5, size=64)
    np.testing.assert_array_equal(out.boxes, np.tile(np.float32([32, 32, 32, 32]), (3, 1)))


def test_grey_pictures_are_taken():
    assert uav_views(noise(64, 64)[..., 0], 2, size=16).views.shape == (2, 16, 16, 3)


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ({"num_uavs": 0}, "num_uavs must be a positive integer, got 0"),
        ({"num_uavs": 2.0}, "num_uavs must be a positive integer, got 2.0"),
        ({"num_uavs": True}, "num_uavs must be a positive integer, got True"),
        ({"overlap": 1.0}, r"overlap must lie in \[0, 1\), got 1.0"),
        ({"overlap": -0.1}, r"overlap must lie in \[0, 1\), got -0.1"),
        ({"overlap": float("nan")}, "overlap must lie in"),
        ({"size": 0}, "size must be a positive integer"),
        ({"size": (8, 9)}, "views are square"),
        ({"box_fraction": 0}, r"box_fraction must lie in \(0, 1\], got 0"),
        ({"box": (5, 5, 20, 20)}, "box .* reaches outside the picture of 80 x 60"),
        ({"box": (1, 2)}, "box must be four finite numbers"),
        ({"image": np.zeros((20, 20, 3))}, "float64"),
        ({"image": noise(10, 100)}, "4 views with overlap 0.75 do not fit in 100 x 10 pixels: each would be 8.0"),
        ({"num_uavs": 50, "overlap": 0.0}, "50 views .* do not fit in 80 x 60 pixels: .* at least 16 are needed"),
    ],
)
def test_impossible_views_are_refused_by_name(arguments, reason):
    arguments = {"image": noise(60, 80), "num_uavs": 4, "overlap": 0.75, "size": 8, **arguments}
    with pytest.raises(ValueError, match=reason):
        uav_views(**arguments)


def test_windows_of_a_real_photograph_hold_its_pixels(shared_data):
    image = load_image(shared_data / "kodak" / "kodim23.png")
    out = uav_views(image, 6, 0.5, size=96)
    for view, (left, top, right, bottom) in zip(out.views, out.windows, strict=True):
        crop = image[int(top) : math.ceil(bottom), int(left) : math.ceil(right)]
        np.testing.assert_allclose(view.mean(axis=(0, 1)), crop.mean(axis=(0, 1)), atol=1.5)
    np.testing.assert_allclose(view_windows(512, 768, 6, 0.5, side=1024 / 3), out.windows)
