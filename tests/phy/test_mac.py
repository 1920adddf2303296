"""The uplink against closed forms in float64: L-MMSE SINRs, the sum rate of the Gaussian multiple access channel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy

pytestmark = pytest.mark.usefixtures("fast_compile")

POWER = np.array([4.0, 1.0, 0.25])


def sent(num_slots=6, batch=5, num_devices=3, num_rx_ant=2, dtype=jnp.complex128, **options):
    x = jax.random.normal(jax.random.key(1), (batch, num_slots, num_devices), dtype)
    draws = phy.draw_mac(
        jax.random.key(2), (batch,), num_slots, num_devices, num_rx_ant=num_rx_ant, dtype=dtype, **options
    )
    return x, draws


def run(x, draws, *equalizers, **options):
    """``phy.mac`` as one program, or a list of outputs for several equalisers."""
    names = equalizers or ("robust",)
    arrays = {name: options.pop(name) for name in ("active",) if name in options}

    @jax.jit
    def through(x, draws, arrays):
        return [phy.mac(None, x, draws=draws, equalizer=name, **options, **arrays) for name in names]

    found = through(x, draws, arrays)
    return found if equalizers else found[0]


def columns(h, power):
    """``[batch, num_blocks, num_rx_ant, num_devices]`` of what devices have, with the roots of their powers."""
    return np.moveaxis(np.asarray(h)[..., 0], 1, -1) * np.sqrt(power)


def lmmse(y, h, no):
    """L-MMSE of one observation from its definition: unbiased estimates and one over the SINRs."""
    x_hat, error = np.zeros(h.shape[1], complex), np.zeros(h.shape[1])
    for k in range(h.shape[1]):
        others = np.delete(h, k, axis=1)
        filtered = np.linalg.solve(no * np.eye(len(h)) + others @ others.conj().T, h[:, k])
        sinr = (h[:, k].conj() @ filtered).real
        x_hat[k], error[k] = filtered.conj() @ y / sinr, 1 / sinr
    return x_hat, error


def test_more_devices_than_antennas_have_the_sinrs_of_lmmse():
    """Unequal powers, two blocks, devices that are silent in some slots and no interference there."""
    no = 0.1
    active = np.random.default_rng(0).random((5, 6, 3)) < 0.7
    with jax.enable_x64(True):
        x, draws = sent(block_length=3)
        out = run(x, draws, no=no, power=POWER, block_length=3, active=jnp.asarray(active))
        out = jax.tree.map(np.asarray, out)
    h = columns(draws.h, POWER)
    np.testing.assert_allclose(out.h, h, rtol=1e-12)
    x, noise = np.where(active, np.asarray(x), 0), np.asarray(draws.noise)
    for b in range(5):
        for s in range(6):
            of_slot, on = h[b, s // 3], active[b, s]
            y = of_slot @ x[b, s] + np.sqrt(no) * noise[b, s]
            np.testing.assert_allclose(out.y[b, s], y, rtol=1e-10)
            x_hat, error = lmmse(y, of_slot[:, on], no)
            np.testing.assert_allclose(out.x_hat[b, s][on], x_hat, rtol=1e-8)
            np.testing.assert_allclose(out.no_eff[b, s][on], error, rtol=1e-8)
            assert not np.any(out.x_hat[b, s][~on]) and np.all(out.no_eff[b, s][~on] == 1)


def test_cancellation_reaches_the_sum_rate_of_the_gaussian_mac():
    """Rates of the stages add up to log det(I + sum p_k h_k h_k^H / no); those of L-MMSE alone stay below."""
    no, batch = 1e-4, 40
    bits = np.random.default_rng(1).integers(0, 2, (batch, 2 * 3))
    with jax.enable_x64(True):
        _, draws = sent(1, batch, num_rx_ant=5)
        x = phy.qam_map(bits, 2, jnp.complex128)[:, None]
        out = run(x, draws, no=no, power=POWER)
        found, stages = jax.jit(lambda heard: phy.sic_equalizer(*heard, 1.0, 2))(out.heard)
        np.testing.assert_array_equal(phy.qam_llr(found, stages, 2)[:, 0] > 0, bits == 1)
    gram = np.einsum("bik,bjk->bij", *(columns(draws.h, POWER)[:, 0], columns(draws.h, POWER)[:, 0].conj()))
    sum_rate = np.log2(np.linalg.det(np.eye(5) + gram / no).real)
    np.testing.assert_allclose(np.log2(1 + 1 / np.asarray(stages)).sum((1, 2)), sum_rate, rtol=1e-9)
    linear = np.log2(1 + 1 / np.asarray(out.no_eff)).sum((1, 2))
    assert np.all(linear < sum_rate) and np.mean(sum_rate - linear) > 0.1
    # One after the other in a third of the time with three times the power: below the sum rate as well.
    gains = 3 * POWER * np.sum(np.abs(np.asarray(draws.h)[:, :, 0, :, 0]) ** 2, axis=-1) / no
    assert np.all(np.log2(1 + gains).mean(1) < sum_rate)


@pytest.mark.parametrize("csi", ["additive", "pilots_lmmse"])
def test_equal_powers_are_the_joint_link(csi):
    """The same channels, errors and noise through ``phy.joint``, every receiver."""
    x, draws = sent(num_rx_ant=4, dtype=jnp.complex64, csi=csi, num_pilots=4, block_length=7)
    beside = draws._replace(h=columns(draws.h, 1.0), csi=columns(draws.csi, 1.0))
    active = jax.random.bernoulli(jax.random.key(3), 0.8, x.shape)
    options = dict(no=0.2, csi=csi, num_pilots=4, block_length=7)
    options["csi_error_var"] = 0.0 if csi.startswith("pilots") else 0.05
    names = ("robust", "paper", "zf", "mf")

    @jax.jit
    def joint(x, draws, active):
        return [phy.joint(None, x, draws=draws, active=active, equalizer=name, **options) for name in names]

    theirs = joint(x, phy.LinkDraws(*map(jnp.asarray, beside[:3])), active)
    for ours, other in zip(run(x, draws, *names, active=active, **options), theirs, strict=True):
        for name in ("y", "h", "h_hat", "x_hat", "no_eff"):
            np.testing.assert_allclose(getattr(ours, name), getattr(other, name), rtol=2e-3, atol=1e-4)


def test_beliefs_hold_for_unequal_powers_and_errors():
    """``no_eff`` is the mean squared error, and the observation's noise has variance 1, over 4000 channels."""
    batch, s = 4000, np.array([0.2, 0.05, 0.0])
    x, draws = sent(1, batch, dtype=jnp.complex64, num_rx_ant=3)
    out = run(x, draws, no=0.1, power=POWER, csi_error_var=s)
    for error in (
        np.abs(out.x_hat - x)[:, 0] ** 2 / out.no_eff[:, 0],
        np.abs(out.heard.y - np.einsum("bsij,bsj->bsi", out.heard.h_hat, x))[:, 0] ** 2,
    ):
        spread = error.std(axis=0, ddof=1) / np.sqrt(batch)
        assert np.all(np.abs(error.mean(axis=0) - 1) < 5 * spread)
        assert np.all(np.abs(error.mean(axis=0) - 1.2) > 3 * spread)
    # Pilots are as strong as the device: the error of its channel falls with its power.
    out = run(x, draws, no=0.1, power=POWER, csi="pilots_ls", num_pilots=3)
    error = np.abs(out.h_hat - out.h)[:, 0] ** 2 / POWER
    wanted = 0.1 / (3 * POWER)
    assert np.all(np.abs(error.mean((0, 1)) / wanted - 1) < 5 / np.sqrt(3 * batch))


