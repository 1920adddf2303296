"""The six cyclic redundancy checks of 5G (3GPP TS 38.212, section 5.1)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.numerics import require_bits

# Exponents of the generator polynomials.
CRC_POLYNOMIALS = {
    "CRC24A": (24, 23, 18, 17, 14, 11, 10, 7, 6, 5, 4, 3, 1, 0),
    "CRC24B": (24, 23, 6, 5, 1, 0),
    "CRC24C": (24, 23, 21, 20, 17, 15, 13, 12, 8, 4, 2, 1, 0),
    "CRC16": (16, 12, 5, 0),
    "CRC11": (11, 10, 9, 5, 0),
    "CRC6": (6, 5, 0),
}


def crc_length(name: str) -> int:
    """Parity bits of a CRC.

    Raises:
        ValueError: on an unknown name.
    """
    if name not in CRC_POLYNOMIALS:
        raise ValueError(f"unknown CRC {name!r}; known: {', '.join(CRC_POLYNOMIALS)}")
    return CRC_POLYNOMIALS[name][0]


@functools.lru_cache(maxsize=64)
def _remainders(name: str, num_bits: int) -> np.ndarray:
    """Remainder that each bit of a payload leaves, the first bit first, ``[num_bits, length]`` float32."""
    length = crc_length(name)
    divisor = sum(1 << power for power in CRC_POLYNOMIALS[name])
    values, value = np.empty(num_bits, np.int64), 1
    for i in range(length + num_bits):  # x^i modulo the polynomial
        if i >= length:
            values[length + num_bits - 1 - i] = value
        value <<= 1
        if value >> length:
            value ^= divisor
    return (values[:, None] >> np.arange(length)[::-1] & 1).astype(np.float32)


def crc_bits(bits: ArrayLike, name: str) -> np.ndarray | jax.Array:
    """Parity bits of a CRC, its register empty at the start.

    Args:
        bits: Zeros and ones of any dtype, the highest power first, ``[..., num_bits]``; under 2^24 of them.
        name: Of ``CRC_POLYNOMIALS``; static.

    Returns:
        ``[..., length]`` uint8; NumPy for host arrays, JAX for JAX's.

    Raises:
        ValueError: on an unknown name, or an entry that is neither 0 nor 1 (traced ones pass).
    """
    require_bits("bits", bits)
    xp = jnp if isinstance(bits, jax.Array) else np
    bits = xp.asarray(bits)
    # Sums of ones are exact in float32, which has matrix products of its own on every machine.
    total = bits.astype(xp.float32) @ xp.asarray(_remainders(name, bits.shape[-1]))
    return (total % 2).astype(xp.uint8)


def crc_attach(bits: ArrayLike, name: str) -> np.ndarray | jax.Array:
    """Bits with their CRC behind them, ``[..., num_bits + length]`` uint8; as :func:`crc_bits`."""
    xp = jnp if isinstance(bits, jax.Array) else np
    parity = crc_bits(bits, name)
    return xp.concatenate([xp.asarray(bits).astype(xp.uint8), parity], axis=-1)


def crc_holds(protected: jax.Array | np.ndarray, name: str) -> np.ndarray | jax.Array:
    """Whether the CRC at the end belongs to what stands before it.

    Args:
        protected: As from :func:`crc_attach`, ``[..., num_bits + length]``.
        name: Of ``CRC_POLYNOMIALS``; static.

    Returns:
        ``[...]`` bool.

    Raises:
        ValueError: on an unknown name, or an array that has no room for the CRC.
    """
    length = crc_length(name)
    if protected.ndim == 0 or protected.shape[-1] <= length:
        raise ValueError(f"protected {protected.shape}: the last axis must hold more than the {length} bits of {name}")
    return (crc_bits(protected[..., :-length], name) == protected[..., -length:]).all(axis=-1)
