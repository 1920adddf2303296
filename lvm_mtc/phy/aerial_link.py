"""The link between a base station and low-altitude UAVs: from positions to the SNR, K factor and Doppler of each UAV.

Which SNR this is. All of the transmit power goes through a channel matrix of unit power, so that one receive antenna
gets tx_power - loss - shadowing, however many transmit antennas share the power. ``snr_db`` is its ratio to the thermal
noise, k T B times the noise figure. In the units of the links, where each of N = num_tx_ant streams has power 1, the
transmit power is N, not 1, and the noise variance of the same link is ``no = N / snr``:

* under fading, ``snr_db`` is the convention ``rx_per_antenna`` of ``phy.units``, **not** ``esno``, which is the SNR of
  one stream on one antenna and lies 10 log10(N) below it (6 dB for N = 4);
* under AWGN with H = I, where each antenna hears one stream only, it is ``received_total``;
* in ``mu_mimo`` the transmit power is the precoder's ``total_power``.

:func:`budget_noise_variance` covers all of them.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.aerial_tables import find_scenario
from lvm_mtc.phy.k_factor import rician_k_factor_db
from lvm_mtc.phy.keys import Stream, require_key, stream_key, uav_keys
from lvm_mtc.phy.numerics import fit, floating, known, require_at_least, require_given, safe_sqrt
from lvm_mtc.phy.path_loss import (
    draw_environment_height,
    los_probability,
    path_loss_db,
    require_height,
    shadowing_std_db,
)
from lvm_mtc.phy.spatial import gaussian_field, uniform_field
from lvm_mtc.phy.units import SPEED_OF_LIGHT, db_to_linear

BOLTZMANN = 1.380649e-23  # J/K
NOISE_TEMPERATURE = 290.0  # K


class AirToGround(NamedTuple):
    """What the links of all UAVs have; every field ``[..., num_uavs]``.

    Attributes:
        los: Boolean: base station and UAV see each other.
        los_probability: Probability of that.
        path_loss_db: Path loss, dB.
        shadowing_db: Further loss by shadowing, dB, of mean 0.
        snr_db: Transmit power and antenna gain minus both losses and the noise power, dB; see the top of this module.
        k_factor_db: Rician K factor, dB; minus infinity, which is Rayleigh, without line of sight.
        los_doppler: Doppler shift of the line of sight, Hz; positive when the UAV approaches.
        max_doppler: Largest Doppler shift, speed times carrier frequency over the speed of light, Hz.
        elevation: Angle of the UAV above the horizon as seen from the base station, rad; negative below it.
        distance_2d: Horizontal distance, m.
        distance_3d: Distance, m.
    """

    los: jax.Array
    los_probability: jax.Array
    path_loss_db: jax.Array
    shadowing_db: jax.Array
    snr_db: jax.Array
    k_factor_db: jax.Array
    los_doppler: jax.Array
    max_doppler: jax.Array
    elevation: jax.Array
    distance_2d: jax.Array
    distance_3d: jax.Array


def thermal_noise_dbm(bandwidth: ArrayLike, noise_figure_db: ArrayLike = 0.0) -> jax.Array:
    """Power of thermal noise at 290 K, k T B times the noise figure; -174 dBm in 1 Hz.

    Args:
        bandwidth: B, Hz, > 0, any shape.
        noise_figure_db: Noise figure of the receiver, dB.

    Returns:
        Noise power, dBm.

    Raises:
        ValueError: if a static bandwidth is not positive.
    """
    require_at_least("bandwidth", bandwidth, 0.0, strict=True)
    one_hertz_dbm = 10 * math.log10(BOLTZMANN * NOISE_TEMPERATURE / 1e-3)
    return one_hertz_dbm + 10 * jnp.log10(jnp.asarray(bandwidth)) + jnp.asarray(noise_figure_db)


def budget_noise_variance(snr_db: ArrayLike, *, total_power: ArrayLike) -> jax.Array:
    """Noise variance of a link whose transmitter spends ``total_power`` where the link budget gives ``snr_db``.

    Args:
        snr_db: SNR of a link budget, received power on one antenna over its noise power, dB, any shape.
        total_power: Transmit power in the units of the link, linear, > 0: num_tx_ant for streams of power 1
            (``broadcast``, fading or AWGN), ``total_power`` of the precoder in ``mu_mimo``.

    Returns:
        ``no``, per complex dimension, linear.

    Raises:
        ValueError: if a static ``total_power`` is not positive.
    """
    require_at_least("total_power", total_power, 0.0, strict=True)
    return db_to_linear(-jnp.asarray(snr_db)) * total_power


def doppler(velocity: jax.Array, towards: jax.Array, carrier_frequency: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Doppler shift of the direct path, and the largest shift of any path.

    Args:
        velocity: Of the UAV relative to the base station, m/s, ``[..., 3]``.
        towards: From the UAV to the base station, any length > 0, ``[..., 3]``.
        carrier_frequency: Hz, scalar.

    Returns:
        Shift of the direct path, positive when the UAV approaches, and ``|v| f / c``, both Hz, ``[...]``.
    """
    speed, length = (safe_sqrt(jnp.sum(vector**2, axis=-1)) for vector in (velocity, towards))
    # Divided first: a speed times a frequency in Hz would cost float32 its digits for nothing.
    per_speed = carrier_frequency / SPEED_OF_LIGHT
    approach = jnp.sum(velocity * towards, axis=-1) / jnp.where(length > 0, length, 1)
    return approach * per_speed, speed * per_speed


