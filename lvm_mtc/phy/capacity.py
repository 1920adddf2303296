"""Capacities of the links: what any scheme, however complex, can reach. All in bits per slot (vector channel use).

Channels are ``y = H x + n`` with n ~ CN(0, no I). A slot carries num_tx_ant symbols, so that bits per complex symbol
sent are these numbers divided by num_tx_ant. With blocks that are shorter than a codeword, the mean over H is the
ergodic capacity; with one block for a whole picture a rate either fits into C(H) or does not, see
:func:`outage_probability`.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc.phy.numerics import align, floating, real_dtype, require_at_least, require_complex


def _require_matrix(h: jax.Array) -> None:
    require_complex("h", h)
    if h.ndim < 2:
        raise ValueError(f"h must be [..., num_rx_ant, num_tx_ant], got shape {h.shape}")


def _gains(h: jax.Array, no: ArrayLike) -> jax.Array:
    """Powers of the singular values over the noise: both ends of the SNR scale keep their digits."""
    return jnp.linalg.svd(h, compute_uv=False) ** 2 / align("no", no, h.shape[:-2], 1, real_dtype(h))


def awgn_capacity(no: ArrayLike, *, num_streams: int = 1) -> jax.Array:
    """Capacity of parallel AWGN channels with signals of power 1: ``num_streams log2(1 + 1 / no)``.

    Args:
        no: Noise variance per complex dimension, linear, > 0, any shape.
        num_streams: Channels, each with power 1: num_tx_ant where the link has H = I.

    Returns:
        Bits per slot, shape of ``no``.

    Raises:
        ValueError: if a static ``no`` is negative.

    Source: Shannon, A mathematical theory of communication (1948).
    """
    require_at_least("no", no, 0.0)
    return num_streams * jnp.log1p(1 / floating(no)) / math.log(2)


def mimo_capacity(h: jax.Array, no: ArrayLike) -> jax.Array:
    """Capacity for a transmitter that does not know H: ``log2 det(I + H H^H / no)``, power 1 on every antenna.

    Args:
        h: Channel, ``[..., num_rx_ant, num_tx_ant]`` complex.
        no: Noise variance per complex dimension, linear, > 0; scalar or broadcasting against ``[...]``; traced.

    Returns:
        Bits per slot, ``[...]`` real.

    Raises:
        ValueError: if ``h`` is not a complex matrix, ``no`` does not broadcast or is negative.

    Source: Telatar, Capacity of multi-antenna Gaussian channels (1999).
    """
    _require_matrix(h)
    require_at_least("no", no, 0.0)
    return jnp.sum(jnp.log1p(_gains(h, no)), axis=-1) / math.log(2)


def waterfilling_powers(gains: jax.Array, total_power: ArrayLike) -> jax.Array:
    """Powers that maximise ``sum log2(1 + gain power)`` under a sum constraint.

    ``power = max(level - 1 / gain, 0)`` with the level for which they add up to ``total_power``.

    Args:
        gains: Gain over noise of parallel channels, linear, >= 0, ``[..., num_channels]``.
        total_power: Their sum, linear, > 0; scalar or broadcasting against ``[...]``; traced.

    Returns:
        Powers, shape of ``gains``. NaN where no channel has a gain above 0.

    Raises:
        ValueError: if ``total_power`` does not broadcast or is not positive.

    Source: Cover and Thomas, Elements of Information Theory (2006), section 9.4.
    """
    require_at_least("total_power", total_power, 0.0, strict=True)
    total_power = align("total_power", total_power, gains.shape[:-1], 1, gains.dtype)
    floor = 1 / gains
    # Heights above the lowest floor: at low SNR all floors are high, and their differences are what matters.
    floor = floor - jnp.min(floor, axis=-1, keepdims=True)
    ascending = jnp.sort(floor, axis=-1)
    count = jnp.arange(1, gains.shape[-1] + 1, dtype=gains.dtype).reshape((1,) * (gains.ndim - 1) + (-1,))
    levels = (total_power + jnp.cumsum(ascending, axis=-1)) / count
    # With the right number of channels the level stands above the floor of each of them; with more, it does not.
    number = jnp.sum(levels > ascending, axis=-1, keepdims=True)
    level = jnp.take_along_axis(levels, jnp.maximum(number - 1, 0), axis=-1)
    return jnp.maximum(level - floor, 0)


def waterfilling_capacity(h: jax.Array, no: ArrayLike, total_power: ArrayLike) -> jax.Array:
    """Capacity for a transmitter that knows H and spends ``total_power`` as it likes.

    Args:
        h: Channel, ``[..., num_rx_ant, num_tx_ant]`` complex.
        no: Noise variance per complex dimension, linear, > 0; scalar or broadcasting against ``[...]``; traced.
        total_power: Transmit power per slot, linear, > 0, like ``no``: num_tx_ant for the power of
            :func:`mimo_capacity`.

    Returns:
        Bits per slot, ``[...]`` real; 0 where H is 0.

    Raises:
        ValueError: if ``h`` is not a complex matrix, or a number does not broadcast or lies outside its domain.

    Source: Telatar, Capacity of multi-antenna Gaussian channels (1999), section 3.1.
    """
    _require_matrix(h)
    require_at_least("no", no, 0.0)
    gains = _gains(h, no)
    powers = waterfilling_powers(gains, total_power)
    bits = jnp.sum(jnp.log1p(gains * powers), axis=-1) / math.log(2)
    return jnp.where(jnp.max(gains, axis=-1) > 0, bits, 0)


def outage_probability(capacities: jax.Array, rate: ArrayLike) -> jax.Array:
    """Fraction of channel draws whose capacity is below a rate.

    Args:
        capacities: Of channel draws, any shape; all of them count.
        rate: Rate, in the unit of ``capacities``, any shape; traced.

    Returns:
        Fraction in [0, 1], shape of ``rate``. Its standard error is ``sqrt(p (1 - p) / capacities.size)``.
    """
    ascending = jnp.sort(capacities.reshape(-1))
    below = jnp.searchsorted(ascending, jnp.asarray(rate, ascending.dtype), side="left")
    return below.astype(ascending.dtype) / ascending.size


def awgn_dispersion(no: ArrayLike, *, num_streams: int = 1) -> jax.Array:
    """Dispersion of the channels of :func:`awgn_capacity`: ``num_streams (1 - (1 + 1 / no)^-2) log2(e)^2``.

    Args:
        no: Noise variance per complex dimension, linear, > 0, any shape.
        num_streams: Channels, each with power 1.

    Returns:
        Bits squared per slot, shape of ``no``.

    Raises:
        ValueError: if a static ``no`` is negative.

    Source: Polyanskiy, Poor and Verdu, Channel coding rate in the finite blocklength regime (2010), eq. 293, for two
    real dimensions.
    """
    require_at_least("no", no, 0.0)
    return num_streams * _dispersion(1 / floating(no))


def mimo_dispersion(h: jax.Array, no: ArrayLike) -> jax.Array:
    """Dispersion of the channel of :func:`mimo_capacity` for one H and power 1 in each slot on every antenna.

    Args:
        h: Channel, ``[..., num_rx_ant, num_tx_ant]`` complex.
        no: Noise variance per complex dimension, linear, > 0; scalar or broadcasting against ``[...]``; traced.

    Returns:
        Bits squared per slot, ``[...]`` real: the sum over the streams of H of what each has alone.

    Raises:
        ValueError: as :func:`mimo_capacity`.

    Source: Yang, Durisi, Koch and Polyanskiy, Quasi-static multiple-antenna fading channels at finite blocklength
    (2014), eq. 57.
    """
    _require_matrix(h)
    require_at_least("no", no, 0.0)
    return jnp.sum(_dispersion(_gains(h, no)), axis=-1)


def _dispersion(snr: jax.Array) -> jax.Array:
    """Of one complex channel; 1 - (1 + s)^-2 keeps the digits of a small s, and is 1 for an infinite one."""
    lost = 1 / (1 + snr)
    return jnp.where(jnp.isinf(snr), 1.0, snr * lost * (1 + lost)) / math.log(2) ** 2


def finite_rate(
    capacity: ArrayLike, dispersion: ArrayLike, num_slots: ArrayLike, error_probability: ArrayLike
) -> jax.Array:
    """Normal approximation of the largest rate of codes of finite length: ``C - sqrt(V / n) Q^-1(e) + log2(2 n) / 2n``.

    It is good to a few per cent from some hundred slots on; below, the terms that it leaves out count. It is not held
    at 0.

    Args:
        capacity: C, bits per slot.
        dispersion: V, bits squared per slot, >= 0.
        num_slots: n, slots of a codeword, > 0.
        error_probability: e, of a codeword, in (0, 1).

    Returns:
        Bits per slot; the arguments broadcast.

    Raises:
        ValueError: if a static number lies outside its domain.

    Source: Polyanskiy, Poor and Verdu (2010), eq. 296, in which a slot is two uses of a real channel.
    """
    require_at_least("num_slots", num_slots, 0.0, strict=True)
    capacity, dispersion, num_slots, error_probability = jnp.broadcast_arrays(
        *map(floating, (capacity, dispersion, num_slots, error_probability))
    )
    back = jnp.sqrt(dispersion / num_slots) * -jax.scipy.special.ndtri(error_probability)
    return capacity - back + _third_term(num_slots)


def finite_error(
    capacity: ArrayLike, dispersion: ArrayLike, num_slots: ArrayLike, rate: ArrayLike, *, log_term: bool = True
) -> jax.Array:
    """Normal approximation of the least error probability: ``Q((C - R + log2(2 n) / 2n) sqrt(n / V))``.

    The mean over draws of H, each with its capacity and dispersion, is that of quasi-static fading if the logarithm is
    left out; :func:`outage_probability` is its limit for long codes.

    Args:
        capacity: C, bits per slot.
        dispersion: V, bits squared per slot, > 0.
        num_slots: n, slots of a codeword, > 0.
        rate: R, bits per slot.
        log_term: Whether the term with the logarithm counts; static.

    Returns:
        Probability that a codeword is lost; the arguments broadcast.

    Raises:
        ValueError: if a static ``num_slots`` is not positive.

    Source: as :func:`finite_rate`; Yang et al. (2014), eq. 59, for quasi-static fading.
    """
    require_at_least("num_slots", num_slots, 0.0, strict=True)
    capacity, dispersion, num_slots, rate = jnp.broadcast_arrays(
        *map(floating, (capacity, dispersion, num_slots, rate))
    )
    missing = rate - capacity - (_third_term(num_slots) if log_term else 0.0)
    return jax.scipy.special.ndtr(missing * jnp.sqrt(num_slots / dispersion))


def _third_term(num_slots: jax.Array) -> jax.Array:
    return jnp.log2(2 * num_slots) / (2 * num_slots)
