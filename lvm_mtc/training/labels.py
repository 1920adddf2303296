"""What a recipe of a scheme for classes trains on: packed pictures with labels that stay on the device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.schemes.scheme import Source
from lvm_mtc.training.pictures import TrainingData, load_pictures

_SHIFT = 2


def load_training_labels(path: str | Path, config: Any, num_groups: int, seed: int) -> TrainingData:
    """Reads packed pictures with their classes (``experiments/multitask/pack.py``), of ``config.image_size``.

    ``num_groups`` and ``seed`` are not used.

    Raises:
        ValueError: if the file is of another kind or size, or has no ``labels``, one for each picture.
    """
    pictures = load_pictures(path)
    if pictures.shape[1:3] != (config.image_size,) * 2:
        wanted = f"{type(config).__name__}.image_size {config.image_size}"
        raise ValueError(f"{path}: pictures are {pictures.shape[1]} x {pictures.shape[2]} pixels, not {wanted}")
    with np.load(path, allow_pickle=False) as archive:
        labels = archive["labels"] if "labels" in archive else np.zeros(0)
    if labels.shape != pictures.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{path}: labels must be [{len(pictures)}] int, got {labels.shape} {labels.dtype}")
    identity = {"pictures": len(pictures), "sum": int(pictures.sum(dtype=np.uint64)), "classes": int(labels.sum())}
    data = {"pictures": pictures, "labels": labels.astype(np.int32)}
    return TrainingData(data, pictures, identity, {"file": Path(path).name, **identity})


def draw_labels(data: Any, keys: Sequence[jax.Array], lead: tuple[int, int], config: Any, ranges: Any) -> Source:
    """Pictures at random, moved by up to two pixels and half of them mirrored, with their classes.

    Args:
        data: What :func:`load_training_labels` gives.
        keys: Of which the first three are used.
        lead: Groups, and UAVs in a group: each gets a picture of its own.
        config: Not used, and nor are the ``ranges``.
    """
    index = jax.random.randint(keys[0], lead, 0, data["labels"].shape[0])
    shift = jax.random.randint(keys[1], (*lead, 2), 0, 2 * _SHIFT + 1)
    pictures = jnp.pad(data["pictures"][index], [(0, 0)] * 2 + [(_SHIFT, _SHIFT)] * 2 + [(0, 0)], mode="edge")
    size = data["pictures"].shape[1:]
    cut = lambda picture, at: jax.lax.dynamic_slice(picture, (at[0], at[1], 0), size)  # noqa: E731
    pictures = jax.vmap(jax.vmap(cut))(pictures, shift)
    mirror = jax.random.bernoulli(keys[2], shape=(*lead, 1, 1, 1))
    pictures = jnp.where(mirror, pictures[..., ::-1, :], pictures).astype(jnp.float32) / 255.0
    return Source(pictures, {"labels": data["labels"][index]})
