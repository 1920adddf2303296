"""Pictures with all their boxes, for a detector: letterboxed to one size, boxes padded to one number, in one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.images import load_image
from lvm_mtc.data.packing import load_arrays, save_arrays
from lvm_mtc.data.resizing import as_rgb, check_size, resize_image

GREY = 114
"""What surrounds a letterboxed picture, of 255: the grey that the published detectors of this family use."""


class LabelledSource(NamedTuple):
    """One picture that is going to be packed.

    Attributes:
        name: What ``source`` will say, for example folder and file.
        boxes: ``[num_objects, 4]``, ``(x, y, w, h)``, centre, pixels of the file's picture.
        labels: ``[num_objects]`` class numbers; None: all 0, class-agnostic.
    """

    name: str
    path: Path
    boxes: np.ndarray
    labels: np.ndarray | None = None


class DetectionSet(NamedTuple):
    """A packed set.

    Attributes:
        pictures: ``[M, S, S, 3]`` uint8; the content lies in the upper left corner, :data:`GREY` around it.
        extents: ``[M, 2]`` int32: height and width of the content, pixels of the packed picture.
        boxes: ``[M, T, 4]`` float32, ``(x, y, w, h)``, centre, pixels of the packed picture; 0 where not valid.
        labels: ``[M, T]`` int32; 0 where not valid.
        valid: ``[M, T]`` bool.
        source: ``[M]`` text.
    """

    pictures: np.ndarray
    extents: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    source: np.ndarray


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, tuple[int, int], tuple[float, float]]:
    """Scales a picture until its longer side is ``size`` and puts it into the upper left corner of a grey square.

    Args:
        image: ``[H, W, 3]`` or ``[H, W]`` uint8.

    Returns:
        picture: ``[size, size, 3]`` uint8.
        extent: Height and width of the content, pixels.
        scale: Factors from the picture's pixels to the square's, along x and along y (they differ by rounding).
    """
    check_size(size)
    image = as_rgb(image)
    height, width = image.shape[:2]
    factor = size / max(height, width)
    extent = max(round(height * factor), 1), max(round(width * factor), 1)
    content = image if extent == (height, width) else resize_image(image, extent)
    picture = np.full((size, size, 3), GREY, np.uint8)
    picture[: extent[0], : extent[1]] = content
    return picture, extent, (extent[1] / width, extent[0] / height)


def pack_labelled(
    sources: Iterable[LabelledSource],
    size: int,
    max_objects: int,
    *,
    progress: Callable[[Iterable], Iterable] = iter,
) -> DetectionSet:
    """Reads and letterboxes all pictures; the set is in the order of ``sources``.

    Of more than ``max_objects`` boxes the largest are kept.

    Args:
        size: Side of the packed pictures, pixels.
        max_objects: Places for boxes per picture, >= 1.
        progress: As in ``packing.pack_pictures``.

    Raises:
        ValueError: if there is no source, a picture cannot be read, or its boxes have the wrong shape, no area, or
            numbers that are not finite.
    """
    if max_objects < 1:
        raise ValueError(f"max_objects must be at least 1, got {max_objects}")
    rows = []
    for source in progress(sources):
        picture, extent, scale = letterbox(load_image(source.path), size)
        boxes, labels = _checked_boxes(source)
        order = np.argsort(-boxes[:, 2] * boxes[:, 3], kind="stable")[:max_objects]
        count = len(order)
        places = np.zeros((max_objects, 4), np.float32), np.zeros(max_objects, np.int32)
        places[0][:count] = boxes[order] * np.array([*scale, *scale])
        places[1][:count] = labels[order]
        rows.append((picture, np.array(extent, np.int32), *places, np.arange(max_objects) < count, source.name))
    if not rows:
        raise ValueError("sources name no picture")
    return DetectionSet(*(np.stack(column) for column in zip(*rows, strict=True)))


def _checked_boxes(source: LabelledSource) -> tuple[np.ndarray, np.ndarray]:
    boxes = np.asarray(source.boxes, np.float64)
    labels = np.zeros(len(boxes), np.int32) if source.labels is None else np.asarray(source.labels)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or labels.shape != boxes.shape[:1]:
        raise ValueError(f"{source.path}: boxes {boxes.shape} and labels {labels.shape}; expected [T, 4] and [T]")
    if not np.isfinite(boxes).all() or (boxes[:, 2:] <= 0).any():
        raise ValueError(f"{source.path}: every box needs finite numbers and a width and height above 0")
    return boxes, labels


def save_detection_sets(path: str | os.PathLike, sets: dict[str, DetectionSet]) -> None:
    """Writes sets by name, for example ``{"train": ..., "val": ...}``, as ``packing.save_arrays`` does."""
    parts = ((f"{name}_{part}", array) for name, packed in sets.items() for part, array in packed._asdict().items())
    save_arrays(path, dict(parts))


def load_detection_set(path: str | os.PathLike, name: str) -> DetectionSet:
    """Reads one set of a file of :func:`save_detection_sets`, and checks that its parts fit together."""
    keys = (f"{name}_{part}" for part in DetectionSet._fields)
    arrays = load_arrays(path, keys, "a file of experiments/detector/pack_detection.py")
    return check_detection_set(DetectionSet(*arrays), str(path))


def check_detection_set(packed: DetectionSet, name: str = "packed") -> DetectionSet:
    """The set itself, if its parts fit together; else a ValueError names ``name`` and the part."""
    pictures = packed.pictures
    square = pictures.ndim == 4 and pictures.shape[1] == pictures.shape[2] and pictures.shape[3] == 3
    if not square or pictures.dtype != np.uint8 or not len(pictures):
        raise ValueError(f"{name}: pictures is {pictures.dtype} {pictures.shape}; expected uint8 [M, S, S, 3], M > 0")
    count, places = len(pictures), packed.valid.shape[-1] if packed.valid.ndim else 0
    wanted = {
        "extents": (count, 2), "boxes": (count, places, 4), "labels": (count, places), "valid": (count, places),
        "source": (count,),
    }  # fmt: skip
    for part, shape in wanted.items():
        if getattr(packed, part).shape != shape:
            raise ValueError(f"{name}: {part} has shape {getattr(packed, part).shape}; expected {shape}")
    return packed
