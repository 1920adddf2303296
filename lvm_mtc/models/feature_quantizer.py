"""Features as bits: a uniform quantiser with Gray labels, or the bits of floating-point numbers themselves."""

import jax
import jax.numpy as jnp

QUANTIZERS = ("uniform", "float16", "float32")
RANGE = 3.0
"""The uniform quantiser's outermost levels, in standard deviations of the features."""
_FLOATS = {"float16": (jnp.float16, jnp.uint16, 16), "float32": (jnp.float32, jnp.uint32, 32)}


def bits_per_number(quantizer: str, num_bits: int) -> int:
    """Bits of a number; ``num_bits`` are the uniform quantiser's."""
    return num_bits if quantizer == "uniform" else _FLOATS[quantizer][2]


def quantize(x: jax.Array, quantizer: str = "uniform", num_bits: int = 8) -> jax.Array:
    """Numbers as bits, the most significant first.

    ``"uniform"`` has 2^num_bits levels from -3 to 3, whose labels differ in one bit from level to level; ``"float16"``
    and ``"float32"`` are IEEE 754's.

    Args:
        x: Of standard deviation 1, ``[..., n]`` float32.

    Returns:
        ``[..., n * bits]`` int32, 0 or 1.
    """
    count = bits_per_number(quantizer, num_bits)
    if quantizer == "uniform":
        steps = 2**num_bits - 1
        level = jnp.round((jnp.clip(x, -RANGE, RANGE) + RANGE) / (2 * RANGE) * steps).astype(jnp.uint32)
        label = level ^ (level >> 1)
    else:
        kind, unsigned, _ = _FLOATS[quantizer]
        label = jax.lax.bitcast_convert_type(x.astype(kind), unsigned).astype(jnp.uint32)
    bits = (label[..., None] >> _shifts(count, x.ndim)) & 1
    return bits.astype(jnp.int32).reshape(*x.shape[:-1], -1)


def dequantize(bits: jax.Array, quantizer: str = "uniform", num_bits: int = 8) -> tuple[jax.Array, jax.Array]:
    """Numbers from bits, and which of them were lost.

    Returns:
        ``[..., n]`` float32, 0 for what is no finite number, and ``[..., n]`` bool, where that was so.
    """
    count = bits_per_number(quantizer, num_bits)
    groups = bits.reshape(*bits.shape[:-1], -1, count).astype(jnp.uint32)
    label = jnp.sum(groups << _shifts(count, bits.ndim), axis=-1, dtype=jnp.uint32)
    if quantizer == "uniform":
        shift = 1
        while shift < count:
            label ^= label >> shift
            shift *= 2
        x = label.astype(jnp.float32) / (2**num_bits - 1) * (2 * RANGE) - RANGE
    else:
        kind, unsigned, _ = _FLOATS[quantizer]
        x = jax.lax.bitcast_convert_type(label.astype(unsigned), kind).astype(jnp.float32)
    lost = ~jnp.isfinite(x)
    return jnp.where(lost, 0.0, x), lost


def _shifts(count: int, lead: int) -> jax.Array:
    return jnp.arange(count - 1, -1, -1, dtype=jnp.uint32).reshape((1,) * lead + (count,))
