"""The line of sight between two arrays at known places: phases, angles of arrival and departure and Doppler at once."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.numerics import fit, floating, require_at_least, require_count, safe_sqrt
from lvm_mtc.phy.units import SPEED_OF_LIGHT


def _line_array(num_ant: int, axis: ArrayLike | Sequence[float], spacing: jax.Array) -> jax.Array:
    """Places of the antennas around the middle of a line array, ``[num_ant, 3]``, metres."""
    direction = np.asarray(axis, np.float64)
    if direction.shape != (3,) or not np.linalg.norm(direction) > 0:
        raise ValueError(f"the axis of an array must be three numbers, not all 0, got {axis}")
    places = (np.arange(num_ant) - (num_ant - 1) / 2)[:, None] * (direction / np.linalg.norm(direction))
    return jnp.asarray(places, spacing.dtype) * spacing


def geometric_line_of_sight(
    positions: ArrayLike,
    bs_position: ArrayLike,
    *,
    carrier_frequency: ArrayLike,
    num_rx_ant: int,
    num_tx_ant: int,
    times: ArrayLike | Sequence[float] = (0.0,),
    velocity: ArrayLike = 0.0,
    rx_axis: ArrayLike | Sequence[float] = (0.0, 1.0, 0.0),
    tx_axis: ArrayLike | Sequence[float] = (0.0, 1.0, 0.0),
) -> jax.Array:
    """Line-of-sight matrices ``exp(-j 2 pi d / wavelength)``, d the distance of each pair of antennas at each time.

    The waves are spherical: far away that is ``a(theta_rx) a(theta_tx)^H`` of plane waves, turning with the Doppler
    shift of the direct path (``los_doppler`` of ``phy.air_to_ground``). Over blocks of a frame, or over frames of a
    flight, it is one continuous function of time, ready for ``phy.rician(..., los=)``.

    Only the phase between antennas and times is exact: that of the whole distance is known in single precision to about
    distance / wavelength / 3e6 radians.

    Args:
        positions: Of the UAVs' arrays at time 0, metres, ``[..., 3]``.
        bs_position: Of the base station's array, metres, broadcasting against ``positions``.
        carrier_frequency: Hz, > 0, scalar, traced.
        num_rx_ant: Antennas of a UAV's line array, half a wavelength apart.
        num_tx_ant: Antennas of the base station's.
        times: Seconds, ``[num_times]``.
        velocity: Of the UAVs, m/s, broadcasting against ``positions``.
        rx_axis: Direction of the UAV's array, three numbers.
        tx_axis: Direction of the base station's.

    Returns:
        ``[..., num_times, num_rx_ant, num_tx_ant]`` complex, every entry of magnitude 1.

    Raises:
        ValueError: on shapes that do not fit, bad antenna counts or axes, or a static frequency that is not > 0.
    """
    shape = np.shape(positions)
    if len(shape) < 1 or shape[-1] != 3:
        raise ValueError(f"positions must be [..., 3], got shape {shape}")
    if np.ndim(times) != 1:
        raise ValueError(f"times must be [num_times], got shape {np.shape(times)}")
    require_count("num_rx_ant", num_rx_ant)
    require_count("num_tx_ant", num_tx_ant)
    require_at_least("carrier_frequency", carrier_frequency, 0.0, strict=True)
    positions = floating(positions)
    dtype = positions.dtype
    apart = positions - fit("bs_position", bs_position, shape, dtype)
    wavelength = jnp.asarray(SPEED_OF_LIGHT / carrier_frequency, dtype)
    receivers, transmitters = (
        _line_array(count, axis, wavelength / 2) for count, axis in ((num_rx_ant, rx_axis), (num_tx_ant, tx_axis))
    )
    flown = jnp.einsum("...d,t->...td", fit("velocity", velocity, shape, dtype), jnp.asarray(times, dtype))
    between = receivers[:, None, :] - transmitters[None, :, :]
    moved = flown[..., None, None, :] + between.reshape((1,) * len(shape) + between.shape)
    apart = apart[..., None, None, None, :]
    distance = safe_sqrt(jnp.sum(apart**2, axis=-1))
    # |p + e| - |p| as a quotient, which keeps the digits that a difference of two distances would lose.
    farther = jnp.sum(moved * (2 * apart + moved), axis=-1) / (
        safe_sqrt(jnp.sum((apart + moved) ** 2, axis=-1)) + distance
    )
    phase = -2 * jnp.pi * (jnp.mod(distance / wavelength, 1) + farther / wavelength)
    return jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
