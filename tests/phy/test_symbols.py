"""Features, symbols, power and the layout on slots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy


def test_features_and_symbols_are_inverse():
    features = jnp.arange(12.0).reshape(2, 6)
    symbols = phy.features_to_symbols(features)
    np.testing.assert_array_equal(symbols, np.array([[0 + 1j, 2 + 3j, 4 + 5j], [6 + 7j, 8 + 9j, 10 + 11j]]))
    np.testing.assert_array_equal(phy.symbols_to_features(symbols), features)


def _signal(dtype=jnp.complex64):
    return 3 * jax.random.normal(jax.random.key(0), (2, 3, 5, 4), dtype)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e25])
def test_power_is_one_over_active_symbols(scale):
    rows = jnp.array([[1, 1, 0, 1, 1], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    active = jnp.broadcast_to(rows, (2, 3, 5))
    x = _signal() * jnp.float32(scale)
    out, gain = phy.normalize_power(x, active)
    power = np.sum(np.abs(np.asarray(out, np.complex128)) ** 2, axis=(-2, -1)) / (4 * active.sum(-1))
    np.testing.assert_allclose(power, 1.0, rtol=1e-5)
    assert not np.any(np.asarray(out)[~np.asarray(active)])
    np.testing.assert_allclose(out, np.asarray(x * active[..., None]) * np.asarray(gain)[..., None, None], rtol=1e-5)
    assert gain.shape == (2, 3)


def test_each_leading_index_is_normalised_alone():
    x = _signal()
    together, _ = phy.normalize_power(x)
    alone, _ = phy.normalize_power(x[1, 2])
    np.testing.assert_allclose(together[1, 2], alone, rtol=1e-6)
    louder, _ = phy.normalize_power(x.at[0].multiply(10))
    np.testing.assert_allclose(louder, together, rtol=1e-5)


def test_inactive_nan_does_not_leak():
    x = _signal().at[:, :, 0].set(jnp.nan)
    active = jnp.ones((2, 3, 5), bool).at[..., 0].set(False)
    assert np.all(np.isfinite(phy.normalize_power(x, active)[0]))


@pytest.mark.parametrize("active", [None, "none", "some"])
def test_gradient_is_finite_for_silence(active):
    shape = (2, 5, 4)
    mask = None if active is None else jnp.zeros(shape[:2], bool).at[:, 0].set(active == "some")

    def loss(re, im):
        out, gain = phy.normalize_power(jax.lax.complex(re, im), mask)
        return jnp.sum(jnp.real(out) + jnp.imag(out)) + jnp.sum(gain)

    zeros = jnp.zeros(shape)
    value, grads = jax.value_and_grad(loss, argnums=(0, 1))(zeros, zeros)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(g)) for g in grads)


def test_gradient_of_normalisation():
    from jax.test_util import check_grads

    with jax.enable_x64(True):
        x = _signal(jnp.complex128)[0, 0]
        active = jnp.array([1, 1, 0, 1, 1], bool)

        def f(re, im):
            out, _ = phy.normalize_power(jax.lax.complex(re, im), active)
            return jnp.sum(jnp.real(out) ** 3 + jnp.imag(out))

        check_grads(f, (jnp.real(x), jnp.imag(x)), order=1, modes=["rev"], rtol=1e-5)


@pytest.mark.parametrize(("num_symbols", "num_tx_ant"), [(8, 4), (7, 4), (3, 4), (5, 1), (6, 5)])
def test_layout_follows_its_formula(num_symbols, num_tx_ant):
    num_tokens = 6
    x = jnp.arange(1, 1 + num_tokens * num_symbols).reshape(num_tokens, num_symbols)
    slots = phy.tokens_to_slots(x, num_tx_ant)
    expected = np.zeros((num_tokens, -(-num_symbols // num_tx_ant), num_tx_ant), int)
    for i in range(num_tokens):
        for c in range(num_symbols):
            expected[i, c // num_tx_ant, (c + i) % num_tx_ant] = x[i, c]
    np.testing.assert_array_equal(slots, expected)
    np.testing.assert_array_equal(phy.slots_to_tokens(slots, num_symbols), x)


def test_layout_carries_masks_and_batches_and_gradients():
    mask = jnp.ones((2, 3, 5, 7), bool)
    slots = phy.tokens_to_slots(mask, 4)
    assert slots.dtype == jnp.bool_ and slots.sum() == mask.sum()
    assert phy.slots_to_tokens(slots, 7).all()
    gradient = jax.grad(lambda x: jnp.sum(phy.slots_to_tokens(2 * phy.tokens_to_slots(x, 4), 7)))(jnp.ones((5, 7)))
    np.testing.assert_array_equal(gradient, 2.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: phy.features_to_symbols(jnp.ones((2, 3))), r"\(2, 3\)"),
        (lambda: phy.features_to_symbols(jnp.ones((2, 4), jnp.complex64)), "complex64"),
        (lambda: phy.symbols_to_features(jnp.ones((2, 4))), r"float32 with shape \(2, 4\)"),
        (lambda: phy.normalize_power(jnp.ones((2, 4))), "must be complex"),
        (lambda: phy.normalize_power(jnp.ones(4, jnp.complex64)), r"got shape \(4,\)"),
        (lambda: phy.normalize_power(_signal(), jnp.ones((2, 3, 4), bool)), r"\(2, 3, 5\).*\(2, 3, 4\)"),
        (lambda: phy.normalize_power(_signal(), jnp.ones((2, 3, 5))), "boolean"),
        (lambda: phy.slots_per_token(0, 4), "num_symbols must be an integer >= 1, got 0"),
        (lambda: phy.tokens_to_slots(_signal(), 2.0), "num_tx_ant must be an integer >= 1, got 2.0"),
        (lambda: phy.slots_to_tokens(jnp.ones((5, 2, 4)), 3), r"num_symbols=3, got \(5, 2, 4\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
