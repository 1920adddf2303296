"""Rectification: two photographs of known cameras as a stereo pair, whose rows correspond.

Both cameras are turned about their centres to one orientation, with x along the line through both and z as near to both
optical axes as that leaves. Pictures of cameras that only turn differ by a homography, whatever the scene's depth.

Source: Fusiello, Trucco, Verri, A compact algorithm for rectification of stereo pairs (2000), with the mean of both
optical axes in place of the left one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lvm_mtc.data.llff import CaptureError
from lvm_mtc.data.resizing import as_rgb, check_size

_LEAST = 1e-9


class Rectification(NamedTuple):
    """What both cameras are turned to.

    Attributes:
        rotation: Its columns are the common axes in the world, x right, y down, z forward, ``[3, 3]``.
        origin: Centre of the left camera, ``[3]``.
        baseline: Distance of the centres, > 0.
    """

    rotation: np.ndarray
    origin: np.ndarray
    baseline: float

    def place(self, centre: np.ndarray) -> tuple[float, np.ndarray]:
        """Where a third camera stands: its place on the line, 0 left and 1 right, and how far off it, down and forward.

        Points at depth z appear ``focal_length down / z`` pixels too high to a camera that stands too far down.
        """
        along, *off = self.rotation.T @ (np.asarray(centre) - self.origin)
        return float(along / self.baseline), np.array(off)


def rectify(rotation: np.ndarray, centre: np.ndarray) -> Rectification:
    """The common orientation of a left and a right camera.

    Args:
        rotation: Columns are each camera's axes in the world, x right, y down, z forward, ``[2, 3, 3]``.
        centre: Of both, ``[2, 3]``.

    Raises:
        CaptureError: if the second camera does not stand to the right of the first, as both look.
    """
    step = centre[1] - centre[0]
    baseline = float(np.linalg.norm(step))
    right, forward = rotation[..., 0].mean(0), rotation[..., 2].mean(0)
    if baseline < _LEAST or step @ right <= 0:
        raise CaptureError("centre: the second camera must stand to the right of the first; exchange the two")
    x = step / baseline
    z = forward - (forward @ x) * x
    if np.linalg.norm(z) < _LEAST:
        raise CaptureError("rotation: the cameras look away from each other; expected one scene before both")
    z = z / np.linalg.norm(z)
    return Rectification(np.stack([x, np.cross(z, x), z], axis=-1), np.asarray(centre[0]), baseline)


def turned(
    picture: np.ndarray,
    rotation: np.ndarray,
    focal_length: float,
    common: np.ndarray,
    size: int | tuple[int, int],
    rays: int = 4,
) -> tuple[np.ndarray, np.ndarray]:
    """What a camera would see if it were turned: the same field of view across as before, or less of it.

    A pixel is the mean of ``rays`` x ``rays`` rays, each bilinear between the pixels around it; beyond the picture's
    edge stands what is at the edge.

    Args:
        picture: ``[H, W, 3]`` uint8.
        rotation: The camera's axes in the world, ``[3, 3]``.
        focal_length: Pixels of ``picture``.
        common: The axes that it is turned to, ``[3, 3]``.
        size: Side, or height and width, of the result; its focal length is :func:`turned_focal_length`.
        rays: Along a side of a pixel.

    Returns:
        ``[height, width, 3]`` uint8, and where all rays of a pixel hit the picture, ``[height, width]`` bool.
    """
    picture, (height, width) = as_rgb(picture), check_size(size)
    new = turned_focal_length(focal_length, picture.shape[:2], (height, width))
    v, u = ((np.arange(rays * side) + 0.5) / rays - side / 2 for side in (height, width))
    u, v = np.meshgrid(u / new, v / new)
    seen = np.stack([u, v, np.ones_like(u)], axis=-1) @ (rotation.T @ common).T
    depth = np.where(seen[..., 2] > _LEAST, seen[..., 2], np.nan)
    x, y = (focal_length * seen[..., i] / depth + picture.shape[1 - i] / 2 - 0.5 for i in range(2))
    sampled, inside = bilinear(picture, x, y)
    blocks = sampled.reshape(height, rays, width, rays, 3).mean((1, 3))
    return np.uint8(np.round(blocks)), inside.reshape(height, rays, width, rays).all((1, 3))


def turned_focal_length(focal_length: float, old: tuple[int, int], new: tuple[int, int]) -> float:
    """That of pictures of height and width ``new`` which show the widest part of ``old`` that fills them, pixels."""
    return focal_length * max(new[0] / old[0], new[1] / old[1])


def bilinear(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture ``[H, W, c]`` between its pixels, and where that lies within it.

    Args:
        x: Columns, 0 the centre of the first pixel, ``[...]``; NaN lies outside.
        y: Rows.

    Returns:
        ``[..., c]`` float64, with the edge's value outside, and ``[...]`` bool.
    """
    last = np.array(picture.shape[:2]) - 1
    inside = (x >= 0) & (x <= last[1]) & (y >= 0) & (y <= last[0])
    x, y = (np.clip(np.nan_to_num(at), 0, most) for at, most in ((x, last[1]), (y, last[0])))
    left, top = (np.clip(np.int64(at), 0, max(most - 1, 0)) for at, most in ((x, last[1]), (y, last[0])))
    right, bottom = np.minimum(left + 1, last[1]), np.minimum(top + 1, last[0])
    across, down = (x - left)[..., None], (y - top)[..., None]
    above = picture[top, left] * (1 - across) + picture[top, right] * across
    below = picture[bottom, left] * (1 - across) + picture[bottom, right] * across
    return above * (1 - down) + below * down, inside
