"""What a training run carries from step to step, and which part of it learns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

PyTree = Any
Trainable = Callable[[str], bool]


class TrainState(NamedTuple):
    """Everything that a checkpoint must hold so that a resumed run repeats itself bit for bit.

    Attributes:
        params: All parameters, frozen ones included.
        opt_state: Optimiser state of the learned parameters only (``None`` where a parameter is frozen).
        step: Updates done so far, int32 scalar.
        key: Typed key of the run; the key of a step is ``fold_in(key, step)``.
        ema: Moving average of the learned parameters (``None`` where frozen), or None without averaging.
    """

    params: PyTree
    opt_state: PyTree
    step: jax.Array
    key: jax.Array
    ema: PyTree


def path_name(path: tuple) -> str:
    """Name ``"a/b/c"`` of a leaf from its JAX key path."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def split_params(params: PyTree, trainable: Trainable | None) -> tuple[PyTree, PyTree]:
    """Parts parameters into learned and frozen.

    Both results have the structure of ``params`` with None (no leaf at all for JAX) in place of the other's arrays, so
    an optimiser that is given the first keeps no memory for the second.

    ``trainable`` is a predicate on the parameter's name ``"a/b/c"``, which must select some; None: all are learned.
    """
    if trainable is None:
        return params, jax.tree.map(lambda _: None, params)
    learned = jax.tree_util.tree_map_with_path(lambda p, leaf: leaf if trainable(path_name(p)) else None, params)
    frozen = jax.tree_util.tree_map_with_path(lambda p, leaf: None if trainable(path_name(p)) else leaf, params)
    if not jax.tree.leaves(learned):
        names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        raise ValueError(f"trainable selects none of the {len(names)} parameters (the first is named {names[0]!r})")
    return learned, frozen


def merge_params(learned: PyTree, frozen: PyTree) -> PyTree:
    """Inverse of :func:`split_params`."""
    return jax.tree.map(lambda a, b: b if a is None else a, learned, frozen, is_leaf=lambda leaf: leaf is None)


def init_state(
    params: PyTree,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    *,
    trainable: Trainable | None = None,
    ema: bool = False,
) -> TrainState:
    """State before the first step. Parameters are copied, because the training step consumes (donates) its state."""
    params = jax.tree.map(jnp.array, params)
    learned, _ = split_params(params, trainable)
    average = jax.tree.map(jnp.array, learned) if ema else None
    return TrainState(params, optimizer.init(learned), jnp.zeros((), jnp.int32), jax.random.clone(key), average)


def update_average(average: PyTree, learned: PyTree, step: jax.Array, decay: float) -> PyTree:
    """One step of the moving average of the weights.

    average <- d average + (1 - d) learned with d = min(decay, (1 + step) / (10 + step)), the usual warm-up that lets
    the average forget the initial weights; ``learned`` are those after the update, ``step`` the updates before it.
    """

    def blend(old, new):
        count = step.astype(old.dtype)
        d = jnp.minimum(jnp.asarray(decay, old.dtype), (1 + count) / (10 + count))
        return d * old + (1 - d) * new

    return jax.tree.map(blend, average, learned)


def averaged_params(state: TrainState) -> PyTree:
    """Parameters to evaluate and to ship: the moving average where there is one, else the parameters themselves."""
    return state.params if state.ema is None else merge_params(state.ema, state.params)
