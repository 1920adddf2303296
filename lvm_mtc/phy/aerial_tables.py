"""The formulas of 3GPP's tables for low-altitude UAVs, one row per scenario; ``phy.path_loss`` chooses among them.

Up to and including a border height of 10 m (``RMa-AV``) or 22.5 m (``UMa-AV``, ``UMi-AV``): TR 38.901 V19.4.0, tables
7.4.1-1 (loss, shadowing) and 7.4.2-1 (line of sight), for an outdoor terminal in RMa, UMa or UMi street canyon. Above
it: TR 36.777 V15.0.0, tables B-1 (line of sight), B-2 (loss) and B-3 (shadowing).

Everything here takes arrays of one shape, and stays finite at every height in [1.5, 300] m and distance > 0, also where
another row applies, so that a gradient through the choice is finite.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

# Both documents round the speed of light, in the breakpoint distances and in 20 log10(40 pi d f / 3).
_ROUNDED_SPEED_OF_LIGHT = 3e8

# Default average building height and street width of RMa, metres.
_RURAL_BUILDINGS, _RURAL_STREETS = 5.0, 20.0


class Link(NamedTuple):
    """Geometry of links, all of one shape.

    Attributes:
        d2: Horizontal distance, m.
        d3: Distance, m.
        height: Of the UAV above ground, m.
        bs_height: Of the base station above ground, m.
        frequency: Carrier frequency, GHz, as the tables want it.
        environment: Effective environment height h_E, m.
    """

    d2: jax.Array
    d3: jax.Array
    height: jax.Array
    bs_height: jax.Array
    frequency: jax.Array
    environment: jax.Array


def _log_free_space(link: Link) -> jax.Array:
    """``20 log10(40 pi f / 3)``: free-space loss at 1 m, dB."""
    return 20 * jnp.log10(link.frequency) + 20 * math.log10(40 * math.pi / 3)


def _rural_breakpoint(link: Link) -> jax.Array:
    """d_BP, note 5 of table 7.4.1-1."""
    return 2e9 * math.pi * link.bs_height * link.height * link.frequency / _ROUNDED_SPEED_OF_LIGHT


def _urban_breakpoint(link: Link) -> jax.Array:
    """d'_BP, note 1 of table 7.4.1-1: heights count from the effective environment height h_E."""
    effective = (link.bs_height - link.environment) * (link.height - link.environment)
    return 4e9 * effective * link.frequency / _ROUNDED_SPEED_OF_LIGHT


def _rural_low_loss(link: Link) -> tuple[jax.Array, jax.Array]:
    """PL_RMa-LOS and PL_RMa-NLOS of TR 38.901."""
    h = _RURAL_BUILDINGS
    slope, offset = min(0.03 * h**1.72, 10), min(0.044 * h**1.72, 14.77)

    def near(d: jax.Array) -> jax.Array:
        return _log_free_space(link) + (20 + slope) * jnp.log10(d) - offset + 0.002 * math.log10(h) * d

    at = _rural_breakpoint(link)
    far = near(at) + 40 * jnp.log10(link.d3 / at)
    los = jnp.where(link.d2 <= at, near(link.d3), far)
    log_bs = jnp.log10(link.bs_height)
    nlos = (
        161.04
        - 7.1 * math.log10(_RURAL_STREETS)
        + 7.5 * math.log10(h)
        - (24.37 - 3.7 * (h / link.bs_height) ** 2) * log_bs
        + (43.42 - 3.1 * log_bs) * (jnp.log10(link.d3) - 3)
        + 20 * jnp.log10(link.frequency)
        - (3.2 * jnp.log10(11.75 * link.height) ** 2 - 4.97)
    )
    return los, jnp.maximum(los, nlos)


def _urban_low_los(link: Link, intercept: float, slope: float, breakpoint_slope: float) -> jax.Array:
    log_d, log_f = jnp.log10(link.d3), jnp.log10(link.frequency)
    at = _urban_breakpoint(link)
    reach = jnp.log10(at**2 + (link.bs_height - link.height) ** 2)
    near = intercept + slope * log_d + 20 * log_f
    far = intercept + 40 * log_d + 20 * log_f - breakpoint_slope * reach
    return jnp.where(link.d2 <= at, near, far)


