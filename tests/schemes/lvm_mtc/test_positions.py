"""Positions of patches on another grid, against sixteen taps written out."""

import numpy as np
import pytest

from lvm_mtc.models.transformer import resize_positions


def cubic_by_hand(table, rows, columns):
    """Sixteen taps for every place, float64; PyTorch's rule (a = -0.75, border repeated)."""

    def kernel(d):
        d = abs(d)
        return 1.25 * d**3 - 2.25 * d**2 + 1 if d <= 1 else -0.75 * d**3 + 3.75 * d**2 - 6 * d + 3 if d < 2 else 0.0

    height, width, _ = table.shape
    out = np.zeros((rows, columns, table.shape[2]))
    for i in range(rows):
        for j in range(columns):
            y, x = (i + 0.5) * height / rows - 0.5, (j + 0.5) * width / columns - 0.5
            for a in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
                for b in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
                    sample = table[min(max(a, 0), height - 1), min(max(b, 0), width - 1)]
                    out[i, j] += kernel(y - a) * kernel(x - b) * sample
    return out


@pytest.mark.parametrize("new_grid", [(7, 9), (3, 2), (4, 3), (1, 1)])
def test_positions_are_interpolated_bicubically(new_grid):
    positions = np.random.default_rng(0).normal(size=(1 + 4 * 5, 6)).astype(np.float32)
    got = resize_positions(positions, (4, 5), new_grid)
    want = cubic_by_hand(np.float64(positions[1:]).reshape(4, 5, 6), *new_grid)
    np.testing.assert_array_equal(got[0], positions[0])
    np.testing.assert_allclose(got[1:], want.reshape(-1, 6), rtol=0, atol=1e-6)
    assert got.dtype == np.float32


def test_positions_on_the_same_grid_stay_and_wrong_ones_are_refused():
    positions = np.random.default_rng(0).normal(size=(21, 6)).astype(np.float32)
    assert resize_positions(positions, (4, 5), (4, 5)) is positions
    with pytest.raises(ValueError, match="21 positions do not fit a class token and 4 x 4 patches"):
        resize_positions(positions, (4, 4), (5, 5))
