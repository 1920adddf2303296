"""Tapped and clustered delay lines of 3GPP TR 38.901 as samplers of ``phy.Paths``, in plain JAX.

``tdl`` and ``cdl`` have the arguments of the samplers of ``phy.paths``, unit power per pair of antennas and mean 0: the
phase of a line of sight is drawn, for nobody knows a distance to a fraction of the wavelength.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.phy.delay_line_tables import (
    ANGLES,
    CLUSTER_SPREADS,
    DELAYS_AND_POWERS,
    LAST_DELAY_OF_CDL_E,
    LINE_OF_SIGHT,
    RAY_OFFSETS,
)
from lvm_mtc.phy.keys import require_key
from lvm_mtc.phy.numerics import align, real_of, require_at_least, require_count
from lvm_mtc.phy.paths import Paths, angular_doppler, scattered_gains, time_axis

DELAY_LINES = tuple(f"{family}_{letter}" for family in ("tdl", "cdl") for letter in "abcde")
LOS_DOPPLER = 0.7  # of the largest shift, for the specular part of TDL-D and -E: TR 38.901, 7.7.2


def unit_profile(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Power-delay profile of a delay line at an RMS delay spread of 1, in the order of the standard's table.

    Args:
        name: In ``DELAY_LINES``.

    Returns:
        delays: Over the delay spread, ``[num_paths]`` float64.
        powers: Linear, sum 1, ``[num_paths]`` float64; that of a line of sight is part of the first path's.

    Raises:
        ValueError: for another name.
    """
    if name not in DELAY_LINES:
        raise ValueError(f"unknown delay line {name!r}; known: {', '.join(DELAY_LINES)}")
    letter = name[-1]
    delays, powers = np.array(DELAYS_AND_POWERS[letter]).T
    powers = 10 ** (powers / 10)
    if letter in LINE_OF_SIGHT:
        delays = delays[1:]
        powers = np.concatenate([powers[:1] + powers[1:2], powers[2:]])
    if name == "cdl_e":
        delays[-1] = LAST_DELAY_OF_CDL_E
    return delays, powers / powers.sum()


def _specular_power(letter: str) -> float:
    """Power of the line of sight, of 1 in all."""
    if letter not in LINE_OF_SIGHT:
        return 0.0
    powers = 10 ** (np.array(DELAYS_AND_POWERS[letter])[:, 1] / 10)
    return float(powers[0] / powers.sum())


def _line(family: str, model: str, delay_spread: ArrayLike, batch_shape: tuple[int, ...], dtype: jnp.dtype):
    """Delays ``[*batch_shape, num_paths]`` and amplitudes of the scattered parts ``[num_paths]``."""
    letter = str(model).lower()
    if letter not in DELAYS_AND_POWERS:
        raise ValueError(f"unknown model {model!r}; known: {', '.join(DELAYS_AND_POWERS).upper()}")
    require_at_least("delay_spread", delay_spread, 0.0)
    delays, powers = unit_profile(f"{family}_{letter}")
    powers[0] -= _specular_power(letter)
    spread = align("delay_spread", delay_spread, batch_shape, 1, dtype)
    delays = spread * jnp.asarray(delays, dtype).reshape((1,) * len(batch_shape) + (-1,))
    return letter, jnp.broadcast_to(delays, (*batch_shape, delays.shape[-1])), jnp.asarray(np.sqrt(powers), dtype)


def _with_line_of_sight(gains: jax.Array, specular: jax.Array) -> jax.Array:
    """Adds to the first path's gains ``[..., num_paths, times, rx, tx]``."""
    first = gains[..., :1, :, :, :] + specular[..., None, :, :, :].astype(gains.dtype)
    return jnp.concatenate([first, gains[..., 1:, :, :, :]], axis=-4)


def _turning(phase: jax.Array) -> jax.Array:
    return jax.lax.complex(jnp.cos(phase), jnp.sin(phase))


