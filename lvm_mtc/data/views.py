"""K overlapping square views of one photograph: what K UAVs over one scene would see."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lvm_mtc.data.boxes import box_in_window, center_prior, check_box
from lvm_mtc.data.resizing import as_rgb, check_size, resize_image

DEFAULT_OVERLAP = 0.75
"""Neighbours are a quarter of a view apart: 24 of 96 pixels, a whole number of patches."""

DEFAULT_BOX_FRACTION = 0.25
"""Area of the object's box over the area of a view that the side of the views is chosen for."""

MIN_VIEW_SIDE = 16
"""Smallest side of a view in pixels of the photograph."""

_ENOUGH = 0.25
# A view shows the object if it holds a quarter of the box, or if the box fills a quarter of it: slivers do not count.


class UavViews(NamedTuple):
    """K views of one photograph.

    Attributes:
        views: ``[K, size, size, 3]`` uint8.
        windows: ``[K, 4]`` float64, left, top, right, bottom edge of each view, pixels of the photograph.
        boxes: ``[K, 4]`` float32, the object's visible part, centre x, centre y, width, height, pixels of the view.
        visible: ``[K]`` float32, share of the box's area that the view holds, in [0, 1]; 1 for the centre prior.
    """

    views: np.ndarray
    windows: np.ndarray
    boxes: np.ndarray
    visible: np.ndarray


def uav_views(
    image: np.ndarray,
    num_uavs: int,
    overlap: float = DEFAULT_OVERLAP,
    *,
    size: int,
    box: ArrayLike | None = None,
    box_fraction: float = DEFAULT_BOX_FRACTION,
) -> UavViews:
    """Cuts K overlapping square views out of one photograph.

    The views stand on a square lattice, ``ceil(sqrt(K))`` to a row, row after row (:func:`view_lattice`). Neighbours
    in a row or column are ``(1 - overlap) * side`` apart, so they share exactly the fraction ``overlap`` of their area
    (and of the side along which they are displaced); diagonal neighbours share ``overlap**2``. All views have one side.

    Without a box the side is the largest that fits, and the lattice stands in the middle. With a box the side is the
    one at which the box has ``box_fraction`` of a view's area, though not below ``size`` (so that views are not
    enlarged where it can be avoided) and not above the largest that fits; the lattice stands over the box as nearly as
    the photograph's edges allow. Where that leaves a view without a quarter of the box, and without a quarter of itself
    covered by it, the side is reduced until every view has that. If no side achieves it, the best one is taken: a view
    without the object gets an empty box (w or h is 0) at the border point nearest to it, and ``visible`` 0.

    Args:
        image: ``[H, W, 3]`` or ``[H, W]`` uint8.
        num_uavs: K >= 1.
        overlap: Shared fraction of neighbouring views, in [0, 1).
        size: Side of the resized views, pixels.
        box: The object, ``(x, y, w, h)``, centre, pixels of ``image``; None stands for the centre prior in every view.
        box_fraction: Area of the box over the area of a view that is aimed at, in (0, 1].

    Raises:
        ValueError: if a number is out of range, the box is not inside the photograph, or views of at least
            :data:`MIN_VIEW_SIDE` pixels do not fit.
    """
    image = as_rgb(image)
    height, width = image.shape[:2]
    if isinstance(size, (tuple, list)):
        raise ValueError(f"size must be one positive integer, views are square; got {size!r}")
    size = check_size(size)[0]
    if not 0 < box_fraction <= 1:
        raise ValueError(f"box_fraction must lie in (0, 1], got {box_fraction!r}")
    side = largest_side(height, width, num_uavs, overlap)
    if box is None:
        windows = view_windows(height, width, num_uavs, overlap, side=side)
        boxes, visible = [center_prior(size, size)] * num_uavs, [1.0] * num_uavs
    else:
        box = check_box(box, height, width)
        wanted = math.sqrt(box[2] * box[3] / box_fraction)
        windows = _windows_with_box(height, width, num_uavs, overlap, box, min(max(wanted, size), side))
        boxes, visible = zip(*(box_in_window(box, window, (size, size)) for window in windows), strict=True)
    boxes, visible = np.asarray(boxes, dtype=np.float32), np.asarray(visible, dtype=np.float32)
    return UavViews(resize_windows(image, windows, size), windows, boxes, visible)


