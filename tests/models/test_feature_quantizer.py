"""Features as bits: against NumPy's own views of floats, and what flips cost in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.feature_quantizer import RANGE, bits_per_number, dequantize, quantize


@pytest.mark.parametrize("num_bits", [1, 4, 8])
def test_uniform(num_bits):
    steps = 2**num_bits - 1
    grid = np.linspace(-RANGE, RANGE, steps + 1, dtype=np.float32)
    bits = np.asarray(quantize(grid[:, None], "uniform", num_bits))
    assert (np.abs(np.diff(bits, axis=0)).sum(axis=1) == 1).all()  # neighbours differ in one bit
    assert len({tuple(row) for row in bits}) == steps + 1
    back, lost = dequantize(bits, "uniform", num_bits)
    np.testing.assert_allclose(back[:, 0], grid, atol=1e-6)
    x = np.random.default_rng(0).uniform(-4, 4, (5, 40)).astype(np.float32)
    back, _ = dequantize(quantize(x, "uniform", num_bits), "uniform", num_bits)
    assert np.abs(back - np.clip(x, -RANGE, RANGE)).max() <= RANGE / steps + 1e-6 and not lost.any()


FLOATS = [("float16", np.float16, np.uint16), ("float32", np.float32, np.uint32)]


@pytest.mark.parametrize(("name", "kind", "unsigned"), FLOATS)
def test_floats_are_their_own_bits(name, kind, unsigned):
    x = np.float32([0.0, -1.5, 3.14159, 6e-5, 1e4, -0.333])
    count = bits_per_number(name, 8)
    words = x.astype(kind).view(unsigned)
    want = (words[:, None] >> np.arange(count - 1, -1, -1)) & 1
    bits = quantize(x, name)
    np.testing.assert_array_equal(bits, want.reshape(-1))
    back, lost = dequantize(bits, name)
    np.testing.assert_array_equal(back, x.astype(kind).astype(np.float32))
    # All ones in the exponent is no number: 0, and counted.
    exponent = {"float16": 5, "float32": 8}[name]
    broken = np.asarray(bits).copy()
    broken[count + 1 : count + 1 + exponent] = 1
    back, lost = dequantize(broken, name)
    assert lost.tolist() == [False, True, False, False, False, False] and back[1] == 0


def test_error_of_flipped_bits():
    # One flip of a Gray label: over uniform levels E d^2 = (4^b - 1) / 3 for each of b bits is natural labels' sum,
    # and Gray labels' by enumeration; the counted error must be the enumerated one.
    num_bits, ber = 4, 0.02
    levels = np.arange(16)
    gray = levels ^ (levels >> 1)
    place = np.argsort(gray)
    distance = np.mean([(place[gray ^ (1 << bit)] - levels) ** 2 for bit in range(num_bits)], axis=1)
    step = 2 * RANGE / 15
    x = (jnp.asarray(np.random.default_rng(1).integers(0, 16, 400_000)) * step - RANGE).astype(jnp.float32)
    bits = quantize(x, "uniform", num_bits)
    flips = jax.random.bernoulli(jax.random.key(0), ber, bits.shape)
    back, _ = dequantize(bits ^ flips, "uniform", num_bits)
    one_flip = num_bits * ber * (1 - ber) ** (num_bits - 1) * distance.mean() * step**2
    counted = np.asarray((back - x) ** 2)
    single = np.asarray(flips.reshape(-1, num_bits).sum(axis=1) == 1)
    got = np.where(single, counted, 0)
    assert abs(got.mean() - one_flip) < 5 * got.std() / np.sqrt(len(got))