class _Draws(NamedTuple):
    """Unit draws of state and shadowing (with and without line of sight), and h_E in m; ``[..., num_uavs]`` each."""

    los: jax.Array
    shadowing: tuple[jax.Array, ...]
    environment: jax.Array


def _draw(key: jax.Array, distance_2d: jax.Array, height: jax.Array, scenario: str) -> _Draws:
    """One key per UAV: its draws depend on nothing else."""
    shape, dtype = distance_2d.shape[:-1], distance_2d.dtype

    def one(uav_key: jax.Array, d2: jax.Array, h: jax.Array) -> _Draws:
        base = stream_key(uav_key, Stream.LARGE_SCALE)
        key_los, key_shadowing, key_environment = jax.random.split(base, 3)
        shadowing = jax.random.normal(key_shadowing, shape, dtype)
        return _Draws(
            los=jax.random.uniform(key_los, shape, dtype),
            shadowing=(shadowing, shadowing),
            environment=draw_environment_height(key_environment, d2, h, scenario=scenario),
        )

    return jax.vmap(one, in_axes=(0, -1, -1), out_axes=-1)(key, distance_2d, height)


def _draw_scene(key: jax.Array, place: "_Geometry", scenario: str) -> _Draws:
    """One key for the scene around a base station: the draws are functions of where a UAV is seen from there."""
    if require_key(key).ndim:
        raise ValueError(f"spatial_consistency: all UAVs share a scalar key, got keys of shape {key.shape}")
    row, height, where = find_scenario(scenario), place.height, jax.lax.stop_gradient(-place.towards)
    keys = jax.random.split(stream_key(key, Stream.LARGE_SCALE), 5)
    uniform = jnp.stack([uniform_field(each, where, row.los_distance) for each in keys[3:]])
    distances = zip(keys[1:3], row.shadowing_distance, strict=True)
    return _Draws(
        los=uniform_field(keys[0], where, row.los_distance),
        shadowing=tuple(gaussian_field(each, where, distance) for each, distance in distances),
        environment=draw_environment_height(None, place.distance_2d, height, scenario=scenario, uniform=uniform),
    )


