"""Channels of several paths: gains over time and delays, of named distributions, and their frequency response.

A sampler has the signature ``sampler(key, batch_shape, *, times, num_rx_ant, num_tx_ant, dtype, ...)`` and returns
:class:`Paths`. Its own numbers (a delay spread, a Doppler shift) are bound with ``functools.partial`` and may be
traced: scalars, or arrays that broadcast against ``batch_shape``.

Doppler is that of a receiver among scatterers all around it (Clarke): E[h(t + d) h(t)^*] = J0(2 pi max_doppler d) for
every path. The moments of the samplers here are exact: zero mean, unit power, uncorrelated paths and, without a line of
sight, uncorrelated antennas.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.phy.fading import line_of_sight, rician_weights
from lvm_mtc.phy.keys import require_key
from lvm_mtc.phy.numerics import (
    align,
    fit,
    floating,
    known,
    real_of,
    require_at_least,
    require_count,
    safe_sqrt,
    weighted_sum,
)

# Directions of arrival of the scattered waves of a path. The autocorrelation is J0 on average for any number; with 16
# it is J0 within 0.004 for every set of directions while 2 pi max_doppler d < 10.
NUM_SINUSOIDS = 16


class Paths(NamedTuple):
    """A channel impulse response, sampled in time; unit power: the mean of the sum of abs(gain)^2 over paths is 1.

    Attributes:
        gains: ``[..., num_paths, num_times, num_rx_ant, num_tx_ant]`` complex.
        delays: Of the paths, seconds, ``[..., num_paths]``.
    """

    gains: jax.Array
    delays: jax.Array


def bessel_j0(x: ArrayLike) -> jax.Array:
    """Bessel function J0, as the mean of ``cos(x cos a)`` over 64 directions of a circle.

    The error of that mean is ``2 J_128(x) + ...``: below 1e-14 for abs(x) <= 80, and 0.2 beyond 130. What is left is
    rounding, about ``eps max(1, abs(x))``.

    Args:
        x: Real, abs(x) <= 80.

    Returns:
        J0(x), shape of ``x``.
    """
    x = floating(x)
    # cos(x cos a) is even in a and in pi/2 - a: a quarter of the circle stands for all of it.
    cosines = jnp.asarray(np.cos((np.arange(32) + 0.5) * np.pi / 64), x.dtype)
    return jnp.mean(jnp.cos(x[..., None] * cosines.reshape((1,) * x.ndim + (32,))), axis=-1)


def _require_spread(num_taps: int, sample_duration: ArrayLike, delay_spread: ArrayLike) -> None:
    require_count("num_taps", num_taps)
    require_at_least("delay_spread", delay_spread, 0.0, strict=True)
    spread, duration = known(delay_spread), known(sample_duration)
    if spread is None or duration is None:
        return
    largest = largest_delay_spread(num_taps, 1) * duration
    if not np.all(spread <= largest):
        raise ValueError(
            f"delay_spread must be at most {largest:.4g} s, which is all that {num_taps} taps {sample_duration:.4g} s "
            f"apart can have, got {delay_spread}"
        )


def largest_delay_spread(num_taps: int, sample_duration: float) -> float:
    """RMS delay spread of equally strong taps, seconds: no falling profile of as many taps has a larger one."""
    return math.sqrt((num_taps**2 - 1) / 12) * sample_duration


def _falling_powers(fall: jax.Array, num_taps: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Powers proportional to ``exp(-fall l)``, and the variance and the third central moment of the places l."""
    places = jnp.arange(num_taps, dtype=fall.dtype).reshape((1,) * fall.ndim + (num_taps,))
    powers = jax.nn.softmax(-fall[..., None] * places, axis=-1)
    apart = places - jnp.sum(powers * places, axis=-1, keepdims=True)
    return powers, jnp.sum(powers * apart**2, axis=-1), jnp.sum(powers * apart**3, axis=-1)


