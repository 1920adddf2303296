import numpy as np
import pytest

from lvm_mtc.data import center_crop, fit_image, resize_image
from lvm_mtc.data.resizing import as_rgb, fit_window


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def lanczos_matrix(length, start, stop, out):
    """Row-stochastic Lanczos-3 weights, stretched by the scale where it shrinks (the usual antialiasing)."""
    scale = (stop - start) / out
    stretch = max(scale, 1.0)
    center = start + (np.arange(out) + 0.5) * scale
    t = (np.arange(length) + 0.5 - center[:, None]) / stretch
    weights = np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size, window", [(24, None), ((70, 31), None), (20, (3.5, 10.25, 43.5, 50.25))])
def test_resize_equals_separable_lanczos(size, window):
    image = noise(60, 50)
    left, top, right, bottom = window or (0, 0, 50, 60)
    height, width = (size, size) if isinstance(size, int) else size
    rows, columns = lanczos_matrix(60, top, bottom, height), lanczos_matrix(50, left, right, width)
    expected = np.einsum("yr,rcd,xc->yxd", rows, image.astype(float), columns)
    actual = resize_image(image, size, window=window).astype(float)
    # Pillow rounds and clips after each of its two passes, in 8-bit samples; the edge taps it drops matter as little.
    assert np.abs(actual - np.clip(expected, 0, 255)).mean() < 1.5
    shifted = np.roll(expected, 1, axis=1)
    assert np.abs(actual - np.clip(shifted, 0, 255)).mean() > 10


def test_shrinking_averages_instead_of_sampling():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    middle = resize_image(stripes, 16)[:, 4:12]
    assert np.abs(middle.astype(int) - 127).max() <= 8
    assert set(np.unique(stripes[2::4, 2::4])) == {255}  # plain sampling would have seen white only


def test_same_size_changes_nothing():
    np.testing.assert_array_equal(resize_image(noise(30, 40), (30, 40)), noise(30, 40))
    window = (5, 3, 25, 23)
    np.testing.assert_array_equal(resize_image(noise(30, 40), 20, window=window), noise(30, 40)[3:23, 5:25])


def test_center_crop_takes_the_middle():
    image = noise(31, 40)
    np.testing.assert_array_equal(center_crop(image, (11, 20)), image[10:21, 10:30])
    with pytest.raises(ValueError, match=r"crop of 32 x 20 does not fit in a picture of shape \(31, 40, 3\)"):
        center_crop(image, (32, 20))


@pytest.mark.parametrize("height, width, size", [(300, 451, 96), (40, 400, (30, 20)), (97, 97, (13, 29)), (7, 5, 100)])
def test_fit_window_is_the_largest_centred_one(height, width, size):
    left, top, right, bottom = fit_window(height, width, size)
    out_height, out_width = (size, size) if isinstance(size, int) else size
    assert (right - left) * out_height == pytest.approx((bottom - top) * out_width)
    assert max((right - left) / width, (bottom - top) / height) == pytest.approx(1)
    assert left + right == pytest.approx(width) and top + bottom == pytest.approx(height)
    assert fit_image(noise(height, width), size).shape == (out_height, out_width, 3)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused_with_dtype_or_shape(image):
    with pytest.raises(ValueError, match="a picture .*(uint8|float32|shape)"):
        as_rgb(image)


@pytest.mark.parametrize("size", [0, -3, 2.5, True, (3,), (3, 4, 5), (3, 0), "8", None])
def test_bad_sizes_are_refused_with_their_value(size):
    with pytest.raises(ValueError, match="size must be a positive integer"):
        resize_image(noise(8, 8), size)


@pytest.mark.parametrize("window", [(0, 0, 9, 8), (-0.1, 0, 5, 5), (5, 0, 5, 5), (0, 6, 5, 5), (0, 0, float("nan"), 5)])
def test_windows_outside_the_picture_are_refused(window):
    with pytest.raises(ValueError, match="is empty or reaches outside"):
        resize_image(noise(8, 8), 4, window=window)
