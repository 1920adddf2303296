"""Patch features of pictures: the largest value of each of a detector's features within a patch, at all its scales."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.detection import Detections
from lvm_mtc.models.yolox import Yolox, found_objects

PICTURE = (192, 320)
"""Height and width to which pictures, and windows of them, are brought."""
GRID = (6, 10)
"""Rows and columns of patches."""
_MAGNIFIED = 2  # what is small in a picture of 320 pixels is found in one of 640


def num_patch_features(network: Yolox) -> int:
    """Numbers of a patch: two branches at three scales."""
    return 6 * network.channels


def encode_patches(network: Yolox, arrays: Mapping[str, jax.Array], images: jax.Array) -> tuple[jax.Array, Detections]:
    """Patch features and objects in one pass.

    Args:
        network: The detector.
        arrays: Its weights, ``network.graph.arrays``.
        images: ``[batch, 192, 320, 3]`` in [0, 1].

    Returns:
        patches: ``[batch, 60, num_patch_features]``, row by row.
        objects: Boxes in pixels of ``images``.
    """
    if images.shape[1:] != (*PICTURE, 3):
        raise ValueError(f"images must be [batch, {PICTURE[0]}, {PICTURE[1]}, 3], got {images.shape}")
    sides = tuple(_MAGNIFIED * side for side in PICTURE)
    outputs = network(arrays, jax.image.resize(images, (images.shape[0], *sides, 3), "linear"))
    rows, columns = GRID

    def pooled(maps: jax.Array) -> jax.Array:
        count, height, width, channels = maps.shape
        cells = maps.reshape(count, rows, height // rows, columns, width // columns, channels)
        return cells.max(axis=(2, 4)).reshape(count, rows * columns, channels)

    scales = zip(outputs.class_maps, outputs.box_maps, strict=True)
    patches = jnp.concatenate([pooled(maps) for branches in scales for maps in branches], axis=-1)
    objects = found_objects(outputs)
    return patches, objects._replace(boxes=objects.boxes / _MAGNIFIED)


def grid_places(windows: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    """The patches of windows of a picture, row by row.

    Args:
        windows: Left, top, right, bottom over the picture's sides, ``[..., 4]``; ``(0, 0, 1, 1)`` is the whole.

    Returns:
        Left, top, right, bottom likewise, ``[..., 60, 4]``.
    """
    rows, columns = (a.reshape(-1).astype(np.float32) for a in np.mgrid[: GRID[0], : GRID[1]])
    low = np.stack([columns / GRID[1], rows / GRID[0]], axis=-1)
    cells = np.stack([low, low + np.float32(1) / np.float32(GRID[::-1])], axis=-2).reshape(-1, 4)
    start, size = windows[..., None, :2], windows[..., None, 2:] - windows[..., None, :2]
    lead = (1,) * (windows.ndim - 1)
    start, size = (np.concatenate([a, a], axis=-1) if isinstance(a, np.ndarray) else jnp.concatenate([a, a], -1)
                   for a in (start, size))  # fmt: skip
    return start + size * cells.reshape(*lead, -1, 4)
