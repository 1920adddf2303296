"""Line-of-sight probability, path loss and shadowing of low-altitude UAVs, as 3GPP tabulates them.

TR 36.777 above 10 m (``RMa-AV``) or 22.5 m (``UMa-AV``, ``UMi-AV``), TR 38.901 up to there; see ``phy.aerial_tables``.
The tables are valid for 2D distances up to 10 km (``RMa-AV``; up to 10 m of height and without line of sight 5 km) or
4 km (the others; up to 22.5 m of height 5 km), and up to the border from 10 m on. Beyond, their formulas are continued.

The two documents were fitted apart, so that everything may jump at a border, most of all the line-of-sight probability:
at 500 m in UMa-AV it goes from 0.22 at 22.5 m to 0.79 just above.

Where the probability is 1 (above 40 m in RMa-AV and 100 m in UMa-AV), TR 36.777 has no deviation and, for UMa-AV, no
loss without line of sight: the formulas of the heights below are continued. Such a link is never drawn.

All functions take a 2D distance and the UAV's height, which broadcast and may be traced, in float32 or float64. Wrong
static numbers raise; where a traced height lies outside [1.5, 300] m the result is NaN.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.aerial_tables import Link, Scenario, find_scenario, macro_correction
from lvm_mtc.phy.keys import require_key
from lvm_mtc.phy.numerics import known, require_at_least, safe_sqrt

MIN_HEIGHT, MAX_HEIGHT = 1.5, 300.0
MIN_FREQUENCY, MAX_FREQUENCY = 0.5e9, 100e9


def _require_within(name: str, value: ArrayLike, low: float, high: float, unit: str) -> None:
    if (numbers := known(value)) is None:
        return
    if not np.all((numbers >= low) & (numbers <= high)):
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}] {unit}, got {value}")


def require_height(name: str, height: ArrayLike) -> None:
    """Raise ``ValueError`` if a height that is ``known`` lies outside the tables.

    Args:
        name: Name of the argument, for the message.
        height: Above ground, m; a tracer passes unchecked.

    Raises:
        ValueError: if any height is NaN or outside [1.5, 300] m.
    """
    _require_within(name, height, MIN_HEIGHT, MAX_HEIGHT, "m")


def _together(**numbers: ArrayLike) -> list[jax.Array]:
    """Numbers of one floating dtype and one shape."""
    dtype = jnp.result_type(*numbers.values(), jnp.float32)
    shapes = {name: jnp.shape(number) for name, number in numbers.items()}
    try:
        shape = np.broadcast_shapes(*shapes.values())
    except ValueError as error:
        raise ValueError(f"these shapes do not broadcast: {shapes}") from error
    return [jnp.broadcast_to(jnp.asarray(number, dtype), shape) for number in numbers.values()]


def _valid(height: jax.Array, value: jax.Array) -> jax.Array:
    return jnp.where((height >= MIN_HEIGHT) & (height <= MAX_HEIGHT), value, jnp.nan)


def _checked(distance_2d: ArrayLike, height: ArrayLike) -> None:
    require_at_least("distance_2d", distance_2d, 0.0)
    require_height("height", height)


def _make_link(row: Scenario, distance_2d, height, carrier_frequency, bs_height, environment_height) -> Link:
    _checked(distance_2d, height)
    # A frequency in GHz is outside.
    _require_within("carrier_frequency", carrier_frequency, MIN_FREQUENCY, MAX_FREQUENCY, "Hz")
    bs_height = row.bs_height if bs_height is None else bs_height
    require_at_least("bs_height", bs_height, 1.0, strict=True)
    d2, height, bs_height, frequency, environment = _together(
        distance_2d=distance_2d,
        height=height,
        bs_height=bs_height,
        carrier_frequency=carrier_frequency,
        environment_height=environment_height,
    )
    d3 = safe_sqrt(d2**2 + (height - bs_height) ** 2)
    return Link(d2, d3, height, bs_height, frequency / 1e9, environment)


def los_probability(distance_2d: ArrayLike, height: ArrayLike, *, scenario: str) -> jax.Array:
    """Probability that base station and UAV see each other.

    Args:
        distance_2d: Horizontal distance, m, >= 0; broadcasts against ``height``.
        height: Of the UAV above ground, m, in [1.5, 300].
        scenario: ``RMa-AV``, ``UMa-AV`` or ``UMi-AV``; the tables assume base stations of 35, 25 and 10 m.

    Returns:
        Probability in [0, 1], of the common shape.

    Raises:
        ValueError: on an unknown scenario, or static numbers outside their domain.

    Source: TR 36.777, table B-1; TR 38.901, table 7.4.2-1.
    """
    row = find_scenario(scenario)
    _checked(distance_2d, height)
    d2, height = _together(distance_2d=distance_2d, height=height)
    low, high = (form(d2, height) for form in row.los_probability)
    return _valid(height, jnp.where(height > row.border, high, low))


def path_loss_db(
    distance_2d: ArrayLike,
    height: ArrayLike,
    *,
    los: ArrayLike,
    scenario: str,
    carrier_frequency: ArrayLike,
    bs_height: ArrayLike | None = None,
    environment_height: ArrayLike = 1.0,
) -> jax.Array:
    """Path loss between isotropic antennas.

    Args:
        distance_2d: Horizontal distance, m, >= 0. All numbers broadcast against each other.
        height: Of the UAV above ground, m, in [1.5, 300].
        los: Boolean: whether they see each other.
        scenario: ``RMa-AV``, ``UMa-AV`` or ``UMi-AV``.
        carrier_frequency: Hz, in [0.5e9, 100e9].
        bs_height: Of the base station, m; None: 35 (RMa-AV), 25 (UMa-AV), 10 (UMi-AV). TR 36.777 was fitted to these.
        environment_height: h_E of the breakpoint distance, m: 1 in UMi-AV, drawn in UMa-AV
            (:func:`draw_environment_height`); only used with line of sight up to 22.5 m there. Below ``bs_height``.

    Returns:
        Loss, dB, of the common shape. Minus infinity at a distance of 0.

    Raises:
        ValueError: on an unknown scenario, shapes that do not fit, or static numbers outside their domain.

    Source: TR 36.777, table B-2; TR 38.901, table 7.4.1-1 with its notes 1 and 5.
    """
    row = find_scenario(scenario)
    link = _make_link(row, distance_2d, height, carrier_frequency, bs_height, environment_height)
    (low_los, low_nlos), (high_los, high_nlos) = (form(link) for form in row.path_loss)
    above = link.height > row.border
    los, with_los, without = _select(los, jnp.where(above, high_los, low_los), jnp.where(above, high_nlos, low_nlos))
    return _valid(jnp.broadcast_to(link.height, los.shape), jnp.where(los, with_los, without))


def _select(los: ArrayLike, with_los: jax.Array, without: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A boolean and what it selects from, of one shape."""
    los = jnp.asarray(los)
    if los.dtype != jnp.bool_:
        raise ValueError(f"los must be boolean, got {los.dtype} with shape {los.shape}")
    try:
        shape = np.broadcast_shapes(los.shape, with_los.shape)
    except ValueError as error:
        raise ValueError(f"los of shape {los.shape} does not broadcast against the links {with_los.shape}") from error
    los, with_los, without = (jnp.broadcast_to(array, shape) for array in (los, with_los, without))
    return los, with_los, without


