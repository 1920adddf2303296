"""The two sources of boxes that need no detector: a stated prior, and annotations."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lvm_mtc.data import boxes
from lvm_mtc.data.boxes import CENTER_PRIOR_FRACTION

LocSource = Callable[[Any, str], np.ndarray]
"""``(images, task_text) -> loc``: pictures ``[..., height, width, 3]`` and the task's text in, one box ``(x, y, w, h)``
(centre, pixels) per picture out, ``[..., 4]``. A ``KnowledgeBase`` is one too."""


def center_prior(area_ratio: float = CENTER_PRIOR_FRACTION) -> LocSource:
    """A box in the middle of every picture, whatever it shows: the stated prior where nothing is known.

    Args:
        area_ratio: Area of the box over that of the picture, in (0, 1].
    """
    boxes.center_prior(1, 1, area_ratio)

    def locate(images, task_text: str = "") -> np.ndarray:
        *lead, height, width, _ = images.shape
        return np.broadcast_to(boxes.center_prior(height, width, area_ratio).astype(np.float32), (*lead, 4))

    return locate


def annotated(loc: np.ndarray) -> LocSource:
    """Boxes that somebody drew, for the very pictures that will be asked about.

    Args:
        loc: ``[..., 4]``, ``(x, y, w, h)``, centre, pixels, one per picture.
    """
    loc = np.asarray(loc, np.float32)

    def locate(images, task_text: str = "") -> np.ndarray:
        shape = (*images.shape[:-3], 4)
        if loc.shape != shape:
            raise ValueError(f"annotated boxes {loc.shape} do not fit pictures {images.shape}: expected {shape}")
        return loc

    return locate
