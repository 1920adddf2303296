"""Boxes: ``(x, y, w, h)``, centre first, in pixels.

Coordinates are continuous: pixel i covers [i, i + 1), so a picture of width W spans 0 to W and its centre is W / 2.
"""

from __future__ import annotations

import numpy as np

Box = tuple[float, float, float, float]
"""``(x, y, w, h)``, centre first, pixels."""

CENTER_PRIOR_FRACTION = 0.25
"""Share of the picture's area that the centre prior covers: half of each side."""


def corners_to_center(corners: np.ndarray) -> np.ndarray:
    """Corner boxes ``[..., 4]`` (left, top, right, bottom edge, pixels) as centre boxes, float64."""
    corners = _boxes(corners)
    low, high = corners[..., :2], corners[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def center_to_corners(boxes: np.ndarray) -> np.ndarray:
    """Centre boxes ``[..., 4]`` as corner boxes, float64: the inverse of :func:`corners_to_center`."""
    boxes = _boxes(boxes)
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([center - half, center + half], axis=-1)


def center_prior(height: float, width: float, fraction: float = CENTER_PRIOR_FRACTION) -> np.ndarray:
    """The stated guess where nobody has annotated an object: a centred box with the picture's proportions.

    ``[4]`` float64; ``fraction``, in (0, 1], is the area of the box over that of the picture.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction!r}")
    scale = fraction**0.5
    return np.array([width / 2, height / 2, width * scale, height * scale])


def enlarge_box(boxes: np.ndarray, margin: float, height: float, width: float) -> np.ndarray:
    """Adds a margin on all four sides of boxes ``[..., 4]`` inside a picture, as far as the picture reaches; float64.

    ``margin`` is the share of a box's width that is added on the left and on the right, and of its height above and
    below.
    """
    if not margin >= 0:
        raise ValueError(f"margin must be >= 0, got {margin!r}")
    boxes = _boxes(boxes)
    corners = center_to_corners(np.concatenate([boxes[..., :2], (1 + 2 * margin) * boxes[..., 2:]], axis=-1))
    return corners_to_center(np.clip(corners, 0, [width, height, width, height]))


def box_in_window(box: np.ndarray, window: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Follows a box through a crop and a resize, and clips it to what is left.

    A box that lies wholly outside the window becomes an empty one (w or h is 0) at the nearest point of the border, so
    that its centre still tells where the object went.

    Args:
        box: ``[4]``, pixels of the source picture.
        window: ``[4]``, left, top, right, bottom edge of the crop, pixels of the source picture.
        size: Height and width of the resized crop, pixels.

    Returns:
        box: ``[4]`` float64, the visible part as centre box, pixels of the resized crop.
        visible: Share of the box's area that lies inside the window, in [0, 1].
    """
    window = _boxes(window)
    corners = center_to_corners(box)
    low, high = window[:2], window[2:]
    clipped = np.concatenate([np.clip(corners[:2], low, high), np.clip(corners[2:], low, high)])
    area = np.prod(corners[2:] - corners[:2])
    visible = float(np.prod(clipped[2:] - clipped[:2]) / area) if area > 0 else 0.0
    scale = np.array([size[1], size[0]]) / (high - low)
    shifted = (clipped - np.tile(low, 2)) * np.tile(scale, 2)
    return corners_to_center(shifted), visible


def clip_to_picture(
    left: float, top: float, right: float, bottom: float, height: float, width: float, slack: float = 1.0
) -> Box:
    """A box of an annotation, clipped to its picture: published files round outwards.

    Takes edges and the picture's size in pixels, and how far an edge may lie outside; gives ``(x, y, w, h)``, centre.

    Raises:
        ValueError: if the box has no area, or reaches outside by more than ``slack``; the message goes on from a name
            of the box.
    """
    if right <= left or bottom <= top:
        raise ValueError("has no area; expected a width and height above 0")
    clipped = max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
    moved = max(abs(edge - given) for edge, given in zip(clipped, (left, top, right, bottom), strict=True))
    left, top, right, bottom = clipped
    if moved > slack or right <= left or bottom <= top:
        raise ValueError(f"reaches outside the picture of {width:g} x {height:g} pixels; expected a box inside it")
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def check_box(box: object, height: int, width: int, *, name: str = "box") -> np.ndarray:
    """One centre box as ``[4]`` float64: four finite numbers, with an area, at most half a pixel outside its picture.

    ``box`` may be anything; a ValueError calls it ``name``.
    """
    try:
        values = np.asarray(box, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (4,) or not np.all(np.isfinite(values)):
        raise ValueError(f"{name} must be four finite numbers (x, y, w, h), got {box!r}")
    if min(values[2:]) <= 0:
        raise ValueError(f"{name} must have positive width and height, got {values.tolist()}")
    left, top, right, bottom = center_to_corners(values)
    if left < -0.5 or top < -0.5 or right > width + 0.5 or bottom > height + 0.5:
        box = f"{name} {values.tolist()} (x, y, w, h, centre)"
        raise ValueError(f"{box} reaches outside the picture of {width} x {height} pixels")
    return values


def _boxes(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] != 4:
        raise ValueError(f"boxes need four numbers along the last axis, got shape {values.shape}")
    return values
