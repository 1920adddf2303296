import numpy as np
import pytest

from lvm_mtc.data import center_prior, center_to_corners, corners_to_center
from lvm_mtc.data.boxes import box_in_window, check_box, enlarge_box


def test_corners_and_centre_are_inverse():
    np.testing.assert_allclose(corners_to_center(np.array([10, 20, 30, 60])), [20, 40, 20, 40])
    boxes = np.random.default_rng(0).uniform(1, 50, (5, 7, 4))
    np.testing.assert_allclose(corners_to_center(center_to_corners(boxes)), boxes)
    assert not np.allclose(center_to_corners(boxes), boxes)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        corners_to_center(np.zeros(3))


@pytest.mark.parametrize("fraction", [0.1, 0.25, 1.0])
def test_the_prior_is_centred_and_has_its_share_of_the_area(fraction):
    x, y, w, h = center_prior(60, 90, fraction)
    assert (x, y) == (45, 30) and w * h == pytest.approx(fraction * 60 * 90) and w / h == pytest.approx(1.5)


@pytest.mark.parametrize("fraction", [0.0, -1, 1.01, float("nan")])
def test_a_prior_of_no_or_too_much_area_is_refused(fraction):
    with pytest.raises(ValueError, match=r"fraction must lie in \(0, 1\], got"):
        center_prior(60, 90, fraction)


def test_a_margin_reaches_to_the_edge_of_the_picture():
    inside, at_the_edge = enlarge_box([[50, 30, 20, 10], [10, 30, 20, 10]], 0.1, 60, 100)
    np.testing.assert_allclose(inside, [50, 30, 24, 12])
    np.testing.assert_allclose(at_the_edge, [11, 30, 22, 12])  # edges 0 and 22, for there is nothing left of 0
    boxes = np.random.default_rng(0).uniform(10, 20, (4, 2, 4))
    np.testing.assert_allclose(enlarge_box(boxes, 0, 100, 100), boxes)
    np.testing.assert_allclose(enlarge_box(boxes, 100, 80, 90), np.broadcast_to([45, 40, 90, 80], boxes.shape))
    with pytest.raises(ValueError, match="margin must be >= 0, got nan"):
        enlarge_box(boxes, float("nan"), 80, 90)


def test_box_in_window_is_clipped_scaled_and_measured():
    box, window = [50, 50, 40, 20], [40, 0, 80, 80]  # corners 30, 40, 70, 60: a quarter lies left of the window
    inside, visible = box_in_window(box, window, (160, 40))
    np.testing.assert_allclose(inside, [15, 100, 30, 40])
    assert visible == 0.75


def test_a_box_outside_is_empty_at_the_nearest_border():
    inside, visible = box_in_window([10, 20, 8, 8], [30, 10, 50, 30], (10, 10))
    np.testing.assert_allclose(inside, [0, 5, 0, 4])
    assert visible == 0


@pytest.mark.parametrize(
    "box, reason",
    [
        ((1, 2, 3), "four finite numbers"),
        ("face", "four finite numbers"),
        (None, "four finite numbers"),
        ((5, 5, float("nan"), 4), "four finite numbers"),
        ((5, 5, 0, 4), "positive width and height"),
        ((5, 5, -4, 4), "positive width and height"),
        ((5, 5, 12, 4), "reaches outside the picture of 20 x 10"),
        ((5, 9, 4, 4), "reaches outside the picture of 20 x 10"),
    ],
)
def test_bad_boxes_are_refused(box, reason):
    with pytest.raises(ValueError, match=f"^box .*{reason}"):
        check_box(box, 10, 20)
    np.testing.assert_array_equal(check_box((10, 5, 20, 10), 10, 20), [10, 5, 20, 10])
