"""Mosaics: four views of a batch side by side at half their scale, so that a few pictures give many scenes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.training.detector.batches import DetectorBatch
from lvm_mtc.training.detector.loss import DetectorTargets

PARTS = 4
# Keeps these draws apart from those of the views, which are the same with and without mosaics.
_MOSAIC_STREAM = 1


def make_mosaics(batch: DetectorBatch, min_side: float) -> DetectorBatch:
    """Puts every view together with the three that follow it in the batch; their size is even.

    View i comes upper left, i + 1 upper right, i + 2 lower left, i + 3 lower right, each averaged over 2 x 2 pixels.
    There are places for ``2 max_objects``: of more objects than that, the last are lost, like those with a side below
    ``min_side`` pixels of the mosaic.
    """
    count, size, _, channels = batch.images.shape
    small = batch.images.reshape(count, size // 2, 2, size // 2, 2, channels).mean(axis=(2, 4))
    parts = [jnp.roll(small, -part, axis=0) for part in range(PARTS)]
    rows = [jnp.concatenate(parts[:2], axis=2), jnp.concatenate(parts[2:], axis=2)]
    corners = [(part % 2 * size / 2, part // 2 * size / 2, 0, 0) for part in range(PARTS)]
    boxes, labels, valid = (
        jnp.stack([jnp.roll(leaf, -part, axis=0) for part in range(PARTS)], axis=1) for leaf in batch.targets
    )
    boxes = boxes / 2 + jnp.asarray(corners, boxes.dtype)[None, :, None, :]
    valid = valid & (boxes[..., 2:].min(axis=-1) >= min_side)
    targets = DetectorTargets(*(leaf.reshape(count, -1, *leaf.shape[3:]) for leaf in (boxes, labels, valid)))
    return DetectorBatch(jnp.concatenate(rows, axis=1), _first_valid(targets, 2 * batch.targets.valid.shape[1]))


def mosaic_batch_fn(batch_fn: Callable, probability: float, min_side: float) -> Callable:
    """Turns a view into a mosaic with this ``probability``; a batch has places for twice as many objects.

    ``min_side`` is that of :func:`make_mosaics`.
    """

    def with_mosaics(data: dict[str, Any], key: jax.Array) -> DetectorBatch:
        batch = batch_fn(data, key)
        count, max_objects = batch.targets.valid.shape
        chosen = jax.random.bernoulli(jax.random.fold_in(key, _MOSAIC_STREAM), probability, (count,))

        def pad(leaf):
            return jnp.pad(leaf, ((0, 0), (0, max_objects)) + ((0, 0),) * (leaf.ndim - 2))

        def pick(mosaic, view):
            return jnp.where(chosen.reshape(-1, *(1,) * (view.ndim - 1)), mosaic, view)

        views = DetectorBatch(batch.images, jax.tree.map(pad, batch.targets))
        return jax.tree.map(pick, make_mosaics(batch, min_side), views)

    return with_mosaics


def _first_valid(targets: DetectorTargets, max_objects: int) -> DetectorTargets:
    """The first objects that are any, and zeros behind them."""
    order = jnp.argsort(~targets.valid, axis=1, stable=True)[:, :max_objects]
    boxes = jnp.take_along_axis(targets.boxes, order[..., None], axis=1)
    labels, valid = (jnp.take_along_axis(leaf, order, axis=1) for leaf in (targets.labels, targets.valid))
    return DetectorTargets(jnp.where(valid[..., None], boxes, 0), jnp.where(valid, labels, 0), valid)
