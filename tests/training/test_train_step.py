"""The compiled step: randomness, several steps a call, several devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec
from tiny_run import BATCH, batch_fn, loss_fn, make_data, make_params

from lvm_mtc.training import OptimizerConfig, init_state, make_mesh, make_optimizer, make_train_step, replicated
from lvm_mtc.training.step import check_batch

STEPS = 20


@functools.cache
def run(*, num_devices=1, steps_per_call=1, dtype=np.float32, seed=0, loss_fn=loss_fn):
    mesh = make_mesh(num_devices)
    optimizer, schedule = make_optimizer(OptimizerConfig(learning_rate=1e-2, warmup_steps=3), STEPS)
    state = init_state(make_params(dtype=dtype), optimizer, jax.random.key(seed))
    state, data = jax.device_put((state, make_data()), replicated(mesh))
    train_step = make_train_step(
        loss_fn, batch_fn, optimizer, schedule=schedule, steps_per_call=steps_per_call, mesh=mesh
    )
    losses = []
    for _ in range(STEPS // steps_per_call):
        state, metrics = train_step(state, data)
        losses.append(np.asarray(metrics["loss"]))
    return jax.tree.map(np.asarray, state.params), np.concatenate(losses), state


def relative_difference(first, second):
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs)


def test_one_step_equals_the_same_step_written_out():
    optimizer = optax.sgd(0.1)
    key = jax.random.key(5)
    state, metrics = make_train_step(loss_fn, batch_fn, optimizer)(
        init_state(make_params(), optimizer, key), make_data()
    )

    data_key, loss_key = jax.random.split(jax.random.fold_in(key, 0))
    params = jax.tree.map(jnp.asarray, make_params())
    batch = batch_fn(jnp.asarray(make_data()), data_key)
    loss, gradients = jax.value_and_grad(lambda p: loss_fn(p, batch, loss_key)[0])(params)
    np.testing.assert_allclose(metrics["loss"], [loss], rtol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm"], [optax.tree.norm(gradients)], rtol=1e-5)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients)
    assert relative_difference(state.params, expected) < 1e-5
    assert int(state.step) == 1 and bool(metrics["finite"][0])


def test_losses_fall_and_each_step_has_its_own_key():
    traces = []

    def counted_loss(*arguments):
        traces.append(None)
        return loss_fn(*arguments)

    _, losses, state = run(loss_fn=counted_loss)
    assert losses.shape == (STEPS,) and losses[-5:].mean() < 0.5 * losses[0]
    assert len(set(losses.tolist())) == STEPS and int(state.step) == STEPS
    assert len(traces) == 1


def test_the_loss_and_the_batch_see_different_keys():
    def batch_with_key(data, key):
        return {"pictures": batch_fn(data, key), "bits": jax.random.bits(jax.random.clone(key), (BATCH,))}

    def loss_with_key(params, batch, key):
        own = jax.random.bits(jax.random.clone(key), (BATCH,))
        loss, _ = loss_fn(params, batch["pictures"], key)
        return loss, {"equal": jnp.mean((own == batch["bits"]).astype(jnp.float32))}

    optimizer = optax.sgd(0.1)
    train_step = make_train_step(loss_with_key, batch_with_key, optimizer)
    _, seen = train_step(init_state(make_params(), optimizer, jax.random.key(0)), make_data())
    assert float(seen["equal"][0]) == 0


def test_several_steps_a_call_equal_single_steps():
    single, losses, _ = run()
    scanned, scanned_losses, _ = run(steps_per_call=5)
    np.testing.assert_allclose(scanned_losses, losses, rtol=1e-5)
    assert relative_difference(scanned, single) < 1e-5


def test_eight_devices_equal_one():
    single, losses, _ = run()
    sharded, sharded_losses, state = run(num_devices=8)
    assert len(state.step.sharding.device_set) == 8
    np.testing.assert_allclose(sharded_losses, losses, rtol=1e-5)
    assert relative_difference(sharded, single) < 1e-5


def test_eight_devices_equal_one_in_float64():
    with jax.enable_x64(True):
        single, losses, _ = run(dtype=np.float64)
        sharded, sharded_losses, _ = run(num_devices=8, dtype=np.float64)
    assert single["encoder"]["kernel"].dtype == np.float64
    np.testing.assert_allclose(sharded_losses, losses, rtol=1e-10)
    assert relative_difference(sharded, single) < 1e-10


def test_the_comparison_of_devices_can_fail():
    single, losses, _ = run()

    def one_picture_missing(params, batch, key):
        return loss_fn(params, batch.at[0].set(0), key)

    other, other_losses, _ = run(loss_fn=one_picture_missing)
    assert relative_difference(other, single) > 1e-5
    assert np.abs(other_losses / losses - 1).max() > 1e-5


def test_the_batch_is_split_over_the_devices():
    shardings = []
    split = jax.NamedSharding(make_mesh(8), PartitionSpec("data"))

    def watched(params, batch, key):
        jax.debug.inspect_array_sharding(batch, callback=shardings.append)
        return loss_fn(params, batch, key)

    run(num_devices=8, loss_fn=watched)
    assert shardings and all(sharding.is_equivalent_to(split, 4) for sharding in shardings)


def test_metrics_that_cannot_be_logged_are_refused():
    optimizer = optax.sgd(0.1)

    def call(metrics):
        train_step = make_train_step(lambda p, b, k: (loss_fn(p, b, k)[0], metrics), batch_fn, optimizer)
        train_step(init_state(make_params(), optimizer, jax.random.key(0)), make_data())

    with pytest.raises(ValueError, match="'loss' is taken"):
        call({"loss": jnp.zeros(())})
    with pytest.raises(ValueError, match=r"'psnr' must be a scalar, got shape \(3,\)"):
        call({"psnr": jnp.zeros(3)})


def test_batch_is_checked_against_the_configuration():
    check_batch(batch_fn, make_data(), BATCH, make_mesh(8))
    with pytest.raises(ValueError, match=r"array of shape \(8, 6, 6, 3\), but batch_size is 4"):
        check_batch(batch_fn, make_data(), 4, make_mesh(1))
    with pytest.raises(ValueError, match=r"array of shape \(8, 6, 6, 3\), but 3 devices cannot share it"):
        check_batch(batch_fn, make_data(), BATCH, make_mesh(3))


def test_mesh_refuses_more_devices_than_there_are():
    assert make_mesh(None).size == len(jax.devices()) and make_mesh().size == 1
    with pytest.raises(ValueError, match="num_devices must lie in .* got 1000"):
        make_mesh(1000)
    with pytest.raises(ValueError, match="got 0"):
        make_mesh(0)
