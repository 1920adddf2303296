"""Power-delay profiles of Sionna's tapped and clustered delay lines, so that a receiver knows them without a draw."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.interop.sionna import CHANNELS
from lvm_mtc.phy import delay_lines


def unit_profile(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Profile of a TDL or CDL model at an RMS delay spread of 1, in the order of the paths that are drawn.

    The table's order for TDL, ascending delays for CDL.

    Args:
        name: ``"sionna_tdl_a"`` ... ``"sionna_cdl_e"``, or one of ``phy.DELAY_LINES``.

    Returns:
        As ``phy.delay_lines.unit_profile``.

    Raises:
        ValueError: for another name.
    """
    known = [channel for channel in CHANNELS if "_tdl_" in channel or "_cdl_" in channel]
    if name not in (*known, *delay_lines.DELAY_LINES):
        raise ValueError(f"{name!r} has no fixed power-delay profile; those that have: {', '.join(known)}")
    delays, powers = delay_lines.unit_profile(name.removeprefix("sionna_"))
    if name.startswith("sionna_cdl_"):
        # Sionna's draws are sorted, though its model's own list of powers is not.
        order = np.argsort(delays, kind="stable")
        delays, powers = delays[order], powers[order]
    return delays, powers


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
