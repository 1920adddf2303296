"""Finding copies of pictures in another set: a hold-out is none while compressed copies of it are trained on."""

import numpy as np

HELD_OUT = 500
"""The last so many of the lossless pictures of CIFAR-10 are held out, and so are their twins among its JPEG copies."""
LARGEST_TWIN_MSE = 400.0
"""Grey levels of 255, squared (22 dB). The copies of the real hold-out lie at 14 to 270."""
_ROWS = 4096


def nearest_neighbours(pictures: np.ndarray, among: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` pictures nearest in MSE.

    Args:
        pictures: ``[M, height, width, 3]`` uint8.
        among: ``[N, height, width, 3]`` uint8, N >= ``count``.

    Returns:
        indices: Into ``among``, ``[M, count]`` int64, the nearest first.
        mse: Mean squared differences in grey levels of 255, same shape, float64.
    """
    if pictures.shape[1:] != among.shape[1:]:
        raise ValueError(f"pictures {pictures.shape} and among {among.shape} must agree but for their number")
    if len(among) < count:
        raise ValueError(f"among holds {len(among)} pictures, fewer than count = {count}")
    # Integers up to 255^2 times a picture's samples are exact in float64, and products run on matrices.
    flat = np.float64(pictures.reshape(len(pictures), -1))
    best = np.full((len(pictures), 0), 0)
    distance = np.full((len(pictures), 0), 0.0)
    for start in range(0, len(among), _ROWS):
        rows = np.float64(among[start : start + _ROWS].reshape(len(among[start : start + _ROWS]), -1))
        squares = (flat**2).sum(1)[:, None] + (rows**2).sum(1) - 2 * flat @ rows.T
        distance = np.concatenate([distance, squares], axis=1)
        best = np.concatenate([best, np.broadcast_to(np.arange(start, start + len(rows)), squares.shape)], axis=1)
        order = np.argsort(distance, axis=1, kind="stable")[:, :count]
        distance, best = (np.take_along_axis(a, order, axis=1) for a in (distance, best))
    return best, distance / flat.shape[1]


def find_twins(held_out: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The compressed copy of each held-out picture, ``[M, height, width, 3]`` uint8 among ``[N, height, width, 3]``.

    Returns:
        twins: Index into ``copies`` of each picture's copy, ``[M]``.
        mse: Of each twin and of the next best, ``[M, 2]``, grey levels squared.

    Raises:
        ValueError: if a held-out picture has no copy, or two of them the same.
    """
    neighbours, mse = nearest_neighbours(held_out, copies)
    twins = neighbours[:, 0]
    if mse[:, 0].max() > LARGEST_TWIN_MSE:
        number = int(mse[:, 0].argmax())
        raise ValueError(f"held-out picture {number} has no twin: its nearest copy is {mse[number, 0]:.0f} away")
    if len(set(twins.tolist())) < len(twins):
        raise ValueError("two held-out pictures have the same twin")
    return twins, mse
