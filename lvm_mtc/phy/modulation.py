"""Square QAM with the Gray labels of 5G, the soft demapper that is told each symbol's error variance, soft symbols.

BPSK, ``bits_per_symbol`` 1, is QPSK whose two bits are one (TS 38.211, section 5.1.2).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.phy.numerics import fit, lift, real_dtype, require_bits, require_complex

BITS_PER_SYMBOL = (2, 4, 6, 8)
DEMAPPERS = ("app", "maxlog")


def bits_per_dimension(bits_per_symbol: int) -> int:
    """Bits that each part of a square-QAM symbol carries; ValueError on another number."""
    if bits_per_symbol not in BITS_PER_SYMBOL:
        known = ", ".join(map(str, BITS_PER_SYMBOL))
        wanted = f"1 (BPSK) or one of {known} (QPSK to 256-QAM)"
        raise ValueError(f"bits_per_symbol must be {wanted}, got {bits_per_symbol!r}")
    return bits_per_symbol // 2


def _amplitudes(bits):
    """Gray-labelled odd integers of ``bits`` ``[..., k]``, first bit the sign (TS 38.211, section 5.1)."""
    count = bits.shape[-1]
    value = 1 - 2 * bits[..., -1]
    for i in reversed(range(count - 1)):
        value = (1 - 2 * bits[..., i]) * (2 ** (count - 1 - i) - value)
    return value


def _scale(count: int) -> float:
    """What odd integers of ``count`` bits per dimension are divided by for unit power of the complex symbol."""
    return float(np.sqrt(2 * (4**count - 1) / 3))


def labels_of(num_bits: int) -> np.ndarray:
    """Bits of all labels of ``num_bits`` bits, ascending, first bit most significant: ``[2**num_bits, num_bits]``."""
    return (np.arange(2**num_bits)[:, None] >> np.arange(num_bits)[::-1]) & 1


def qam_points(bits_per_symbol: int) -> np.ndarray:
    """Constellation of average power 1.

    Args:
        bits_per_symbol: 1, 2, 4, 6 or 8.

    Returns:
        Point of each label, ``[2**bits_per_symbol]`` complex128; the label is the index in binary, first bit first.

    Raises:
        ValueError: on another number of bits.

    Source: 3GPP TS 38.211, sections 5.1.3 to 5.1.6. Bits 0, 2, ... make the real part, bits 1, 3, ... the imaginary.
    """
    if bits_per_symbol == 1:
        return qam_points(2)[[0, 3]]
    count = bits_per_dimension(bits_per_symbol)
    labels = labels_of(bits_per_symbol)
    return (_amplitudes(labels[:, 0::2]) + 1j * _amplitudes(labels[:, 1::2])) / _scale(count)


def qam_map(bits: ArrayLike, bits_per_symbol: int, dtype: DTypeLike = jnp.complex64) -> jax.Array:
    """Maps bits to the points of :func:`qam_points`.

    Args:
        bits: Zeros and ones of any dtype, ``[..., num_symbols * bits_per_symbol]``.
        bits_per_symbol: 1, 2, 4, 6 or 8; static.
        dtype: Complex dtype of the symbols.

    Returns:
        Symbols of average power 1 over equally likely bits, ``[..., num_symbols]``.

    Raises:
        ValueError: on another number of bits, a last axis that it does not divide, or static bits of other values.
    """
    require_bits("bits", bits)
    bits = jnp.asarray(bits)
    if bits_per_symbol == 1:
        return qam_map(jnp.repeat(bits, 2, axis=-1), 2, dtype)
    count = bits_per_dimension(bits_per_symbol)
    if bits.ndim == 0 or bits.shape[-1] % bits_per_symbol:
        raise ValueError(f"bits {bits.shape}: the last axis must be a multiple of bits_per_symbol {bits_per_symbol}")
    pairs = bits.astype(jnp.finfo(dtype).dtype).reshape(*bits.shape[:-1], -1, count, 2)
    scale = 1 / _scale(count)
    return jax.lax.complex(_amplitudes(pairs[..., 0]) * scale, _amplitudes(pairs[..., 1]) * scale).astype(dtype)


def qam_llr(x_hat: jax.Array, no_eff: ArrayLike, bits_per_symbol: int, method: str = "app") -> jax.Array:
    """Log-likelihood ratios of the bits behind equalised symbols, for equally likely bits.

    Model: x_hat = x + e with e ~ CN(0, no_eff). Per bit, ``log P(bit = 1) - log P(bit = 0)`` (Sionna's sign). The two
    dimensions of square QAM separate, so each bit needs the 2^(bits_per_symbol/2) levels of its own dimension only.

    Args:
        x_hat: Equalised symbols, ``[..., num_symbols]`` complex; unbiased (``robust``, ``unbiased`` or ``zf``).
        no_eff: Variance of ``x_hat - x``, linear, >= 0; broadcasts against ``x_hat``. It is taken to be at least the
            square of the dtype's eps, the rounding of ``x_hat``: LLRs and gradients stay finite without noise.
        bits_per_symbol: 1, 2, 4, 6 or 8; static.
        method: ``"app"`` sums over the levels (exact), ``"maxlog"`` takes the nearest of each kind; static.

    Returns:
        LLRs in the order of the bits, ``[..., num_symbols * bits_per_symbol]`` real.

    Raises:
        ValueError: on an unknown method, another number of bits, or arrays that do not fit.
    """
    if bits_per_symbol == 1:
        return jnp.sum(qam_llr(x_hat, no_eff, 2, method).reshape(*jnp.shape(x_hat), 2), axis=-1)
    count = bits_per_dimension(bits_per_symbol)
    if method not in DEMAPPERS:
        raise ValueError(f"unknown demapper {method!r}; known: {', '.join(DEMAPPERS)}")
    x_hat = jnp.asarray(x_hat)
    require_complex("x_hat", x_hat)
    dtype = real_dtype(x_hat)
    precision = 1 / jnp.maximum(fit("no_eff", no_eff, x_hat.shape, dtype), jnp.finfo(dtype).eps ** 2)
    labels = labels_of(count)
    parts = jnp.stack([jnp.real(x_hat), jnp.imag(x_hat)], axis=-1)
    squares = (parts[..., None] - lift(_levels(count, dtype), parts.shape, 1)) ** 2
    precision = precision[..., None]
    llr = [
        _log_likelihood(squares[..., labels[:, bit] == 1], precision, method)
        - _log_likelihood(squares[..., labels[:, bit] == 0], precision, method)
        for bit in range(count)
    ]
    return jnp.stack(llr, axis=-2).reshape(*x_hat.shape[:-1], -1)


def _log_likelihood(squares: jax.Array, precision: jax.Array, method: str) -> jax.Array:
    """Log of the sum of ``exp(-squares precision)`` over the last axis, or its largest term.

    However a compiler rounds the squares where it needs them twice, no exponent is above 0.
    """
    nearest = jnp.min(squares, axis=-1)
    if method == "maxlog":
        return -nearest * precision
    further = jnp.maximum(squares - nearest[..., None], 0)
    return jnp.log(jnp.sum(jnp.exp(-further * precision[..., None]), axis=-1)) - nearest * precision


def qam_mean(llr: jax.Array, bits_per_symbol: int) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of symbols whose bits are independent, with these probabilities.

    Args:
        llr: ``log P(bit = 1) - log P(bit = 0)``, ``[..., num_symbols * bits_per_symbol]`` real.
        bits_per_symbol: 1, 2, 4, 6 or 8; static.

    Returns:
        mean: ``[..., num_symbols]`` complex.
        variance: ``E |x - mean|^2``, linear, ``[..., num_symbols]``.

    Raises:
        ValueError: on another number of bits, or a last axis that it does not divide.
    """
    if bits_per_symbol == 1:
        return qam_mean(jnp.repeat(llr, 2, axis=-1), 2)
    count = bits_per_dimension(bits_per_symbol)
    if llr.ndim == 0 or llr.shape[-1] % bits_per_symbol:
        raise ValueError(f"llr {llr.shape}: the last axis must be a multiple of bits_per_symbol {bits_per_symbol}")
    bits = llr.reshape(*llr.shape[:-1], -1, count, 2)
    labels = labels_of(count).astype(llr.dtype)
    terms = (bits[..., i, :, None] * lift(labels[:, i], bits.shape[:-1], 1) for i in range(count))
    return _moments(functools.reduce(jnp.add, terms), count)


def qam_posterior(x_hat: jax.Array, no_eff: jax.Array, bits_per_symbol: int) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of equally likely symbols given their equalised versions; model and limits of :func:`qam_llr`.

    Args:
        x_hat: ``[..., num_symbols]`` complex, unbiased.
        no_eff: Variance of ``x_hat - x``, linear, >= 0, shape of ``x_hat``.
        bits_per_symbol: 1, 2, 4, 6 or 8; static.

    Returns:
        Posterior mean, complex, and variance, linear; shapes of ``x_hat``.
    """
    if bits_per_symbol == 1:
        return qam_mean(qam_llr(x_hat, no_eff, 1), 1)
    count = bits_per_dimension(bits_per_symbol)
    dtype = real_dtype(x_hat)
    precision = 1 / jnp.maximum(no_eff.astype(dtype), jnp.finfo(dtype).eps ** 2)
    parts = jnp.stack([jnp.real(x_hat), jnp.imag(x_hat)], axis=-1)[..., None]
    squares = (parts - lift(_levels(count, dtype), parts.shape[:-1], 1)) ** 2
    nearest = jnp.min(squares, axis=-1, keepdims=True)
    return _moments((nearest - squares) * precision[..., None, None], count)


def _levels(count: int, dtype: DTypeLike) -> np.ndarray:
    return (_amplitudes(labels_of(count)) / _scale(count)).astype(dtype)


def _moments(belief: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Of symbols, from log-probabilities of the levels of both parts up to a constant, ``[..., 2, levels]``."""
    levels = lift(_levels(count, belief.dtype), belief.shape[:-1], 1)
    weights = jax.nn.softmax(belief, axis=-1)
    mean = jnp.sum(weights * levels, axis=-1)
    variance = jnp.sum(weights * (levels - mean[..., None]) ** 2, axis=(-2, -1))
    return jax.lax.complex(mean[..., 0], mean[..., 1]), variance
