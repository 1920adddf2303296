"""Slots of known, unequal power: the link with ``power`` against the same link with other noise."""

import jax
import numpy as np
import pytest

from lvm_mtc import phy

POWER = np.float32([0.2, 1.0, 3.0, 0.2, 3.0, 1.0])
SLOTS, NO, ERROR = len(POWER), 0.3, 0.1


def _sent(antennas, fading, block_length=None, **options):
    key, of_x = jax.random.split(jax.random.key(antennas))
    shape = (2, 3, SLOTS, antennas)
    x = phy.qam_map(jax.random.bernoulli(of_x, shape=(*shape[:-1], 2 * antennas)), 2)
    draws = phy.draw_link(
        key, shape[:2], SLOTS, num_tx_ant=antennas, num_rx_ant=antennas, fading=fading, block_length=block_length,
        **options,
    )  # fmt: skip
    return x, draws


@pytest.mark.parametrize("antennas", [1, 4])
@pytest.mark.parametrize("fading", [phy.rayleigh, None])
@pytest.mark.parametrize("error", [0.0, ERROR])
def test_a_slot_of_known_power_is_one_in_less_noise(antennas, fading, error):
    x, draws = _sent(antennas, fading)
    same = dict(fading=fading, draws=draws, csi_error_var=error)
    got = phy.broadcast(None, x, no=NO, power=POWER[None, None], **same)
    for power in np.unique(POWER):
        slots = power == POWER
        want = phy.broadcast(None, x, no=NO / power, **same)
        for name in ("x_hat", "no_eff"):
            one, other = (getattr(out, name)[:, :, slots] for out in (got, want))
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)
    clean = np.asarray(x) if fading is None else np.einsum("...rt,...st->...sr", got.h[:, :, 0], x)
    want = np.sqrt(POWER)[:, None] * clean + np.sqrt(NO) * np.asarray(draws.noise)
    np.testing.assert_allclose(got.y, want, rtol=1e-5, atol=2e-6)


def test_padded_blocks_and_pilots_keep_their_own_noise():
    # Blocks of four slots do not divide six; pilots of power 1 estimate as well as without unequal powers.
    x, draws = _sent(1, phy.rayleigh, 6, csi="pilots_ls", num_pilots=2)
    same = dict(no=NO, draws=draws, csi="pilots_ls", num_pilots=2, block_length=6)
    got, plain = phy.broadcast(None, x, power=POWER[None, None], **same), phy.broadcast(None, x, **same)
    np.testing.assert_array_equal(got.h_hat, plain.h_hat)
    ones = phy.broadcast(None, x, power=np.ones(SLOTS, np.float32)[None, None], **same)
    np.testing.assert_allclose(ones.x_hat, plain.x_hat, rtol=1e-6)
    assert np.isfinite(got.x_hat).all() and np.isfinite(got.no_eff).all()


def test_error_variance_is_believed_right():
    # One antenna, AWGN with an imperfect estimate: robust believes no / p + s, and not (no + s) / p.
    x, draws = _sent(1, None)
    out = phy.broadcast(None, x, no=NO, power=POWER[None, None], csi_error_var=ERROR, fading=None, draws=draws)
    gain = np.abs(out.h_hat[..., 0, 0]) ** 2
    wrong = (NO + ERROR) / POWER[None, None] / gain[..., None]
    believed = (NO / POWER[None, None] + ERROR) / gain[..., None]
    np.testing.assert_allclose(out.no_eff[..., 0], believed, rtol=1e-5)
    assert np.abs(np.log(wrong / believed)).max() > 0.4


@pytest.mark.slow
def test_a_resource_grid_has_it_too():
    grid = phy.ResourceGrid(fft_size=16, num_ofdm_symbols=4, cyclic_prefix_length=4, pilot_symbols=(0,))
    x = phy.qam_map(jax.random.bernoulli(jax.random.key(1), shape=(1, 1, SLOTS, 2)), 2)
    drawn = phy.draw_ofdm(
        jax.random.key(2), (1, 1), SLOTS, grid=grid, paths=phy.rayleigh_path, num_tx_ant=1, num_rx_ant=1
    )
    same = dict(grid=grid, draws=drawn, csi_error_var=ERROR)
    got = phy.ofdm_link(None, x, no=NO, power=POWER[None, None], **same)
    want = phy.ofdm_link(None, x, no=NO / 3, **same)
    np.testing.assert_allclose(got.x_hat[:, :, POWER == 3], want.x_hat[:, :, POWER == 3], rtol=1e-5, atol=2e-6)
    with pytest.raises(ValueError, match="power.*joint=True"):
        phy.ofdm_link(None, x[:, 0], no=NO, power=POWER[None], joint=True, grid=grid, draws=drawn)


def test_power_has_a_domain():
    x, draws = _sent(1, None)
    with pytest.raises(ValueError, match="power must be > 0"):
        phy.broadcast(None, x, no=NO, power=np.zeros(SLOTS, np.float32), fading=None, draws=draws)