def shadowing_std_db(
    distance_2d: ArrayLike,
    height: ArrayLike,
    *,
    los: ArrayLike,
    scenario: str,
    carrier_frequency: ArrayLike,
    bs_height: ArrayLike | None = None,
) -> jax.Array:
    """Standard deviation of the log-normal shadowing.

    Args:
        distance_2d: Horizontal distance, m, >= 0. It matters, like the next numbers, for RMa up to 10 m with line of
            sight, where the deviation grows at the breakpoint distance.
        height: Of the UAV above ground, m, in [1.5, 300].
        los: Boolean: whether they see each other.
        scenario: ``RMa-AV``, ``UMa-AV`` or ``UMi-AV``.
        carrier_frequency: Hz, in [0.5e9, 100e9].
        bs_height: Of the base station, m; None: that of the scenario.

    Returns:
        Standard deviation, dB, of the common shape.

    Raises:
        ValueError: on an unknown scenario, shapes that do not fit, or static numbers outside their domain.

    Source: TR 36.777, table B-3; TR 38.901, table 7.4.1-1.
    """
    row = find_scenario(scenario)
    link = _make_link(row, distance_2d, height, carrier_frequency, bs_height, 1.0)
    above = link.height > row.border
    with_los = jnp.where(above, row.high_std[0](link.height), row.low_std[0](link))
    without = jnp.where(above, row.high_std[1], row.low_std[1]).astype(with_los.dtype)
    los, with_los, without = _select(los, with_los, without)
    return _valid(jnp.broadcast_to(link.height, los.shape), jnp.where(los, with_los, without))


def draw_environment_height(
    key: jax.Array | None,
    distance_2d: ArrayLike,
    height: ArrayLike,
    *,
    scenario: str = "UMa-AV",
    uniform: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Effective environment height h_E for the breakpoint distance.

    1 m, but in UMa-AV, with probability C / (1 + C), one of 12, 15, ... up to h_UT - 1.5 m with equal probability; C
    is 0 up to 18 m of distance and up to 13 m of height. Where that list is empty (13 to 13.5 m) it is 1 m as well.
    Above the border the breakpoint is not used.

    Args:
        key: Typed key, scalar; None with ``uniform``.
        distance_2d: Horizontal distance, m, >= 0.
        height: Of the UAV above ground, m.
        scenario: ``RMa-AV``, ``UMa-AV`` or ``UMi-AV``.
        uniform: Two numbers uniform in [0, 1] for each link instead of drawn ones, ``[2, ...]``.

    Returns:
        h_E, m, of the common shape.

    Raises:
        ValueError: on an unknown scenario, or static numbers outside their domain.

    Source: TR 38.901, table 7.4.1-1, note 1.
    """
    row = find_scenario(scenario)
    _checked(distance_2d, height)
    d2, height = _together(distance_2d=distance_2d, height=height)
    if scenario != "UMa-AV":
        return jnp.ones_like(d2)
    correction = jnp.where(d2 <= 18, 0, macro_correction(d2, height))
    count = jnp.where(height > row.border, 0, jnp.floor((height - 13.5) / 3) + 1)
    if uniform is None:
        uniform = jax.random.uniform(require_key(key), (2, *d2.shape), d2.dtype)
    # A product of float32 numbers below 1 can round up to the count itself.
    step = jnp.minimum(jnp.floor(uniform[1] * count), count - 1)
    raised = (uniform[0] * (1 + correction) < correction) & (count > 0)
    return jnp.where(raised, 12 + 3 * step, 1)
