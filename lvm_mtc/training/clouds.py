"""What a recipe of a scheme for point clouds trains on: packed clouds that stay on the device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.data.clouds import load_packed_clouds
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.training.pictures import TrainingData

_SMALLEST = 0.8
_SAMPLE = 256


def load_training_clouds(path: str | Path, config: Any, num_groups: int, seed: int) -> TrainingData:
    """Reads the clouds ``train`` of an ``.npz`` file, ``[n, num_points, 3]`` in the unit ball.

    ``config`` is the scheme's, whose ``num_points`` they must have; ``num_groups`` and ``seed`` are not used.

    Raises:
        ValueError: if the file is of another kind, or of clouds of another size.
    """
    clouds = load_packed_clouds(path, "train")
    if clouds.shape[1] != config.num_points:
        wanted = f"but {type(config).__name__}.num_points is {config.num_points}"
        raise ValueError(f"{path}: has clouds of {clouds.shape[1]} points, {wanted}")
    total = float(np.abs(clouds).sum(dtype=np.float64))
    identity = {"clouds": len(clouds), "sum": total}
    sample = clouds[:: max(1, len(clouds) // _SAMPLE)]
    return TrainingData({"clouds": clouds}, sample, identity, {"file": Path(path).name, **identity})


def draw_clouds(data: Any, keys: Sequence[jax.Array], lead: tuple[int, int], config: Any, ranges: Any) -> Source:
    """Clouds at random, mirrored at random along the first two axes, of 0.8 to 1 of their size.

    Args:
        data: ``{"clouds": [num_clouds, num_points, 3] float}``.
        keys: Of which the first three are used.
        lead: Groups, and UAVs in a group: each gets a cloud of its own.
        config: Not used, and nor are the ``ranges``.
    """
    index = jax.random.randint(keys[0], lead, 0, data["clouds"].shape[0])
    signs = jnp.where(jax.random.bernoulli(keys[1], shape=(*lead, 1, 2)), -1.0, 1.0)
    size = jax.random.uniform(keys[2], (*lead, 1, 1), minval=_SMALLEST)
    signs = jnp.concatenate([signs, jnp.ones((*lead, 1, 1))], axis=-1)
    return Source(data["clouds"][index].astype(jnp.float32) * signs * size)
