"""Rician K factor of low-altitude UAVs with line of sight, by name."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc.phy.aerial_tables import find_scenario

RICIAN_MODELS = ("alternative1", "alternative2", "alternative3", "elevation")

# Mean K factor with line of sight up to the border, dB: TR 38.901, table 7.5-6.
_LOW_K_DB = {"RMa-AV": 7.0, "UMa-AV": 9.0, "UMi-AV": 9.0}


def elevation_k_factor_db(
    elevation: ArrayLike, *, horizon_db: jax.Array | float = 5.0, zenith_db: jax.Array | float = 15.0
) -> jax.Array:
    """Rician factor that grows exponentially with the elevation angle: its dB value is linear in the angle.

    ``K = K_0 exp(2 theta / pi ln(K_90 / K_0))``.

    Args:
        elevation: theta, rad, in [-pi/2, pi/2]; its sign does not matter.
        horizon_db: K_0, at 0 degrees, dB.
        zenith_db: K_90, at 90 degrees, dB.

    Returns:
        K, dB, shape of ``elevation``.

    Source: Azari, Rosas, Chen, Pollin, Ultra reliable UAV communication using altitude and cooperation diversity
    (2018), with their example of 5 and 15 dB.
    """
    return horizon_db + (zenith_db - horizon_db) * (2 / math.pi) * jnp.abs(jnp.asarray(elevation))


def rician_k_factor_db(height: jax.Array, elevation: jax.Array, *, scenario: str, model: str) -> jax.Array:
    """Rician factor with line of sight.

    ``alternative1``: 20 dB; UMi-AV takes over the "reverse" UMa, whose mean is 9 dB. ``alternative2``: UMa-AV
    4.217 log10(h) + 5.787 dB, RMa-AV 22.55 log10(h) - 4.72 dB; the report refers to another document for UMi-AV.
    ``alternative3``: 15 dB. For all three, up to 10 m (RMa-AV) or 22.5 m the means of TR 38.901 apply, 7 dB (RMa) or
    9 dB. ``elevation``: :func:`elevation_k_factor_db` with its default ends, at all heights.

    Where the reports draw K log-normally, this is its mean in dB.

    Args:
        height: Of the UAV, m, ``[...]``.
        elevation: Angle, rad, ``[...]``; for the last model.
        scenario: ``RMa-AV``, ``UMa-AV`` or ``UMi-AV``.
        model: One of ``RICIAN_MODELS``.

    Returns:
        K, dB, ``[...]``.

    Raises:
        ValueError: on unknown names, or ``alternative2`` with UMi-AV.

    Source: TR 36.777, table B-4 and B.1 (tables B.1.1-1 and -2, B.1.2-1 and -2, B.1.3); TR 38.901, table 7.5-6.
    """
    border = find_scenario(scenario).border
    if model not in RICIAN_MODELS:
        raise ValueError(f"unknown Rician model {model!r}; known: {', '.join(RICIAN_MODELS)}")
    if model == "elevation":
        return elevation_k_factor_db(elevation)
    if model == "alternative3":
        high = jnp.full_like(height, 15.0)
    elif model == "alternative1":
        high = jnp.full_like(height, _LOW_K_DB["UMa-AV"] if scenario == "UMi-AV" else 20.0)
    elif scenario == "UMi-AV":
        raise ValueError("Rician model 'alternative2' has no table for UMi-AV in TR 36.777; use another model")
    else:
        slope, offset = (22.55, -4.72) if scenario == "RMa-AV" else (4.217, 5.787)
        high = slope * jnp.log10(height) + offset
    return jnp.where(height > border, high, _LOW_K_DB[scenario])
