"""Receivers against float64 NumPy, closed forms and limits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats

from lvm_mtc import phy
from lvm_mtc.phy import kernels, mimo


def _problem(num_rx, num_tx, count=6, seed=0, dtype=jnp.complex64):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(rng.normal(scale=0.5**0.5, size=(count, *shape, 2)) @ np.array([1, 1j]), dtype)

    return normal(num_rx, num_tx), normal(num_tx), normal(num_rx)


def _reference(name, y, h, no, s=0.0, noise_cov=None):
    """One observation in float64: filter, then gain and residual worked out from their definitions."""
    y, h = np.asarray(y, np.complex128), np.asarray(h, np.complex128)
    num_rx, num_tx = h.shape
    if name == "none":
        return y, np.full(num_tx, no) + (0 if noise_cov is None else np.diag(np.asarray(noise_cov)).real)
    cov = (no + num_tx * s * (name in ("robust", "zf", "mf"))) * np.eye(num_rx, dtype=complex)
    if noise_cov is not None:
        cov = cov + np.asarray(noise_cov, np.complex128)
    ch = np.linalg.solve(cov, h).conj().T
    if name == "zf":
        g = np.linalg.inv(ch @ h) @ ch
    elif name == "mf":
        g = np.diag(1 / np.diag(ch @ h)) @ ch
    else:
        g = h.conj().T @ np.linalg.inv(h @ h.conj().T + cov)
        if name != "paper":
            g = np.diag(1 / np.diag(g @ h)) @ g
    error = np.sum(np.abs(g @ h - np.eye(num_tx)) ** 2, axis=1) + np.einsum("nm,mk,nk->n", g, cov, g.conj()).real
    return g @ y, error


CASES = [
    (name, shape)
    for name in phy.EQUALIZERS
    for shape in [(4, 4), (5, 2), (2, 4), (1, 1), (10, 9), (3, 10)]
    if (name != "zf" or shape[0] >= shape[1]) and (name != "none" or shape[0] == shape[1])
]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_equalizers_are_their_definitions(name, shape):
    with jax.enable_x64(True):
        h, x, n = _problem(*shape, count=3, dtype=jnp.complex128)
        no, s = jnp.array([0.01, 0.3, 5.0]), jnp.array([0.0, 0.02, 0.5])
        y = jnp.einsum("bmn,bn->bm", h, x) + jnp.sqrt(no)[:, None] * n
        x_hat, no_eff = phy.EQUALIZERS[name](y, h, no, s)
        assert x_hat.dtype == jnp.complex128 and no_eff.dtype == jnp.float64
        for b in range(3):
            expected, error = _reference(name, y[b], h[b], float(no[b]), float(s[b]))
            np.testing.assert_allclose(x_hat[b], expected, rtol=1e-8, atol=1e-10)
            np.testing.assert_allclose(no_eff[b], error, rtol=1e-7)


@pytest.mark.parametrize("name", ["robust", "paper", "zf", "mf"])
def test_coloured_noise(name):
    with jax.enable_x64(True):
        h, x, n = _problem(4, 3, count=2, dtype=jnp.complex128)
        root = _problem(4, 4, count=1, seed=9, dtype=jnp.complex128)[0][0]
        cov = root @ root.conj().T
        y = jnp.einsum("bmn,bn->bm", h, x) + n
        x_hat, no_eff = phy.EQUALIZERS[name](y, h, 0.2, 0.1, noise_cov=cov)
        for b in range(2):
            expected, error = _reference(name, y[b], h[b], 0.2, 0.1, cov)
            np.testing.assert_allclose(x_hat[b], expected, rtol=1e-8)
            np.testing.assert_allclose(no_eff[b], error, rtol=1e-8)
        g = phy.lmmse_matrix(h, 0.2, 0.1, noise_cov=cov)
        mse = phy.post_detection_mse(g, h, 0.2, 0.1, noise_cov=cov)
        np.testing.assert_allclose(1 / (1 / mse - 1), phy.lmmse_equalizer(y, h, 0.2, 0.1, noise_cov=cov)[1], rtol=1e-8)


@pytest.mark.parametrize("shape", [(4, 4), (6, 3)])
def test_unrolled_path_agrees_with_library_path(monkeypatch, shape):
    h, x, n = _problem(*shape, count=20)
    active = jnp.ones((20, shape[1]), bool).at[:7, 0].set(False)
    y = jnp.einsum("bmn,bn->bm", h, x) + 0.3 * n
    no = jnp.full((20,), 0.1)
    solve = functools.partial(kernels.stream_solve, ridge=1.0)
    monkeypatch.setattr(kernels, "MIN_BATCH", 1)
    unrolled = jax.jit(lambda *args: solve(*args))(y, h, no, active)
    monkeypatch.setattr(kernels, "MIN_BATCH", 21)
    library = jax.jit(lambda *args: solve(*args))(y, h, no, active)
    for a, b in zip(unrolled, library, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-4)
    monkeypatch.setattr(kernels, "MIN_BATCH", 1)
    np.testing.assert_allclose(
        kernels.transmit(h, x), jnp.matmul(h, x[..., None], precision="highest")[..., 0], atol=1e-5
    )


def test_eq_5_has_its_closed_form_mse():
    # MSE of Eq. 5 with perfect CSI: tr((I + H^H H / no)^-1), given H.
    h, _, _ = _problem(4, 4)
    no = 0.2
    g = phy.lmmse_matrix(h, no)
    numpy_h = np.asarray(h, np.complex128)
    gram = numpy_h.conj().transpose(0, 2, 1) @ numpy_h
    expected = np.trace(np.linalg.inv(np.eye(4) + gram / no), axis1=1, axis2=2).real
    np.testing.assert_allclose(phy.post_detection_mse(g, h, no).sum(-1), expected, rtol=1e-4)
    _, no_eff = phy.lmmse_equalizer(jnp.ones((6, 4), jnp.complex64), h, no, variant="paper")
    np.testing.assert_allclose(no_eff.sum(-1), expected, rtol=1e-4)
    assert not np.allclose(phy.post_detection_mse(g, h, 2 * no).sum(-1), expected, rtol=1e-2)


def _standard_error_test(error_power, believed):
    """Independent blocks: whether the mean of squared error minus belief is 0 within 5 standard errors."""
    difference = np.asarray(error_power - believed).mean(-1)
    return abs(difference.mean()) < 5 * difference.std() / np.sqrt(difference.size)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in phy.EQUALIZERS if name != "none"])
def test_no_eff_is_the_measured_error_variance_with_perfect_csi(name):
    h, x, n = _problem(5, 3, count=20_000, seed=3)
    no = 0.5
    y = jnp.einsum("bmn,bn->bm", h, x) + np.sqrt(no) * n
    x_hat, no_eff = phy.EQUALIZERS[name](y, h, no)
    error = np.abs(np.asarray(x_hat - x)) ** 2
    assert _standard_error_test(error, no_eff)
    assert not _standard_error_test(error, 1.1 * no_eff)


def test_only_robust_knows_its_error_variance_under_csi_error():
    s, no = 0.1, 0.1
    h, x, n = _problem(5, 3, count=20_000, seed=4)
    h_hat = phy.estimate_csi(h, _problem(5, 3, count=20_000, seed=77)[0], s)
    y = jnp.einsum("bmn,bn->bm", h, x) + np.sqrt(no) * n
    mean, variance = phy.csi_posterior(h_hat, s)
    x_hat, no_eff = phy.lmmse_equalizer(y, mean, no, variance)
    robust_error = np.abs(np.asarray(x_hat - x)) ** 2
    assert _standard_error_test(robust_error, no_eff)
    x_hat, no_eff = phy.lmmse_equalizer(y, h_hat, no, variant="unbiased")
    assert not _standard_error_test(np.abs(np.asarray(x_hat - x)) ** 2, no_eff)
    # The closed form for a receiver that only has h_hat, on the mismatched Eq. 5.
    g = phy.lmmse_matrix(h_hat, no)
    x_hat, _ = phy.lmmse_equalizer(y, h_hat, no, variant="paper")
    error = np.abs(np.asarray(x_hat - x)) ** 2
    assert _standard_error_test(error, phy.post_detection_mse(g, mean, no, variance))
    assert not _standard_error_test(error, phy.post_detection_mse(g, h_hat, no))


def test_bpsk_over_rayleigh():
    count, snr_db = 200_000, 7.0
    h, _, n = _problem(1, 1, count=count, seed=5)
    bits = jax.random.rademacher(jax.random.key(6), (count, 1), jnp.float32)
    no = phy.noise_variance(snr_db)
    y = h[..., 0] * bits + jnp.sqrt(no) * n
    x_hat, _ = phy.zf_equalizer(y, h, no)
    errors = int(jnp.sum(jnp.real(x_hat) * bits < 0))
    snr = 10 ** (snr_db / 10)
    expected = 0.5 * (1 - np.sqrt(snr / (1 + snr)))
    assert abs(errors / count - expected) < 5 * np.sqrt(expected * (1 - expected) / count)
    off = 0.5 * (1 - np.sqrt(1.1 * snr / (1 + 1.1 * snr)))
    assert abs(errors / count - off) > 5 * np.sqrt(off * (1 - off) / count)


@pytest.mark.parametrize(("num_rx", "num_tx"), [(4, 4), (4, 3), (5, 3)])
def test_zero_forcing_diversity_order(num_rx, num_tx):
    # no / no_eff ~ Gamma(num_rx - num_tx + 1): the exponent of small values is the diversity order.
    h, _, _ = _problem(num_rx, num_tx, count=40_000, seed=7)
    _, no_eff = phy.zf_equalizer(jnp.zeros(h.shape[:-1], h.dtype), h, 0.3)
    gain = 0.3 / np.asarray(no_eff)[:, 0]
    order = num_rx - num_tx + 1
    for level in (0.2, 1.0, 3.0):
        expected = stats.gamma(order).cdf(level)
        assert abs(np.mean(gain < level) - expected) < 5 * np.sqrt(expected * (1 - expected) / gain.size)
    wrong = stats.gamma(order + 1).cdf(1.0)
    assert abs(np.mean(gain < 1.0) - wrong) > 5 * np.sqrt(wrong * (1 - wrong) / gain.size)


def test_limits_of_lmmse():
    with jax.enable_x64(True):
        h, x, n = _problem(4, 3, dtype=jnp.complex128)
        y = jnp.einsum("bmn,bn->bm", h, x) + n
        for name, no, rtol in (("zf", 1e-9, 1e-6), ("mf", 1e9, 1e-6)):
            for got, limit in zip(phy.lmmse_equalizer(y, h, no), phy.EQUALIZERS[name](y, h, no), strict=True):
                np.testing.assert_allclose(got, limit, rtol=rtol)
        assert not np.allclose(phy.lmmse_equalizer(y, h, 1.0)[0], phy.zf_equalizer(y, h, 1.0)[0], rtol=1e-2)


@pytest.mark.parametrize("name", ["robust", "paper", "zf", "mf"])
@pytest.mark.parametrize("num_rx", [3, 5])
def test_silent_streams_are_dropped(name, num_rx):
    h, x, n = _problem(num_rx, 3)
    active = jnp.array([True, False, True])
    y = jnp.einsum("bmn,bn->bm", h, x * active[None, :].astype(x.dtype)) + 0.1 * n
    x_hat, no_eff = phy.EQUALIZERS[name](y, h, 0.01, 0.02, active=active)
    kept, kept_no_eff = phy.EQUALIZERS[name](y, h[..., jnp.array([0, 2])], 0.01, 0.02)
    np.testing.assert_allclose(x_hat[:, (0, 2)], kept, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(no_eff[:, (0, 2)], kept_no_eff, rtol=2e-3)
    np.testing.assert_array_equal(x_hat[:, 1], 0)
    np.testing.assert_array_equal(no_eff[:, 1], 1)


def test_shared_channel_equals_repeated_channel_and_vmap_equals_batch():
    h, x, n = _problem(4, 4, count=1)
    y = jnp.einsum("mn,bn->bm", h[0], _problem(4, 4, count=9)[1])
    shared = phy.lmmse_equalizer(y, h[0], 0.1, 0.01)
    repeated = phy.lmmse_equalizer(y, jnp.broadcast_to(h, (9, 4, 4)), 0.1, 0.01)
    mapped = jax.vmap(lambda y: phy.lmmse_equalizer(y, h[0], 0.1, 0.01))(y)
    for a, b, c in zip(shared, repeated, mapped, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(a, c, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", phy.EQUALIZERS)
def test_gradients(name):
    with jax.enable_x64(True):
        h, x, n = _problem(*((2, 2) if name == "none" else (3, 2)), count=2, dtype=jnp.complex128)
        y = jnp.einsum("bmn,bn->bm", h, x) + 0.3 * n

        def f(re, im, no, s):
            x_hat, no_eff = phy.EQUALIZERS[name](y, jax.lax.complex(re, im), no, s)
            return jnp.sum(jnp.real(x_hat) * 2 + jnp.imag(x_hat)) + jnp.sum(no_eff)

        check_grads(f, (jnp.real(h), jnp.imag(h), 0.3, 0.1), order=1, modes=["rev"], rtol=1e-5)


@pytest.mark.parametrize("exponent", [-15, -10, 0, 10, 15])
def test_matched_filter_of_channels_of_any_size(exponent):
    # Fault 15 of the audit: |h|^4 left the range of float32 at 1e-10 and 1e+10.
    h, x, n = (np.asarray(a, np.complex128) for a in _problem(3, 2))
    size = 10.0**exponent
    no = np.float32(min(0.1 * size**2, 1e30))
    y = size * np.einsum("bmn,bn->bm", h, x) + np.sqrt(float(no)) * n
    x_hat, no_eff = phy.mf_equalizer(*(jnp.asarray(a, jnp.complex64) for a in (y, size * h)), no)
    for b in range(len(y)):
        expected, error = _reference("mf", y[b] / size, h[b], float(no) / size**2)
        np.testing.assert_allclose(x_hat[b], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(no_eff[b], error, rtol=1e-4)
    # Columns of very different size in one matrix, and gradients.
    mixed = jnp.asarray(h[0] * np.array([1e-10, 1e6]), jnp.complex64)
    slopes = jax.grad(lambda no: jnp.sum(jnp.log(phy.mf_equalizer(jnp.ones(3, jnp.complex64), mixed, no)[1])))(0.1)
    assert np.isfinite(slopes)


@pytest.mark.parametrize("name", ["unbiased", "robust", "paper", "mf"])
def test_a_stream_that_is_not_heard_is_finite(name):
    h = jnp.zeros((4, 2), jnp.complex64).at[:, 0].set(1.0)
    y = jnp.ones(4, jnp.complex64)

    def f(no):
        x_hat, no_eff = phy.EQUALIZERS[name](y, h, no)
        return jnp.sum(jnp.real(x_hat)) + jnp.sum(1 / (1 + no_eff))

    x_hat, no_eff = phy.EQUALIZERS[name](y, h, 0.1)
    assert x_hat[1] == 0 and np.isfinite(no_eff[1])
    value, gradient = jax.value_and_grad(f)(0.1)
    assert np.isfinite(value) and np.isfinite(gradient)


def test_sharded_inputs_equal_one_device():
    h, x, n = _problem(4, 4, count=64)
    y = jnp.einsum("bmn,bn->bm", h, x) + 0.1 * n
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    assert mesh.size == 8
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    alone = phy.lmmse_equalizer(y, h, 0.01, 0.01)
    spread = phy.lmmse_equalizer(jax.device_put(y, sharding), jax.device_put(h, sharding), 0.01, 0.01)
    assert len(spread[0].sharding.device_set) == 8
    for a, b in zip(alone, spread, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_no_equalizer_hands_on_what_arrived():
    h, x, n = _problem(2, 2)
    active = jnp.array([[True, False]] * 5 + [[True, True]])
    cov = jnp.diag(jnp.array([0.5, 2.0], jnp.complex64))
    y = jnp.einsum("bmn,bn->bm", h, x) + n
    x_hat, no_eff = phy.no_equalizer(y, h, 0.25, 0.1, active=active, noise_cov=cov)
    np.testing.assert_array_equal(x_hat, np.where(active, y, 0))
    np.testing.assert_allclose(no_eff, np.where(active, [0.75, 2.25], 1))


def test_unbiased_names_those_whose_gain_is_one():
    h, x, _ = _problem(3, 3, count=4)
    y = jnp.einsum("bmn,bn->bmn", h, x).swapaxes(-1, -2)  # one stream at a time
    for name, equalizer in phy.EQUALIZERS.items():
        x_hat, _ = equalizer(y, h[:, None], 0.5)
        own = jnp.diagonal(x_hat, axis1=-2, axis2=-1)
        assert np.allclose(own, x, rtol=1e-3) == (name in mimo.UNBIASED), name


@pytest.mark.parametrize("name", phy.EQUALIZERS)
def test_leading_axes_of_all_arguments_broadcast(name):
    num_rx = 2 if name == "none" else 3
    h, _, n = _problem(num_rx, 2, count=4)
    root = _problem(num_rx, num_rx, count=4, seed=9)[0]
    cov = jnp.einsum("bij,bkj->bik", root, jnp.conj(root))
    both = phy.EQUALIZERS[name](n[0], h, 0.3, 0.1, noise_cov=cov)
    assert all(found.shape == (4, 2) for found in both)  # JAX has a last entry for an index beyond it
    for b in range(4):
        for found, expected in zip(both, _reference(name, n[0], h[b], 0.3, 0.1, cov[b]), strict=True):
            np.testing.assert_allclose(found[b], expected, rtol=2e-3, atol=1e-5)


def test_the_wider_of_two_precisions_is_kept():
    with jax.enable_x64(True):
        h, _, n = _problem(3, 2, dtype=jnp.complex128)
        for narrow in ((n.astype(jnp.complex64), h), (n, h.astype(jnp.complex64))):
            wide = (a.astype(jnp.complex128) for a in narrow)
            for found, expected in zip(phy.lmmse_equalizer(*narrow, 0.1), phy.lmmse_equalizer(*wide, 0.1), strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_many_channels_of_more_streams_than_antennas_keep_their_digits():
    h, _, n = _problem(1, 2, count=600, seed=11)  # the normal equations have none left here
    no = 1e-7
    power = np.abs(np.asarray(h, np.complex128)[:, 0]) ** 2
    _, mse = phy.lmmse_equalizer(n, h, no, variant="paper")
    np.testing.assert_allclose(mse, 1 - power / (no + power.sum(-1, keepdims=True)), atol=1e-5)


def test_what_has_no_gain_is_zero_with_the_largest_error():
    x_hat, error = mimo.unbias(jnp.array([1 + 1j, 2.0]), jnp.array([1.0, 0.5]), jnp.array([0.0, 0.5]))
    np.testing.assert_array_equal(x_hat, [0, 4])
    np.testing.assert_array_equal(error, [np.finfo(np.float32).max, 1])


Y, H = jnp.ones((3, 4), jnp.complex64), jnp.ones((3, 4, 2), jnp.complex64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: phy.lmmse_equalizer(Y, H, 0.1, variant="mmse"), "'mmse'; known: paper, unbiased, robust"),
        (lambda: phy.lmmse_equalizer(Y[:, :3], H, 0.1), r"y \(3, 3\) and h_hat \(3, 4, 2\)"),
        (lambda: phy.lmmse_equalizer(Y[:2], H, 0.1), r"leading axes of y \(2, 4\) and h_hat \(3, 4, 2\)"),
        (lambda: phy.lmmse_equalizer(Y.real, H, 0.1), "y must be complex, got float32"),
        (lambda: phy.lmmse_equalizer(Y, H.real, 0.1), "h_hat must be complex, got float32"),
        (lambda: phy.lmmse_equalizer(Y, H[0, 0], 0.1), r"y \(3, 4\) and h_hat \(2,\)"),
        (lambda: phy.lmmse_equalizer(Y[0, 0], H, 0.1), r"y \(\) and h_hat \(3, 4, 2\)"),
        (lambda: phy.lmmse_equalizer(Y, H, -0.1), "no must be >= 0, got -0.1"),
        (lambda: phy.lmmse_equalizer(Y, H, 0.1, float("nan")), "csi_error_var must be >= 0, got nan"),
        (lambda: phy.lmmse_equalizer(Y, H, jnp.ones(2)), r"no of shape \(2,\).*\(3,\)"),
        (lambda: phy.lmmse_equalizer(Y, H, 0.1, jnp.ones(2)), r"csi_error_var of shape \(2,\).*\(3,\)"),
        (lambda: phy.lmmse_equalizer(Y, H, 0.1, active=jnp.ones(2)), r"boolean \[..., 2\].*float32 \(2,\)"),
        (lambda: phy.lmmse_equalizer(Y, H, 0.1, active=jnp.ones((3, 3, 2), bool)), r"boolean.*\(3, 3, 2\)"),
        (lambda: phy.lmmse_equalizer(Y, H, 0.1, noise_cov=jnp.ones((3, 3, 4, 4))), r"\[..., 4, 4\].*\(3, 3, 4, 4\)"),
        (lambda: phy.lmmse_equalizer(Y, H, 0.1, active=jnp.ones(3, bool)), r"boolean \[..., 2\].*\(3,\)"),
        (lambda: phy.lmmse_equalizer(Y, H, 0.1, noise_cov=jnp.eye(2)), r"\[..., 4, 4\].*\(2, 2\)"),
        (lambda: phy.zf_equalizer(Y[:, :1], H[:, :1], 0.1), r"num_rx_ant >= num_tx_ant, got h_hat \(3, 1, 2\)"),
        (lambda: phy.no_equalizer(Y, H, 0.1), r"'none' needs num_rx_ant == num_tx_ant, got h_hat \(3, 4, 2\)"),
        (lambda: phy.zf_equalizer(Y[0, :1], H[0, :1], 0.1), r"num_rx_ant >= num_tx_ant, got h_hat \(1, 2\)"),
        (lambda: phy.no_equalizer(Y[0], H[0], 0.1), r"'none' needs num_rx_ant == num_tx_ant, got h_hat \(4, 2\)"),
        (lambda: phy.zf_equalizer(Y, H[0, 0], 0.1), r"y \(3, 4\) and h_hat \(2,\)"),
        (lambda: phy.no_equalizer(Y, H[0, 0], 0.1), r"y \(3, 4\) and h_hat \(2,\)"),
        (lambda: phy.post_detection_mse(H, H, 0.1), r"g \(3, 4, 2\)"),
        (lambda: phy.lmmse_matrix(H[0, 0], 0.1), r"got shape \(2,\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