def test_a_receiver_knows_its_pilots_and_what_it_hears():
    """Another channel with the same estimate and the same observation ends in the same symbols."""
    x, draws = sent(num_rx_ant=3, dtype=jnp.complex64)
    s, no = 0.05, 0.1
    other = jax.random.normal(jax.random.key(4), draws.h.shape, jnp.complex64)
    change = columns(draws.h - other, POWER)
    same = draws._replace(
        h=other,
        csi=draws.csi + (draws.h - other) / np.sqrt(s),
        noise=draws.noise + jnp.einsum("bij,bsj->bsi", change[:, 0], x, precision="highest") / np.sqrt(no),
    )
    names = ("robust", "unbiased", "zf")
    all_draws = jax.tree.map(lambda *a: jnp.stack(a), draws, same, draws._replace(h=other))

    @jax.jit
    def each(all_draws):
        options = dict(no=no, power=POWER, csi_error_var=s)
        return jax.vmap(lambda d: [phy.mac(None, x, draws=d, equalizer=name, **options) for name in names])(all_draws)

    for out in each(all_draws):
        first, second, third = out.x_hat
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(out.no_eff[0], out.no_eff[1], rtol=1e-3)
        assert not np.allclose(first, third, rtol=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(fading=None), "mac needs fading: under AWGN"),
        (dict(equalizer="none"), "equalizer 'none' does not separate devices; known: paper, unbiased, robust"),
        (dict(power=-1.0), "power must be >= 0, got -1.0"),
        (dict(power=np.ones(2)), r"power must have shape \(5, 3\), got \(2,\)"),
        (dict(csi="pilots_ls", num_pilots=2), "num_pilots"),
        (dict(equalizer="zf"), "zero forcing needs num_rx_ant >= num_tx_ant"),
        (dict(active=np.ones(3, bool)), "active must be boolean with the shape of x"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    x, draws = sent(dtype=jnp.complex64)
    with pytest.raises(ValueError, match=message):
        phy.mac(None, x, **dict(no=0.1, draws=draws) | changes)
