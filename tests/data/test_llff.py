"""Cameras in LLFF's format: axes as they are named, and one line for what is none."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lvm_mtc.data.llff import CaptureError, read_llff

AXES = Rotation.random(3, random_state=0).as_matrix()
CENTRE = np.arange(9.0).reshape(3, 3)


def numbers():
    """Three cameras as the file has them: down, right, backwards, centre, and height, width, focal length."""
    right, down, forward = (AXES[..., i] for i in range(3))
    rows = np.stack([down, right, -forward, CENTRE, np.tile([300.0, 400.0, 350.0], (3, 1))], axis=-1)
    return np.concatenate([rows.reshape(3, 15), [[2.0, 50.0]] * 3], axis=1)


def saved(tmp_path, array):
    np.save(tmp_path / "poses_bounds.npy", array)
    return tmp_path / "poses_bounds.npy"


def test_axes_centres_and_sizes_are_those_of_the_file(tmp_path):
    cameras = read_llff(saved(tmp_path, numbers()))
    np.testing.assert_array_equal(cameras.rotation, AXES)
    np.testing.assert_array_equal(cameras.centre, CENTRE)
    np.testing.assert_array_equal(cameras.size, [[300, 400]] * 3)
    np.testing.assert_array_equal(cameras.focal_length, [350] * 3)
    np.testing.assert_array_equal(cameras.depth, [[2, 50]] * 3)
    np.testing.assert_array_equal(cameras.take([2, 0]).centre, CENTRE[[2, 0]])
    # Single precision is precise enough.
    assert read_llff(saved(tmp_path, np.float32(numbers()))).rotation.dtype == np.float64


def changed(place, value):
    array = numbers()
    array[place] = value
    return array


MIRRORED = numbers()
MIRRORED[1, [1, 6, 11]] *= -1
WRONG = {
    "shape": (numbers()[:, :15], r"17 numbers a camera, \[n, 17\], got \(3, 15\)"),
    "no camera": (numbers()[:0], r"got \(0, 17\)"),
    "NaN": (changed((1, 3), np.nan), "finite"),
    "integers": (np.int64(numbers()), "finite floating-point numbers, got int64"),
    "stretched": (changed((2, slice(0, 15, 5)), 1.0), "camera 2 has axes that are no rotation"),
    "mirrored": (MIRRORED, "camera 1 has axes that are no rotation"),
    "focal length": (changed((0, 14), 0.0), "must be positive"),
    "depth": (changed((0, 15), -1.0), "must be positive"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_camera_is_one_line(tmp_path, name):
    array, words = WRONG[name]
    with pytest.raises(CaptureError, match=words) as error:
        read_llff(saved(tmp_path, array))
    assert "poses_bounds.npy" in str(error.value) and "\n" not in str(error.value)


def test_other_files_are_one_line(tmp_path):
    with pytest.raises(CaptureError, match="does not exist"):
        read_llff(tmp_path / "none.npy")
    path = tmp_path / "text.npy"
    path.write_text("no array")
    with pytest.raises(CaptureError, match="is not a file of cameras"):
        read_llff(path)


def test_the_capture_in_the_data_folder_is_read(shared_data):
    cameras = read_llff(shared_data / "multiview" / "fern" / "poses_bounds.npy")
    assert len(cameras.centre) == 20 and (cameras.size == [3024, 4032]).all()
    # The photographs face forward, and their x axes point the same way.
    assert (cameras.rotation[:, :, 2] @ cameras.rotation[:, :, 2].T).min() > 0.9
    assert (cameras.rotation[:, :, 0] @ cameras.rotation[:, :, 0].T).min() > 0.9
