"""The precoded downlink: signal model, SINR, believed and measured errors, power, common slots, edges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beams import compiled, key_of, link, normal

from lvm_mtc import phy
from lvm_mtc.phy import kernels

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(autouse=True)
def _library_algebra(monkeypatch):
    # Unrolled code takes seconds to compile; that it agrees is a test of its own.
    monkeypatch.setattr(kernels, "MIN_BATCH", 10**9)


def _error(out, x):
    return np.abs(np.asarray(out.x_hat - x, np.complex128)) ** 2


def _standard_errors(samples, expected=0.0):
    """Distance of the mean from what is expected, in standard errors over the first (independent) axis."""
    means = (np.asarray(samples, np.float64) - np.asarray(expected, np.float64)).reshape(len(samples), -1).mean(-1)
    return abs(means.mean()) / (means.std() / np.sqrt(means.size))


def _by_hand(h, w, x, no, noise):
    """One block in float64: y, x_hat and no_eff of every slot; ``no`` per UAV."""
    gains = np.asarray(h, np.complex128) @ np.asarray(w, np.complex128)
    own = np.diagonal(gains)
    interference = np.sum(np.abs(gains) ** 2, axis=1) - np.abs(own) ** 2
    y = np.asarray(x) @ gains.T + np.sqrt(no) * np.asarray(noise)
    return y, y / own, np.broadcast_to((interference + no) / np.abs(own) ** 2, y.shape)


@pytest.mark.parametrize("placed", [False, True])
def test_link_is_its_signal_model(placed):
    x, no = normal(2, 7, 3), np.array([0.1, 0.3, 0.02], np.float32)
    keys = jax.random.split(key_of(), 3)
    kind = {"num_tx_ant": 4, "block_length": 3, "total_slots": 12}
    draws = phy.draw_link(keys, (2, 3), 7, num_rx_ant=1, **kind)
    index = jnp.array([[0, 5, 6, 11, 1, 2, 9], [3, 2, 1, 0, 4, 7, 10]]) if placed else None
    numbers = {"no": no, "tx_csi_error_var": 0.05, "draws": draws, "slot_index": index}
    out = link(None, x, **kind, numbers=numbers)
    assert out.h.shape == out.h_hat.shape == (2, 4, 3, 4) and out.w.shape == (2, 4, 4, 3)
    for b in range(2):
        for slot in range(7):
            block = (int(index[b, slot]) if placed else slot) // 3
            h = np.asarray(draws.h)[b, :, block, 0]
            h_hat = h + np.sqrt(0.05) * np.asarray(draws.csi)[b, :, block, 0]
            np.testing.assert_allclose(out.h[b, block], h)
            np.testing.assert_allclose(out.h_hat[b, block], h_hat, rtol=1e-5, atol=1e-6)
            mean, v = phy.csi_posterior(jnp.asarray(h_hat), 0.05)
            w = phy.precoder(mean, no=no, total_power=3.0, error_var=v)
            np.testing.assert_allclose(out.w[b, block], w, rtol=1e-4, atol=1e-5)
            y, x_hat, no_eff = _by_hand(h, w, x[b, slot], no, np.asarray(draws.noise)[b, :, slot, 0])
            np.testing.assert_allclose(out.y[b, slot], y, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(out.x_hat[b, slot], x_hat, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(out.no_eff[b, slot], no_eff, rtol=1e-3)
    if placed:
        beyond = link(None, x, **kind, numbers=numbers | {"slot_index": index + 12})
        assert all(np.all(np.isnan(part)) for part in (beyond.y, beyond.x_hat, beyond.no_eff))


@pytest.mark.parametrize("method", phy.PRECODINGS)
def test_measured_sinr_is_the_closed_form(method):
    # Given the channel and its estimate, over many slots of symbols and noise: per UAV and realisation.
    slots, no = 4000, 0.1
    x = normal(3, slots, 4)
    h, h_hat = normal(3, 1, 4, 5, seed=2), normal(3, 1, 4, 5, seed=2) + 0.3 * normal(3, 1, 4, 5, seed=3)
    out = link(
        None,
        x,
        method=method,
        numbers={"no": no, "h": h, "h_hat": h_hat, "noise": no**0.5 * normal(3, slots, 4, seed=4)},
    )
    gains = np.asarray(h[:, 0], np.complex128) @ np.asarray(out.w[:, 0], np.complex128)
    own = np.diagonal(gains, axis1=1, axis2=2)
    sinr = np.abs(own) ** 2 / (np.sum(np.abs(gains) ** 2, axis=2) - np.abs(own) ** 2 + no)
    np.testing.assert_allclose(1 / out.no_eff, np.broadcast_to(sinr[:, None], x.shape), rtol=1e-3)
    unwanted = np.abs(np.asarray(out.y) - own[:, None] * np.asarray(x)) ** 2
    for b in range(3):
        for k in range(4):
            expected = np.abs(own[b, k]) ** 2 / sinr[b, k]
            assert _standard_errors(unwanted[b, :, k], expected) < 5
            assert _standard_errors(unwanted[b, :, k], 1.2 * expected) > 5


def test_zero_forcing_under_rayleigh_fading():
    # SINR = c^2 / no with c^2 = P / tr (H H^H)^-1, one for all UAVs, and E tr (H H^H)^-1 = K / (M - K).
    x, no = jnp.zeros((6000, 1, 3), jnp.complex64), 0.2
    out = link(key_of(), x, num_tx_ant=8, method="zf", numbers={"no": no, "total_power": 2.0})
    h = np.asarray(out.h[:, 0], np.complex128)
    trace = np.trace(np.linalg.inv(h @ h.conj().transpose(0, 2, 1)), axis1=1, axis2=2).real
    np.testing.assert_allclose(out.no_eff, np.broadcast_to((no * trace / 2)[:, None, None], x.shape), rtol=2e-3)
    assert _standard_errors(out.no_eff, no / 2 * 3 / 5) < 5
    assert _standard_errors(out.no_eff, no / 2 * 3 / 6) > 5


@pytest.mark.parametrize("constraint", ["total", pytest.param("per_antenna", marks=pytest.mark.slow)])
def test_measured_snr_is_nominal(constraint):
    # Default power: 1 per stream on average. Under "per_antenna" the fullest antenna spends K / M.
    x, snr_db = normal(20000, 1, 3), 7.0
    no = float(phy.noise_variance(snr_db))
    common = jnp.arange(20000)[:, None] % 4 == 0
    out = link(key_of(), x, num_tx_ant=4, constraint=constraint, numbers={"no": no, "common": common})
    h, w = (np.asarray(a[:, 0], np.complex128) for a in (out.h, out.w))
    private = ~np.asarray(common[:, 0])
    sent = np.einsum("bmk,bk->bm", w, x[:, 0])[private]
    noise = np.asarray(out.y[:, 0])[private] - np.einsum("bkm,bm->bk", h[private], sent)
    snr = 10 ** (snr_db / 10)
    if constraint == "total":
        signal = np.sum(np.abs(sent) ** 2, axis=1) / 3
        measured = float(phy.measure_snr_db(x[private, 0], jnp.asarray(out.y[private, 0] - noise), out.y[private, 0]))
        assert abs(measured - snr_db) < 0.15
    else:
        fullest = np.argmax(np.sum(np.abs(w) ** 2, axis=2), axis=1)[private]
        signal = np.abs(sent[np.arange(len(sent)), fullest]) ** 2 * 4 / 3
    assert _standard_errors(signal, 1) < 5
    difference = signal[:, None] - snr * np.abs(noise) ** 2
    assert _standard_errors(difference) < 5
    assert _standard_errors(signal[:, None] - 1.1 * snr * np.abs(noise) ** 2) > 5
    # A common symbol has the whole power to itself.
    beam = np.asarray(phy.multicast_beam(out.w[:, 0], total_power=3.0, constraint=constraint))
    spent = np.sum(np.abs(beam) ** 2, axis=1) if constraint == "total" else 4 * np.max(np.abs(beam) ** 2, axis=1)
    np.testing.assert_allclose(spent, 3, rtol=1e-5)


SLOWER_MMSE = ["additive", pytest.param("mmse", marks=pytest.mark.slow)]


@pytest.mark.parametrize("csi", SLOWER_MMSE)
def test_no_eff_is_the_measured_error_variance_under_imperfect_knowledge(csi):
    x = normal(6000, 2, 3)
    numbers = {"no": 0.2, "tx_csi_error_var": 0.2}
    out = link(key_of(), x, num_tx_ant=4, csi=csi, numbers=numbers)
    # Weighted by (1 + no_eff)^-2, because the error after a division by a fading gain has no variance.
    weight = 1 / (1 + np.asarray(out.no_eff)) ** 2
    assert _standard_errors(_error(out, x) * weight, out.no_eff * weight) < 5
    assert _standard_errors(_error(out, x) * weight, 1.1 * out.no_eff * weight) > 5
    biased = link(key_of(), x, num_tx_ant=4, equalizer="paper", csi=csi, numbers=numbers)
    np.testing.assert_allclose(biased.no_eff, out.no_eff / (1 + out.no_eff), rtol=1e-4)
    np.testing.assert_allclose(biased.x_hat, out.x_hat / (1 + out.no_eff), rtol=1e-3, atol=1e-5)
    assert _standard_errors(_error(biased, x), biased.no_eff) < 5


@pytest.mark.parametrize(
    ("csi", "model", "s"),
    # no M / (T P), and the posterior variance after that.
    [
        ("pilots_ls", "additive", 0.4 * 4 / 15),
        pytest.param("pilots_lmmse", "mmse", 0.4 * 4 / (15 + 0.4 * 4), marks=pytest.mark.slow),
    ],
)
def test_pilots_are_an_error_model_with_the_variance_of_their_noise(csi, model, s):
    x = normal(3, 6, 3)
    pilots = link(key_of(), x, num_tx_ant=4, csi=csi, num_pilots=5, numbers={"no": 0.4})
    direct = link(key_of(), x, num_tx_ant=4, csi=model, numbers={"no": 0.4, "tx_csi_error_var": s})
    np.testing.assert_allclose(pilots.h_hat, direct.h_hat, atol=1e-5)
    np.testing.assert_allclose(pilots.w, direct.w, atol=1e-4)


@pytest.mark.parametrize("csi", SLOWER_MMSE)
def test_knowing_the_csi_error_helps_at_high_snr(csi):
    x = jnp.zeros((3000, 1, 4), jnp.complex64)
    numbers = {"no": 1e-3, "tx_csi_error_var": 0.1}
    aware, naive = (
        1 / link(key_of(), x, num_tx_ant=4, csi=csi, csi_aware=aware, numbers=numbers).no_eff for aware in (True, False)
    )
    gain = np.asarray(aware - naive).mean((1, 2))
    assert gain.mean() > 5 * gain.std() / np.sqrt(gain.size)
    # With perfect knowledge there is nothing to be aware of, and the same test sees no gain.
    perfect = [
        link(key_of(), x, num_tx_ant=4, csi=csi, csi_aware=aware, numbers=numbers | {"tx_csi_error_var": 0.0}).no_eff
        for aware in (True, False)
    ]
    np.testing.assert_allclose(*perfect, rtol=1e-3)


def test_common_slots_reach_everybody_without_interference():
    x, no = normal(3, 6, 4), np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    common = jnp.zeros((3, 6), bool).at[:, :2].set(True).at[1].set(False)
    draws = phy.draw_link(jax.random.split(key_of(), 4), (3, 4), 6, num_tx_ant=5, num_rx_ant=1, block_length=3)
    for constraint in phy.POWER_CONSTRAINTS:
        kind = {"block_length": 3, "constraint": constraint, "csi_aware": False}
        numbers = {"no": no, "tx_csi_error_var": 0.1, "draws": draws}
        out = link(None, x, **kind, numbers=numbers | {"common": common})
        beam = phy.multicast_beam(out.w, total_power=4.0, constraint=constraint)
        gain = np.einsum("bnkm,bnm->bnk", np.asarray(out.h), np.asarray(beam))[:, [0, 0, 0, 1, 1, 1]]
        noise = np.sqrt(no) * np.swapaxes(np.asarray(draws.noise)[..., 0], 1, 2)
        expected = np.asarray(x)[..., :1] + noise / gain
        private = link(None, x, **kind, numbers=numbers | {"common": jnp.zeros((3, 6), bool)})
        where = np.broadcast_to(np.asarray(common)[..., None], x.shape)
        np.testing.assert_allclose(out.x_hat[where], expected[where], rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(out.no_eff[where], (no / np.abs(gain) ** 2)[where], rtol=2e-3)
        np.testing.assert_allclose(out.x_hat[~where], private.x_hat[~where], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(out.no_eff[~where], private.no_eff[~where], rtol=1e-4)
        assert not np.allclose(out.x_hat[where], private.x_hat[where], atol=1e-2)


def test_silent_streams_are_not_sent_and_still_expected():
    x = normal(2, 5, 3)
    common = jnp.zeros((2, 5), bool).at[:, 3:].set(True)
    active = jnp.ones(x.shape, bool).at[:, :2, 1].set(False).at[:, 3, 1:].set(False).at[:, 4, 0].set(False)
    draws = phy.draw_link(jax.random.split(key_of(), 3), (2, 3), 5, num_tx_ant=4, num_rx_ant=1)
    numbers = {"no": 0.1, "tx_csi_error_var": 0.1, "draws": draws, "common": common}
    out = link(None, x, numbers=numbers | {"active": active})
    zeros = link(None, jnp.where(active, x, 0), numbers=numbers | {"active": jnp.ones(x.shape, bool)})
    heard = np.asarray(active).copy()
    # Of a common slot the first stream speaks for all.
    heard[:, 3], heard[:, 4] = True, False
    np.testing.assert_allclose(out.y, zeros.y, atol=1e-6)
    np.testing.assert_allclose(out.x_hat[heard], zeros.x_hat[heard], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out.no_eff[heard], zeros.no_eff[heard], rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(out.x_hat)[~heard], 0)
    np.testing.assert_array_equal(np.asarray(out.no_eff)[~heard], 1)


@pytest.mark.slow
def test_uavs_have_channels_of_their_own():
    keys = jax.random.split(key_of(impl="threefry2x32"), 4)
    x = normal(2, 5, 4)
    numbers = {"no": 0.1, "tx_csi_error_var": 0.1}
    # One key is split into one per UAV.
    four = link(key_of(impl="threefry2x32"), x, num_tx_ant=6, block_length=2, numbers=numbers)
    two = link(keys[:2], x[..., :2], num_tx_ant=6, block_length=2, numbers=numbers)
    np.testing.assert_array_equal(four.h[:, :, :2], two.h)
    np.testing.assert_array_equal(four.h_hat[:, :, :2], two.h_hat)
    draws = phy.draw_link(
        jax.random.split(key_of(impl="threefry2x32"), 4), (2, 4), 5, num_tx_ant=6, num_rx_ant=1, block_length=2
    )
    np.testing.assert_allclose(four.h, np.swapaxes(draws.h[..., 0, :], 1, 2), rtol=1e-5)
    noise = four.y - np.einsum("bskm,bsm->bsk", four.h[:, [0, 0, 1, 1, 2]], _sent(four.w[:, [0, 0, 1, 1, 2]], x))
    np.testing.assert_allclose(noise, 0.1**0.5 * np.swapaxes(draws.noise[..., 0], 1, 2), rtol=1e-3, atol=1e-5)


def _sent(w, x):
    return np.einsum("bsmk,bsk->bsm", w, x)


@pytest.mark.slow
def test_line_of_sight_angles_belong_to_a_uav():
    # The channels of two UAVs are not parallel.
    fading = functools.partial(phy.rician, k_factor_db=60.0)
    h = link(key_of(), normal(2, 5, 4), num_tx_ant=6, fading=fading, numbers={"no": 0.1}).h[:, 0]
    assert np.linalg.svd(np.asarray(h), compute_uv=False)[:, 1].min() > 0.1


@pytest.mark.slow
def test_priors():
    corr = phy.exp_corr_mat(0.9, 4)
    x = jnp.zeros((4000, 1, 3), jnp.complex64)
    fading = functools.partial(phy.rayleigh, tx_corr=corr)
    numbers = {"no": 1e-2, "tx_csi_error_var": 0.3}
    guess = link(key_of(), x, fading=fading, num_tx_ant=4, numbers=numbers)
    told = link(key_of(), x, fading=fading, num_tx_ant=4, numbers=numbers | {"prior": phy.ChannelPrior(tx_corr=corr)})
    # E[error^2] per entry of the posterior, from the eigenvalues r of the correlation: mean of r s / (r + s).
    eigenvalues = np.linalg.eigvalsh(np.asarray(corr))
    mean, cov = phy.csi_posterior_correlated(told.h_hat[:, 0], 0.3, prior=phy.ChannelPrior(tx_corr=corr))
    np.testing.assert_allclose(cov[0, 0].real / 4, np.mean(0.3 * eigenvalues / (eigenvalues + 0.3)), rtol=1e-4)
    w = phy.precoder(mean, no=1e-2, total_power=3.0, error_var=cov[0, 0].real / 4)
    np.testing.assert_allclose(told.w[:, 0], w, rtol=1e-2, atol=1e-3)
    gain = np.asarray(1 / told.no_eff - 1 / guess.no_eff).mean((1, 2))
    assert gain.mean() > 5 * gain.std() / np.sqrt(gain.size)
    # An estimate that comes with its error variance is the posterior mean.
    variance = jnp.asarray([0.1, 0.2, 0.3])
    given = {"no": 0.1, "h": told.h, "h_hat": told.h_hat, "noise": jnp.zeros_like(x)}
    out = link(None, x, numbers=given | {"h_hat_error_var": variance})
    w = phy.precoder(told.h_hat, no=0.1, total_power=3.0, error_var=variance)
    np.testing.assert_allclose(out.w, w, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_unrolled_link_equals_library_link(monkeypatch):
    x = normal(30, 4, 2)
    kind = {"num_tx_ant": 3, "block_length": 2}
    draws = phy.draw_link(jax.random.split(key_of(), 2), (30, 2), 4, num_rx_ant=1, **kind)
    numbers = {
        "no": 0.1,
        "tx_csi_error_var": 0.05,
        "draws": draws,
        "common": jnp.arange(4)[None] + jnp.zeros((30, 1)) < 1,
    }
    library = link(None, x, **kind, numbers=numbers)
    compiled.cache_clear()
    monkeypatch.setattr(kernels, "MIN_BATCH", 1)
    unrolled = link(None, x, **kind, numbers=numbers)
    compiled.cache_clear()
    for a, b in zip(library, unrolled, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-3)


def _small_link():
    x = normal(3, 5, 2)
    kind = {"num_tx_ant": 3, "num_rx_ant": 1, "block_length": 4, "demodulation_slots": 2}
    draws = phy.draw_link(jax.random.split(key_of(), 2), (3, 2), 5, **kind)

    def send(x, no, s, power, draws):
        numbers = {"no": no, "tx_csi_error_var": s, "total_power": power}
        return phy.mu_mimo(None, x, block_length=4, draws=draws, constraint="per_antenna", **numbers)

    return send, x, draws


def test_vmap_is_a_loop_and_numbers_do_not_recompile():
    send, x, draws = _small_link()
    traces = []
    compiled = jax.jit(lambda *numbers: traces.append(1) or send(*numbers))
    whole = compiled(x, 0.1, 0.05, 2.0, draws)
    other = compiled(x, 0.2, 0.3, 4.0, draws)
    assert len(traces) == 1 and not np.allclose(other.x_hat, whole.x_hat, atol=0.01)
    mapped = jax.jit(jax.vmap(send, in_axes=(0, None, None, None, 0)))(x, 0.1, 0.05, 2.0, draws)
    for i in range(3):
        single = compiled(x[i], 0.1, 0.05, 2.0, jax.tree.map(lambda draw, i=i: draw[i], draws))
        for a, b, c in zip(whole, mapped, single, strict=True):
            np.testing.assert_allclose(a[i], c, rtol=2e-3, atol=2e-4)
            np.testing.assert_allclose(b[i], c, rtol=2e-3, atol=2e-4)


@pytest.mark.slow
def test_jit_is_eager():
    send, x, draws = _small_link()
    for a, b in zip(send(x, 0.1, 0.05, 2.0, draws), jax.jit(send)(x, 0.1, 0.05, 2.0, draws), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


def test_gradients():
    with jax.enable_x64(True):
        re, im = (jnp.asarray(part(normal(4, 2, dtype=np.complex128))) for part in (np.real, np.imag))
        kind = {"num_tx_ant": 3, "block_length": 6}
        options = {"num_rx_ant": 1, "dtype": jnp.complex128, "demodulation_slots": 4}
        draws = phy.draw_link(jax.random.split(key_of(), 2), (2,), 4, **kind, **options)
        common = jnp.arange(4) == 0

        def loss(re, im, no, s):
            x = jax.lax.complex(re, im)
            out = phy.mu_mimo(None, x, no=no, tx_csi_error_var=s, draws=draws, common=common, **kind)
            scaled = out.x_hat / (1 + out.no_eff) - x
            return jnp.sum(jnp.real(scaled) ** 2 + jnp.imag(scaled) ** 2)

        slope = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3)))
        point = (re, im, jnp.asarray(0.3), jnp.asarray(0.1))
        _, gradient = slope(*point)
        direction = (im, re, jnp.asarray(0.7), jnp.asarray(-0.4))
        step = 1e-5
        ahead, behind = (
            slope(*(p + sign * step * d for p, d in zip(point, direction, strict=True)))[0] for sign in (1, -1)
        )
        expected = sum(float(jnp.sum(g * d)) for g, d in zip(gradient, direction, strict=True))
        np.testing.assert_allclose((ahead - behind) / (2 * step), expected, rtol=1e-6)
        for no, s in ((0.3, 0.0), (0.0, 0.1), (0.0, 0.0), (1e6, 1e3)):
            *of_symbols, of_no, of_s = slope(re, im, jnp.asarray(no), jnp.asarray(s))[1]
            assert all(np.all(np.isfinite(part)) for part in of_symbols), (no, s)
            assert (np.isnan(of_no), np.isnan(of_s)) == (no == 0, s == 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones((4, 3), np.float32)}, "x must be complex, got float32"),
        ({"x": np.ones(3, np.complex64)}, r"x must be \[..., num_slots, num_uavs\], got shape \(3,\)"),
        ({"fading": None}, r"mu_mimo needs fading: under AWGN \(fading=None\)"),
        ({"equalizer": "ml"}, "unknown equalizer 'ml'; known: paper"),
        ({"demodulation": "perfect"}, "unknown demodulation 'perfect'; known: pilots, genie"),
        ({"num_demodulation_pilots": 2}, "num_demodulation_pilots must be an integer >= 3, got 2"),
        ({"block_length": 3}, r"block_length must be >= num_pilots \+ 1 = 4, got 3"),
        ({"equalizer": "none"}, "equalizer 'none' does not go with mu_mimo"),
        ({"csi": "genie"}, "unknown csi 'genie'; known: additive"),
        ({"method": "dpc"}, "unknown precoding method 'dpc'"),
        ({"method": "zf", "num_tx_ant": 2}, "zf precoding needs num_uavs <= num_tx_ant, got 3 > 2"),
        ({"constraint": "peak"}, "unknown power constraint 'peak'"),
        ({"no": -1.0}, "no must be >= 0, got -1"),
        ({"no": np.ones(2)}, r"no of shape \(2,\) does not broadcast"),
        ({"tx_csi_error_var": -1.0}, "tx_csi_error_var must be >= 0, got -1"),
        ({"total_power": 0.0}, "total_power must be > 0, got 0"),
        (
            {"active": np.ones((4, 2), bool)},
            r"active must be boolean of shape \(4, 3\) for x \(4, 3\), got bool \(4, 2\)",
        ),
        ({"common": np.ones(4)}, r"common must be boolean of shape \(4,\) for x \(4, 3\), got float64 \(4,\)"),
        ({"h": np.ones((1, 2, 4), np.complex64)}, r"h must have shape \(1, 3, 4\), got \(1, 2, 4\)"),
        ({"h_hat": np.ones((1, 2, 4), np.complex64)}, r"h_hat must have shape \(1, 3, 4\), got \(1, 2, 4\)"),
        ({"noise": np.ones((4, 2), np.complex64)}, r"noise must have shape \(4, 3\), got \(4, 2\)"),
        ({"h_hat_error_var": 0.1}, "h_hat_error_var was given without h_hat"),
        ({"csi": "pilots_ls", "num_pilots": 3}, "num_pilots must be >= num_tx_ant for orthogonal pilots, got 3 < 4"),
        ({"block_length": 0}, "block_length must be an integer >= 1, got 0"),
        ({"key": None}, "key is None: give a key, or draws, or all of h, h_hat and noise together with demodulation="),
        (
            {"draws": phy.LinkDraws(np.ones((3, 1, 1, 4)), np.ones((3, 1, 1, 4)), np.ones((3, 4, 1)))},
            "draws.demodulation is None: draw_link needs demodulation_slots=3",
        ),
    ],
)
def test_errors(change, message):
    arguments = {"key": key_of(), "x": np.ones((4, 3), np.complex64), "no": 0.1, "num_tx_ant": 4} | change
    key, x = arguments.pop("key"), jnp.asarray(arguments.pop("x"))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: phy.mu_mimo(key, x, **arguments))
