"""Linear precoding for a downlink with many antennas: one beam per single-antenna UAV, and one for all of them.

The base station has M = ``num_tx_ant`` antennas and K = ``num_uavs`` UAVs to serve at the same time. It sends
``W x`` with E[x x^H] = I, so that antenna m spends ``(W W^H)_mm`` and UAV k receives ``h_k W x + n_k``.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc.phy.kernels import right_inverse
from lvm_mtc.phy.numerics import abs2, align, real_dtype, require_at_least, require_complex, weighted_sum

PRECODINGS = ("rzf", "zf", "mf")
POWER_CONSTRAINTS = ("total", "per_antenna")


def _scale_to_power(w: jax.Array, total_power: jax.Array, constraint: str) -> jax.Array:
    """Give beams the power that the constraint allows; beams that are all zero stay zero."""
    if constraint not in POWER_CONSTRAINTS:
        raise ValueError(f"unknown power constraint {constraint!r}; known: {', '.join(POWER_CONSTRAINTS)}")
    per_antenna = jnp.sum(abs2(w), axis=-1)
    if constraint == "total":
        spent = jnp.sum(per_antenna, axis=-1)
    else:
        spent = w.shape[-2] * jnp.max(per_antenna, axis=-1)
    silent = spent == 0
    gain = jnp.where(silent, 0, jnp.sqrt(total_power / jnp.where(silent, 1, spent)))
    return weighted_sum((gain[..., None, None], w))


def _checked_power(total_power: ArrayLike, lead: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    require_at_least("total_power", total_power, 0.0, strict=True)
    return align("total_power", total_power, lead, 0, dtype)


def _sum_over_uavs(name: str, value: ArrayLike, h_hat: jax.Array) -> jax.Array:
    """A number per UAV, added up: scalar, or of the rank of the leading axes of ``h_hat``."""
    require_at_least(name, value, 0.0)
    value = align(name, value, h_hat.shape[:-1], 0, real_dtype(h_hat))
    return h_hat.shape[-2] * (value if value.ndim == 0 else jnp.mean(value, axis=-1))


def precoder(
    h_hat: jax.Array,
    *,
    no: ArrayLike,
    total_power: ArrayLike,
    method: str = "rzf",
    error_var: ArrayLike = 0.0,
    constraint: str = "total",
) -> jax.Array:
    r"""Beams for K single-antenna UAVs from a channel estimate with rows h_k.

    ``rzf``: W = c H_hat^H (H_hat H_hat^H + a I)^-1 with a = sum_k (no_k / P + v_k), which is K (no / P + v) for equal
    UAVs: it minimises the sum over the UAVs of E|x_k - y_k / b|^2 with one real b, for a channel H_hat + E with
    E independent of H_hat and of variance v_k per entry of row k. ``zf``: the same with a = 0. ``mf``: W = c H_hat^H.
    c > 0 makes the power exact for every H_hat, and is one number for all UAVs.

    Args:
        h_hat: Channel estimate, ``[..., num_uavs, num_tx_ant]`` complex. A base station that knows the variance of its
            error gives the posterior mean (``csi_posterior``).
        no: Noise variance per complex dimension at the UAVs, linear, >= 0 (> 0 for ``rzf`` with num_uavs > num_tx_ant);
            scalar or broadcasting against ``[..., num_uavs]``; traced. Only ``rzf`` uses it.
        total_power: P, linear, > 0; scalar or broadcasting against ``[...]``; traced.
        method: ``rzf``, ``zf`` or ``mf``.
        error_var: v, posterior variance of each entry of the channel, linear, >= 0; scalar or broadcasting against
            ``[..., num_uavs]``; traced. 0: the estimate is trusted. Only ``rzf`` uses it.
        constraint: ``total``: tr(W W^H) = P. ``per_antenna``: the antenna with the largest power spends P / num_tx_ant;
            the others spend less, so that the beams keep their directions.

    Returns:
        W, ``[..., num_tx_ant, num_uavs]`` complex; column k is the beam of UAV k. 0 where ``h_hat`` is 0 (``zf``: NaN,
        as wherever the rows of ``h_hat`` are linearly dependent).

    Raises:
        ValueError: if ``h_hat`` is not a complex matrix, a name is unknown, a Python number lies outside its domain, a
            number does not broadcast, or ``zf`` has more UAVs than antennas.

    Source: Peel, Hochwald, Swindlehurst, A vector-perturbation technique for near-capacity multiantenna multiuser
    communication, Part I (2005), section IV; with CSI error: Dabbagh and Love, Multiple antenna MMSE based downlink
    precoding with quantized feedback or channel mismatch (2008). There all UAVs have one noise variance.
    """
    require_complex("h_hat", h_hat)
    if h_hat.ndim < 2:
        raise ValueError(f"h_hat must be [..., num_uavs, num_tx_ant], got shape {h_hat.shape}")
    if method not in PRECODINGS:
        raise ValueError(f"unknown precoding method {method!r}; known: {', '.join(PRECODINGS)}")
    *lead, num_uavs, num_tx_ant = h_hat.shape
    if method == "zf" and num_uavs > num_tx_ant:
        raise ValueError(f"zf precoding needs num_uavs <= num_tx_ant, got {num_uavs} > {num_tx_ant}")
    power = _checked_power(total_power, tuple(lead), real_dtype(h_hat))
    ridge = _sum_over_uavs("no", no, h_hat) / power + _sum_over_uavs("error_var", error_var, h_hat)
    if method == "mf":
        w = jnp.conj(jnp.swapaxes(h_hat, -1, -2))
    else:
        ridge = ridge if method == "rzf" else jnp.zeros_like(ridge)
        w = _regularised(h_hat, jnp.broadcast_to(ridge, tuple(lead)))
    return _scale_to_power(w, power, constraint)


def _regularised(h: jax.Array, ridge: jax.Array) -> jax.Array:
    """``H^H (H H^H + a I)^-1`` up to a positive factor, at a scale where no power of it under- or overflows."""
    scale = jax.lax.stop_gradient(ridge + jnp.mean(jnp.sum(abs2(h), axis=-1), axis=-1))
    scale = jnp.where(scale > 0, scale, 1)
    return right_inverse(weighted_sum(((1 / jnp.sqrt(scale))[..., None, None], h)), ridge / scale)


def multicast_beam(w: jax.Array, *, total_power: ArrayLike, constraint: str = "total") -> jax.Array:
    """One beam that all UAVs hear: the sum of their private beams, with the whole power.

    Args:
        w: Private beams, ``[..., num_tx_ant, num_uavs]`` complex; see :func:`precoder`.
        total_power: P, linear, > 0; scalar or broadcasting against ``[...]``; traced.
        constraint: ``total``: the beam's power is P. ``per_antenna``: its largest antenna power is P / num_tx_ant.

    Returns:
        ``[..., num_tx_ant]`` complex.

    Raises:
        ValueError: if ``w`` is not a complex matrix, the constraint is unknown, or the power does not fit or is not
            positive.
    """
    require_complex("w", w)
    if w.ndim < 2:
        raise ValueError(f"w must be [..., num_tx_ant, num_uavs], got shape {w.shape}")
    power = _checked_power(total_power, w.shape[:-2], real_dtype(w))
    return _scale_to_power(jnp.sum(w, axis=-1, keepdims=True), power, constraint)[..., 0]
