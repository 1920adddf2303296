"""One compiled function for the whole training step: cut the batch, differentiate, update, average."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from lvm_mtc.training.mesh import make_mesh, replicated, shard_batch
from lvm_mtc.training.state import PyTree, Trainable, TrainState, merge_params, split_params, update_average

LossFn = Callable[[PyTree, PyTree, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]
BatchFn = Callable[[PyTree, jax.Array], PyTree]

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
    mesh: Mesh | None = None,
) -> Callable[[TrainState, PyTree], tuple[TrainState, dict[str, jax.Array]]]:
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
        mesh: Device mesh with an axis ``"data"``; None: one device.

    Returns:
        ``train_step(state, data) -> (state, metrics)``. Every metric is an array ``[steps_per_call]``: ``loss_fn``'s
        own and ``loss``, ``grad_norm`` (before clipping, learned parameters only), ``learning_rate`` and ``finite``
        (bool: loss and gradient norm are finite).
    """
    mesh = make_mesh(1) if mesh is None else mesh

    def update(state: TrainState, data: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        data_key, loss_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        batch = shard_batch(batch_fn(data, data_key), mesh)
        learned, frozen = split_params(state.params, trainable)

        def objective(learned):
            return loss_fn(merge_params(learned, frozen), batch, loss_key)

        (loss, metrics), grads = jax.value_and_grad(objective, has_aux=True)(learned)
        check_metrics(metrics)
        grad_norm = optax.tree.norm(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, learned)
        learned = optax.apply_updates(learned, updates)
        ema = None if ema_decay is None else update_average(state.ema, learned, state.step, ema_decay)
        metrics = dict(metrics, loss=loss, grad_norm=grad_norm, finite=jnp.isfinite(loss) & jnp.isfinite(grad_norm))
        if schedule is not None:
            metrics["learning_rate"] = schedule(state.step)
        return TrainState(merge_params(learned, frozen), opt_state, state.step + 1, state.key, ema), metrics

    def train_step(state: TrainState, data: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        if steps_per_call == 1:
            # No loop around it: inside one, XLA's convolutions were six times slower on a CPU.
            state, metrics = update(state, data)
            return state, jax.tree.map(lambda value: jnp.asarray(value)[None], metrics)
        return jax.lax.scan(lambda carry, _: update(carry, data), state, length=steps_per_call)

    whole = replicated(mesh)
    return jax.jit(train_step, in_shardings=(whole, whole), out_shardings=whole, donate_argnums=0)


def check_metrics(metrics: dict[str, jax.Array]) -> None:
    """Refuses, while tracing, metrics that the loop could not log.

    Raises:
        ValueError: if a metric is not scalar or has a name that the step itself uses.
    """
    for name, value in metrics.items():
        if name in RESERVED_METRICS:
            raise ValueError(f"metric name {name!r} is taken by the training step (it uses {RESERVED_METRICS})")
        if jnp.shape(value):
            raise ValueError(f"metric {name!r} must be a scalar, got shape {jnp.shape(value)}")


def check_batch(batch_fn: BatchFn, data: PyTree, batch_size: int, num_devices: int) -> None:
    """Checks, without running anything, that ``batch_fn`` yields a batch that the devices can share.

    Arrays of a batch may differ in their leading axis (a mixture of kinds of examples).

    Raises:
        ValueError: if an array's leading axis is larger than ``batch_size``, or the devices do not divide it.
    """
    batch = jax.eval_shape(batch_fn, data, jax.random.key(0))
    for leaf in jax.tree.leaves(batch):
        if leaf.shape and leaf.shape[0] > batch_size:
            raise ValueError(f"batch_fn returned an array of shape {leaf.shape}, but batch_size is {batch_size}")
        if leaf.shape and leaf.shape[0] % num_devices:
            raise ValueError(
                f"batch_fn returned an array of shape {leaf.shape}, but {num_devices} devices cannot share it"
            )
