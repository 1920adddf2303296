"""Sionna's channels as pure functions of a key: statistics, transformations, gradients."""

import functools
import threading

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.interop.sionna import CHANNELS, bridge, channels, flat, profiles, runtime, selective
from lvm_mtc.phy.paths import frequency_response

pytestmark = pytest.mark.sionna

NUMBERS = dict(delay_spread=100e-9, carrier_frequency=3.5e9, max_doppler=40.0)
TIMES = np.arange(3) * 2e-3
IN_GRAPH = ["sionna_rayleigh", "sionna_tdl_a", "sionna_tdl_d"]


def _sample(name, key, batch_shape=(2,), **more):
    """Gains (or h) of a channel of CHANNELS, and delays where there are some."""
    antennas = dict(num_rx_ant=2, num_tx_ant=3) | {k: more.pop(k) for k in ("num_rx_ant", "num_tx_ant") if k in more}
    sample = channels.sampler(name, **NUMBERS)
    if CHANNELS[name].kind == "flat":
        return (sample(key, batch_shape, **antennas, **more),)
    return tuple(sample(key, batch_shape, times=TIMES, **antennas, **more))


def _normal(seed, *shape, dtype=np.complex64):
    parts = np.random.default_rng(seed).normal(scale=0.5**0.5, size=(2, *shape))
    return jnp.asarray((parts[0] + 1j * parts[1]).astype(dtype))


def _mean_and_error(samples, axis=0):
    """Mean over independent samples and its standard error."""
    samples = np.asarray(samples, np.float64)
    return samples.mean(axis), samples.std(axis, ddof=1) / np.sqrt(samples.shape[axis])


# --- Same key, same channel ---


@pytest.mark.parametrize("name", [*IN_GRAPH, "sionna_cdl_d", "sionna_umi"])
def test_a_draw_is_a_function_of_its_key_alone(name):
    generator = runtime.load().phy.config.tf_rng
    state = generator.state.numpy().copy()
    eager = _sample(name, jax.random.key(1))
    again = jax.jit(lambda key: _sample(name, key))(jax.random.key(1))
    mapped = jax.vmap(lambda seed: _sample(name, jax.random.key(seed)))(jnp.arange(1, 3))
    for a, b, c in zip(eager, again, mapped, strict=True):
        assert c.shape == (2, *a.shape)
        # Fused differently, the float32 phases of a few hundred radians may differ in their last digits.
        np.testing.assert_allclose(a, b, atol=1e-4)
        np.testing.assert_allclose(a, c[0], atol=1e-4)
        assert np.all(np.isfinite(a))
    assert np.abs(np.asarray(mapped[0][0] - mapped[0][1])).max() > 0.1
    assert runtime.load().phy.config.tf_rng is generator
    np.testing.assert_array_equal(generator.state.numpy(), state)


def test_mapped_fading_is_that_of_a_loop_and_of_a_nested_map():
    seeds, x = jnp.arange(6).reshape(2, 3), _normal(0, 2, 3, 4, 2)

    def send(seed, x):
        corr = phy.exp_corr_mat(0.5, 3)
        h = channels.flat(jax.random.key(seed), (4,), num_rx_ant=3, num_tx_ant=2, rx_corr=corr)
        return channels.awgn(jax.random.key(seed + 10), jnp.einsum("bnm,bm->bn", h, x), 0.1), h

    y, h = jax.vmap(jax.vmap(send))(seeds, x)
    assert y.shape == (2, 3, 4, 3) and h.shape == (2, 3, 4, 3, 2)
    for i, j in ((0, 0), (1, 2)):
        y_one, h_one = send(seeds[i, j], x[i, j])
        np.testing.assert_allclose(y[i, j], y_one, atol=2e-6)
        np.testing.assert_allclose(h[i, j], h_one, atol=2e-6)
    # One key for all: everybody has the same channel and noise.
    y, h = jax.vmap(send, in_axes=(None, 0))(4, x[0])
    noise = y - jnp.einsum("ubnm,ubm->ubn", h, x[0])
    np.testing.assert_allclose(h[0], h[2], atol=2e-6)
    np.testing.assert_allclose(noise[0], noise[2], atol=5e-6)


def test_nothing_is_traced_twice(monkeypatch):
    bodies = []
    keyed = runtime.keyed
    monkeypatch.setattr(runtime, "keyed", lambda seeds: bodies.append(seeds.shape[0]) or keyed(seeds))
    flat._awgn.cache_clear()
    for i, no in enumerate((0.1, jnp.float32(0.2), np.float64(0.3))):
        channels.awgn(jax.random.key(i), _normal(i, 7), no)
    # Once to learn the shapes and once to compile, whatever the number of calls.
    assert len(bodies) <= 2
    selective._cdl.cache_clear()
    bodies.clear()
    for i, max_doppler in enumerate((0.0, 30.0, np.array([1.0, 2.0]))):
        _sample("sionna_cdl_a", jax.random.key(i))
        channels.sampler("sionna_cdl_a", **NUMBERS | {"max_doppler": max_doppler})(
            jax.random.key(10 + i), (2,), times=TIMES, num_rx_ant=2, num_tx_ant=3
        )
    assert len(bodies) == 1
    channels.awgn(jax.random.key(5), _normal(0, 8), 0.1)
    assert len(bodies) > 1  # another shape is another program


