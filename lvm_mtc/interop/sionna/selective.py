"""Sionna's delay lines as samplers of ``phy.Paths``: TDL inside compiled programs, CDL on the host.

Both have unit power per antenna pair, E of the sum of abs(gain)^2 over the paths = 1: Sionna normalises their profiles.
Antennas of CDL are single, vertically polarised and omnidirectional; arrays are horizontal lines at half a wavelength.

Samplers here and in ``scenarios`` have the arguments of those of ``phy.paths``: ``times`` must be equally spaced, and
only the distance matters. They raise ValueError for what does not fit: an unknown model, bad counts, unequal
times, a real dtype, a traced carrier frequency, no key.

Time enters Sionna only through the product of Doppler shift and time, so that a Doppler shift and a distance of samples
may be traced: Sionna is asked for one sample per second, at the speed whose Doppler shift is that product.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.interop.sionna import bridge, runtime
from lvm_mtc.interop.sionna.arguments import Draw, describe, require_carrier, turns_per_sample
from lvm_mtc.interop.sionna.profiles import unit_profile
from lvm_mtc.phy.numerics import align, require_at_least
from lvm_mtc.phy.paths import Paths

MODELS = ("A", "B", "C", "D", "E")


def ordered_parts(tf, gains, num_keys: int, draw: Draw):
    """Sionna's ``[batch, 1, rx, 1, tx, paths, times]`` in our order of axes, as real and imaginary part."""
    gains = tf.transpose(gains[:, 0, :, 0], [0, 3, 4, 1, 2])
    num_paths = gains.shape[1] or -1
    gains = tf.reshape(gains, [num_keys, draw.num_links, num_paths, draw.num_times, draw.num_rx_ant, draw.num_tx_ant])
    return tf.math.real(gains), tf.math.imag(gains)


def as_paths(parts, delays, batch_shape: tuple[int, ...]) -> Paths:
    """Gains of one key, ``[1, num_links, ...]`` as two real parts, on the caller's leading axes."""
    gains = jax.lax.complex(*parts)
    return Paths(gains.reshape(*batch_shape, *gains.shape[2:]), delays)


def _profile_delays(family: str, model: str, delay_spread: ArrayLike, batch_shape: tuple[int, ...], draw: Draw):
    if model not in MODELS:
        raise ValueError(f"unknown model {model!r}; known: {', '.join(MODELS)}")
    require_at_least("delay_spread", delay_spread, 0.0)
    delays = unit_profile(f"sionna_{family}_{model.lower()}")[0]
    delays = jnp.asarray(delays, draw.real).reshape((1,) * len(batch_shape) + (-1,))
    delays = align("delay_spread", delay_spread, batch_shape, 1, draw.real) * delays
    return jnp.broadcast_to(delays, (*batch_shape, delays.shape[-1]))


@functools.lru_cache(maxsize=64)
def _tdl(model: str, draw: Draw):
    tf, phy, _ = runtime.load()

    def body(seeds, turns):
        num_keys = seeds.shape[0]
        with runtime.keyed(seeds), runtime.precision(draw.precision):
            line = phy.channel.tr38901.TDL(
                model, 1.0, 1.0, num_rx_ant=draw.num_rx_ant, num_tx_ant=draw.num_tx_ant, precision=draw.precision
            )
            # The constructor takes constants only; these are the two places where a speed ends up.
            line._min_doppler = line._max_doppler = tf.reshape(2 * math.pi * turns, [-1, *[1] * 7])
            gains, _ = line(num_keys * draw.num_links, draw.num_times, 1.0)
        return ordered_parts(tf, gains, num_keys, draw)

    return bridge.draw_in_graph(body)


