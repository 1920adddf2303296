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
    side: float | None = None,
    box_fraction: float = DEFAULT_BOX_FRACTION,
    jitter: float = 0.0,
    seed: int = 0,
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
        side: Side of a view in pixels of the photograph, fractions allowed; None chooses it as said above.
        box_fraction: Area of the box over the area of a view that is aimed at, in (0, 1].
        jitter: Each view is moved by up to this fraction of the side along each axis, uniformly, and kept inside the
            photograph; ``overlap`` and the promise about the box then hold only about. In [0, 0.5].
        seed: Seed of the jitter.

    Returns:
        Views, source rectangles, boxes and visible shares.

    Raises:
        ValueError: if a number is out of range, the box is not inside the photograph, or views of at least
            :data:`MIN_VIEW_SIDE` pixels (or of ``side``) do not fit.
    """
    image = as_rgb(image)
    height, width = image.shape[:2]
    size = _view_size(size)
    _check_range("box_fraction", box_fraction, 0 < box_fraction <= 1, "(0, 1]")
    _check_range("jitter", jitter, 0 <= jitter <= 0.5, "[0, 0.5]")
    limit = largest_side(height, width, num_uavs, overlap)
    if box is not None:
        box = check_box(box, height, width)
    if side is not None:
        if not MIN_VIEW_SIDE <= side <= limit + 1e-9:
            raise ValueError(
                f"side must lie between {MIN_VIEW_SIDE} and {limit:g}, the largest that fits, got {side!r}"
            )
    elif box is None:
        side = limit
    else:
        side = _side_for_box(height, width, num_uavs, overlap, box, limit, size, box_fraction)
    windows = view_windows(height, width, num_uavs, overlap, side=side, box=box)
    windows = _jittered(windows, height, width, jitter * side, seed)
    if box is None:
        boxes, visible = [center_prior(size, size)] * num_uavs, [1.0] * num_uavs
    else:
        boxes, visible = zip(*(box_in_window(box, window, (size, size)) for window in windows), strict=True)
    boxes, visible = np.asarray(boxes, dtype=np.float32), np.asarray(visible, dtype=np.float32)
    return UavViews(resize_windows(image, windows, size), windows, boxes, visible)


def resize_windows(image: np.ndarray, windows: np.ndarray, size: int) -> np.ndarray:
    """Cuts rectangles out of a photograph and resizes each to a square.

    Args:
        image: ``[H, W, 3]`` or ``[H, W]`` uint8.
        windows: ``[K, 4]``, left, top, right, bottom edge, pixels.
        size: Side of the squares, pixels.

    Returns:
        ``[K, size, size, 3]`` uint8.

    Raises:
        ValueError: as :func:`lvm_mtc.data.resizing.resize_image`.
    """
    return np.stack([resize_image(image, size, window=window) for window in windows])


def view_lattice(num_uavs: int) -> np.ndarray:
    """Where each view stands on the lattice.

    Args:
        num_uavs: K >= 1.

    Returns:
        ``[K, 2]`` int, column and row; ``ceil(sqrt(K))`` columns, the last row possibly shorter.

    Raises:
        ValueError: if ``num_uavs`` is not a positive integer.
    """
    if isinstance(num_uavs, bool) or not isinstance(num_uavs, (int, np.integer)) or num_uavs < 1:
        raise ValueError(f"num_uavs must be a positive integer, got {num_uavs!r}")
    columns = math.isqrt(num_uavs - 1) + 1
    index = np.arange(num_uavs)
    return np.stack([index % columns, index // columns], axis=-1)


def largest_side(height: int, width: int, num_uavs: int, overlap: float) -> float:
    """The largest side at which all views fit in the photograph.

    Args:
        height: Photograph height, pixels.
        width: Photograph width, pixels.
        num_uavs: K >= 1.
        overlap: Shared fraction of neighbouring views, in [0, 1).

    Returns:
        Side, pixels of the photograph, not rounded.

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
    """The rectangles of :func:`uav_views` for a given side, without jitter.

    Args:
        height: Photograph height, pixels.
        width: Photograph width, pixels.
        num_uavs: K >= 1.
        overlap: Shared fraction of neighbouring views, in [0, 1).
        side: Side of a view, pixels of the photograph, at most :func:`largest_side`.
        box: The object, ``(x, y, w, h)``, centre, pixels; None centres the lattice.

    Returns:
        ``[K, 4]`` float64, left, top, right, bottom edge, pixels of the photograph.

    Raises:
        ValueError: if ``num_uavs`` or ``overlap`` is out of range.
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
    _check_range("overlap", overlap, 0 <= overlap < 1, "[0, 1)")
    last_column, last_row = view_lattice(num_uavs).max(axis=0)
    return 1 + last_column * (1 - overlap), 1 + last_row * (1 - overlap)


def _side_for_box(
    height: int,
    width: int,
    num_uavs: int,
    overlap: float,
    box: np.ndarray,
    limit: float,
    size: int,
    box_fraction: float,
) -> float:
    wanted = math.sqrt(box[2] * box[3] / box_fraction)
    side = min(max(wanted, size), limit)
    best_side, best_score = side, -1.0
    while side >= MIN_VIEW_SIDE:
        windows = view_windows(height, width, num_uavs, overlap, side=side, box=box)
        score = min(_shown(box, window) for window in windows)
        if score >= _ENOUGH:
            return side
        if score > best_score:
            best_side, best_score = side, score
        side *= 0.95
    return best_side


def _shown(box: np.ndarray, window: np.ndarray) -> float:
    inside, visible = box_in_window(box, window, (1, 1))
    return max(visible, float(inside[2] * inside[3]))


def _jittered(windows: np.ndarray, height: int, width: int, reach: float, seed: int) -> np.ndarray:
    if reach == 0:
        return windows
    shift = np.random.default_rng(seed).uniform(-reach, reach, size=(len(windows), 2))
    shift = np.clip(shift, -windows[:, :2], np.array([width, height]) - windows[:, 2:])
    return np.clip(windows + np.tile(shift, 2), 0, [width, height, width, height])


def _view_size(size: int) -> int:
    if isinstance(size, (tuple, list)):
        raise ValueError(f"size must be one positive integer, views are square; got {size!r}")
    return check_size(size)[0]


def _check_range(name: str, value: float, valid: bool, interval: str) -> None:
    if not valid:
        raise ValueError(f"{name} must lie in {interval}, got {value!r}")
