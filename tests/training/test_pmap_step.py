"""The step under ``jax.pmap`` has the numbers of the jitted step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_run import batch_fn, loss_fn, make_data, make_params

from lvm_mtc.training import OptimizerConfig, init_state, make_optimizer, make_train_step, pmap_step

STEPS = 20

pytestmark = pytest.mark.usefixtures("fast_compile")


def quiet_loss(params, batch, key):
    """The loss with a noise that is the same whatever the key."""
    return loss_fn(params, batch, jax.random.wrap_key_data(jnp.zeros_like(jax.random.key_data(key))))


@functools.cache
def run(make_step, loss_fn=loss_fn, *, dtype=np.float32, ema_decay=0.9, **options):
    optimizer, schedule = make_optimizer(OptimizerConfig(learning_rate=1e-2, warmup_steps=3), STEPS)
    state = init_state(make_params(dtype=dtype), optimizer, jax.random.key(0), ema=True)
    train_step = make_step(loss_fn, batch_fn, optimizer, schedule=schedule, ema_decay=ema_decay, **options)
    series = []
    for _ in range(STEPS // options.get("steps_per_call", 1)):
        state, metrics = train_step(state, make_data())
        series.append(jax.device_get(metrics))
    metrics = jax.tree.map(lambda *values: np.concatenate(values), *series)
    return jax.device_get((state.params, state.opt_state, state.ema)), metrics


def relative_difference(first, second):
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return max(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30) for a, b in pairs)


@pytest.mark.parametrize("num_devices", [pytest.param(2, marks=pytest.mark.slow), 8])
def test_pmap_equals_jit_on_one_device(num_devices):
    jitted, metrics = run(make_train_step, accumulation=8)
    mapped, mapped_metrics = run(pmap_step, accumulation=8, num_devices=num_devices)
    for name in metrics:
        np.testing.assert_allclose(mapped_metrics[name], metrics[name], rtol=1e-5)
    assert relative_difference(mapped, jitted) < 1e-5


@pytest.mark.slow
def test_pmap_equals_jit_in_float64():
    with jax.enable_x64(True):
        jitted, metrics = run(make_train_step, accumulation=8, dtype=np.float64)
        mapped, mapped_metrics = run(pmap_step, dtype=np.float64)
    assert mapped[0]["encoder"]["kernel"].dtype == np.float64
    np.testing.assert_allclose(mapped_metrics["loss"], metrics["loss"], rtol=1e-10)
    assert relative_difference(mapped[0], jitted[0]) < 1e-10


@pytest.mark.slow
def test_several_steps_a_call_equal_single_steps():
    single, _ = run(pmap_step)
    scanned, metrics = run(pmap_step, steps_per_call=5)
    assert metrics["loss"].shape == (STEPS,) and relative_difference(scanned, single) < 1e-5


def test_the_comparison_can_fail():
    """Pieces that swap their noise give other numbers."""
    _, metrics = run(make_train_step, accumulation=8)
    _, other = run(pmap_step, accumulation=8, loss_fn=quiet_loss, num_devices=8)
    assert np.abs(other["loss"] / metrics["loss"] - 1).max() > 1e-5


def test_wrong_numbers_of_devices_and_pieces_are_refused():
    with pytest.raises(ValueError, match="accumulation must be a multiple of the 8 devices, got 6"):
        pmap_step(loss_fn, batch_fn, None, accumulation=6)
    with pytest.raises(ValueError, match=r"num_devices must lie in \[1, 8\] on this machine, got 9"):
        pmap_step(loss_fn, batch_fn, None, num_devices=9)
