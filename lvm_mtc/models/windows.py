"""Windows of a grid of tokens, within which attention is cheap, and the relative positions in one.

Source: Liu et al., Swin Transformer (2021), Sec. 3.2.
"""

from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np

A = TypeVar("A", jax.Array, np.ndarray)


def to_windows(x: A, window: int) -> A:
    """``[batch, rows, columns, width]`` to windows in raster order, ``[batch, num_windows, window^2, width]``.

    Raises:
        ValueError: if ``window`` does not divide rows and columns.
    """
    batch, rows, columns, width = x.shape
    if rows % window or columns % window:
        raise ValueError(f"window {window} does not divide the grid of {rows} x {columns} tokens")
    x = x.reshape(batch, rows // window, window, columns // window, window, width)
    return x.swapaxes(2, 3).reshape(batch, -1, window**2, width)


def from_windows(windows: jax.Array, grid: Sequence[int]) -> jax.Array:
    """Inverse of :func:`to_windows` for ``grid`` = (rows, columns)."""
    batch, _, size, width = windows.shape
    window = round(size**0.5)
    x = windows.reshape(batch, grid[0] // window, grid[1] // window, window, window, width)
    return x.swapaxes(2, 3).reshape(batch, *grid, width)


def relative_index(window: int) -> np.ndarray:
    """Which row of the bias table serves each pair of a window's positions, ``[window^2, window^2]``.

    Row ``(dr + window - 1) (2 window - 1) + dc + window - 1`` is for a query dr rows below and dc columns right of
    its key.
    """
    place = np.stack(np.divmod(np.arange(window**2), window))
    difference = place[:, :, None] - place[:, None, :] + window - 1
    return difference[0] * (2 * window - 1) + difference[1]
