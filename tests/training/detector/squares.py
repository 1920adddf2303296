"""Pictures with a square each, for detectors that learn in minutes."""

import numpy as np

from lvm_mtc.data.detection_packing import DetectionSet


def squares(count=8, size=64, seed=0):
    """White squares on black: as easy as detection gets."""
    rng = np.random.default_rng(seed)
    pictures, boxes = np.zeros((count, size, size, 3), np.uint8), np.zeros((count, 2, 4), np.float32)
    for i in range(count):
        side, (x, y) = 24, rng.integers(0, size - 24, 2)
        pictures[i, y : y + side, x : x + side] = 255
        boxes[i, 0] = x + side / 2, y + side / 2, side, side
    valid = np.tile([True, False], (count, 1))
    extents = np.full((count, 2), size, np.int32)
    return DetectionSet(pictures, extents, boxes, np.zeros((count, 2), np.int32), valid, np.array(["x"] * count))