def test_two_threads_compile_at_once():
    flat._flat.cache_clear()
    found = {}

    def work(seed):
        found[seed] = channels.flat(jax.random.key(seed), (5 + seed,), num_rx_ant=1, num_tx_ant=2)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, h in found.items():
        np.testing.assert_array_equal(h, channels.flat(jax.random.key(seed), (5 + seed,), num_rx_ant=1, num_tx_ant=2))


# --- Statistics ---


def test_noise_has_the_variance_it_is_given():
    no = jnp.array([0.01, 1.0, 30.0])
    noise = np.asarray(channels.awgn(jax.random.key(0), jnp.zeros((3, 20_000), jnp.complex64), no[:, None]))
    for part in (noise.real, noise.imag):
        mean, error = _mean_and_error(part**2, axis=1)
        assert np.all(np.abs(mean - np.asarray(no) / 2) < 5 * error)
    cross, error = _mean_and_error(noise.real * noise.imag, axis=1)
    assert np.all(np.abs(cross) < 5 * error)


def test_flat_fading_is_kronecker_correlated():
    rx_corr, tx_corr = phy.exp_corr_mat(0.6 + 0.5j, 3), phy.exp_corr_mat(-0.7j, 2)
    options = dict(num_rx_ant=3, num_tx_ant=2, rx_corr=rx_corr, tx_corr=tx_corr)
    h = np.asarray(channels.flat(jax.random.key(1), (20_000,), **options), np.complex128)
    for product, expected in (
        (np.einsum("bij,bkj->bik", h, h.conj()) / 2, rx_corr),
        (np.einsum("bji,bjk->bik", h.conj(), h) / 3, tx_corr),
    ):
        for part in (np.real, np.imag):
            mean, error = _mean_and_error(part(product))
            assert np.all(np.abs(mean - part(np.asarray(expected))) < 5 * error + 1e-6)
        # The conjugate convention would be seen.
        mean, error = _mean_and_error(np.imag(product))
        assert np.any(np.abs(mean + np.imag(np.asarray(expected))) > 20 * error)


@pytest.mark.parametrize("name", [name for name in CHANNELS if CHANNELS[name].kind == "paths"])
def test_unit_power_per_antenna_pair(name):
    gains, delays = _sample(name, jax.random.key(4), (600,), num_rx_ant=1, num_tx_ant=2)
    assert gains.shape == (600, delays.shape[-1], 3, 1, 2)
    power = np.sum(np.abs(np.asarray(gains, np.complex128)) ** 2, axis=1)[:, 0, 0]
    mean, error = _mean_and_error(power)
    assert np.all(np.abs(mean - 1) < 5 * error)
    # With the delay of a path that it does not have, a drop would last a second.
    assert 0 <= np.min(delays) and np.max(delays) < 1e-3
    if "dl_" in name:
        np.testing.assert_allclose(delays[0], profiles.unit_profile(name)[0] * 100e-9, rtol=1e-6)


# --- Numbers are traced ---


def test_doppler_and_delay_spread_per_link():
    doppler, spread = jnp.array([0.0, 50.0]), jnp.array([1e-8, 1e-6])
    sample = functools.partial(channels.tdl, model="D", times=TIMES, num_rx_ant=1, num_tx_ant=1)
    compiled = jax.jit(lambda key, f, s: sample(key, (2,), max_doppler=f, delay_spread=s))
    gains, delays = compiled(jax.random.key(5), doppler, spread)
    np.testing.assert_array_equal(gains[0, :, 0], gains[0, :, 2])
    assert np.abs(np.asarray(gains[1, :, 0] - gains[1, :, 2])).max() > 0.05
    np.testing.assert_allclose(delays[1], 100 * delays[0], rtol=1e-5)
    slope = jax.grad(lambda s: jnp.sum(sample(jax.random.key(5), (2,), max_doppler=0.0, delay_spread=s).delays))(1e-7)
    np.testing.assert_allclose(slope, 2 * profiles.unit_profile("sionna_tdl_d")[0].sum(), rtol=1e-5)


@pytest.mark.parametrize("name", ["sionna_tdl_d", "sionna_cdl_d"])
def test_line_of_sight_turns_at_the_doppler_shift_of_its_angle(name):
    """TDL: 45 degrees; CDL: cos of the angle between the line of sight and a drawn direction of flight."""
    times = np.arange(64) * 1e-3
    sample = channels.sampler(name, **NUMBERS)
    gains, _ = sample(jax.random.key(6), (4,), times=times, num_rx_ant=1, num_tx_ant=1)
    first = np.asarray(gains)[:, 0, :, 0, 0]
    spectrum = np.abs(np.fft.fft(first * np.hanning(64), 4096, axis=-1))
    peaks = np.fft.fftfreq(4096, 1e-3)[spectrum.argmax(-1)]
    if name == "sionna_tdl_d":
        np.testing.assert_allclose(peaks, 40 * np.cos(np.pi / 4), atol=2)
    assert np.all(np.abs(peaks) <= 41)


