"""The grid of points against the link at each point, and against float64 NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lvm_mtc import phy

pytestmark = pytest.mark.usefixtures("fast_compile")

NO, CSI_ERROR_VAR = (1.0, 0.1, 1e-3), (0.0, 0.05)


def signals(num_slots=40, num_rx_ant=3, dtype=jnp.complex64):
    x = jax.random.normal(jax.random.key(0), (num_slots, 2), dtype)
    draws = phy.draw_link(
        jax.random.key(1), (), num_slots, num_tx_ant=2, num_rx_ant=num_rx_ant, block_length=1, dtype=dtype
    )
    return x, draws


def keep(x_hat, no_eff):
    return x_hat, no_eff


def sweep(x, draws, variant="robust", reduce=keep):
    run = jax.jit(functools.partial(phy.sweep_lmmse, reduce=reduce, variant=variant))
    return run(x, draws, jnp.asarray(NO, jnp.real(x).dtype), jnp.asarray(CSI_ERROR_VAR, jnp.real(x).dtype))


@pytest.mark.parametrize("variant", phy.LMMSE_VARIANTS)
def test_every_point_is_the_link_at_that_point(variant):
    with jax.enable_x64(True):
        x, draws = signals(dtype=jnp.complex128)
        x_hat, no_eff = sweep(x, draws, variant)
        point = jax.jit(functools.partial(phy.joint, None, num_rx_ant=3, block_length=1, equalizer=variant))
        for i, s in enumerate(CSI_ERROR_VAR):
            for j, no in enumerate(NO):
                out = point(x, no=no, csi_error_var=s, draws=draws)
                np.testing.assert_allclose(x_hat[i, j], out.x_hat, rtol=1e-9, atol=1e-10)
                np.testing.assert_allclose(no_eff[i, j], out.no_eff, rtol=1e-9)
        assert not np.allclose(x_hat[1, 0], x_hat[0, 0], rtol=1e-3)


def test_paper_is_equation_5_in_float64():
    x, draws = signals()
    x_hat, no_eff = sweep(x, draws, "paper")
    h, e, n = (np.asarray(a, np.complex128) for a in (draws.h, draws.csi, draws.noise))
    for i, s in enumerate(CSI_ERROR_VAR):
        h_hat = h + np.sqrt(s) * e
        for j, no in enumerate(NO):
            y = np.einsum("srt,st->sr", h, np.asarray(x, np.complex128)) + np.sqrt(no) * n
            inverse = np.linalg.inv(np.swapaxes(h_hat.conj(), -1, -2) @ h_hat + no * np.eye(2))
            expected = (inverse @ np.swapaxes(h_hat.conj(), -1, -2) @ y[..., None])[..., 0]
            np.testing.assert_allclose(x_hat[i, j], expected, rtol=2e-3, atol=2e-3)
            error_var = no * np.diagonal(inverse, axis1=-2, axis2=-1).real
            np.testing.assert_allclose(no_eff[i, j], error_var, rtol=2e-3)
            assert not np.allclose(no_eff[i, j], 2 * error_var, rtol=2e-3)


def test_believed_error_is_the_measured_one():
    x, draws = signals(num_slots=20000)

    def ratio(x_hat, no_eff):
        each = jnp.mean(jnp.abs(x_hat - x) ** 2 / no_eff, axis=-1)
        return jnp.mean(each), jnp.std(each)

    mean, std = sweep(x, draws, reduce=ratio)
    np.testing.assert_array_less(np.abs(mean - 1), 5 * std / np.sqrt(20000))
    trusting, std = sweep(x, draws, "unbiased", ratio)
    assert np.all(np.abs(trusting[1] - 1) > 5 * std[1] / np.sqrt(20000))  # a CSI error that the receiver ignores


def test_devices_share_the_slots():
    x, draws = signals(num_slots=64)
    mesh = jax.make_mesh((8,), ("slots",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.device_put((x, draws), NamedSharding(mesh, PartitionSpec("slots")))
    for one, eight in zip(sweep(x, draws), sweep(*split), strict=True):
        np.testing.assert_allclose(one, eight, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_gradients_with_perfect_csi_are_finite_but_that_of_its_error():
    x, draws = signals(num_slots=8)

    def loss(no, s):
        return jnp.sum(phy.sweep_lmmse(x, draws, no, s, lambda x_hat, _: jnp.mean(jnp.abs(x_hat - x) ** 2)))

    at = (jnp.asarray(NO), jnp.asarray(CSI_ERROR_VAR))
    by_no, by_s = jax.jit(jax.grad(loss, argnums=(0, 1)))(*at)
    assert np.isfinite(by_no).all()
    np.testing.assert_array_equal(np.isnan(by_s), np.asarray(CSI_ERROR_VAR) == 0)
    step = 1e-3
    moved = [loss(at[0] + sign * step * jnp.eye(3)[0], at[1]) for sign in (1, -1)]
    np.testing.assert_allclose(by_no[0], (moved[0] - moved[1]) / (2 * step), rtol=2e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "zf"}, "unknown LMMSE variant 'zf'; known: paper, unbiased, robust"),
        ({"x": np.zeros((40, 2))}, "x must be complex"),
        ({"x": np.zeros((39, 2), np.complex64)}, r"draws.h \(40, 3, 2\) must hold one channel for each slot of x"),
        ({"no": np.float32(0.1)}, r"no \(\) and csi_error_var \(2,\) must have one axis each"),
        ({"num_rx_ant": 1}, "needs num_tx_ant <= num_rx_ant <= 8, got 2 and 1"),
    ],
)
def test_errors(change, message):
    x, draws = signals(num_rx_ant=change.pop("num_rx_ant", 3))
    arguments = {"x": x, "no": np.float32(NO), "variant": "robust"} | change
    x, no = jnp.asarray(arguments["x"]), jnp.asarray(arguments["no"])
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(
            lambda: phy.sweep_lmmse(x, draws, no, jnp.asarray(CSI_ERROR_VAR), keep, variant=arguments["variant"])
        )


def test_awgn_is_refused():
    x, draws = signals()
    with pytest.raises(ValueError, match="made for AWGN"):
        phy.sweep_lmmse(x, draws._replace(h=None), jnp.ones(1), jnp.zeros(1), keep)