def tdl(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    times: ArrayLike,
    num_rx_ant: int,
    num_tx_ant: int,
    model: str,
    delay_spread: ArrayLike,
    max_doppler: ArrayLike = 0.0,
    dtype: DTypeLike = jnp.complex64,
) -> Paths:
    """Tapped delay line: Rayleigh taps, uncorrelated between antennas; D and E with a specular part of the first tap.

    The specular part is the same on all antennas but for a phase that is drawn once a link, and has a Doppler shift of
    0.7 ``max_doppler``.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes, one independent channel for each entry.
        times: When the channel is sampled, seconds, ``[num_times]``.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        model: ``"A"`` ... ``"E"``.
        delay_spread: RMS delay spread, seconds, >= 0; scalar or broadcasting against ``batch_shape``; traced.
        max_doppler: Largest Doppler shift, Hz, >= 0; likewise.
        dtype: Complex dtype.

    Returns:
        23, 23, 24, 13 or 14 paths, in the order of the table, whose delays do not ascend everywhere.

    Raises:
        ValueError: on an unknown model, bad antenna counts, shapes that do not fit, a real dtype or negative numbers.

    Source: TR 38.901, 7.7.2.
    """
    real = real_of(dtype)
    letter, delays, amplitudes = _line("tdl", model, delay_spread, batch_shape, real)
    key_taps, key_phase = jax.random.split(require_key(key))
    sizes = dict(times=times, num_rx_ant=num_rx_ant, num_tx_ant=num_tx_ant)
    gains = scattered_gains(
        key_taps, batch_shape, amplitudes.size, max_doppler=max_doppler, dtype=jnp.dtype(dtype), **sizes
    )
    gains = gains * amplitudes.astype(dtype).reshape((1,) * len(batch_shape) + (-1, 1, 1, 1))
    if letter in LINE_OF_SIGHT:
        start = jax.random.uniform(key_phase, (*batch_shape, 1, 1, 1), real, 0, 2 * jnp.pi)
        shift = LOS_DOPPLER * angular_doppler(max_doppler, batch_shape, 3, real)
        phase = start + shift * time_axis(times, real, len(batch_shape) + 1)[..., None, None]
        gains = _with_line_of_sight(gains, float(np.sqrt(_specular_power(letter))) * _turning(phase))
    return Paths(gains, delays)


@functools.cache
def _rays(letter: str) -> tuple[np.ndarray, ...]:
    """Angles aod, aoa, zod, zoa of all rays, ``[num_clusters, 20]`` each, radians."""
    offsets = np.stack([RAY_OFFSETS, np.negative(RAY_OFFSETS)], axis=-1).reshape(-1)
    centres = np.array(ANGLES[letter]).T
    return tuple(np.deg2rad(a[:, None] + c * offsets) for a, c in zip(centres, CLUSTER_SPREADS[letter], strict=True))


def _steering(cosine: np.ndarray, num_ant: int) -> np.ndarray:
    """Phases on a line array at half a wavelength, from the cosine of the angle to its axis: ``[..., num_ant]``."""
    return np.exp(1j * np.pi * cosine[..., None] * (np.arange(num_ant) - (num_ant - 1) / 2))


@functools.cache
def _tables(letter: str, num_rx_ant: int, num_tx_ant: int) -> tuple[np.ndarray, ...]:
    """What the rays' angles decide, for each cluster, azimuth and zenith, ``[num_clusters, 20, 20, ...]``.

    Of arrivals the direction in the horizontal plane, ``[..., 2]``, and the phases on the receive antennas; those of
    departures on the transmit antennas.
    """
    aod, aoa, zod, zoa = _rays(letter)
    arriving = np.stack([np.cos(aoa), np.sin(aoa)], -1)[:, :, None] * np.sin(zoa)[:, None, :, None]
    leaving = np.sin(aod)[:, :, None] * np.sin(zod)[:, None, :]
    return arriving, _steering(-arriving[..., 1], num_rx_ant), _steering(leaving, num_tx_ant)


@functools.cache
def _couplings() -> np.ndarray:
    """Permutations of the rays of a cluster, ``[1280, 20]``: 64 drawn ones, each in all its rotations.

    With the rotations, each ray has each place equally often, so that all moments of second order are those of uniform
    permutations, which would have to be sorted for every cluster.
    """
    rays = 2 * len(RAY_OFFSETS)
    rng = np.random.default_rng(38901)
    return np.concatenate([[np.roll(order, i) for i in range(rays)] for order in map(rng.permutation, [rays] * 64)])


def _pick(table: jax.Array, *indices: jax.Array) -> jax.Array:
    """Entries of a table ``[clusters, rays, ...]`` at drawn rays ``[..., clusters, rays]``, one index for each axis."""
    clusters = jnp.arange(table.shape[0])[:, None]
    return table[(clusters, *indices)]