class _Geometry(NamedTuple):
    """Vectors from UAV to base station ``[..., num_uavs, 3]``; velocity; the rest ``[..., num_uavs]``."""

    towards: jax.Array
    velocity: jax.Array
    height: jax.Array
    bs_height: jax.Array
    distance_2d: jax.Array


def _geometry(positions: ArrayLike, bs_position: ArrayLike | None, velocity: ArrayLike | None, scenario: str):
    """Check and broadcast positions and velocities."""
    shape = np.shape(positions)
    if len(shape) < 2 or shape[-1] != 3:
        raise ValueError(f"positions must be [..., num_uavs, 3], got shape {shape}")
    if (given := known(positions)) is not None:
        require_height("positions[..., 2]", given[..., 2])
    positions = floating(positions)
    dtype = positions.dtype
    base = np.array([0.0, 0.0, find_scenario(scenario).bs_height]) if bs_position is None else bs_position
    if (stands := known(base)) is not None:
        require_at_least("bs_position[..., 2]", stands[..., 2], 1.0, strict=True)
        if given is not None and np.any(np.all(np.isclose(given, stands), axis=-1)):
            raise ValueError(f"positions: a UAV stands where the base station is, at {stands.tolist()} m")
    base = fit("bs_position", jnp.asarray(base), shape, dtype)
    velocity = fit("velocity", 0.0 if velocity is None else velocity, shape, dtype)
    towards = base - positions
    distance_2d = safe_sqrt(jnp.sum(towards[..., :2] ** 2, axis=-1))
    return _Geometry(towards, velocity, positions[..., 2], base[..., 2], distance_2d)


