"""Finding copies of pictures in another set: a hold-out is none while compressed copies of it are trained on."""

import numpy as np

_ROWS = 4096


def nearest_neighbours(pictures: np.ndarray, among: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The pictures nearest in MSE.

    Args:
        pictures: ``[M, height, width, 3]`` uint8.
        among: ``[N, height, width, 3]`` uint8, N >= ``count``.
        count: Neighbours of each picture.

    Returns:
        indices: Into ``among``, ``[M, count]`` int64, the nearest first.
        mse: Mean squared differences in grey levels of 255, same shape, float64.

    Raises:
        ValueError: if the pictures are of different shapes, or ``among`` holds fewer than ``count``.
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
