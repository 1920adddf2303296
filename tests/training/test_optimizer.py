"""Optimiser: schedule and update against closed forms in float64."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lvm_mtc.training import OptimizerConfig, TrainConfig, make_optimizer, warmup_cosine
from lvm_mtc.training.optimizer import decay_mask


def closed_form(step, *, peak, warmup, total, end):
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min((step - warmup) / (total - warmup), 1.0)
    return peak * (end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2)


@pytest.mark.parametrize("warmup", [0, 1, 7])
@pytest.mark.parametrize("end", [0.0, 0.1])
def test_schedule_is_its_closed_form(warmup, end):
    config = OptimizerConfig(learning_rate=3e-3, warmup_steps=warmup, end_fraction=end)
    schedule = warmup_cosine(config, 50)
    for step in (0, 1, 6, 7, 8, 25, 49, 50, 51, 1000):
        expected = closed_form(step, peak=3e-3, warmup=warmup, total=50, end=end)
        np.testing.assert_allclose(schedule(jnp.int32(step)), expected, rtol=2e-6, atol=3e-3 * 1e-7)


def test_schedule_peaks_where_the_warm_up_ends_and_moves_from_the_first_step():
    rates = np.array([warmup_cosine(OptimizerConfig(learning_rate=1.0, warmup_steps=10), 40)(n) for n in range(41)])
    assert rates[0] == pytest.approx(0.1) and rates.argmax() in (9, 10) and rates[9] == rates[10] == 1.0
    assert np.all(np.diff(rates[:10]) > 0) and np.all(np.diff(rates[10:]) < 0) and rates[40] == 0


def test_updates_equal_adamw_written_out_in_float64():
    config = OptimizerConfig(
        learning_rate=1e-2, warmup_steps=2, total_steps=9, weight_decay=0.1, clip_norm=1.0, b1=0.9, b2=0.95, eps=1e-8
    )
    rng = np.random.default_rng(0)
    params = {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)}
    gradients = [{name: 2 * rng.normal(size=value.shape) for name, value in params.items()} for _ in range(5)]
    optimizer, _ = make_optimizer(config, 1000)

    with jax.enable_x64(True):
        got = jax.tree.map(jnp.asarray, params)
        state = optimizer.init(got)
        for gradient in gradients:
            updates, state = optimizer.update(jax.tree.map(jnp.asarray, gradient), state, got)
            got = optax.apply_updates(got, updates)
        got = jax.tree.map(np.asarray, got)

    first, second = ({name: 0.0 for name in params} for _ in range(2))
    for step, gradient in enumerate(gradients):
        norm = math.sqrt(sum(np.sum(g**2) for g in gradient.values()))
        rate = closed_form(step, peak=1e-2, warmup=2, total=9, end=0.0)
        for name, g in gradient.items():
            g = g / max(norm, 1.0)
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.95 * second[name] + 0.05 * g**2
            m, v = first[name] / (1 - 0.9 ** (step + 1)), second[name] / (1 - 0.95 ** (step + 1))
            decay = 0.1 * params[name] if name == "kernel" else 0.0
            params[name] = params[name] - rate * (m / (np.sqrt(v) + 1e-8) + decay)
    for name in params:
        # The learning rate is a float32, everything else is float64.
        np.testing.assert_allclose(got[name], params[name], rtol=0, atol=5 * 1e-2 * 1e-6)


def test_only_matrices_decay():
    params = {
        "kernel": jnp.ones((3, 4)),
        "conv": {"kernel": jnp.ones((3, 3, 2, 5)), "bias": jnp.ones(5)},
        "norm": {"scale": jnp.ones(4)},
        "stacked": {"bias": jnp.ones((8, 4))},
        "class_token": jnp.ones((1, 1, 4)),
        "temperature": jnp.ones(()),
    }
    assert decay_mask(params) == {
        "kernel": True,
        "conv": {"kernel": True, "bias": False},
        "norm": {"scale": False},
        "stacked": {"bias": False},
        "class_token": False,
        "temperature": False,
    }


def test_slow_parameters_move_by_their_factor():
    params = {"linear": {"kernel": jnp.ones((3, 2))}, "other": {"kernel": jnp.ones((3, 2))}}
    gradients = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), params)
    config = OptimizerConfig(learning_rate=1e-2, weight_decay=0.1, slow=("linear/",), slow_factor=0.25)
    optimizer, _ = make_optimizer(config, 10)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    np.testing.assert_allclose(updates["linear"]["kernel"], 0.25 * updates["other"]["kernel"], rtol=1e-6)
    assert np.all(updates["other"]["kernel"] < -9e-3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("warmup_steps", -1),
        ("total_steps", 0),
        ("end_fraction", 1.5),
        ("weight_decay", -0.1),
        ("clip_norm", 0.0),
        ("b1", 1.0),
        ("b2", -0.1),
        ("eps", 0.0),
        ("slow_factor", 0.0),
    ],
)
def test_config_refuses_with_full_name_and_value(field, value):
    with pytest.raises(ValueError, match=rf"OptimizerConfig\.{field} must be .*, got {value}"):
        OptimizerConfig(**{field: value})


def test_a_run_shorter_than_its_warm_up_is_refused():
    with pytest.raises(ValueError, match="warmup_steps must be < total_steps = 10, got 10"):
        make_optimizer(OptimizerConfig(warmup_steps=10), 10)


def orthogonalised(matrix):
    """Five Newton-Schulz steps in float64, as Jordan et al. give them."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (np.linalg.norm(x) + 1e-8)
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def test_muon_updates_the_named_matrices_alone():
    config = OptimizerConfig(
        learning_rate=1e-3, warmup_steps=2, total_steps=9, clip_norm=None, muon=("block",), muon_learning_rate=1e-2
    )
    rng = np.random.default_rng(0)
    params = {
        "block": {"kernel": rng.normal(size=(2, 3, 4)), "bias": rng.normal(size=4)},
        "head": {"kernel": rng.normal(size=(4, 2))},
    }
    gradients = [jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params) for _ in range(4)]
    plain = dataclasses.replace(config, muon=())

    with jax.enable_x64(True):
        got, without = (_after(c, params, gradients) for c in (config, plain))

    for place in (("block", "bias"), ("head", "kernel")):
        np.testing.assert_allclose(got[place[0]][place[1]], without[place[0]][place[1]], rtol=1e-9)
    momentum, expected = np.zeros((6, 4)), params["block"]["kernel"].reshape(6, 4)
    for step, gradient in enumerate(gradients):
        g = gradient["block"]["kernel"].reshape(6, 4)
        momentum = 0.95 * momentum + 0.05 * g
        ahead = 0.95 * momentum / (1 - 0.95 ** (step + 2)) + 0.05 * g / (1 - 0.95 ** (step + 1))
        rate = closed_form(step, peak=1e-2, warmup=2, total=9, end=0.0)
        expected = expected - rate * 0.2 * math.sqrt(6) * orthogonalised(ahead)
    np.testing.assert_allclose(got["block"]["kernel"].reshape(6, 4), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(got["block"]["kernel"] - without["block"]["kernel"]).max() > 1e-3


def _after(config, params, gradients):
    optimizer, _ = make_optimizer(config, 9)
    params = jax.tree.map(jnp.asarray, params)
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(jax.tree.map(jnp.asarray, gradient), state, params)
        params = optax.apply_updates(params, updates)
    return jax.tree.map(np.asarray, params)


def test_frozen_parameters_take_no_muon_memory():
    params = {"block": {"kernel": jnp.ones((3, 2))}, "head": {"kernel": None}}
    optimizer, _ = make_optimizer(OptimizerConfig(muon=("block", "head"), total_steps=9), 9)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert updates["head"]["kernel"] is None and np.isfinite(updates["block"]["kernel"]).all()


def test_fingerprints_of_trainings_without_muon_stay_as_they_were():
    config = TrainConfig(batch_size=2, total_steps=9)
    assert not [name for name in config.fingerprint() if "muon" in name]
    with_muon = dataclasses.replace(config, optimizer=OptimizerConfig(muon=("block",), muon_learning_rate=2e-3))
    new = {name: value for name, value in with_muon.fingerprint().items() if name not in config.fingerprint()}
    assert new == {"optimizer.muon": ["block"], "optimizer.muon_learning_rate": 2e-3}
