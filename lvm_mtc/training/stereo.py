"""What a recipe of a scheme for stereo pairs trains on: packed pairs that stay on the device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.data.stereo import load_packed_stereo
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.training.pictures import TrainingData


def load_training_stereo(path: str | Path, config: Any, num_groups: int, seed: int) -> TrainingData:
    """Reads pairs with disparity and middle view (``experiments/stereo/pack.py`` makes them).

    ``config`` is the scheme's, whose ``size`` they must have; ``num_groups`` and ``seed`` are not used.

    Raises:
        ValueError: if the file is of another kind, or its pairs are of another size or lack something.
    """
    pairs = load_packed_stereo(path)
    if pairs.size != tuple(config.size):
        raise ValueError(f"{path}: has views of {pairs.size}, but {type(config).__name__}.size is {tuple(config.size)}")
    if pairs.disparity is None or pairs.middle is None:
        raise ValueError(f"{path}: lacks disparity or middle views, of which a codec of stereo pairs learns")
    data = {"pictures": pairs.pictures, "disparity": pairs.disparity, "middle": pairs.middle}
    identity = {"pairs": len(pairs), "sum": int(pairs.pictures.sum(dtype=np.uint64))}
    return TrainingData(data, data, identity, {"file": Path(path).name, **identity})


def draw_stereo(data: Any, keys: Sequence[jax.Array], lead: tuple[int, int], config: Any, ranges: Any) -> Source:
    """Pairs at random, turned upside down at random, with their middle view and disparity as hints.

    Args:
        data: ``pictures [n, 2, H, W, 3]`` and ``middle [n, H, W, 3]`` uint8, ``disparity [n, 2, H, W]`` float32.
        keys: Five, of which two are used.
        lead: Groups, and UAVs in a group: each gets a pair of its own.
        config: Not used, and nor are the ``ranges``.
    """
    index = jax.random.randint(keys[0], lead, 0, data["pictures"].shape[0])
    turned = jax.random.bernoulli(keys[1], shape=lead)

    def take(name: str, rows: int) -> jax.Array:
        chosen = data[name][index]
        flip = turned.reshape(*lead, *(1,) * (chosen.ndim - 2))
        return jnp.where(flip, jnp.flip(chosen, rows), chosen).astype(jnp.float32)

    hints = {"middle": take("middle", 2) / 255, "disparity": take("disparity", 3)}
    return Source(take("pictures", 3) / 255, hints)
