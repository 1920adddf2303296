"""Pictures of a sweep's points in its first channel realisation: what was there, what was kept, what arrived."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from lvm_mtc.data.batches import chunks_of
from lvm_mtc.sweep.group import Coordinates, Group, Resources
from lvm_mtc.sweep.plan import SweepSpec, picture_sizes

_POINTS_AT_ONCE = 16


class Shown(NamedTuple):
    """Pictures of P points that are encoded once. B groups of K views.

    Attributes:
        points: Coordinates, ``[P]``.
        originals: ``[B, K, height, width, 3]`` float in [0, 1].
        kept: Likewise, with the pixels that are not sent in grey, and those of fewer symbols greyer.
        received: ``[P, B, K, height, width, 3]`` uint8.
        psnr_db: Of the received pictures, ``[P, B, K]``.
        sizes: Height and width of each picture, beyond which it is mirrored, ``[B, K, 2]``.
    """

    points: Sequence[Coordinates]
    originals: np.ndarray
    kept: np.ndarray
    received: np.ndarray
    psnr_db: np.ndarray
    sizes: np.ndarray

    def whole(self, pictures: np.ndarray, view: tuple[int, int]) -> np.ndarray:
        """Of ``[B, K, height, width, 3]`` the picture of one group and UAV, without what is mirrored."""
        height, width = self.sizes[view]
        return pictures[view][:height, :width]


def show(spec: SweepSpec, points: Sequence[Coordinates], *, groups: int | None = None, unit: int = 0) -> Shown:
    """Sends the pictures of points again, as the sweep begins.

    Args:
        spec: The sweep, of pictures.
        points: Of it, all of one K, seed and scheme and of equal knobs that its encoder reads.
        groups: Of the first so many groups of pictures; None: of all. Where they are in the first step only that is
            encoded, for equal draws.
        unit: Number of the channel realisation.
    """
    num_uavs = points[0]["num_uavs"]
    source = spec.sources[num_uavs]
    num_groups = source.lead()[0]
    if groups is not None and groups < num_groups:
        num_groups, (_, _, size) = groups, spec.steps(num_uavs)[0]
        source = jax.tree.map(lambda array: array[:size], source) if groups <= size else source
    plain = dict(sources={num_uavs: source}, metrics=("psnr_db",), stop_metric="psnr_db", judges=())
    spec = dataclasses.replace(spec, **plain, random_pictures=False)
    chunks = chunks_of(len(points), _POINTS_AT_ONCE)
    group = Group(spec, points[0], Resources(num_devices=1, items_per_device=chunks[0][2]), pictures=True)
    originals, received, psnr_db = np.asarray(source.data[:num_groups]), [], []
    for start, stop, _ in chunks:
        for samples in group.send(points[start:stop], range(unit, unit + 1)):
            received.append(samples.pictures[0, :num_groups])
            psnr_db.append(samples.metrics["psnr_db"][0, :num_groups])
    kept = originals
    if samples.removed is not None:
        removed = np.float32(samples.removed[:num_groups, ..., None])
        kept = originals * (1 - removed) + np.float32(0.5) * removed
    sizes = picture_sizes(source)[:num_groups]
    return Shown(points, originals, kept, np.stack(received), np.stack(psnr_db), sizes)
