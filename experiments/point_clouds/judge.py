r"""PointNet that names the kind of a cloud: trained on clean training clouds, it judges received ones.

    python -m experiments.point_clouds.judge --clouds ../shared/data/clouds/modelnet10_1024.npz

Without the transforms of its source, and with dropout, shifts and scales in training. Clouds stand as they are, so no
turn is learned.
"""

import functools
import sys
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import trange

from experiments.script import DATA, script
from lvm_mtc.data.clouds import load_packed_clouds
from lvm_mtc.models.weights import load_weights, save_weights

JUDGE = Path("build/point_clouds_judge.npz")
CLOUDS = DATA / "clouds" / "modelnet10_1024.npz"
_POINT_WIDTHS, _HIDDEN, _CLASSES = (64, 128, 256), 128, 10
_BATCH, _POINTS, _SEED = 32, 256, 0
_SCALES, _NOISE = (0.8, 1.2), 0.01


class Labelled(NamedTuple):
    """Clouds ``[n, num_points, 3]`` float32 and their classes ``[n]`` int32."""

    clouds: np.ndarray
    labels: np.ndarray


class PointNet(nn.Module):
    """Scores ``[n, 10]`` of clouds ``[n, num_points, 3]``, whatever the order of their points.

    Source: Qi, Su, Mo, Guibas, PointNet (2017).
    """

    @nn.compact
    def __call__(self, clouds: jax.Array, training: bool = False) -> jax.Array:
        x = clouds
        for width in _POINT_WIDTHS:
            x = nn.relu(nn.Dense(width)(x))
        x = nn.relu(nn.Dense(_HIDDEN)(x.max(axis=-2)))
        return nn.Dense(_CLASSES)(nn.Dropout(0.3, deterministic=not training)(x))


@jax.jit
def classify(params: Any, clouds: jax.Array) -> jax.Array:
    """The judge's scores ``[n, 10]`` of clouds ``[n, num_points, 3]``."""
    return PointNet().apply({"params": params}, clouds)


def load_labelled(path: Path, split: str) -> Labelled:
    """Clouds and classes of a packed file."""
    clouds = np.float32(load_packed_clouds(path, split))
    with np.load(path) as archive:
        return Labelled(clouds, np.int32(archive[f"{split}_label"]))


def load_judge(path: Path = JUDGE) -> Any:
    """Parameters that :func:`main` wrote."""
    if not path.exists():
        raise ValueError(f"{path}: there is no judge; python -m experiments.point_clouds.judge trains it")
    return load_weights(path)[0]


def accuracy(params: Any, of: Labelled) -> np.ndarray:
    """Which clouds the judge names right, ``[n]`` bool."""
    parts = np.array_split(of.clouds, max(1, len(of.clouds) // 100))
    return np.concatenate([np.asarray(classify(params, part)).argmax(-1) for part in parts]) == of.labels


def train_judge(train: Labelled, steps: int) -> Any:
    """Parameters after ``steps`` steps of Adam, one cycle, each on a quarter of the points of 32 clouds."""
    params = jax.jit(PointNet().init)(jax.random.key(_SEED), train.clouds[:1])["params"]
    optimizer = optax.adam(optax.cosine_onecycle_schedule(steps, 3e-3))

    def loss(params, key, clouds, labels):
        scores = PointNet().apply({"params": params}, clouds, True, rngs={"dropout": key})
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, key, clouds, labels):
        updates, state = optimizer.update(jax.grad(loss)(params, key, clouds, labels), state)
        return optax.apply_updates(params, updates), state

    state, rng = optimizer.init(params), np.random.default_rng(_SEED)
    for number in trange(steps, disable=not sys.stderr.isatty()):
        take = rng.integers(len(train.clouds), size=_BATCH)
        points = rng.permutation(train.clouds.shape[1])[:_POINTS]
        clouds = train.clouds[take][:, points] * rng.uniform(*_SCALES, (_BATCH, 1, 3))
        clouds = clouds + rng.normal(scale=_NOISE, size=clouds.shape)
        key = jax.random.fold_in(jax.random.key(_SEED), number)
        params, state = step(params, state, key, jnp.asarray(clouds, jnp.float32), train.labels[take])
    return params


@script(clouds="packed clouds with labels (default: %(default)s)", out="weights to write", steps="of training")
def main(clouds: Path = CLOUDS, out: Path = JUDGE, steps: int = 2000) -> None:
    """Train the judge of point clouds."""
    params = train_judge(load_labelled(clouds, "train"), steps)
    right = accuracy(params, load_labelled(clouds, "test"))
    save_weights(out, jax.device_get(params), {"judge": "point clouds"})
    print(f"{out}: {right.mean():.1%} of {len(right)} test clouds")


if __name__ == "__main__":
    sys.exit(main())
