"""The pictures of the study of token sharing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lvm_mtc.data.frames import load_frames, read_positions
from lvm_mtc.data.images import load_image
from lvm_mtc.data.resizing import fit_image
from lvm_mtc.data.views import uav_views
from lvm_mtc.data.voc import load_voc

MOST_UAVS = 10


def read_groups(data: Path, count: int, size: int) -> dict[str, np.ndarray]:
    """Frames of one survey, overlapping views of one photograph, and different photographs.

    Args:
        data: Folder that holds ``uav_brighton_beach`` and ``voc2012_320``.
        count: Groups of each kind.
        size: Side of the pictures, pixels.

    Returns:
        ``[count, MOST_UAVS, size, size, 3]`` float32 in [0, 1] by the name of the kind.
    """
    survey = data / "uav_brighton_beach"
    starts = read_positions(survey / "positions.json")
    starts = [starts[i].file for i in np.linspace(0, len(starts) - 1, count).round().astype(int)]
    photographs = [load_image(one.image_path) for one in load_voc(data / "voc2012_320", "val")[: count * MOST_UAVS]]
    different = np.stack([fit_image(picture, size) for picture in photographs])
    kinds = {
        "frames of one survey": [load_frames(survey, MOST_UAVS, size=size, start=start).views for start in starts],
        "views of one photograph": [uav_views(p, MOST_UAVS, size=size).views for p in photographs[:count]],
        "different photographs": different.reshape(count, MOST_UAVS, size, size, 3),
    }
    return {name: np.float32(np.stack(list(views))) / 255 for name, views in kinds.items()}


def read_training_pictures(data: Path, count: int, side: int) -> np.ndarray:
    """The first photographs of the list ``train``, ``[count, side, side, 3]`` uint8."""
    examples = load_voc(data / "voc2012_320", "train")[:count]
    return np.stack([fit_image(load_image(one.image_path), side) for one in examples])