# --- Gradients, vmap of them, a network around them ---


def test_gradients_of_noise_are_those_of_its_equation():
    key, no = jax.random.key(7), jnp.array([[0.1], [0.4], [2.0]])
    x, weight = _normal(3, 3, 2), _normal(4, 3, 2)

    def loss(x, no, key):
        y = channels.awgn(key, x, no)
        return jnp.sum(jnp.real(weight * y) + phy.numerics.abs2(y))

    noise = (channels.awgn(jax.random.clone(key), x, no) - x) / jnp.sqrt(no)

    def equation(x, no):
        y = x + jnp.sqrt(no) * noise
        return jnp.sum(jnp.real(weight * y) + phy.numerics.abs2(y))

    found = jax.jit(jax.grad(loss, argnums=(0, 1)))(x, no, jax.random.clone(key))
    for a, b in zip(found, jax.grad(equation, argnums=(0, 1))(x, no), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


class Codec(nn.Module):
    """Encoder, decoder."""

    @nn.compact
    def __call__(self, features, transmit):
        x = nn.Dense(8, name="encoder")(features)
        x = phy.features_to_symbols(jnp.tanh(x)).reshape(*features.shape[:-1], 2, 2)
        return nn.Dense(features.shape[-1], name="decoder")(transmit(x))


def _through_awgn(key):
    return lambda x: phy.symbols_to_features(channels.awgn(key, x, 0.1).reshape(*x.shape[:-2], -1))


def _through_tdl(key):
    def transmit(x):
        paths = channels.tdl(key, x.shape[:-2], times=TIMES[:2], num_rx_ant=2, num_tx_ant=2, **NUMBERS, model="A")
        h = frequency_response(paths, np.array([1e6]))[..., 0, :, :]
        y = jnp.einsum("...ij,...j->...i", h, x)
        x_hat, _ = phy.lmmse_equalizer(y, h, 0.1, variant="unbiased")
        return phy.symbols_to_features(x_hat.reshape(*x.shape[:-2], -1))

    return transmit


@pytest.mark.parametrize("through", [_through_awgn, _through_tdl])
def test_gradient_of_a_network_around_the_channel(through):
    features = jnp.asarray(np.random.default_rng(6).normal(size=(5, 6)), jnp.float32)
    codec, key = Codec(), jax.random.key(9)
    params = codec.init(jax.random.key(0), features, lambda x: phy.symbols_to_features(x.reshape(*x.shape[:-2], -1)))

    def loss(params, key):
        return jnp.mean((codec.apply(params, features, through(key)) - features) ** 2)

    value = jax.jit(loss)
    gradient = jax.jit(jax.grad(loss))(params, jax.random.clone(key))
    direction = jax.tree.map(lambda p: jnp.asarray(np.random.default_rng(p.size).normal(size=p.shape), p.dtype), params)
    step = 3e-3

    def shifted(sign):
        return value(jax.tree.map(lambda p, d: p + sign * step * d, params, direction), jax.random.clone(key))

    up, down = shifted(1), shifted(-1)
    along = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    difference = (up - down) / (2 * step)
    # Rounding of two losses, and a cubic term.
    np.testing.assert_allclose(along, difference, rtol=5e-3, atol=1e-6 * abs(up) / step)
    encoder = gradient["params"]["encoder"]["kernel"]
    assert np.linalg.norm(encoder) > 1e-3


# --- Double precision ---


def test_double_precision():
    with jax.enable_x64(True):
        key = jax.random.key(10)
        x = _normal(7, 3, 2, dtype=np.complex128)
        corr = phy.exp_corr_mat(0.3, 2, jnp.complex128)
        h = channels.flat(key, (3,), num_rx_ant=2, num_tx_ant=2, tx_corr=corr, dtype=jnp.complex128)
        y = channels.awgn(jax.random.key(12), x, 1e-20)
        assert y.dtype == h.dtype == jnp.complex128
        np.testing.assert_allclose(y, x, rtol=0, atol=1e-9)
        assert np.any(y != x)
        for name in ("sionna_tdl_d", "sionna_cdl_a"):
            gains, delays = _sample(name, jax.random.key(11), dtype=jnp.complex128)
            assert gains.dtype == jnp.complex128 and delays.dtype == jnp.float64
            single = np.asarray(gains).astype(np.complex64).astype(np.complex128)
            assert np.any(single != np.asarray(gains)), name
    assert runtime.load().phy.config.precision == "single"


def test_only_one_typed_key_is_a_key():
    for wrong in (jax.random.split(jax.random.key(0), 2), jnp.zeros(2, jnp.uint32), 3):
        with pytest.raises(ValueError, match="key must be one typed key"):
            bridge.key_bits(wrong)
