"""Groups of features over links: quantiser and code in NumPy, error rates against the allocator's, nested dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.allocation.uep import bit_error_rate
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes.isfr.losses import nested_loss
from lvm_mtc.schemes.isfr.quantiser import damage, dequantise, quantise
from lvm_mtc.schemes.isfr.scheme import Isfr, IsfrConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

pytestmark = pytest.mark.usefixtures("fast_compile")

SCHEME = Isfr(IsfrConfig(image_size=24, patch_size=4, num_groups=4, group_size=4, quantiser_bits=4))
LINK = LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)
PICTURES = 24
GROUP = np.array([2, 0, 3, 1])
MODULATION = np.array([4, 2, 0, 6])
POWER = np.array([2.5, 0.5, 1.0, 4.0])
run = jax.jit(forward, static_argnums=(0, 4))


def repeated(pictures, **hints):
    lead = (len(pictures), 4)
    return Source(
        jnp.broadcast_to(jnp.float32(pictures)[:, None], (*lead, 24, 24, 3)),
        {name: jnp.broadcast_to(jnp.asarray(value), lead) for name, value in hints.items()},
    )


@functools.cache
def made():
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(PICTURES, 24, 24, 3)).cumsum(1).cumsum(2)
    low, high = pictures.min((1, 2, 3), keepdims=True), pictures.max((1, 2, 3), keepdims=True)
    pictures = (pictures - low) / (high - low)
    params = SCHEME.start(SCHEME.init(jax.random.key(0)), np.uint8(255 * pictures), 0)
    return SCHEME.with_deviations(params, np.uint8(255 * pictures)), pictures


def sent(snr_db, **hints):
    params, pictures = made()
    hints = {"group": GROUP, "modulation": MODULATION, "power": np.float32(POWER)} | hints
    point = OperatingPoint(snr_db=jnp.float32(snr_db))
    return run(SCHEME, params, repeated(pictures, **hints), jax.random.key(3), LINK, point)


def test_quantiser_is_the_folded_code_in_numpy():
    x = np.float32(np.random.default_rng(0).normal(size=500) * 1.5)
    bits = np.asarray(quantise(jnp.asarray(x), 4))
    level = np.minimum(np.floor(np.abs(x) / 0.375), 7).astype(int)
    for row, value, negative in zip(bits, level, x < 0, strict=True):
        assert "".join(map(str, row)) == f"{int(negative)}{value:03b}"
    np.testing.assert_allclose(dequantise(jnp.asarray(bits)), np.where(x < 0, -1, 1) * (level + 0.5) * 0.375, rtol=1e-6)
    np.testing.assert_array_equal(quantise(dequantise(jnp.asarray(bits)), 4), bits)


def test_damage_is_what_flipped_bits_do():
    rng = np.random.default_rng(1)
    x = rng.normal(size=200_000)
    residual, per_rate = damage(x, 4)
    bits = np.asarray(quantise(jnp.float32(x), 4))
    clean = np.float64(dequantise(jnp.asarray(bits)))
    assert residual == pytest.approx(np.mean((x - clean) ** 2), rel=1e-4)
    jumps = [
        np.mean((np.float64(dequantise(jnp.asarray(bits ^ np.eye(4, dtype=int)[j]))) - clean) ** 2) for j in range(4)
    ]
    assert per_rate == pytest.approx(sum(jumps), rel=1e-4)
    rate = 0.01
    wrong = np.float64(dequantise(jnp.asarray(bits ^ (rng.random(bits.shape) < rate))))
    rises = (x - wrong) ** 2 - (x - clean) ** 2
    assert abs(rises.mean() - rate * per_rate) < 5 * rises.std() / len(x) ** 0.5 + 0.03 * rate * per_rate


def test_without_noise_every_sent_group_comes_back_and_the_others_are_the_mean():
    params, pictures = made()
    out = sent(90.0)
    x = np.float64(SCHEME.features(params, jnp.float32(pictures)[:, None]))[:, 0] / np.float64(params["deviation"])
    expected = np.float64(dequantise(quantise(jnp.float32(x), 4))) * np.float64(params["deviation"])
    expected[..., 12:] = 0  # link 2 has group 3, and sends nothing
    image = SCHEME.paint(params, jnp.float32(expected)[:, None])[:, 0]
    for uav in range(4):
        np.testing.assert_allclose(out.estimate.data[:, uav], image, atol=2e-3)


def test_symbols_energies_and_side_information_are_booked():
    out = sent(10.0)
    bits = SCHEME.config.group_bits
    symbols = np.where(MODULATION > 0, bits / np.maximum(MODULATION, 1), 0)
    np.testing.assert_allclose(out.ledger.private_uses, symbols.sum())
    frames = out.sent.signal.private
    energy = np.where(np.asarray(frames.sent)[..., None], np.abs(frames.symbols) ** 2, 0).sum((2, 3)).mean(0)
    expected = symbols * POWER
    np.testing.assert_allclose(energy[MODULATION == 2], expected[MODULATION == 2], rtol=1e-5)
    np.testing.assert_allclose(energy, expected, rtol=0.15)  # of few symbols, in all pictures nearly the same
    np.testing.assert_array_equal(out.ledger.side_information_bits, 5 + 4 * (2 + 16 + 8))


def test_error_rates_are_those_of_the_allocation():
    snr_db, power = 9.0, np.array([4.0, 0.7, 1.0, 18.0])
    out = sent(snr_db, power=np.float32(power))
    decided = SCHEME.encode(made()[0], repeated(made()[1]), None, {}).bits
    for link in (0, 1, 3):
        kind, group = int(MODULATION[link]), int(GROUP[link])
        own = out.received.symbols[:, link, : 12 // kind].reshape(PICTURES, -1) / np.sqrt(power[link])
        order, flips = SCHEME._scrambler
        wrong = (phy.qam_llr(own, 0.1, kind, "maxlog") > 0) != (decided[:, group][:, order] ^ flips.reshape(1, -1))
        expected = float(bit_error_rate(kind, power[link] * 10 ** (snr_db / 10)))
        assert 1e-3 < expected < 2e-2
        rate = float(wrong.mean())
        assert abs(rate - expected) < 5 * np.sqrt(expected / wrong.size) + 0.05 * expected


def test_powers_that_16_bits_cannot_hold_leave_numbers():
    out = sent(10.0, power=np.float32([0.0, 1.0, 1e6, 1e-9]))
    assert np.isfinite(out.estimate.data).all() and np.isfinite(out.received.symbols).all()
    np.testing.assert_array_equal(out.sent.side.power[0], [0, 1, 65504, 0])


def test_pictures_suffer_most_where_the_first_group_is_missing():
    _, pictures = made()

    def error(missing):
        modulation = np.where(GROUP == missing, 0, 2)
        return float(((sent(60.0, modulation=modulation).estimate.data[:, 0] - pictures) ** 2).mean())

    errors = [error(group) for group in range(4)]
    assert errors == sorted(errors, reverse=True) and errors[0] > 5 * errors[3]


def test_defaults_are_qpsk_in_order():
    params, pictures = made()
    plain = run(SCHEME, params, repeated(pictures), jax.random.key(3), LINK, OperatingPoint(snr_db=jnp.float32(10.0)))
    same = sent(10.0, group=np.arange(4), modulation=np.full(4, 2), power=np.ones(4, np.float32))
    np.testing.assert_array_equal(plain.estimate.data, same.estimate.data)


def test_nested_dropout_turns_rotated_features_into_principal_components():
    """Rippel's theorem, by plain descent on the loss in the features' space: prefixes span what theirs do."""
    rng = np.random.default_rng(0)
    scheme = Isfr(IsfrConfig(image_size=12, patch_size=2, num_groups=8, group_size=1, quantiser_bits=12))
    basis = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    scales = np.array([1, 0.8, 0.6, 0.45, 0.33, 0.25, 0.18, 0.13, 0, 0, 0, 0])
    start = basis[:, :8] @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
    params = {"mean": jnp.zeros(12), "encoder": jnp.float32(start), "decoder": jnp.float32(start.T),
              "deviation": jnp.ones(8)}  # fmt: skip
    mixing = jnp.float32(scales[:, None] * basis.T)

    def step(state, key):
        params, momentum, scale = state
        key_data, key_loss = jax.random.split(key)
        patches = jax.random.normal(key_data, (32, 36, 12)) @ mixing
        images = patches.reshape(32, 1, 6, 6, 2, 2, 3).swapaxes(3, 4).reshape(32, 1, 12, 12, 3)

        def loss(codec):
            weights = {"retention": 0.1, "flips": 0.0}
            return nested_loss(scheme, params | codec, Source(images), key_loss, None, None, weights)[0]

        slopes = jax.grad(loss)({name: params[name] for name in ("encoder", "decoder")})
        momentum = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, momentum, slopes)
        scale = jax.tree.map(lambda s, g: 0.99 * s + 0.01 * g**2, scale, slopes)
        new = jax.tree.map(lambda p, m, s: p - 3e-3 * m / (jnp.sqrt(s) + 1e-6), {n: params[n] for n in slopes},
                           momentum, scale)  # fmt: skip
        return (params | new, momentum, scale), None

    zeros = {name: jnp.zeros_like(params[name]) for name in ("encoder", "decoder")}
    state = params, zeros, jax.tree.map(lambda a: a + 1e-4, zeros)
    keys = jax.random.split(jax.random.key(0), 1500)
    (params, *_), _ = jax.jit(lambda state: jax.lax.scan(step, state, keys))(state)
    for prefix in range(1, 8):
        own = np.linalg.qr(np.float64(params["decoder"][:prefix]).T)[0]
        cosines = np.linalg.svd(own.T @ basis[:, :prefix], compute_uv=False)
        before = np.linalg.svd(np.linalg.qr(start[:, :prefix])[0].T @ basis[:, :prefix], compute_uv=False)
        assert np.degrees(np.arccos(min(cosines.min(), 1))) < 8, prefix
        assert np.degrees(np.arccos(min(before.min(), 1))) > 8


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_groups": 25}, "num_groups x group_size 200 is more than a patch has numbers"),
        ({"patch_size": 7}, "patch_size 7 does not divide IsfrConfig.image_size 96"),
        ({"quantiser_bits": 1}, "quantiser_bits"),
        ({"image_size": 8, "quantiser_bits": 2}, "16 bits must be a multiple of 12"),
    ],
)
def test_wrong_shapes(config, message):
    with pytest.raises(ValueError, match=message):
        IsfrConfig(**config)


def test_wrong_sources():
    params, pictures = made()
    source = repeated(pictures)
    with pytest.raises(ValueError, match=r"must be \[batch, 4, 24, 24, 3\]"):
        SCHEME.encode(params, Source(source.data[:, :2]), None, {})
    with pytest.raises(ValueError, match=r"power must be \[batch, num_uavs\] = \(24, 4\), got \(24,\)"):
        SCHEME.encode(params, Source(source.data, {"power": jnp.ones(24)}), None, {})
