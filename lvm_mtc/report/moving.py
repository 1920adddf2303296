"""Clips and point clouds for the report's player and turntable, as a store keeps them."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from lvm_mtc.results.points import StoredPicture

MOST_ROWS = 4
"""So many UAVs, or clouds, are shown at most."""
MOST_FRAMES = 96
MOST_POINTS = 4096
"""Of longer clips the first frames are shown, of larger clouds as many points, evenly taken."""
CLOUD_HEAD = b"int16 / 8192"
"""What begins a cloud's bytes. Coordinates follow, x, y and z of each point, in steps of 1 / 8192 and so in [-4, 4)."""
CLOUD_SCALE = 8192
_QUALITY = 85  # of WebP


def stored(
    key: str,
    of_original: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    originals: np.ndarray,
    received: Sequence[np.ndarray],
) -> Iterator[StoredPicture]:
    """Clips or clouds of a sweep's points; a row of what comes is a UAV of a group, UAVs fastest.

    Args:
        key: Of the sweep.
        of_original: Coordinates of what was sent.
        points: Coordinates, ``[P]``.
        originals: Clips ``[B, K, frames, height, width, 3]`` in [0, 1], or clouds ``[B, K, num_points, 3]``.
        received: Of each point the same, clips as uint8.
    """
    for row, place in enumerate(list(np.ndindex(originals.shape[:2]))[:MOST_ROWS]):
        named = [
            (of_original, "original", originals),
            *((at, "received", a) for at, a in zip(points, received, strict=True)),
        ]
        for at, name, items in named:
            for beside, data in encode(items[place]):
                yield StoredPicture(key, {**at, **beside}, name, row, data)


def encode(item: np.ndarray) -> Iterator[tuple[dict[str, int], bytes]]:
    """A clip's frames as WebP, each with the coordinate ``frame``; or a cloud, with none."""
    if item.ndim == 2:
        yield {}, pack_cloud(item)
        return
    for number, frame in enumerate(item[:MOST_FRAMES]):
        pixels = frame if frame.dtype == np.uint8 else np.uint8(np.round(np.clip(frame, 0, 1) * 255))
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "WEBP", quality=_QUALITY)
        yield {"frame": number}, stream.getvalue()


def pack_cloud(points: np.ndarray) -> bytes:
    """A cloud ``[n, 3]`` as bytes, at most ``MOST_POINTS`` of its points, rounded to steps of 1 / ``CLOUD_SCALE``."""
    take = np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).round().astype(int)
    steps = np.round(np.asarray(points, float)[take] * CLOUD_SCALE).clip(-(2**15), 2**15 - 1)
    return CLOUD_HEAD + steps.astype("<i2").tobytes()
