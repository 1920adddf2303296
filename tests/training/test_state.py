"""State: frozen parameters, the moving average, and what is copied."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_run import batch_fn, loss_fn, make_data, make_params

from lvm_mtc.training import averaged_params, init_state, make_train_step, merge_params, split_params
from lvm_mtc.training.state import update_average

pytestmark = pytest.mark.usefixtures("fast_compile")


def decoder_only(name):
    return name.startswith("decoder/")


@functools.cache
def run(steps, *, trainable=None, ema_decay=None):
    optimizer = optax.adamw(1e-2)
    state = init_state(make_params(), optimizer, jax.random.key(0), trainable=trainable, ema=ema_decay is not None)
    train_step = make_train_step(loss_fn, batch_fn, optimizer, trainable=trainable, ema_decay=ema_decay)
    history = []
    for _ in range(steps):
        state, _ = train_step(state, make_data())
        history.append(jax.tree.map(np.array, state.params))
    return state, history


def test_split_and_merge_are_inverse():
    params = make_params()
    learned, frozen = split_params(params, decoder_only)

    assert learned["encoder"] == {"kernel": None, "bias": None}
    assert frozen["decoder"] == {"kernel": None, "bias": None}
    merged = merge_params(learned, frozen)
    assert jax.tree.structure(merged) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, merged, params)


def test_a_predicate_that_selects_nothing_is_refused():
    with pytest.raises(ValueError, match="selects none of the 4 parameters .*'decoder/bias'"):
        split_params(make_params(), lambda name: name.startswith("no_such_part/"))


def test_frozen_parameters_keep_their_bits_and_have_no_moments():
    start = make_params()
    state, _ = run(3, trainable=decoder_only, ema_decay=0.9)

    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(state.params["encoder"][name], start["encoder"][name])
        assert np.any(np.asarray(state.params["decoder"][name]) != start["decoder"][name])
    moments = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state.opt_state)]
    assert any("decoder" in name for name in moments)
    assert not any("encoder" in name for name in moments)
    assert state.ema["encoder"] == {"kernel": None, "bias": None}


def test_without_a_predicate_every_parameter_moves():
    start = make_params()
    state, _ = run(3)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool(np.any(np.asarray(a) != b)), state.params, start)))


def test_average_follows_its_closed_form_in_float64():
    decay, steps = 0.7, 12
    state, history = run(steps, ema_decay=decay)
    expected = make_params(dtype=np.float64)["encoder"]["kernel"].astype(np.float32).astype(np.float64)
    for step, params in enumerate(history):
        d = min(decay, (1 + step) / (10 + step))
        expected = d * expected + (1 - d) * params["encoder"]["kernel"].astype(np.float64)

    got = np.asarray(averaged_params(state)["encoder"]["kernel"], np.float64)
    np.testing.assert_allclose(got, expected, rtol=0, atol=steps * np.finfo(np.float32).eps * np.abs(expected).max())
    assert np.abs(got - history[-1]["encoder"]["kernel"]).max() > 1e-3


def test_average_of_constant_weights_with_constant_decay_is_geometric():
    average = {"w": jnp.zeros(())}
    for step in range(100, 110):
        average = update_average(average, {"w": jnp.ones(())}, jnp.int32(step), 0.5)
    np.testing.assert_allclose(average["w"], 1 - 0.5**10, rtol=1e-6)


def test_without_averaging_the_parameters_themselves_are_shipped():
    state, _ = run(3)
    assert state.ema is None and averaged_params(state) is state.params


def test_averaged_params_hold_the_frozen_ones_too():
    state, _ = run(3, trainable=decoder_only, ema_decay=0.9)
    np.testing.assert_array_equal(averaged_params(state)["encoder"]["kernel"], make_params()["encoder"]["kernel"])


def test_training_leaves_the_callers_arrays_alone():
    params = jax.tree.map(jnp.asarray, make_params())
    optimizer = optax.sgd(0.1)
    key = jax.random.key(0)
    train_step = make_train_step(loss_fn, batch_fn, optimizer)
    train_step(init_state(params, optimizer, key), make_data())
    jax.tree.map(np.testing.assert_array_equal, params, make_params())
    jax.random.normal(key)
