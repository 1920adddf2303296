"""Where is the object? The interface of the knowledge base, and the two sources that need no detector.

A knowledge base is a callable ``(images, task_text) -> loc``: pictures ``[..., height, width, 3]`` and the task's text
in, one box ``(x, y, w, h)`` (centre, pixels) per picture out, ``[..., 4]``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

KnowledgeBase = Callable[[Any, str], np.ndarray]


def centre_prior(area_ratio: float = 0.25) -> KnowledgeBase:
    """A box in the middle of every picture, whatever it shows: the stated prior where nothing is known.

    Args:
        area_ratio: Area of the box over that of the picture, in (0, 1].

    Raises:
        ValueError: if ``area_ratio`` is out of range.
    """
    if not 0 < area_ratio <= 1:
        raise ValueError(f"centre_prior: area_ratio must lie in (0, 1], got {area_ratio!r}")

    def locate(images, task_text: str = "") -> np.ndarray:
        *lead, height, width, _ = images.shape
        side = area_ratio**0.5
        box = np.array([width / 2, height / 2, side * width, side * height], np.float32)
        return np.broadcast_to(box, (*lead, 4))

    return locate


def annotated(boxes: np.ndarray) -> KnowledgeBase:
    """Boxes that somebody drew, for the very pictures that will be asked about.

    Args:
        boxes: ``[..., 4]``, ``(x, y, w, h)``, centre, pixels, one per picture.
    """
    boxes = np.asarray(boxes, np.float32)

    def locate(images, task_text: str = "") -> np.ndarray:
        if boxes.shape != (*images.shape[:-3], 4):
            raise ValueError(f"annotated boxes {boxes.shape} do not fit pictures {images.shape}: expected "
                             f"{(*images.shape[:-3], 4)}")
        return boxes

    return locate