def tdl(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    times: ArrayLike,
    num_rx_ant: int,
    num_tx_ant: int,
    dtype: DTypeLike = jnp.complex64,
    model: str,
    delay_spread: ArrayLike,
    max_doppler: ArrayLike = 0.0,
    carrier_frequency: ArrayLike | None = None,
) -> Paths:
    """Tapped delay line of 3GPP TR 38.901, Sionna's ``TDL``, inside compiled programs.

    Taps are sums of 20 sinusoids with the classical Doppler spectrum, uncorrelated between antennas; the specular part
    of D and E arrives at pi/4 from the direction of flight and is the same on all antennas. Gradients reach
    ``delay_spread`` only.

    Args:
        model: ``"A"`` ... ``"E"``.
        delay_spread: RMS delay spread, seconds, >= 0; scalar or broadcasting against ``batch_shape``; traced.
        max_doppler: Largest Doppler shift, speed over wavelength, Hz, >= 0; scalar or broadcasting against
            ``batch_shape``; traced.
        carrier_frequency: Accepted like that of the other models, and without effect here, as the Doppler shift is
            given.

    Returns:
        23, 23, 24, 13 or 14 paths, in the order of the standard's table (delays do not ascend everywhere).
    """
    draw = describe(batch_shape, times, num_rx_ant, num_tx_ant, dtype)
    delays = _profile_delays("tdl", model, delay_spread, batch_shape, draw)
    turns = turns_per_sample(max_doppler, times, batch_shape, draw)
    return as_paths(_tdl(model, draw)(bridge.key_bits(key), turns), delays, batch_shape)


def line_array(phy, num_ant: int, carrier_frequency: float, precision: str):
    """A horizontal line of upright omnidirectional antennas at half a wavelength."""
    style = {"polarization": "single", "polarization_type": "V", "antenna_pattern": "omni", "precision": precision}
    return phy.channel.tr38901.PanelArray(
        num_rows_per_panel=1, num_cols_per_panel=num_ant, carrier_frequency=carrier_frequency, **style
    )


@functools.lru_cache(maxsize=64)
def _cdl(model: str, carrier_frequency: float, draw: Draw):
    tf, phy, _ = runtime.load()
    with runtime.precision(draw.precision):
        arrays = [line_array(phy, n, carrier_frequency, draw.precision) for n in (draw.num_rx_ant, draw.num_tx_ant)]
        line = phy.channel.tr38901.CDL(
            model, 1.0, carrier_frequency, arrays[0], arrays[1], "downlink", precision=draw.precision
        )
    wavelength = phy.SPEED_OF_LIGHT / carrier_frequency

    def body(seeds, turns):
        num_keys = seeds.shape[0]
        with runtime.keyed(seeds), runtime.precision(draw.precision):
            # The constructor takes constants only.
            line._min_speed = line._max_speed = tf.reshape(turns * tf.cast(wavelength, turns.dtype), [-1, 1])
            gains, _ = line(num_keys * draw.num_links, draw.num_times, 1.0)
        return ordered_parts(tf, gains, num_keys, draw)

    num_paths = len(unit_profile(f"sionna_cdl_{model.lower()}")[0])

    def shapes(num_keys: int):
        part = (num_keys, draw.num_links, num_paths, draw.num_times, draw.num_rx_ant, draw.num_tx_ant)
        return (jax.ShapeDtypeStruct(part, draw.real),) * 2

    return bridge.draw_on_host(body, shapes, has_no_branches=True)


def cdl(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    times: ArrayLike,
    num_rx_ant: int,
    num_tx_ant: int,
    dtype: DTypeLike = jnp.complex64,
    model: str,
    delay_spread: ArrayLike,
    carrier_frequency: float,
    max_doppler: ArrayLike = 0.0,
) -> Paths:
    """Clustered delay line of 3GPP TR 38.901, Sionna's ``CDL``, in the downlink; a call on the host.

    The angles of the clusters are fixed, so that antennas are correlated; random are the coupling of rays, their phases
    and the direction of flight, whose zenith and azimuth angles Sionna draws uniformly (not uniformly on the sphere).
    Gradients reach ``delay_spread`` only.

    Args:
        model: ``"A"`` ... ``"E"``.
        delay_spread: RMS delay spread, seconds, >= 0; scalar or broadcasting against ``batch_shape``; traced.
        carrier_frequency: Hz, > 0, a Python number.
        max_doppler: Largest Doppler shift, speed over wavelength, Hz, >= 0; scalar or broadcasting against
            ``batch_shape``; traced.

    Returns:
        23, 23, 24, 13 or 14 paths, delays ascending. With D and E the line of sight has the same phase in every draw
        at the first time, so that the mean of the channel is not 0.
    """
    draw = describe(batch_shape, times, num_rx_ant, num_tx_ant, dtype)
    delays = _profile_delays("cdl", model, delay_spread, batch_shape, draw)
    turns = turns_per_sample(max_doppler, times, batch_shape, draw)
    call = _cdl(model, require_carrier(carrier_frequency), draw)
    return as_paths(call(bridge.key_bits(key), turns), delays, batch_shape)
