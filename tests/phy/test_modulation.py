"""QAM against brute force over all points in float64, and against closed forms of the bit error rate."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lvm_mtc import phy
from lvm_mtc.phy.modulation import BITS_PER_SYMBOL, qam_llr, qam_map, qam_points

pytestmark = pytest.mark.usefixtures("fast_compile")


def labels(bits_per_symbol):
    return np.array([[int(b) for b in np.binary_repr(i, bits_per_symbol)] for i in range(2**bits_per_symbol)])


def brute_force_llr(x_hat, no_eff, bits_per_symbol, method):
    """Sums over every point of the constellation, as the definition says."""
    points, bits = qam_points(bits_per_symbol), labels(bits_per_symbol)
    exponents = -(np.abs(x_hat[..., None] - points) ** 2) / no_eff[..., None]
    out = np.empty((*x_hat.shape, bits_per_symbol))
    for i in range(bits_per_symbol):
        both = []
        for value in (1, 0):
            of_value = exponents[..., bits[:, i] == value]
            peak = of_value.max(-1)
            total = np.log(np.exp(of_value - peak[..., None]).sum(-1)) if method == "app" else 0.0
            both.append(peak + total)
        out[..., i] = both[0] - both[1]
    return out.reshape(*x_hat.shape[:-1], -1)


def noisy(bits_per_symbol, shape, seed=0):
    rng = np.random.default_rng(seed)
    no_eff = 10 ** rng.uniform(-3, 0.5, shape)
    noise = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * np.sqrt(no_eff / 2)
    return rng.choice(qam_points(bits_per_symbol), shape) + noise, no_eff


def test_qpsk_and_16qam_are_those_of_the_standard():
    """Written out from TS 38.211, sections 5.1.3 and 5.1.4."""
    b = labels(2)
    np.testing.assert_allclose(qam_points(2), ((1 - 2 * b[:, 0]) + 1j * (1 - 2 * b[:, 1])) / np.sqrt(2))
    b = labels(4)
    real = (1 - 2 * b[:, 0]) * (2 - (1 - 2 * b[:, 2]))
    imag = (1 - 2 * b[:, 1]) * (2 - (1 - 2 * b[:, 3]))
    np.testing.assert_allclose(qam_points(4), (real + 1j * imag) / np.sqrt(10))


@pytest.mark.parametrize("bits_per_symbol", BITS_PER_SYMBOL)
def test_unit_power_and_gray_labels(bits_per_symbol):
    points, bits = qam_points(bits_per_symbol), labels(bits_per_symbol)
    assert np.mean(np.abs(points) ** 2) == pytest.approx(1, abs=1e-12)
    assert abs(points.mean()) < 1e-12
    distance = np.abs(points[:, None] - points[None])
    neighbours = np.isclose(distance, distance[distance > 1e-9].min())
    assert neighbours.sum() == 4 * 2**bits_per_symbol - 4 * 2 ** (bits_per_symbol // 2)
    assert set((bits[:, None] != bits[None]).sum(-1)[neighbours]) == {1}


@pytest.mark.parametrize("bits_per_symbol", BITS_PER_SYMBOL)
def test_mapper_reads_the_table_and_the_demapper_reads_it_back(bits_per_symbol):
    bits = np.random.default_rng(1).integers(0, 2, (3, 40 * bits_per_symbol))
    x = qam_map(bits, bits_per_symbol)
    index = bits.reshape(3, 40, bits_per_symbol) @ (1 << np.arange(bits_per_symbol)[::-1])
    np.testing.assert_allclose(x, qam_points(bits_per_symbol)[index], atol=1e-6)
    np.testing.assert_array_equal(qam_llr(x, 1e-3, bits_per_symbol) > 0, bits == 1)


@pytest.mark.parametrize("method", ["app", "maxlog"])
@pytest.mark.parametrize("bits_per_symbol", BITS_PER_SYMBOL)
def test_llr_equals_brute_force(bits_per_symbol, method):
    x_hat, no_eff = noisy(bits_per_symbol, (4, 25))
    expected = brute_force_llr(x_hat, no_eff, bits_per_symbol, method)
    with jax.enable_x64(True):
        llr = np.asarray(qam_llr(jnp.asarray(x_hat), jnp.asarray(no_eff), bits_per_symbol, method))
    np.testing.assert_allclose(llr, expected, rtol=1e-10, atol=1e-9)
    single = qam_llr(jnp.asarray(x_hat, jnp.complex64), no_eff.astype(np.float32), bits_per_symbol, method)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, expected, rtol=1e-3, atol=1e-2)


def test_brute_force_sees_a_wrong_noise_variance():
    x_hat, no_eff = noisy(4, (50,))
    llr = qam_llr(jnp.asarray(x_hat, jnp.complex64), (2 * no_eff).astype(np.float32), 4)
    assert np.abs(np.asarray(llr) - brute_force_llr(x_hat, no_eff, 4, "app")).max() > 1


def test_each_symbol_has_its_own_error_variance():
    x_hat = jnp.full((2, 3), 0.3 - 0.8j, jnp.complex64)
    no_eff = jnp.asarray([[0.1, 0.2, 0.4], [0.8, 1.6, 3.2]])
    llr = qam_llr(x_hat, no_eff, 2).reshape(2, 3, 2)
    np.testing.assert_allclose(llr * no_eff[..., None], jnp.broadcast_to(llr[0, 0] * 0.1, (2, 3, 2)), rtol=1e-6)
    np.testing.assert_allclose(llr[0, 0], [-4 * 0.3 / np.sqrt(2) / 0.1, 4 * 0.8 / np.sqrt(2) / 0.1], rtol=1e-6)


@pytest.mark.parametrize(("bits_per_symbol", "snr_db"), [(2, 3.0), (4, 9.0)])
def test_bit_error_rate_over_awgn_is_the_closed_form(bits_per_symbol, snr_db):
    """QPSK: Q(sqrt(snr)); 16-QAM: (3 Q(a) + 2 Q(3a) - Q(5a)) / 4 with a = sqrt(snr/5)."""

    def q(x):
        return 0.5 * math.erfc(x / math.sqrt(2))

    snr = 10 ** (snr_db / 10)
    a = math.sqrt(snr / 5)
    expected = q(math.sqrt(snr)) if bits_per_symbol == 2 else (3 * q(a) + 2 * q(3 * a) - q(5 * a)) / 4
    key_bits, key_noise = jax.random.split(jax.random.key(5))
    bits = jax.random.bernoulli(key_bits, shape=(400_000,))
    x = qam_map(bits, bits_per_symbol)
    y = x + jax.random.normal(key_noise, x.shape, x.dtype) * math.sqrt(1 / snr)
    errors = jnp.mean((qam_llr(y, 1 / snr, bits_per_symbol) > 0) != bits)
    standard_error = math.sqrt(expected * (1 - expected) / bits.size)
    assert abs(errors - expected) < 5 * standard_error
    assert abs(errors - expected / 10**0.05) > 5 * standard_error


@pytest.mark.parametrize("bits_per_symbol", [2, 8])
def test_llrs_are_calibrated(bits_per_symbol):
    """Of the bits with an LLR near l, the fraction 1 / (1 + exp(-l)) is one."""
    key_bits, key_noise = jax.random.split(jax.random.key(6))
    bits = jax.random.bernoulli(key_bits, shape=(320_000,))
    x = qam_map(bits, bits_per_symbol)
    no = 0.5 if bits_per_symbol == 2 else 0.02
    llr = qam_llr(x + jax.random.normal(key_noise, x.shape, x.dtype) * math.sqrt(no), no, bits_per_symbol)
    for low in (-3.0, -1.0, 0.5, 2.0):
        inside = (llr > low) & (llr < low + 1)
        probability = jax.nn.sigmoid(llr)[inside]
        error = abs(jnp.mean(bits[inside]) - jnp.mean(probability))
        assert error < 5 * jnp.sqrt(jnp.sum(probability * (1 - probability))) / inside.sum()


def test_jit_vmap_and_both_precisions():
    x_hat, no_eff = noisy(6, (4, 10))
    x_hat, no_eff = jnp.asarray(x_hat, jnp.complex64), jnp.asarray(no_eff, jnp.float32)
    together = qam_llr(x_hat, no_eff, 6)
    one_by_one = jax.jit(jax.vmap(lambda x, n: qam_llr(x, n, 6)))(x_hat, no_eff)
    np.testing.assert_allclose(together, one_by_one, rtol=2e-4, atol=1e-4)
    bits = np.ones(12, np.uint8)
    with jax.enable_x64(True):
        assert qam_map(bits, 4, jnp.complex128).dtype == jnp.complex128
        assert qam_llr(qam_map(bits, 4, jnp.complex128), 0.1, 4).dtype == jnp.float64


@pytest.mark.slow
def test_gradients_are_right_and_finite_at_no_noise():
    with jax.enable_x64(True):
        x_hat, no_eff = noisy(4, (6,))
        x_hat, no_eff = jnp.asarray(x_hat), jnp.asarray(np.maximum(no_eff, 0.1))  # a difference of 1e-5 is then small
        check_grads(lambda re, n: qam_llr(re + 1j * jnp.imag(x_hat), n, 4), (jnp.real(x_hat), no_eff), order=1)
    gradient = jax.grad(lambda n: qam_llr(jnp.ones(3, jnp.complex64), n, 8).sum())(jnp.float32(1e-6))
    assert jnp.isfinite(gradient)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["app", "maxlog"])
@pytest.mark.parametrize("bits_per_symbol", BITS_PER_SYMBOL)
def test_without_noise_llrs_and_gradients_are_finite_and_signs_are_right(bits_per_symbol, method):
    bits = labels(bits_per_symbol).reshape(-1)
    x = qam_map(bits, bits_per_symbol)
    no_eff = np.array([0, 1e-45, 1e-38, 1e-30, 1e-20, 1e-12, 1e-7], np.float32)[:, None]

    def llr(re, no_eff):
        return qam_llr(jax.lax.complex(re, jnp.imag(x)), no_eff, bits_per_symbol, method)

    for at in no_eff:
        values, pull = jax.vjp(llr, jnp.real(x), at)
        np.testing.assert_array_equal(values > 0, bits == 1)
        assert np.all(np.isfinite(values)) and all(np.all(np.isfinite(slope)) for slope in pull(values / 1e20))
    # More certain symbols have larger LLRs, down to the rounding of the symbols themselves.
    sizes = np.abs(np.stack([llr(jnp.real(x), at) for at in no_eff])).min(axis=1)
    assert np.all(np.diff(sizes[4:]) < 0) and sizes[0] == sizes[3]


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="bits_per_symbol must be 1 .BPSK. or one of 2, 4, 6, 8.*got 3"):
        qam_points(3)
    with pytest.raises(ValueError, match=r"bits \(7,\): .* multiple of bits_per_symbol 2"):
        qam_map(np.zeros(7), 2)
    with pytest.raises(ValueError, match="unknown demapper 'exact'; known: app, maxlog"):
        qam_llr(jnp.zeros(2, jnp.complex64), 1.0, 2, "exact")
    with pytest.raises(ValueError, match="x_hat must be complex"):
        qam_llr(jnp.zeros(2), 1.0, 2)
    with pytest.raises(ValueError, match="no_eff must have shape"):
        qam_llr(jnp.zeros(2, jnp.complex64), jnp.ones(3), 2)


def test_bpsk_is_one_bit_on_the_diagonal():
    """TS 38.211, section 5.1.2: d = ((1 - 2 b) + j (1 - 2 b)) / sqrt(2); LLRs, moments and error rate by definition."""
    np.testing.assert_allclose(qam_points(1), (1 - 2 * np.arange(2)) * (1 + 1j) / np.sqrt(2))
    bits = np.random.default_rng(5).integers(0, 2, (3, 20))
    np.testing.assert_allclose(qam_map(bits, 1), qam_points(1)[bits], atol=1e-6)
    x_hat, no_eff = noisy(1, (4, 25))
    llr = brute_force_llr(x_hat, no_eff, 1, "app")
    posterior = np.exp(-np.logaddexp(0, -llr))  # of bit 1
    mean = posterior * qam_points(1)[1] + (1 - posterior) * qam_points(1)[0]
    with jax.enable_x64(True):
        found = qam_llr(jnp.asarray(x_hat), jnp.asarray(no_eff), 1)
        moments = phy.qam_mean(found, 1), phy.qam_posterior(jnp.asarray(x_hat), jnp.asarray(no_eff), 1)
    np.testing.assert_allclose(found, llr, rtol=1e-10, atol=1e-9)
    for got in moments:
        np.testing.assert_allclose(got[0], mean, atol=1e-9)
        np.testing.assert_allclose(got[1], 1 - np.abs(mean) ** 2, atol=1e-9)
    np.testing.assert_allclose(phy.qam_ber(2.0, 1), 0.5 * math.erfc(math.sqrt(2.0)), rtol=1e-5)
