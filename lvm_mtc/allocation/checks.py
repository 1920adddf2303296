"""Checks of arrays that several allocators ask for."""

import numpy as np
from numpy.typing import ArrayLike


def array(name: str, value: ArrayLike, shape: tuple[int, ...] | None = None, dims: str = "") -> np.ndarray:
    """A finite float64 array; ``ValueError`` for another shape, which ``dims`` names, or for what is no number."""
    result = np.asarray(value, np.float64)
    if shape is not None and result.shape != shape:
        raise ValueError(f"{name} must be {dims} = {shape}, got {result.shape}")
    if not np.isfinite(result).all():
        raise ValueError(f"{name} must be finite, got {result.tolist()}")
    return result


def positive(name: str, value: float, unit: str = "") -> None:
    """``ValueError`` for a number that is not above 0."""
    if not value > 0 or not np.isfinite(value):
        raise ValueError(f"{name} must be > 0{unit and ' ' + unit}, got {value!r}")
