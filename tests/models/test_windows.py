"""Windows of a grid: raster order, there and back, relative positions."""

import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.windows import from_windows, relative_index, to_windows


def test_windows_are_cut_in_raster_order_and_put_back():
    x = np.arange(2 * 4 * 6).reshape(2, 4, 6, 1)
    windows = np.asarray(to_windows(jnp.asarray(x), 2))
    assert windows.shape == (2, 6, 4, 1)
    np.testing.assert_array_equal(windows[0, 1, :, 0], [2, 3, 8, 9])
    np.testing.assert_array_equal(windows[1, 3, :, 0], 24 + np.array([12, 13, 18, 19]))
    np.testing.assert_array_equal(from_windows(jnp.asarray(windows), (4, 6)), x)


def test_relative_index_numbers_every_offset_once():
    index = relative_index(3)
    assert index[0, 0] == 12 and len(np.unique(index)) == 25
    assert index[4, 1] == index[7, 4] == 12 + 5  # one row below its key
    assert index[4, 3] == index[8, 7] == 12 + 1  # one column right of its key


def test_windows_that_do_not_tile_are_refused():
    with pytest.raises(ValueError, match="window 3 does not divide the grid of 4 x 6 tokens"):
        to_windows(jnp.zeros((1, 4, 6, 1)), 3)
    with pytest.raises(ValueError, match="window 4 does not divide the grid of 4 x 6 tokens"):
        to_windows(jnp.zeros((1, 4, 6, 1)), 4)