def _macro_low_loss(link: Link) -> tuple[jax.Array, jax.Array]:
    """PL_UMa-LOS and PL_UMa-NLOS of TR 38.901."""
    los = _urban_low_los(link, 28.0, 22.0, 9.0)
    log_d, log_f = jnp.log10(link.d3), jnp.log10(link.frequency)
    return los, jnp.maximum(los, 13.54 + 39.08 * log_d + 20 * log_f - 0.6 * (link.height - 1.5))


def _micro_low_loss(link: Link) -> tuple[jax.Array, jax.Array]:
    """PL_UMi-LOS and PL_UMi-NLOS of TR 38.901."""
    los = _urban_low_los(link, 32.4, 21.0, 9.5)
    log_d, log_f = jnp.log10(link.d3), jnp.log10(link.frequency)
    return los, jnp.maximum(los, 22.4 + 35.3 * log_d + 21.3 * log_f - 0.3 * (link.height - 1.5))


def _rural_high_loss(link: Link) -> tuple[jax.Array, jax.Array]:
    """RMa-AV of table B-2."""
    log_d, log_h = jnp.log10(link.d3), jnp.log10(link.height)
    los = jnp.maximum(23.9 - 1.8 * log_h, 20) * log_d + _log_free_space(link)
    return los, jnp.maximum(los, -12 + (35 - 5.3 * log_h) * log_d + _log_free_space(link))


def _macro_high_loss(link: Link) -> tuple[jax.Array, jax.Array]:
    """UMa-AV of table B-2."""
    log_d, log_h = jnp.log10(link.d3), jnp.log10(link.height)
    los = 28.0 + 22 * log_d + 20 * jnp.log10(link.frequency)
    return los, -17.5 + (46 - 7 * log_h) * log_d + _log_free_space(link)


def _micro_high_loss(link: Link) -> tuple[jax.Array, jax.Array]:
    """UMi-AV of table B-2."""
    log_d, log_h = jnp.log10(link.d3), jnp.log10(link.height)
    log_f = jnp.log10(link.frequency)
    los = jnp.maximum(20 * log_d + _log_free_space(link), 30.9 + (22.25 - 0.5 * log_h) * log_d + 20 * log_f)
    return los, jnp.maximum(los, 32.4 + (43.2 - 7.6 * log_h) * log_d + 20 * log_f)


def macro_correction(d2: jax.Array, height: jax.Array) -> jax.Array:
    """C'(h_UT) times the bump over distance of table 7.4.2-1, which is C(d_2D, h_UT) of table 7.4.1-1, note 1.

    Args:
        d2: Horizontal distance, m; beyond 18 m.
        height: Of the UAV, m.

    Returns:
        C, >= 0, shape of ``d2``.
    """
    steep = (jnp.maximum(height - 13, 0) / 10) ** 1.5
    return steep * 1.25 * (d2 / 100) ** 3 * jnp.exp(-d2 / 150)


def _decay(d2: jax.Array, near: ArrayLike, scale: ArrayLike) -> jax.Array:
    """``near / d + exp(-d / scale) (1 - near / d)``, and 1 up to ``near``."""
    ratio = jnp.asarray(near) / jnp.maximum(d2, near)
    # Up to `near`, the ratio is 1 and the bracket 0.
    return ratio + jnp.exp(-d2 / scale) * (1 - ratio)


def _rural_low_los(d2: jax.Array, height: jax.Array) -> jax.Array:
    return jnp.exp(-jnp.maximum(d2 - 10, 0) / 1000)


def _macro_low_los(d2: jax.Array, height: jax.Array) -> jax.Array:
    beyond = _decay(d2, 18.0, 63.0) * (1 + macro_correction(d2, height))
    return jnp.where(d2 <= 18, jnp.ones_like(d2), beyond)


