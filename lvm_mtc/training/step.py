"""One compiled function for the whole training step: cut the batch, differentiate, update, average."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from lvm_mtc.training.mesh import DATA_AXIS, UAV_AXIS, gather_params, make_mesh, replicated, shard_batch
from lvm_mtc.training.state import PyTree, Trainable, TrainState, merge_params, split_params, update_average

LossFn = Callable[[PyTree, PyTree, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]
BatchFn = Callable[[PyTree, jax.Array], PyTree]
TrainStep = Callable[[TrainState, PyTree], tuple[TrainState, dict[str, jax.Array]]]

RESERVED_METRICS = ("loss", "grad_norm", "learning_rate", "finite")


def make_train_step(
    loss_fn: LossFn,
    batch_fn: BatchFn,
    optimizer: optax.GradientTransformation,
    *,
    schedule: Callable | None = None,
    trainable: Trainable | None = None,
    ema_decay: float | None = None,
    steps_per_call: int = 1,
    accumulation: int = 1,
    mesh: Mesh | None = None,
    state_sharding: PyTree | None = None,
) -> TrainStep:
    """Builds the jitted training step.

    A step's key is ``fold_in(state.key, state.step)``, split into one for ``batch_fn`` and one for ``loss_fn``; nothing
    else is random, so the same state always takes the same step. The state is donated: do not use it after the call.

    Args:
        loss_fn: Pure ``(params, batch, key) -> (loss, metrics)``, loss and every metric scalar. It sees the whole
            batch; with several devices the compiler splits the work along the batch axis.
        batch_fn: Pure ``(data, key) -> batch``; it cuts and augments inside the compiled step, so that ``data`` can
            stay on the device as uint8. The leading axis of every batch array is the batch axis.
        optimizer: Optax transformation; it sees the learned parameters only.
        schedule: Learning rate as a function of the updates done, reported as the metric ``learning_rate``.
        trainable: Predicate on parameter names ``"a/b/c"``; the others are frozen. None: all learn.
        ema_decay: Decay of the moving average of the weights, in [0, 1); None: no average (``state.ema`` is None).
        steps_per_call: Steps that one call runs, >= 1.
        accumulation: Pieces of a batch that are differentiated one after the other, >= 1; the update takes the mean of
            their gradients. Piece i is every ``accumulation``-th picture from the i-th on; from 2 on, ``loss_fn``
            gets the key ``fold_in(key, i)``, so that pieces differ in their noise.
        mesh: Device mesh of :func:`make_mesh`; None: one device.
        state_sharding: Where the state lies, from :func:`state_shardings`; None: a copy on every device.

    Returns:
        ``train_step(state, data) -> (state, metrics)``. Every metric is an array ``[steps_per_call]``: ``loss_fn``'s
        own and ``loss``, ``grad_norm`` (before clipping, learned parameters only), ``learning_rate`` and ``finite``
        (bool: loss and gradient norm are finite).
    """
    mesh = make_mesh(1) if mesh is None else mesh

    def loss_of_held(params, batch, key):
        return loss_fn(gather_params(params, state_sharding.params), batch, key)

    def gradients(loss_of, learned, data, data_key, loss_key):
        batch = shard_batch(batch_fn(data, data_key), mesh)
        if accumulation == 1:
            return jax.value_and_grad(loss_of, has_aux=True)(learned, batch, loss_key)

        def loss_of_piece(learned, piece, key):
            return loss_of(learned, shard_batch(piece, mesh), key)

        pieces = split_batch(batch, accumulation)
        return mean_over_pieces(loss_of_piece, learned, pieces, loss_key, jnp.arange(accumulation))

    whole = replicated(mesh)
    held, loss = (whole, loss_fn) if state_sharding is None else (state_sharding, loss_of_held)
    update = repeat(make_update(gradients, loss, optimizer, schedule, trainable, ema_decay), steps_per_call)
    return jax.jit(update, in_shardings=(held, whole), out_shardings=(held, whole), donate_argnums=0)


def make_update(
    gradients: Callable,
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    schedule: Callable | None = None,
    trainable: Trainable | None = None,
    ema_decay: float | None = None,
) -> TrainStep:
    """One update, wherever its gradients come from.

    ``gradients`` maps ``(loss_of, learned, data, data_key, loss_key)`` to ``((loss, metrics), gradients)``, with
    ``loss_of(learned, batch, key)``; the rest is as in :func:`make_train_step`.
    """

    def update(state: TrainState, data: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        data_key, loss_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        learned, frozen = split_params(state.params, trainable)

        def loss_of(learned, batch, key):
            return loss_fn(merge_params(learned, frozen), batch, key)

        (loss, metrics), grads = gradients(loss_of, learned, data, data_key, loss_key)
        for name, value in metrics.items():
            if name in RESERVED_METRICS:
                raise ValueError(f"metric name {name!r} is taken by the training step (it uses {RESERVED_METRICS})")
            if jnp.shape(value):
                raise ValueError(f"metric {name!r} must be a scalar, got shape {jnp.shape(value)}")
        grad_norm = optax.tree.norm(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, learned)
        learned = optax.apply_updates(learned, updates)
        ema = None if ema_decay is None else update_average(state.ema, learned, state.step, ema_decay)
        metrics = dict(metrics, loss=loss, grad_norm=grad_norm, finite=jnp.isfinite(loss) & jnp.isfinite(grad_norm))
        if schedule is not None:
            metrics["learning_rate"] = schedule(state.step)
        return TrainState(merge_params(learned, frozen), opt_state, state.step + 1, state.key, ema), metrics

    return update


def repeat(update: TrainStep, steps_per_call: int) -> TrainStep:
    """Several updates as one function, their metrics as arrays ``[steps_per_call]``."""

    def train_step(state: TrainState, data: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        if steps_per_call == 1:
            # No loop around it: inside one, XLA's convolutions were six times slower on a CPU.
            state, metrics = update(state, data)
            return state, jax.tree.map(lambda value: jnp.asarray(value)[None], metrics)
        return jax.lax.scan(lambda carry, _: update(carry, data), state, length=steps_per_call)

    return train_step


def split_batch(batch: PyTree, num_pieces: int) -> PyTree:
    """A batch as a pytree of arrays ``[num_pieces, batch / num_pieces, ...]``, scalars repeated.

    Piece i is every ``num_pieces``-th picture from the i-th on, so that a batch that is split over devices gives each
    device a share of every piece without moving a picture.
    """

    def split(leaf):
        if not jnp.ndim(leaf):
            return jnp.broadcast_to(leaf, (num_pieces,))
        return jnp.swapaxes(leaf.reshape(-1, num_pieces, *leaf.shape[1:]), 0, 1)

    return jax.tree.map(split, batch)


def mean_over_pieces(
    loss_of: LossFn, learned: PyTree, pieces: PyTree, key: jax.Array, indices: jax.Array
) -> tuple[tuple[jax.Array, dict[str, jax.Array]], PyTree]:
    """Means of loss, metrics and gradients over pieces of a batch, with the memory of one piece.

    ``pieces`` are those of :func:`split_batch`, or some of them, with their numbers i, ``indices [len(pieces)]``; piece
    i takes ``fold_in(key, i)``. The result is that of ``jax.value_and_grad`` with ``has_aux``.
    """

    def add(total, numbered):
        index, piece = numbered
        values, grads = jax.value_and_grad(loss_of, has_aux=True)(learned, piece, jax.random.fold_in(key, index))
        return jax.tree.map(jnp.add, total, grads), values

    total, values = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, learned), (indices, pieces))
    return jax.tree.map(lambda series: series.mean(0), values), jax.tree.map(lambda sum_: sum_ / len(indices), total)


def check_batch(batch_fn: BatchFn, data: PyTree, batch_size: int, mesh: Mesh, accumulation: int = 1) -> None:
    """Checks, without running anything, that ``batch_fn`` yields a batch that the devices can share.

    Arrays of a batch may differ in their leading axis (a mixture of kinds of examples).
    """
    num_devices, uav_devices = mesh.shape[DATA_AXIS], mesh.shape.get(UAV_AXIS, 1)
    for leaf in jax.tree.leaves(jax.eval_shape(batch_fn, data, jax.random.key(0))):
        if not leaf.shape:
            continue
        if leaf.shape[0] > batch_size:
            raise ValueError(f"batch_fn returned an array of shape {leaf.shape}, but batch_size is {batch_size}")
        if leaf.shape[0] % (num_devices * accumulation):
            pieces = f" in {accumulation} pieces" if accumulation > 1 else ""
            raise ValueError(
                f"batch_fn returned an array of shape {leaf.shape}, but {num_devices} devices cannot share it{pieces}"
            )
        if len(leaf.shape) > 1 and leaf.shape[1] > 1 and leaf.shape[1] % uav_devices:
            raise ValueError(
                f"batch_fn returned an array of shape {leaf.shape}, but {uav_devices} devices cannot share the "
                f"{leaf.shape[1]} UAVs of its second axis"
            )
