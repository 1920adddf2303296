"""What the two ends of the precoded downlink know: pilots, the power they take, measured gains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beams import key_of, link, normal

from lvm_mtc import phy
from lvm_mtc.phy import kernels

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(autouse=True)
def _library_algebra(monkeypatch):
    # Unrolled code takes seconds to compile; that it agrees is a test of its own.
    monkeypatch.setattr(kernels, "MIN_BATCH", 10**9)


def _standard_errors(samples, expected=0.0):
    """Distance of the mean from what is expected, in standard errors over the first (independent) axis."""
    means = (np.asarray(samples, np.float64) - np.asarray(expected, np.float64)).reshape(len(samples), -1).mean(-1)
    return abs(means.mean()) / (means.std() / np.sqrt(means.size))


@pytest.mark.parametrize("constraint", phy.POWER_CONSTRAINTS)
def test_pilots_spend_what_data_spend(constraint):
    # Fault 3 of the audit: M = 64, K = 4, no = 0.5, T = 64 once gave an error variance of no / T = 0.0078.
    num_pilots, no, power, count = 64, 0.5, 4.0, 200
    kind = {"num_tx_ant": 64, "constraint": constraint, "csi": "pilots_ls", "num_pilots": num_pilots}
    x = jnp.zeros((count, 1, 4), jnp.complex64)
    out = link(key_of(), x, **kind, demodulation="pilots", numbers={"no": no})
    h, h_hat, w = (np.asarray(a[:, 0], complex) for a in (out.h, out.h_hat, out.w))
    # Pilots as they would be sent: P in every slot, P / M on every antenna.
    sent = np.sqrt(power / 64) * np.asarray(phy.pilot_matrix(64, num_pilots))
    np.testing.assert_allclose(np.sum(np.abs(sent) ** 2, axis=0), power, rtol=1e-5)
    rng = np.random.default_rng(0)
    noise = np.sqrt(no) * (rng.normal(scale=0.5**0.5, size=(count, 4, num_pilots, 2)) @ np.array([1, 1j]))
    estimate = phy.estimate_from_pilots(jnp.asarray(h @ sent + noise), phy.pilot_matrix(64, num_pilots), no)
    for error in (np.asarray(estimate) / np.sqrt(power / 64) - h, h_hat - h):
        assert _standard_errors(np.abs(error) ** 2, no * 64 / (num_pilots * power)) < 5
        assert _standard_errors(np.abs(error) ** 2, no / num_pilots) > 5
    # Demodulation pilots: the same power in every slot, and on no antenna more than in data.
    beams = w @ np.asarray(phy.pilot_matrix(4, 4))
    np.testing.assert_allclose(np.mean(np.abs(beams) ** 2, axis=2), np.sum(np.abs(w) ** 2, axis=2), rtol=1e-4)
    spent = np.sum(np.abs(w) ** 2, axis=2)
    spent = spent.sum(1) if constraint == "total" else 64 * spent.max(1)
    np.testing.assert_allclose(spent, power, rtol=1e-4)


def test_gains_are_measured_by_pilots_as_they_would_be_sent():
    no, num_pilots = 0.3, 5
    x, common = normal(2, 6, 3), jnp.zeros((2, 6), bool).at[:, 0].set(True)
    kind = {"num_tx_ant": 4, "block_length": 13}
    draws = phy.draw_link(jax.random.split(key_of(), 3), (2, 3), 6, num_rx_ant=1, demodulation_slots=10, **kind)
    assert draws.demodulation.shape == (2, 3, 2, 1, 10)  # 3 of the 13 slots are left for data
    options = {"demodulation": "pilots", "num_demodulation_pilots": num_pilots, **kind}
    out = link(None, x, **options, numbers={"no": no, "draws": draws, "common": common})
    h, w = np.asarray(out.h, complex), np.asarray(out.w, complex)
    noise = np.sqrt(no) * np.swapaxes(np.asarray(draws.demodulation)[..., 0, :], 1, 2)
    pilots = np.asarray(phy.pilot_matrix(3, num_pilots))
    private = (h @ w @ pilots + noise[..., :num_pilots]) @ pilots.conj().T / num_pilots
    beam = np.asarray(phy.multicast_beam(out.w, total_power=3.0))
    shared = np.mean((h @ beam[..., None]) + noise[..., num_pilots:], axis=-1)
    np.testing.assert_allclose(out.gain_hat[..., :3], private, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out.gain_hat[..., 3], shared, rtol=1e-4, atol=1e-5)
    # Data are divided by what was measured, and by nothing else.
    gain = np.where(
        common[..., None], shared[:, [0, 0, 0, 1, 1, 1]], np.diagonal(private, 0, 2, 3)[:, [0, 0, 0, 1, 1, 1]]
    )
    np.testing.assert_allclose(out.x_hat, np.asarray(out.y) / gain, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("no", [0.05, 1.0])
def test_robust_knows_the_variance_around_its_measured_gains(no):
    # Of y - g_hat x, which is exact for any gains; after the division it holds where g_hat is well above its error.
    x, common = normal(20_000, 2, 3), jnp.broadcast_to(jnp.arange(2) == 1, (20_000, 2))
    numbers = {"no": no, "tx_csi_error_var": 0.2, "common": common}

    def residual_and_belief(equalizer):
        out = link(key_of(), x, num_tx_ant=4, demodulation="pilots", equalizer=equalizer, numbers=numbers)
        gain = np.asarray(out.gain_hat)[:, 0]
        gain = np.stack([np.diagonal(gain[..., :3], 0, 1, 2), gain[..., 3]], axis=1)
        sent = np.where(common[..., None], x[..., :1], x)
        assert np.min(out.no_eff * np.abs(gain) ** 2) > 1.99 * no / 3
        return np.abs(out.y - gain * sent) ** 2, out.no_eff * np.abs(gain) ** 2

    residual, belief = residual_and_belief("robust")
    for slot in range(2):
        assert _standard_errors(residual[:, slot], belief[:, slot]) < 5
        assert _standard_errors(residual[:, slot], 1.1 * belief[:, slot]) > 5
    # Whoever trusts the measured gains takes noise for interference, and does not see the error of its own gain.
    residual, belief = residual_and_belief("unbiased")
    assert _standard_errors(residual[:, 1], belief[:, 1]) > 5
    assert no < 1 or _standard_errors(residual[:, 0], belief[:, 0]) > 5  # small beside the interference


@pytest.mark.slow
def test_a_genie_knows_the_gains_and_costs_no_slots():
    x = normal(3, 6, 3)
    out = link(key_of(), x, num_tx_ant=4, block_length=3, numbers={"no": 0.1, "tx_csi_error_var": 0.1})
    np.testing.assert_allclose(out.gain_hat, np.asarray(out.h) @ np.asarray(out.w), rtol=1e-4, atol=1e-5)
    assert out.h.shape[1] == 2
    paid = link(
        key_of(), x, num_tx_ant=4, block_length=4, demodulation="pilots", numbers={"no": 0.1, "tx_csi_error_var": 0.1}
    )
    assert paid.h.shape[1] == 6 and not np.allclose(paid.gain_hat[:, 0], out.gain_hat[:, 0], atol=0.01)
