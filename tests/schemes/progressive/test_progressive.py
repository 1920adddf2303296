"""The progressive codec: the link against clean stages, packets bit for bit, training that learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes.progressive import packets
from lvm_mtc.schemes.progressive.losses import WEIGHTS, prefix_loss
from lvm_mtc.schemes.progressive.scheme import Progressive, ProgressiveConfig, bits_to_stages
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

pytestmark = pytest.mark.usefixtures("fast_compile")

SMALL = dict(variant="tiny", image_size=32, num_features=8, num_stages=3, codebook_size=16)
SCHEME = Progressive(ProgressiveConfig(**SMALL))
AWGN = LinkConfig(fading="awgn")


def smooth(count, side, seed):
    noise = np.random.default_rng(seed).normal(size=(count, side, side, 3)).cumsum(1).cumsum(2)
    low, high = (f(noise, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    return np.uint8(255 * (noise - low) / (high - low))


@functools.cache
def fitted():
    return SCHEME.start(SCHEME.init(jax.random.key(0)), smooth(40, 40, 1), seed=2)


IMAGES = np.float32(smooth(6, 32, 3)) / 255
SOURCE = Source(jnp.asarray(IMAGES).reshape(3, 2, 32, 32, 3))
compress, expand = (jax.jit(getattr(SCHEME, name)) for name in ("compress", "expand"))


@pytest.mark.slow
def test_start_is_linear_transform_coding_and_each_stage_helps():
    params = fitted()
    linear, books = ({k: np.float64(v) for k, v in params[name].items()} for name in ("linear", "books"))
    indices = np.asarray(compress(params, IMAGES))
    patches = IMAGES.reshape(6, 4, 8, 4, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(6, 16, -1)
    features = (patches - linear["mean"]) @ linear["analysis"]
    error = []
    for stage in range(3):
        book = books["codes"][stage]
        features = features - book[indices[:, stage]]
        shown = expand(params, indices, jnp.full(6, stage + 1))
        sums = sum(books["codes"][t][indices[:, t]] for t in range(stage + 1)) @ linear["synthesis"] + linear["mean"]
        expected = sums.reshape(6, 4, 4, 8, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(IMAGES.shape)
        np.testing.assert_allclose(shown, expected, atol=2e-4)
        error.append(((shown - IMAGES) ** 2).mean((1, 2, 3)))
    assert np.all(np.diff(error, axis=0) < 1e-6)
    np.testing.assert_array_equal(SCHEME.books(params)[1:, 0], 0)


def test_clean_link_is_no_link_and_noise_costs():
    params, run = fitted(), jax.jit(forward, static_argnums=(0, 4))
    clean = run(SCHEME, params, SOURCE, jax.random.key(1), AWGN, OperatingPoint(snr_db=60.0))
    shown = expand(params, compress(params, IMAGES), jnp.full(6, 3))
    np.testing.assert_allclose(clean.estimate.data.reshape(IMAGES.shape), shown, atol=1e-4)
    assert SCHEME.frames()[0] * SCHEME.frames()[1] * 4 == SCHEME.config.stage_bits * 3 == 192
    np.testing.assert_array_equal(clean.ledger.private_uses, 2 * 192 / 4)
    np.testing.assert_array_equal(clean.ledger.side_information_bits, 0)
    # With nothing heard, the mean over how often codes are used.
    noise = run(SCHEME, params, SOURCE, jax.random.key(1), AWGN, OperatingPoint(snr_db=-80.0))
    mean = np.einsum("tk,tkd->d", np.exp(params["books"]["log_use"]), SCHEME.books(params))
    grey = SCHEME.synthesise(params, jnp.broadcast_to(mean, (1, 4, 4, 8)), jnp.ones(1))
    np.testing.assert_allclose(noise.estimate.data[0, 0], grey[0], atol=0.02)
    errors = [
        float(jnp.mean((run(SCHEME, params, SOURCE, jax.random.key(1), AWGN, OperatingPoint(snr_db=snr)).estimate.data
                        - SOURCE.data) ** 2))
        for snr in (0.0, 5.0, 10.0, 20.0)
    ]  # fmt: skip
    assert np.all(np.diff(errors) < 0)


PLAN = (packets.make_packet(1, 64, 2, 1 / 3), packets.make_packet(2, 64, 4, 1 / 2))


def arrived(symbols, no, seed=0):
    noise = np.random.default_rng(seed).normal(scale=np.sqrt(no / 2), size=(2, *symbols.shape))
    heard = jnp.asarray(symbols + noise[0] + 1j * noise[1], jnp.complex64)
    return packets.receive_packets(heard, jnp.full(heard.shape, no, jnp.float32), PLAN)


def test_packets_carry_the_bits_and_the_ledger_counts_them():
    params = fitted()
    bits = np.asarray(SCHEME.encode(params, SOURCE, jax.random.key(0), {})).reshape(6, -1)
    np.testing.assert_array_equal(bits_to_stages(bits, SCHEME.config), compress(params, IMAGES))
    symbols = packets.send_packets(bits, PLAN)
    ledger = packets.book(PLAN)
    assert ledger.payload_bits == bits.shape[1] == 192
    assert ledger.channel_uses == symbols.shape[1] == sum(packet.num_symbols for packet in PLAN)
    assert ledger.coded_bits == sum(packet.num_symbols * packet.bits_per_symbol for packet in PLAN)
    for packet in PLAN:
        assert packet.num_bits <= packet.blocks.payload_bits < packet.num_bits + 2
    assert abs(np.mean(np.abs(symbols) ** 2) - 1) < 0.1
    clean = arrived(symbols, 1e-3)
    np.testing.assert_array_equal(clean.bits, bits)
    np.testing.assert_array_equal(clean.num_stages, 3)
    # At 3 dB the strong packet holds and the weak one does not; a lost first one takes all.
    middle = arrived(symbols, 0.5)
    np.testing.assert_array_equal(middle.num_stages, 1)
    np.testing.assert_array_equal(middle.bits[:, :64], bits[:, :64])
    broken = symbols.copy()
    broken[:2, : PLAN[0].num_symbols] *= -1
    np.testing.assert_array_equal(arrived(broken, 1e-3).num_stages, [0, 0, 3, 3, 3, 3])
    with pytest.raises(ValueError, match=r"bits must be \[batch, 192\] or more for these packets, got \(6, 100\)"):
        packets.send_packets(bits[:, :100], PLAN)


@pytest.mark.slow
def test_training_learns_and_moves_codebooks_and_networks():
    params, key = fitted(), jax.random.key(4)

    @jax.jit
    def step(params, key):
        def loss(params):
            return prefix_loss(SCHEME, params, SOURCE, key, AWGN, OperatingPoint(), WEIGHTS | {"image_loss": "log_mse"})

        (value, tells), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return value, tells["psnr"], gradient

    value, psnr, gradient = step(params, key)
    assert jax.tree.all(jax.tree.map(lambda leaf: bool(jnp.isfinite(leaf).all()), gradient))
    np.testing.assert_array_equal(gradient["books"]["codes"][1:, 0], 0)  # the zero vectors stay
    for name in ("linear", "encoder", "decoder"):
        assert any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient[name]))
    assert float(jnp.abs(gradient["books"]["codes"][1:, 1:]).max()) > 0
    norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))
    closer = jax.tree.map(lambda leaf, slope: leaf - 0.003 * slope / norm, params, gradient)
    assert float(step(closer, jax.random.clone(key))[0]) < float(value)
    # The reported PSNR is that of a prefix: between those of one stage and of all.
    indices = compress(params, IMAGES)
    low, high = (-10 * np.log10(((expand(params, indices, jnp.full(6, t)) - IMAGES) ** 2).mean((1, 2, 3))).mean()
                 for t in (1, 3))  # fmt: skip
    assert low - 1e-3 <= float(psnr) <= high + 1e-3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(codebook_size=1000), "ProgressiveConfig.codebook_size must be a power of two in 2..65536, got 1000"),
        (dict(num_features=193), "ProgressiveConfig.num_features 193 exceeds the 192 numbers of a patch"),
        (dict(bits_per_symbol=3), "ProgressiveConfig.bits_per_symbol must be one of 2, 4, 6, 8, got 3"),
        (dict(image_size=50), "ProgressiveConfig.image_size 50"),
        (dict(num_stages=0), "ProgressiveConfig.num_stages"),
    ],
)
def test_errors(fields, message):
    with pytest.raises(ValueError, match=message):
        ProgressiveConfig(**SMALL | fields)
