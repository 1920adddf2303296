"""Sionna's system-level models UMi, UMa and RMa as samplers of ``phy.Paths``: calls on the host.

They are used without path loss and shadowing and with upright antennas of one polarisation, so that each drop has unit
power per antenna pair, averaged over the phases of its rays.
"""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.interop.sionna import bridge, runtime
from lvm_mtc.interop.sionna.arguments import Draw, describe, require_carrier, turns_per_sample
from lvm_mtc.interop.sionna.selective import as_paths, line_array, ordered_parts
from lvm_mtc.phy.paths import Paths

# Heights of a UAV over ground, m: the whole domain that TR 38.901 gives the scenario, Tables 7.4.1-1 and 7.2-1 ff.
UT_HEIGHTS = {"umi": (1.5, 22.5), "uma": (1.5, 22.5), "rma": (1.0, 10.0)}


def _build_scenario(phy, scenario: str, carrier_frequency: float, draw: Draw):
    models = phy.channel.tr38901
    ut_array, bs_array = (
        line_array(phy, n, carrier_frequency, draw.precision) for n in (draw.num_rx_ant, draw.num_tx_ant)
    )
    ends = dict(carrier_frequency=carrier_frequency, ut_array=ut_array, bs_array=bs_array, direction="downlink")
    options = dict(enable_pathloss=False, enable_shadow_fading=False, precision=draw.precision, **ends)
    if scenario == "rma":
        return models.RMa(**options)
    return {"umi": models.UMi, "uma": models.UMa}[scenario](o2i_model="low", **options)


def _drop(tf, phy, scenario: str, batch: int, speeds, draw: Draw):
    """One UAV per link in a sector of the scenario, outdoors, its antennas upright, as is the base station's array."""
    low, high = (tf.constant(height, draw.real) for height in UT_HEIGHTS[scenario])
    zero, unit_speed = tf.constant(0.0, draw.real), tf.constant(1.0, draw.real)
    options = dict(min_ut_height=low, max_ut_height=high, min_ut_velocity=unit_speed, max_ut_velocity=unit_speed)
    ut_loc, bs_loc, ut_turn, bs_turn, velocities, indoor = phy.channel.gen_single_sector_topology(
        batch, 1, scenario, indoor_probability=zero, precision=draw.precision, **options
    )
    # Bearing only: a tilted antenna of one polarisation would lose power to the other.
    upright = tf.constant([1.0, 0.0, 0.0], draw.real)
    velocities = velocities * tf.reshape(speeds, [-1, 1, 1])
    return ut_loc, bs_loc, ut_turn * upright, bs_turn * upright, velocities, indoor


@functools.lru_cache(maxsize=64)
def _system_level(scenario: str, carrier_frequency: float, draw: Draw):
    tf, phy, _ = runtime.load()
    wavelength = phy.SPEED_OF_LIGHT / carrier_frequency

    def body(seeds, turns):
        num_keys = seeds.shape[0]
        batch = num_keys * draw.num_links
        with runtime.keyed(seeds), runtime.precision(draw.precision):
            with tf.init_scope():
                model = _build_scenario(phy, scenario, carrier_frequency, draw)
            speeds = turns * tf.cast(wavelength, turns.dtype)
            model.set_topology(*_drop(tf, phy, scenario, batch, speeds, draw))
            gains, delays = model(draw.num_times, 1.0)
        delays = tf.reshape(delays, [num_keys, draw.num_links, -1])
        return *ordered_parts(tf, gains, num_keys, draw), delays

    num_paths = _count_paths(scenario, carrier_frequency, draw.precision)

    def shapes(num_keys: int):
        lead = (num_keys, draw.num_links, num_paths)
        part = jax.ShapeDtypeStruct((*lead, draw.num_times, draw.num_rx_ant, draw.num_tx_ant), draw.real)
        return part, part, jax.ShapeDtypeStruct(lead, draw.real)

    return bridge.draw_on_host(body, shapes, has_no_branches=False)


@functools.lru_cache(maxsize=64)
def _count_paths(scenario: str, carrier_frequency: float, precision: str) -> int:
    """Clusters of the richest state of the scenario, of which Sionna splits the two strongest into three each."""
    phy = runtime.load().phy
    with runtime.precision(precision):
        model = _build_scenario(phy, scenario, carrier_frequency, Draw(1, 1, 1, 1, precision))
    return int(model._scenario.num_clusters_max) + 4


def system_level(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    times: ArrayLike,
    num_rx_ant: int,
    num_tx_ant: int,
    dtype: DTypeLike = jnp.complex64,
    scenario: str,
    carrier_frequency: float,
    max_doppler: ArrayLike = 0.0,
) -> Paths:
    """Small-scale fading of 3GPP's system-level scenarios, Sionna's ``UMi``, ``UMa`` and ``RMa``; a call on the host.

    Each entry of ``batch_shape`` is a drop of its own: one base station (at 10, 25 or 35 m) and one UAV outdoors,
    uniform in a sector (inter-site distance 200, 500 or 5000 m) and uniform in height within what TR 38.901 covers
    (``UT_HEIGHTS``: up to 22.5 m, RMa 10 m), flying horizontally in a uniform direction. Line of sight or not, delay
    and angle spreads and clusters follow the standard; path loss and shadowing are off. Power is 1 on average over the
    phases for each drop. No gradients.

    Args:
        scenario: ``"umi"``, ``"uma"`` or ``"rma"``.
        carrier_frequency: Hz, > 0, a Python number.
        max_doppler: Largest Doppler shift, speed over wavelength, Hz, >= 0; scalar or broadcasting against
            ``batch_shape``; traced.

    Returns:
        As many paths as the richest state of the scenario has, delays ascending from 0; those that a drop does not have
        come last, with gain and delay 0. Delay spreads are log-normal and have a long tail: at 3.5 GHz, 14 % of the
        drops of UMa (UMi and RMa: below 1 %) have a path beyond 8.3 microseconds, with 0.15 % of all power.
    """
    if scenario not in UT_HEIGHTS:
        raise ValueError(f"unknown scenario {scenario!r}; known: {', '.join(UT_HEIGHTS)}")
    draw = describe(batch_shape, times, num_rx_ant, num_tx_ant, dtype)
    turns = turns_per_sample(max_doppler, times, batch_shape, draw)
    re, im, delays = _system_level(scenario, require_carrier(carrier_frequency), draw)(bridge.key_bits(key), turns)
    paths = as_paths((re, im), delays.reshape(*batch_shape, -1), batch_shape)
    # Sionna puts paths that a drop does not have at seconds.
    exists = jnp.any(paths.gains != 0, axis=(-3, -2, -1))
    return paths._replace(delays=jnp.where(exists, paths.delays, 0))