def cdl(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    times: ArrayLike,
    num_rx_ant: int,
    num_tx_ant: int,
    model: str,
    delay_spread: ArrayLike,
    max_doppler: ArrayLike = 0.0,
    dtype: DTypeLike = jnp.complex64,
) -> Paths:
    """Clustered delay line in the downlink, between horizontal line arrays of upright omnidirectional antennas.

    Clusters of 20 rays have fixed angles, so that antennas are correlated; drawn are the coupling of departures and
    arrivals, the phases of the rays, that of the line of sight (D and E), and the direction of a level flight. Antennas
    are half a wavelength apart along y, and along -y at the receiver, which faces the transmitter.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes, one independent channel for each entry.
        times: When the channel is sampled, seconds, ``[num_times]``.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        model: ``"A"`` ... ``"E"``.
        delay_spread: RMS delay spread, seconds, >= 0; scalar or broadcasting against ``batch_shape``; traced.
        max_doppler: Largest Doppler shift, speed over wavelength, Hz, >= 0; likewise.
        dtype: Complex dtype.

    Returns:
        23, 23, 24, 13 or 14 paths, in the order of the table.

    Raises:
        ValueError: on an unknown model, bad antenna counts, shapes that do not fit, a real dtype or negative numbers.

    Source: TR 38.901, 7.7.1 with 7.5, steps 7, 8, 10 and 11.
    """
    real = real_of(dtype)
    require_count("num_rx_ant", num_rx_ant)
    require_count("num_tx_ant", num_tx_ant)
    letter, delays, amplitudes = _line("cdl", model, delay_spread, batch_shape, real)
    key_coupling, key_phases, key_los, key_flight = jax.random.split(require_key(key), 4)
    arriving, receiving, leaving = _tables(letter, num_rx_ant, num_tx_ant)
    num_clusters, rays = arriving.shape[:2]
    shape, lead = (*batch_shape, num_clusters, rays), (1,) * len(batch_shape)
    # Departures stay in the order of their azimuths; the three other angles are coupled to them.
    chosen = jax.random.randint(key_coupling, (3, *shape[:-1]), 0, len(_couplings()))
    of_aoa, of_zod, of_zoa = jnp.asarray(_couplings())[chosen]
    of_aod = jnp.broadcast_to(jnp.arange(rays), shape)
    flight = jax.random.uniform(key_flight, (*batch_shape, 1, 1), real, -jnp.pi, jnp.pi)
    phases = jax.random.uniform(key_phases, shape, real, -jnp.pi, jnp.pi)
    # sin(zoa) cos(aoa - flight)
    along = jnp.stack([jnp.cos(flight), jnp.sin(flight)], -1) * _pick(jnp.asarray(arriving, real), of_aoa, of_zoa)
    shifts = angular_doppler(max_doppler, batch_shape, 2, real) * (along[..., 0] + along[..., 1])
    time = time_axis(times, real, len(shape) + 1).reshape(lead + (1, 1, -1))
    over_time = _turning(phases[..., None] + shifts[..., None] * time)
    receiving = jnp.asarray(receiving, dtype) * (amplitudes.astype(dtype) * rays**-0.5)[:, None, None, None]
    arrays = _pick(receiving, of_aoa, of_zoa)[..., None]
    arrays = arrays * _pick(jnp.asarray(leaving, dtype), of_aod, of_zod)[..., None, :]
    arrays = arrays.reshape(*shape, num_rx_ant * num_tx_ant)
    gains = jnp.einsum("...nmt,...nma->...nta", over_time, arrays, precision="highest")
    gains = gains.reshape(*gains.shape[:-1], num_rx_ant, num_tx_ant).astype(dtype)
    if letter in LINE_OF_SIGHT:
        aod, aoa, zod, zoa = np.deg2rad(ANGLES[letter][0]).tolist()
        start = jax.random.uniform(key_los, (*batch_shape, 1), real, -jnp.pi, jnp.pi)
        shift = angular_doppler(max_doppler, batch_shape, 1, real) * float(np.sin(zoa)) * jnp.cos(aoa - flight[..., 0])
        direct = _turning(start + shift * time_axis(times, real, len(batch_shape) + 1))
        arrays = np.multiply.outer(
            _steering(-np.sin(zoa) * np.sin(aoa), num_rx_ant), _steering(np.sin(zod) * np.sin(aod), num_tx_ant)
        )
        arrays = jnp.asarray(arrays, dtype)
        specular = direct[..., None, None] * arrays.reshape(lead + (1,) + arrays.shape)
        gains = _with_line_of_sight(gains, float(np.sqrt(_specular_power(letter))) * specular)
    return Paths(gains, delays)