def resize_windows(image: np.ndarray, windows: np.ndarray, size: int) -> np.ndarray:
    """Resizes rectangles ``[K, 4]`` (left, top, right, bottom edge, pixels) to squares ``[K, size, size, 3]`` uint8."""
    return np.stack([resize_image(image, size, window=window) for window in windows])


def native_windows(height: int, width: int, num_uavs: int, overlap: float) -> np.ndarray:
    """K overlapping rectangles of whole pixels that reach a photograph's edges, ``[K, 4]`` int64; one is all of it.

    Each is left, top, right, bottom edge. They are of one size and stand on :func:`view_lattice`; neighbours share
    ``overlap`` of the side along which they are displaced, to a pixel.
    """
    columns, rows = _extent(num_uavs, overlap)
    size = np.array([int(width / columns), int(height / rows)])
    if size.min() < MIN_VIEW_SIDE:
        largest_side(height, width, num_uavs, overlap)
    steps = np.maximum(view_lattice(num_uavs).max(axis=0), 1)
    low = np.rint(view_lattice(num_uavs) / steps * (np.array([width, height]) - size)).astype(np.int64)
    return np.concatenate([low, low + size], axis=-1)


def view_lattice(num_uavs: int) -> np.ndarray:
    """Where each view stands on the lattice, column and row, ``[K, 2]`` int.

    There are ``ceil(sqrt(K))`` columns, and the last row may be shorter.
    """
    if isinstance(num_uavs, bool) or not isinstance(num_uavs, (int, np.integer)) or num_uavs < 1:
        raise ValueError(f"num_uavs must be a positive integer, got {num_uavs!r}")
    columns = math.isqrt(num_uavs - 1) + 1
    index = np.arange(num_uavs)
    return np.stack([index % columns, index // columns], axis=-1)


def largest_side(height: int, width: int, num_uavs: int, overlap: float) -> float:
    """The largest side at which all views fit in the photograph, pixels, not rounded.

    Raises:
        ValueError: if it is below :data:`MIN_VIEW_SIDE`, or an argument is out of range.
    """
    columns, rows = _extent(num_uavs, overlap)
    side = min(width / columns, height / rows)
    if side < MIN_VIEW_SIDE:
        raise ValueError(
            f"{num_uavs} views with overlap {overlap:g} do not fit in {width} x {height} pixels: "
            f"each would be {side:.1f} pixels wide, and at least {MIN_VIEW_SIDE} are needed"
        )
    return side


def view_windows(
    height: int, width: int, num_uavs: int, overlap: float, *, side: float, box: ArrayLike | None = None
) -> np.ndarray:
    """The rectangles of :func:`uav_views` for a side of at most :func:`largest_side`, ``[K, 4]`` float64.

    Each is left, top, right, bottom edge, pixels of the photograph. Without a box the lattice is centred.
    """
    size = np.array([width, height], dtype=np.float64)
    extent = side * np.array(_extent(num_uavs, overlap))
    center = size / 2 if box is None else np.asarray(box, dtype=np.float64)[:2]
    # Of all positions inside the photograph, the one nearest to the box also shows it to the most distant views best.
    origin = np.clip(center - extent / 2, 0, np.maximum(size - extent, 0))
    low = origin + view_lattice(num_uavs) * (1 - overlap) * side
    # Rounding may carry the last view past the edge by an ulp, which the resizer would refuse.
    return np.concatenate([low, np.minimum(low + side, size)], axis=-1)


def _extent(num_uavs: int, overlap: float) -> tuple[float, float]:
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must lie in [0, 1), got {overlap!r}")
    last_column, last_row = view_lattice(num_uavs).max(axis=0)
    return 1 + last_column * (1 - overlap), 1 + last_row * (1 - overlap)


def _windows_with_box(
    height: int, width: int, num_uavs: int, overlap: float, box: np.ndarray, side: float
) -> np.ndarray:
    """Views of ``side`` or, where one would not show the box, of the next smaller side that does or the best one."""
    best, best_score = None, -1.0
    while best is None or side >= MIN_VIEW_SIDE:
        windows = view_windows(height, width, num_uavs, overlap, side=side, box=box)
        score = min(_shown(box, window) for window in windows)
        if score > best_score:
            best, best_score = windows, score
        if score >= _ENOUGH:
            break
        side *= 0.95
    return best


def _shown(box: np.ndarray, window: np.ndarray) -> float:
    inside, visible = box_in_window(box, window, (1, 1))
    return max(visible, float(inside[2] * inside[3]))
