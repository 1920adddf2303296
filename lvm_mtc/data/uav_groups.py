"""Groups of pictures that UAVs have more or less in common, for what they may share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lvm_mtc.data.frames import load_frames, read_positions
from lvm_mtc.data.images import load_image
from lvm_mtc.data.packing import VOC_FOLDER
from lvm_mtc.data.resizing import fit_image
from lvm_mtc.data.views import uav_views
from lvm_mtc.data.voc import load_voc


def read_groups(data: str | os.PathLike, count: int, size: int, num_uavs: int = 10) -> dict[str, np.ndarray]:
    """Frames of one survey, overlapping views of one photograph, and different photographs.

    Args:
        data: Folder that holds ``uav_brighton_beach`` and ``voc2012_320``.
        count: Groups of each kind.
        size: Side of the pictures, pixels.
        num_uavs: Pictures of a group.

    Returns:
        ``[count, num_uavs, size, size, 3]`` float32 in [0, 1] by the name of the kind.
    """
    survey = Path(data) / "uav_brighton_beach"
    positions = read_positions(survey / "positions.json")
    starts = [positions[i].file for i in np.linspace(0, len(positions) - 1, count).round().astype(int)]
    examples = load_voc(Path(data) / VOC_FOLDER, "val")[: count * num_uavs]
    photographs = [load_image(example.image_path) for example in examples]
    different = np.stack([fit_image(picture, size) for picture in photographs])
    kinds = {
        "frames of one survey": [load_frames(survey, num_uavs, size=size, start=start).views for start in starts],
        "views of one photograph": [uav_views(p, num_uavs, size=size).views for p in photographs[:count]],
        "different photographs": different.reshape(count, num_uavs, size, size, 3),
    }
    return {name: np.float32(np.stack(list(views))) / 255 for name, views in kinds.items()}
