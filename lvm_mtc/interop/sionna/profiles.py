"""Power-delay profiles of the tapped and clustered delay lines of 3GPP, so that a receiver knows them without a draw.

Source: 3GPP TR 38.901, Tables 7.7.1-1 to 7.7.1-5 (CDL) and 7.7.2-1 to 7.7.2-5 (TDL). They agree but for one delay.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.interop.sionna import CHANNELS

# Delay over the RMS delay spread, power in dB. D and E begin with the specular and the scattered part of one path.
# fmt: off
_TAPS: dict[str, tuple[tuple[float, float], ...]] = {
    "a": (
        (0.0, -13.4), (0.3819, 0.0), (0.4025, -2.2), (0.5868, -4.0), (0.461, -6.0), (0.5375, -8.2), (0.6708, -9.9),
        (0.575, -10.5), (0.7618, -7.5), (1.5375, -15.9), (1.8978, -6.6), (2.2242, -16.7), (2.1718, -12.4),
        (2.4942, -15.2), (2.5119, -10.8), (3.0582, -11.3), (4.081, -12.7), (4.4579, -16.2), (4.5695, -18.3),
        (4.7966, -18.9), (5.0066, -16.6), (5.3043, -19.9), (9.6586, -29.7),
    ),
    "b": (
        (0.0, 0.0), (0.1072, -2.2), (0.2155, -4.0), (0.2095, -3.2), (0.287, -9.8), (0.2986, -1.2), (0.3752, -3.4),
        (0.5055, -5.2), (0.3681, -7.6), (0.3697, -3.0), (0.57, -8.9), (0.5283, -9.0), (1.1021, -4.8), (1.2756, -5.7),
        (1.5474, -7.5), (1.7842, -1.9), (2.0169, -7.6), (2.8294, -12.2), (3.0219, -9.8), (3.6187, -11.4),
        (4.1067, -14.9), (4.279, -9.2), (4.7834, -11.3),
    ),
    "c": (
        (0.0, -4.4), (0.2099, -1.2), (0.2219, -3.5), (0.2329, -5.2), (0.2176, -2.5), (0.6366, 0.0), (0.6448, -2.2),
        (0.656, -3.9), (0.6584, -7.4), (0.7935, -7.1), (0.8213, -10.7), (0.9336, -11.1), (1.2285, -5.1),
        (1.3083, -6.8), (2.1704, -8.7), (2.7105, -13.2), (4.2589, -13.9), (4.6003, -13.9), (5.4902, -15.8),
        (5.6077, -17.1), (6.3065, -16.0), (6.6374, -15.7), (7.0427, -21.6), (8.6523, -22.8),
    ),
    "d": (
        (0.0, -0.2), (0.0, -13.5), (0.035, -18.8), (0.612, -21.0), (1.363, -22.8), (1.405, -17.9), (1.804, -20.1),
        (2.596, -21.9), (1.775, -22.9), (4.042, -27.8), (7.937, -23.6), (9.424, -24.8), (9.708, -30.0),
        (12.525, -27.7),
    ),
    "e": (
        (0.0, -0.03), (0.0, -22.03), (0.5133, -15.8), (0.544, -18.1), (0.563, -19.8), (0.544, -22.9), (0.7112, -22.4),
        (1.9092, -18.6), (1.9293, -20.8), (1.9589, -22.6), (2.6426, -22.3), (3.7136, -25.6), (5.4524, -20.2),
        (12.0034, -29.8), (20.6519, -29.2),
    ),
}
# fmt: on
_LAST_DELAY_OF_CDL_E = 20.6419
LINE_OF_SIGHT = ("d", "e")


def unit_profile(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Profile of a TDL or CDL model at an RMS delay spread of 1, in the order of the paths that are drawn.

    The table's order for TDL, ascending delays for CDL.

    Args:
        name: ``"sionna_tdl_a"`` ... ``"sionna_cdl_e"``.

    Returns:
        delays: Over the delay spread, ``[num_paths]`` float64.
        powers: Linear, sum 1, ``[num_paths]`` float64; that of a line of sight is part of the first path's.

    Raises:
        ValueError: for another name.
    """
    known = [channel for channel in CHANNELS if "_tdl_" in channel or "_cdl_" in channel]
    if name not in known:
        raise ValueError(f"{name!r} has no fixed power-delay profile; those that have: {', '.join(known)}")
    letter = name[-1]
    delays, powers_db = np.array(_TAPS[letter]).T
    powers = 10 ** (powers_db / 10)
    if letter in LINE_OF_SIGHT:
        delays = delays[1:]
        powers = np.concatenate([powers[:1] + powers[1:2], powers[2:]])
    if name == "sionna_cdl_e":
        delays[-1] = _LAST_DELAY_OF_CDL_E
    if "_cdl_" in name:
        # Sionna's draws are sorted, though its model's own list of powers is not.
        order = np.argsort(delays, kind="stable")
        delays, powers = delays[order], powers[order]
    return delays, powers / powers.sum()


def delay_profile(name: str, delay_spread: ArrayLike) -> tuple[jax.Array, np.ndarray]:
    """What a receiver may know beforehand of a TDL or CDL model; needs neither Sionna nor a draw.

    Args:
        name: As of :func:`unit_profile`; the system-level models draw their delays per link.
        delay_spread: RMS delay spread, seconds; scalar or ``[...]``, traced.

    Returns:
        delays: Seconds, ``[..., num_paths]``.
        powers: As of :func:`unit_profile`.
    """
    delays, powers = unit_profile(name)
    delay_spread = jnp.asarray(delay_spread, jnp.result_type(float))[..., None]
    return delay_spread * delays.reshape((1,) * (delay_spread.ndim - 1) + (-1,)), powers