def air_to_ground(
    key: jax.Array | None,
    positions: ArrayLike,
    *,
    scenario: str,
    carrier_frequency: ArrayLike,
    tx_power_dbm: ArrayLike,
    bandwidth: ArrayLike,
    noise_figure_db: ArrayLike,
    antenna_gain_db: ArrayLike = 0.0,
    bs_position: ArrayLike | None = None,
    velocity: ArrayLike | None = None,
    rician: str | ArrayLike = "alternative1",
    nlos_k_factor_db: ArrayLike = -math.inf,
    los: ArrayLike | None = None,
    shadowing: bool = True,
    spatial_consistency: bool = False,
) -> AirToGround:
    """Large-scale state of the links to all UAVs; the channel matrices themselves keep unit power.

    Line of sight and shadowing are drawn for every UAV on its own, however near to each other they fly, or with
    ``spatial_consistency`` as functions of the place, the same for one call with a trajectory ``[num_times, num_uavs,
    3]`` as for one call at each time. ``snr_db`` is differentiable in the positions, for the states and shadowing
    drawn.

    A K factor per UAV goes to ``rician(..., k_factor_db=k_factor_db[..., None])`` with a ``batch_shape`` of
    ``(..., num_uavs, num_blocks)``, and its result to ``broadcast(..., h=h)``.

    Args:
        key: Typed key: a scalar, which is split into one key per UAV, or one key per UAV, ``[num_uavs]``; it may be
            the key of the link as well. None with ``los`` given and ``shadowing=False`` (h_E is then 1 m).
        positions: Of the UAVs, metres, z above ground, ``[..., num_uavs, 3]``; heights in [1.5, 300] m, NaN results
            where traced ones are not.
        scenario: ``RMa-AV``, ``UMa-AV`` or ``UMi-AV``; see ``phy.path_loss``.
        carrier_frequency: Hz, in [0.5e9, 100e9], scalar, traced.
        tx_power_dbm: Transmit power of the base station over all its antennas, dBm; scalar or broadcasting against
            ``[..., num_uavs]``, like the next three numbers; traced.
        bandwidth: Of the receiver, Hz.
        noise_figure_db: Of the receiver, dB.
        antenna_gain_db: Of both ends together, dB; the tables are for isotropic antennas.
        bs_position: Of the base station, metres, broadcasting against ``positions``. None: (0, 0) and 35 m (RMa-AV),
            25 m (UMa-AV) or 10 m (UMi-AV), the heights that the tables were fitted to.
        velocity: Of the UAVs, m/s, broadcasting against ``positions``; None: they hover.
        rician: K factor with line of sight: one of ``RICIAN_MODELS`` (see :func:`rician_k_factor_db`), or numbers, dB,
            broadcasting against ``[..., num_uavs]``.
        nlos_k_factor_db: K factor without line of sight, dB. Minus infinity is Rayleigh, as in TR 38.901;
            ``alternative1`` of TR 36.777 has 10 dB there in RMa-AV and UMa-AV.
        los: Boolean states, broadcasting against ``[..., num_uavs]``, instead of drawn ones.
        shadowing: False leaves it out.
        spatial_consistency: Shadowing, state of the line of sight and h_E are correlated over the horizontal distance d
            between places as ``exp(-d / d_cor)`` says (phy.spatial), with the correlation distances of TR 38.901 (table
            7.5-6, and 7.6.3.1-2 for the state and, for want of another, h_E). ``key`` is then a scalar, and of
            positions ``[..., num_uavs, 3]`` all belong to one scene; ``vmap`` over keys draws scenes.

    Returns:
        See :class:`AirToGround`.

    Raises:
        ValueError: on unknown names, shapes that do not fit, static numbers outside their domain, or a missing key.
    """
    require_at_least("nlos_k_factor_db", nlos_k_factor_db, -math.inf)
    place = _geometry(positions, bs_position, velocity, scenario)
    shape, dtype = place.height.shape, place.height.dtype
    if key is None and (los is None or shadowing):
        raise ValueError("key is None: give a key, or los together with shadowing=False")
    probability = los_probability(place.distance_2d, place.height, scenario=scenario)
    draws = None
    if key is not None:
        if spatial_consistency:
            draws = _draw_scene(key, place, scenario)
        else:
            draws = _draw(uav_keys(key, shape[-1]), place.distance_2d, place.height, scenario)
    los = require_given("key", draws).los < probability if los is None else fit("los", los, shape, jnp.bool_)
    numbers = {"scenario": scenario, "carrier_frequency": carrier_frequency, "bs_height": place.bs_height, "los": los}
    environment = 1.0 if draws is None else draws.environment
    loss = path_loss_db(place.distance_2d, place.height, environment_height=environment, **numbers)
    shadow = jnp.zeros_like(loss)
    if shadowing:
        shadow = shadowing_std_db(place.distance_2d, place.height, **numbers) * jnp.where(
            los, *require_given("key", draws).shadowing
        )
    received = fit("tx_power_dbm", tx_power_dbm, shape, dtype) + fit("antenna_gain_db", antenna_gain_db, shape, dtype)
    noise = fit("bandwidth and noise_figure_db", thermal_noise_dbm(bandwidth, noise_figure_db), shape, dtype)
    elevation = jnp.arctan2(-place.towards[..., 2], place.distance_2d)
    if isinstance(rician, str):
        k_factor = rician_k_factor_db(place.height, elevation, scenario=scenario, model=rician)
    else:
        require_at_least("rician", rician, -math.inf)
        k_factor = fit("rician", rician, shape, dtype)
    los_doppler, max_doppler = doppler(place.velocity, place.towards, carrier_frequency)
    return AirToGround(
        los=los,
        los_probability=probability,
        path_loss_db=loss,
        shadowing_db=shadow,
        snr_db=received - loss - shadow - noise,
        k_factor_db=jnp.where(los, k_factor, fit("nlos_k_factor_db", nlos_k_factor_db, shape, dtype)),
        los_doppler=los_doppler,
        max_doppler=max_doppler,
        elevation=elevation,
        distance_2d=place.distance_2d,
        distance_3d=safe_sqrt(jnp.sum(place.towards**2, axis=-1)),
    )
