"""Cameras of a capture in LLFF's format: ``poses_bounds.npy``, 17 numbers a photograph.

These are the rows of a 3 x 5 matrix and the nearest and farthest depth. The matrix has the camera's axes down, right
and backwards in the world, its centre, and height, width and focal length in pixels.

Source: Mildenhall et al., Local Light Field Fusion (2019), and the README of its code.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.files import check_regular_file, reason

_NUMBERS = 17
_TOLERANCE = 1e-4


class CaptureError(ValueError):
    """Cameras that cannot be used. The message is one line: the file or field, the reason, and what would be right."""


class Cameras(NamedTuple):
    """Pinhole cameras with the optical axis in the middle of the picture.

    Attributes:
        rotation: Its columns are the camera's axes in the world, x right, y down, z forward, ``[n, 3, 3]`` float64.
        centre: Where it stands, ``[n, 3]``, unit of the capture.
        size: Height and width, pixels, ``[n, 2]``.
        focal_length: Pixels, for pictures of ``size``; for others of these proportions it goes with the width, ``[n]``.
        depth: Of the nearest and of the farthest point, along z, ``[n, 2]``.
    """

    rotation: np.ndarray
    centre: np.ndarray
    size: np.ndarray
    focal_length: np.ndarray
    depth: np.ndarray

    def take(self, places) -> Cameras:
        """Those at ``places``, a slice or integers ``[m]``."""
        return Cameras(*(array[places] for array in self))


def read_llff(path: str | os.PathLike) -> Cameras:
    """Reads a file ``poses_bounds.npy``.

    Raises:
        CaptureError: if it is no such file, a number is not finite, an orientation is no rotation, or a size, focal
            length or depth is not positive.
    """
    path = Path(path)
    check_regular_file(path, CaptureError)
    try:
        numbers = np.load(path, allow_pickle=False)
    except Exception as error:
        raise CaptureError(f"{path} is not a file of cameras: {reason(error)}") from error
    if not isinstance(numbers, np.ndarray) or numbers.ndim != 2 or numbers.shape[1] != _NUMBERS or not len(numbers):
        raise CaptureError(f"{path}: expected {_NUMBERS} numbers a camera, [n, {_NUMBERS}], got {np.shape(numbers)}")
    if numbers.dtype.kind != "f" or not np.isfinite(numbers).all():
        raise CaptureError(f"{path}: expected finite floating-point numbers, got {numbers.dtype} or NaN")
    matrix, depth = np.float64(numbers[:, :15]).reshape(-1, 3, 5), np.float64(numbers[:, 15:])
    down, right, backwards = (matrix[..., i] for i in range(3))
    rotation = np.stack([right, down, -backwards], axis=-1)
    for i, axes in enumerate(np.clip(rotation, -2, 2)):
        if np.abs(axes.T @ axes - np.eye(3)).max() > _TOLERANCE or np.linalg.det(axes) < 0:
            raise CaptureError(f"{path}: camera {i} has axes that are no rotation; expected down, right, backwards")
    if not ((matrix[..., 4] > 0).all() and (depth > 0).all()):
        raise CaptureError(f"{path}: sizes, focal lengths and depths must be positive")
    return Cameras(rotation, matrix[..., 3], matrix[:, :2, 4], matrix[:, 2, 4], depth)
