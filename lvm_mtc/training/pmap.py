"""The training step under ``jax.pmap``, for those who expect it; ``make_train_step`` does the same and more."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lvm_mtc.training.mesh import DATA_AXIS
from lvm_mtc.training.step import BatchFn, LossFn, TrainStep, make_update, mean_over_pieces, repeat, split_batch


def pmap_step(
    loss_fn: LossFn,
    batch_fn: BatchFn,
    optimizer: optax.GradientTransformation,
    *,
    steps_per_call: int = 1,
    accumulation: int | None = None,
    num_devices: int | None = None,
    **options: Any,
) -> TrainStep:
    """Builds the training step of ``make_train_step`` as a ``jax.pmap`` over local devices.

    Under ``pmap`` a loss sees the pictures of its own device only, and draws noise for no more. The step therefore
    works on the pieces of gradient accumulation, with their keys, and shares them out: its numbers are those of
    ``make_train_step`` with the same ``accumulation`` on any number of devices. Where ``loss_fn`` draws nothing (or
    takes its draws from the batch) and is a mean over pictures, they are also those without accumulation.

    Args:
        loss_fn: As in ``make_train_step``, for a piece of the batch.
        batch_fn: As there; every device draws the whole batch.
        optimizer: As there, like ``steps_per_call`` and the options ``schedule``, ``trainable`` and ``ema_decay``.
        accumulation: Pieces of a batch, a multiple of the devices; None: one per device.
        num_devices: Local devices, >= 1; None: all of them.

    Returns:
        ``train_step(state, data) -> (state, metrics)``; every device holds a copy of the state, without a device axis,
        and the state is donated.
    """
    devices = jax.local_devices()
    num_devices = len(devices) if num_devices is None else num_devices
    if not 1 <= num_devices <= len(devices):
        raise ValueError(f"num_devices must lie in [1, {len(devices)}] on this machine, got {num_devices}")
    num_pieces = num_devices if accumulation is None else accumulation
    if num_pieces < 1 or num_pieces % num_devices:
        raise ValueError(f"accumulation must be a multiple of the {num_devices} devices, got {num_pieces}")
    own = num_pieces // num_devices

    def gradients(loss_of, learned, data, data_key, loss_key):
        first = jax.lax.axis_index(DATA_AXIS) * own
        pieces = split_batch(batch_fn(data, data_key), num_pieces)
        pieces = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, own), pieces)
        means = mean_over_pieces(loss_of, learned, pieces, loss_key, first + jnp.arange(own))
        return jax.lax.pmean(means, DATA_AXIS)

    step = repeat(make_update(gradients, loss_fn, optimizer, **options), steps_per_call)
    mapped = jax.pmap(
        lambda state, data, _: step(state, data),
        axis_name=DATA_AXIS,
        in_axes=(None, None, 0),
        out_axes=None,
        devices=devices[:num_devices],
        donate_argnums=0,
    )
    return lambda state, data: mapped(state, data, jnp.arange(num_devices))  # pmap wants one mapped argument
