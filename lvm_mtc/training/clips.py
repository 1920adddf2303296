"""What a recipe of a scheme for clips trains on: packed clips that stay on the device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.data.clips import load_clips
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.training.pictures import TrainingData


def load_training_clips(path: str | Path, config: Any, num_groups: int, seed: int) -> TrainingData:
    """Reads packed clips, as ``load_training_pictures`` reads pictures; ``num_groups`` and ``seed`` are not used.

    Raises:
        ValueError: if the file is of another kind, or its clips are smaller than the scheme's.
    """
    clips = load_clips(path)
    wanted = config.num_frames, *config.size
    if any(have < want for have, want in zip(clips.shape[1:4], wanted, strict=True)):
        raise ValueError(f"{path}: clips of {clips.shape[1:4]} are smaller than {type(config).__name__}'s {wanted}")
    identity = {"clips": list(clips.shape), "sum": int(clips.sum(dtype=np.uint64))}
    return TrainingData({"clips": clips}, clips, identity, {"file": Path(path).name} | identity)


def draw_clips(data: Any, keys: Sequence[jax.Array], lead: tuple[int, int], config: Any, ranges: Any) -> Source:
    """Pieces of clips at random, mirrored and played backwards at random, one for each UAV.

    Args:
        data: ``{"clips": [num, frames, height, width, 3] uint8}``.
        keys: Five, of which four are used.
        lead: Groups, and UAVs in a group.
        config: The scheme's, with ``num_frames`` and ``size``.
        ranges: Not used.
    """
    clips, wanted = data["clips"], (config.num_frames, *config.size)
    room = jnp.array([have - want + 1 for have, want in zip(clips.shape[1:4], wanted, strict=True)])
    index = jax.random.randint(keys[0], lead, 0, clips.shape[0])
    corner = jax.random.randint(keys[1], (*lead, 3), 0, room.reshape(1, 1, 3))

    def cut(i, corner):
        return jax.lax.dynamic_slice(clips, (i, *corner, 0), (1, *wanted, 3))[0]

    pieces = jax.vmap(jax.vmap(cut))(index, corner)
    for key, axis in zip(keys[2:4], (4, 2), strict=True):
        turned = jax.random.bernoulli(key, shape=(*lead, 1, 1, 1, 1))
        pieces = jnp.where(turned, jnp.flip(pieces, axis), pieces)
    return Source(pieces.astype(jnp.float32) / 255.0)