def _micro_low_los(d2: jax.Array, height: jax.Array) -> jax.Array:
    return _decay(d2, 18.0, 36.0)


def _rural_high_los(d2: jax.Array, height: jax.Array) -> jax.Array:
    log_h = jnp.log10(height)
    middle = _decay(d2, jnp.maximum(1350.8 * log_h - 1602, 18), jnp.maximum(15021 * log_h - 16053, 1000))
    return jnp.where(height > 40, jnp.ones_like(d2), middle)


def _macro_high_los(d2: jax.Array, height: jax.Array) -> jax.Array:
    log_h = jnp.log10(height)
    middle = _decay(d2, jnp.maximum(460 * log_h - 700, 18), 4300 * log_h - 3800)
    return jnp.where(height > 100, jnp.ones_like(d2), middle)


def _micro_high_los(d2: jax.Array, height: jax.Array) -> jax.Array:
    log_h = jnp.log10(height)
    return _decay(d2, jnp.maximum(294.05 * log_h - 432.94, 18), 233.98 * log_h - 0.95)


def _rural_std(link: Link) -> jax.Array:
    return jnp.where(link.d2 < _rural_breakpoint(link), 4.0, 6.0)


class Scenario(NamedTuple):
    """One row of every table.

    Attributes:
        bs_height: Height of the base station that the tables assume, m.
        border: Height up to and including which TR 38.901 applies, m.
        los_probability: Low and high form, functions of 2D distance and height.
        path_loss: Low and high form; each returns the loss with and without line of sight, dB.
        low_std: Deviation of the shadowing up to the border, with (a function of the link) and without line of sight.
        high_std: The same above it; with line of sight a function of the height.
        shadowing_distance: Correlation distance of the shadowing with and without line of sight, m (TR 38.901, table
            7.5-6; TR 36.777 keeps them).
        los_distance: Of the state of the line of sight, m (TR 38.901, table 7.6.3.1-2).
    """

    bs_height: float
    border: float
    los_probability: tuple[Callable, Callable]
    path_loss: tuple[Callable, Callable]
    low_std: tuple[Callable, float]
    high_std: tuple[Callable, float]
    shadowing_distance: tuple[float, float]
    los_distance: float


SCENARIOS = {
    "RMa-AV": Scenario(
        bs_height=35.0,
        border=10.0,
        los_probability=(_rural_low_los, _rural_high_los),
        path_loss=(_rural_low_loss, _rural_high_loss),
        low_std=(_rural_std, 8.0),
        high_std=(lambda height: 4.2 * jnp.exp(-0.0046 * height), 6.0),
        shadowing_distance=(37.0, 120.0),
        los_distance=60.0,
    ),
    "UMa-AV": Scenario(
        bs_height=25.0,
        border=22.5,
        los_probability=(_macro_low_los, _macro_high_los),
        path_loss=(_macro_low_loss, _macro_high_loss),
        low_std=(lambda link: jnp.full_like(link.d2, 4.0), 6.0),
        high_std=(lambda height: 4.64 * jnp.exp(-0.0066 * height), 6.0),
        shadowing_distance=(37.0, 50.0),
        los_distance=50.0,
    ),
    "UMi-AV": Scenario(
        bs_height=10.0,
        border=22.5,
        los_probability=(_micro_low_los, _micro_high_los),
        path_loss=(_micro_low_loss, _micro_high_loss),
        low_std=(lambda link: jnp.full_like(link.d2, 4.0), 7.82),
        high_std=(lambda height: jnp.maximum(5 * jnp.exp(-0.01 * height), 2), 8.0),
        shadowing_distance=(10.0, 13.0),
        los_distance=50.0,
    ),
}


def find_scenario(name: str) -> Scenario:
    """The row of that name.

    Args:
        name: ``RMa-AV``, ``UMa-AV`` or ``UMi-AV``.

    Raises:
        ValueError: on another name.
    """
    if name not in SCENARIOS:
        raise ValueError(f"unknown scenario {name!r}; known: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