def exponential_profile(
    num_taps: int, sample_duration: ArrayLike, delay_spread: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """Delays and powers of an exponential power-delay profile of sampled delays that has a given RMS delay spread.

    The power falls by the same factor from tap to tap: that for which ``sqrt(sum_l p_l (tau_l - sum_j p_j tau_j)^2)``
    is the spread asked for. Equally strong taps have the largest, ``sqrt((num_taps^2 - 1) / 12)`` samples.

    Args:
        num_taps: Taps, at delays 0, 1, ... samples.
        sample_duration: Seconds, scalar.
        delay_spread: RMS delay spread, seconds, > 0 and at most that of equally strong taps; scalar or ``[...]``,
            traced; where a traced one is larger, the powers are NaN. Gradients grow without bound towards the largest.

    Returns:
        delays: Seconds, ``[num_taps]``.
        powers: Falling, sum 1, ``[..., num_taps]``.

    Raises:
        ValueError: if ``num_taps`` is not an integer >= 1, or a Python number ``delay_spread`` is not > 0 or more than
            the taps can have.
    """
    _require_spread(num_taps, sample_duration, delay_spread)
    delay_spread = floating(delay_spread)
    dtype = jnp.promote_types(delay_spread.dtype, jnp.float32)
    sample_duration = jnp.asarray(sample_duration, dtype)
    spread = delay_spread.astype(dtype) / sample_duration
    wanted = jnp.maximum(jax.lax.stop_gradient(spread) ** 2, jnp.finfo(dtype).tiny)

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        enough = _falling_powers(middle, num_taps)[1] > wanted
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    # With infinitely many taps the variance would be 1 / (2 sinh(fall / 2))^2, which is more.
    ends = jnp.zeros_like(wanted), 2 * jnp.arcsinh(0.5 / jnp.sqrt(wanted))
    _, fall = jax.lax.fori_loop(0, jnp.finfo(dtype).nmant + 4, halve, ends)
    # The gradient of the root: the variance changes by minus the third moment times the change of the fall.
    third = jnp.maximum(_falling_powers(fall, num_taps)[2], jnp.finfo(dtype).tiny)
    powers = _falling_powers(fall - (spread**2 - wanted) / third, num_taps)[0]
    held = wanted <= largest_delay_spread(num_taps, 1) ** 2 * (1 + 4 * jnp.finfo(dtype).eps)
    return jnp.arange(num_taps, dtype=dtype) * sample_duration, jnp.where(held[..., None], powers, jnp.nan)


def _turn(start: jax.Array, angle: jax.Array) -> jax.Array:
    """``start exp(j angle)``, written so that an angle of 0 leaves ``start`` as it is, to the last bit."""
    return start + start * jax.lax.complex(-2 * jnp.sin(angle / 2) ** 2, jnp.sin(angle))


def angular_doppler(max_doppler: ArrayLike, batch_shape: tuple[int, ...], extra: int, dtype: DTypeLike) -> jax.Array:
    """Radians a second, on the axes of ``batch_shape`` and ``extra`` more."""
    require_at_least("max_doppler", max_doppler, 0.0)
    return 2 * jnp.pi * align("max_doppler", max_doppler, batch_shape, extra, dtype)


def time_axis(times: ArrayLike, dtype: DTypeLike, axes: int) -> jax.Array:
    """The times as the second last of ``axes`` axes, checked."""
    if np.ndim(times) != 1:
        raise ValueError(f"times must be [num_times], got shape {np.shape(times)}")
    return jnp.asarray(times, dtype).reshape((1,) * (axes - 1) + (-1,))


def scattered_gains(key, batch_shape, num_paths, *, times, num_rx_ant, num_tx_ant, max_doppler, dtype) -> jax.Array:
    """Gains CN(0, 1) with the classical Doppler spectrum, ``[*batch_shape, num_paths, num_times, rx, tx]``.

    A sum of NUM_SINUSOIDS waves with *Gaussian* weights, from equispaced directions that are turned together by a
    random angle. Weights of constant magnitude (as in Jakes's and most later simulators) would be Gaussian only in the
    limit of many waves; with Gaussian ones h(t) is CN(0, 1) at every time. The equispaced directions integrate the
    spectrum as the trapezoidal rule does, the random angle makes it exact on average.
    """
    require_count("num_rx_ant", num_rx_ant)
    require_count("num_tx_ant", num_tx_ant)
    real = real_of(dtype)
    key_weights, key_angles = jax.random.split(require_key(key))
    lead = (*batch_shape, num_paths)
    weights = jax.random.normal(key_weights, (*lead, NUM_SINUSOIDS, num_rx_ant * num_tx_ant), dtype)
    start = jax.random.uniform(key_angles, (*lead, 1, 1), real)
    index = jnp.arange(NUM_SINUSOIDS, dtype=real).reshape((1,) * len(lead) + (NUM_SINUSOIDS, 1))
    shift = angular_doppler(max_doppler, batch_shape, 3, real) * jnp.cos((index + start) * (2 * jnp.pi / NUM_SINUSOIDS))
    turns = shift * time_axis(times, real, len(lead) + 2)
    # As in _turn: without Doppler nothing is added to the sum of the weights, so that the gains stay the same exactly.
    change = jax.lax.complex(-2 * jnp.sin(turns / 2) ** 2, jnp.sin(turns))
    gains = jnp.sum(weights, axis=-2)[..., None, :]
    gains = gains + jnp.einsum("...nt,...na->...ta", change, weights, precision="highest")
    gains = weighted_sum((NUM_SINUSOIDS**-0.5, gains))
    return gains.reshape(*gains.shape[:-1], num_rx_ant, num_tx_ant)


def rayleigh_path(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    times: ArrayLike,
    num_rx_ant: int,
    num_tx_ant: int,
    max_doppler: ArrayLike = 0.0,
    dtype: DTypeLike = jnp.complex64,
) -> Paths:
    """One Rayleigh path without delay: flat fading that changes in time.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes, one independent channel for each entry.
        times: When the channel is sampled, seconds, ``[num_times]``.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        max_doppler: Largest Doppler shift, speed over wavelength, Hz, >= 0; scalar or broadcasting against
            ``batch_shape``; traced. 0: the channel stands still, exactly.
        dtype: Complex dtype.

    Returns:
        One path, entries CN(0, 1) at every time and independent of each other.

    Raises:
        ValueError: on bad antenna counts, shapes that do not fit, a real dtype or a negative Python number
            ``max_doppler``.
    """
    antennas: dict[str, Any] = dict(num_rx_ant=num_rx_ant, num_tx_ant=num_tx_ant, dtype=dtype)
    gains = scattered_gains(key, batch_shape, 1, times=times, max_doppler=max_doppler, **antennas)
    return Paths(gains, jnp.zeros((*batch_shape, 1), real_of(dtype)))


def rician_path(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    times: ArrayLike,
    num_rx_ant: int,
    num_tx_ant: int,
    k_factor_db: ArrayLike,
    max_doppler: ArrayLike = 0.0,
    los: jax.Array | None = None,
    dtype: DTypeLike = jnp.complex64,
) -> Paths:
    """One Rician path without delay: a line of sight with a Doppler shift of its own, and scattered waves.

    The line of sight is ``phy.line_of_sight``, turned by a uniform random phase (nobody knows a distance to a fraction
    of the wavelength) and then by ``2 pi max_doppler cos(a) t``, a uniform: the direction of flight against the line of
    sight. Drawn so, its mean is 0 and its autocorrelation is J0 on average, as that of the scattered part: both have
    the statistics ``GridStatistics([0], [1], max_doppler)``. Over drawn angles its antennas are correlated: antennas n
    and m of one side by ``J0(pi (n - m)) K/(K+1)``.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes, one independent channel for each entry.
        times: When the channel is sampled, seconds, ``[num_times]``.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        k_factor_db: Rician K factor, dB; scalar or broadcasting against ``batch_shape``; traced. Minus infinity is
            Rayleigh.
        max_doppler: Largest Doppler shift, Hz, >= 0; scalar or broadcasting against ``batch_shape``; traced. 0: the
            channel stands still, exactly.
        los: Line-of-sight matrices of magnitude 1 instead of drawn ones, as ``phy.geometric_line_of_sight`` has them,
            broadcasting against ``[*batch_shape, num_times, num_rx_ant, num_tx_ant]``.
        dtype: Complex dtype.

    Returns:
        One path, E|h|^2 = 1 for every entry at every time.

    Raises:
        ValueError: on bad antenna counts, shapes that do not fit, a real dtype, or Python numbers ``k_factor_db`` that
            is NaN or ``max_doppler`` < 0.
    """
    real = real_of(dtype)
    key_scattered, key_array, key_flight = jax.random.split(require_key(key), 3)
    antennas: dict[str, Any] = dict(num_rx_ant=num_rx_ant, num_tx_ant=num_tx_ant, dtype=dtype)
    scattered = rayleigh_path(key_scattered, batch_shape, times=times, max_doppler=max_doppler, **antennas)
    if los is None:
        los = line_of_sight(key_array, batch_shape, **antennas)[..., None, None, :, :]
        angles = jax.random.uniform(key_flight, (2, *batch_shape, 1, 1, 1, 1), real, -jnp.pi, jnp.pi)
        time = time_axis(times, real, len(batch_shape) + 2)[..., None, None]
        turns = angular_doppler(max_doppler, batch_shape, 4, real) * jnp.cos(angles[0]) * time
        los = _turn(los * jax.lax.complex(jnp.cos(angles[1]), jnp.sin(angles[1])), turns)
    else:
        los = fit("los", los, jnp.squeeze(scattered.gains, -4).shape, dtype)[..., None, :, :, :]
    require_at_least("k_factor_db", k_factor_db, -math.inf)
    power_los, power_scattered = rician_weights(align("k_factor_db", k_factor_db, batch_shape, 4, real), real)
    gains = weighted_sum((safe_sqrt(power_los), los), (safe_sqrt(power_scattered), scattered.gains))
    return scattered._replace(gains=gains)


def exponential(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    times: ArrayLike,
    num_rx_ant: int,
    num_tx_ant: int,
    num_taps: int,
    sample_duration: ArrayLike,
    delay_spread: ArrayLike,
    max_doppler: ArrayLike = 0.0,
    dtype: DTypeLike = jnp.complex64,
) -> Paths:
    """Rayleigh taps at multiples of the sample duration with exponentially falling power.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes, one independent channel for each entry.
        times: When the channel is sampled, seconds, ``[num_times]``.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        num_taps: Taps; at most the samples of a cyclic prefix plus 1 for a link without interference of symbols.
        sample_duration: Seconds, scalar.
        delay_spread: RMS delay spread of the taps, seconds; scalar or broadcasting against ``batch_shape``; traced. Its
            domain is that of :func:`exponential_profile`.
        max_doppler: Largest Doppler shift of every tap, Hz, >= 0; scalar or broadcasting against ``batch_shape``;
            traced. 0: the channel stands still, exactly.
        dtype: Complex dtype.

    Returns:
        ``num_taps`` paths, independent of each other, E of the sum of abs(gain)^2 over the paths = 1.

    Raises:
        ValueError: on bad counts, shapes that do not fit, a real dtype, or Python numbers ``delay_spread`` outside its
            domain or ``max_doppler`` < 0.
    """
    real = real_of(dtype)
    _require_spread(num_taps, sample_duration, delay_spread)
    spread = align("delay_spread", delay_spread, batch_shape, 0, real)
    delays, powers = exponential_profile(num_taps, sample_duration, spread)
    antennas = dict(num_rx_ant=num_rx_ant, num_tx_ant=num_tx_ant, dtype=dtype)
    gains = scattered_gains(key, batch_shape, num_taps, times=times, max_doppler=max_doppler, **antennas)
    level = jnp.broadcast_to(jnp.sqrt(powers), (*spread.shape, num_taps))
    level = level.reshape((1,) * (len(batch_shape) + 1 - level.ndim) + level.shape + (1, 1, 1))
    return Paths(weighted_sum((level, gains)), jnp.broadcast_to(delays.astype(real), (*batch_shape, num_taps)))


def frequency_response(paths: Paths, frequencies: ArrayLike) -> jax.Array:
    """Channel on each subcarrier, ``sum_p a_p exp(-j 2 pi f tau_p)``.

    Args:
        paths: Gains and delays.
        frequencies: Relative to the carrier, Hz, ``[num_carriers]``.

    Returns:
        ``[..., num_times, num_carriers, num_rx_ant, num_tx_ant]`` complex.

    Raises:
        ValueError: if gains, delays and frequencies do not fit each other.
    """
    gains, delays = paths
    if gains.ndim < 4 or gains.shape[:-3] != delays.shape or np.ndim(frequencies) != 1:
        raise ValueError(
            f"gains {gains.shape} must be [..., num_paths, num_times, num_rx_ant, num_tx_ant], delays {delays.shape} "
            f"[..., num_paths] and frequencies {np.shape(frequencies)} [num_carriers]"
        )
    delays = delays.astype(jnp.finfo(gains.dtype).dtype)
    frequencies = jnp.asarray(frequencies, delays.dtype).reshape((1,) * delays.ndim + (-1,))
    phase = -2 * jnp.pi * delays[..., None] * frequencies
    rotation = jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
    return jnp.einsum("...ptnm,...pc->...tcnm", gains, rotation, precision="highest")
