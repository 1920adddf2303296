"""VOC's photographs at their own size, and the squares of them that are sent, with the object that is measured."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.boxes import box_in_window
from lvm_mtc.data.detection_packing import DetectionSet, LabelledSource, pack_labelled
from lvm_mtc.data.resizing import fit_image, fit_window
from lvm_mtc.data.voc import VOC_CLASSES, VocAnnotation, load_voc, voc_boxes


class Squares(NamedTuple):
    """Pictures as they are sent: the largest centred square of each.

    Attributes:
        whole: ``[M, S, S, 3]`` uint8, what a detector sees; S is the side of the packed pictures.
        views: ``[M, size, size, 3]`` uint8, what is sent.
        boxes: ``[M, 4]`` float32, the object that is measured: the one with the largest part in the square; ``(x, y, w,
            h)``, centre, pixels of ``views``.
        objects: ``[M, T, 4]`` float32, all annotated objects, likewise; 0 where there is none.
        label: ``[M]`` int, class of the object that is measured.
        alone: ``[M]`` bool, whether it is the picture's only annotated object.
    """

    whole: np.ndarray
    views: np.ndarray
    boxes: np.ndarray
    objects: np.ndarray
    label: np.ndarray
    alone: np.ndarray


def pack_voc(
    root: str | os.PathLike,
    split: str,
    count: int | None = None,
    keep: Callable[[VocAnnotation], bool] = lambda annotation: True,
    *,
    side: int = 320,
    max_objects: int = 16,
) -> DetectionSet:
    """Pictures of a VOC list at their own size in squares of ``side`` pixels, all objects with their classes.

    Args:
        root: As in :func:`load_voc`, and so ``split``.
        count: Only the first so many; None for all.
        keep: Only those for whose annotation it is true.
        side: The longer side of these pictures, which are not resized.
        max_objects: Places for boxes per picture, >= 1.

    Raises:
        ValueError: if a picture would have to be resized, or has more objects than there are places.
    """
    sources = []
    for example in [example for example in load_voc(root, split) if keep(example.annotation)][:count]:
        annotation = example.annotation
        labels = np.array([VOC_CLASSES.index(item.name) for item in annotation.objects])
        if max(annotation.height, annotation.width) != side or not 0 < len(labels) <= max_objects:
            wanted = f"a longer side of {side} pixels and 1 to {max_objects} objects"
            raise ValueError(f"{example.image_path}: needs {wanted}")
        sources.append(LabelledSource(example.name, example.image_path, voc_boxes(annotation), labels))
    return pack_labelled(sources, side, max_objects)


def cut_squares(truth: DetectionSet, size: int) -> Squares:
    """Cuts the squares, with views of ``size`` pixels, of pictures with one object or more each."""
    rows = []
    for i, (height, width) in enumerate(truth.extents.tolist()):
        picture, window = truth.pictures[i, :height, :width], fit_window(height, width, size)
        boxes = np.stack([box_in_window(box, window, (size, size))[0] for box in truth.boxes[i, truth.valid[i]]])
        largest = int(np.argmax(boxes[:, 2] * boxes[:, 3]))
        objects = np.zeros((truth.boxes.shape[1], 4), np.float32)
        objects[: len(boxes)] = boxes
        rows.append((fit_image(picture, truth.pictures.shape[1]), fit_image(picture, size), np.float32(boxes[largest]),
                     objects, truth.labels[i, largest], len(boxes) == 1))  # fmt: skip
    return Squares(*(np.stack(column) for column in zip(*rows, strict=True)))
