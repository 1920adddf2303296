"""Imperfect channel knowledge: error models, what the receiver can infer from an estimate, and pilots.

Two models of an estimate with error variance s = ``csi_error_var``, from the same unit-variance draw w:

* ``additive``: ``h_hat = h + sqrt(s) w``; the error is independent of the channel. LS estimates from pilots are of
  this kind, with s = no / num_pilots.
* ``mmse``: ``h_hat = (1 - s) h + sqrt(s (1 - s)) w``, 0 <= s < 1; then ``h = h_hat + e`` with e ~ CN(0, s) independent
  of ``h_hat`` (for Gaussian h; uncorrelated with it for other zero-mean unit-power fading). LMMSE estimates from
  pilots are of this kind, with s = no / (no + num_pilots).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.phy.numerics import (
    align,
    known,
    real_dtype,
    require_at_least,
    require_complex,
    require_count,
    standard_deviation,
    weighted_sum,
)
from lvm_mtc.phy.units import db_to_linear, linear_to_db

CSI_MODELS = ("additive", "mmse", "pilots_ls", "pilots_lmmse")


class ChannelPrior(NamedTuple):
    """What a receiver knows about the channel before any pilot: first and second moments.

    The channel is ``mean + D`` where D has zero mean, power ``scattered_power`` per entry and, if given, Kronecker
    correlation. The default is the i.i.d. unit prior.

    Attributes:
        mean: Mean channel, broadcasts against ``[..., num_rx_ant, num_tx_ant]``, complex; None is zero.
        scattered_power: Power of an entry of D, linear, scalar.
        rx_corr: Receive correlation of D, ``[num_rx_ant, num_rx_ant]``, or None.
        tx_corr: Transmit correlation of D, ``[num_tx_ant, num_tx_ant]``, or None.
    """

    mean: jax.Array | None = None
    scattered_power: ArrayLike = 1.0
    rx_corr: jax.Array | None = None
    tx_corr: jax.Array | None = None


def _checked(h: jax.Array, csi_error_var: ArrayLike) -> jax.Array:
    require_complex("the channel", h)
    if h.ndim < 2:
        raise ValueError(f"a channel must be [..., num_rx_ant, num_tx_ant], got shape {h.shape}")
    require_at_least("csi_error_var", csi_error_var, 0.0)
    return align("csi_error_var", csi_error_var, h.shape[:-2], 2, real_dtype(h))


def _mean(h: jax.Array, prior: ChannelPrior) -> jax.Array:
    mean = jnp.zeros((), h.dtype) if prior.mean is None else jnp.asarray(prior.mean, h.dtype)
    try:
        return jnp.broadcast_to(mean, h.shape)
    except ValueError as error:
        raise ValueError(f"prior.mean {mean.shape} does not broadcast to the channel's shape {h.shape}") from error


def estimate_csi(
    h: jax.Array,
    w: jax.Array,
    csi_error_var: ArrayLike,
    *,
    model: str = "additive",
    prior: ChannelPrior | None = None,
) -> jax.Array:
    """Channel estimate of a given error variance, from a unit-variance draw.

    Args:
        h: Channel, ``[..., num_rx_ant, num_tx_ant]`` complex.
        w: Draw with entries CN(0, 1), shape of ``h``.
        csi_error_var: s, variance of each entry of the error, linear, >= 0 (``mmse``: below the scattered power, which
            is 1 by default); scalar or broadcasting against ``[...]``. Its gradient at 0 is NaN: the estimate moves
            with the square root of s.
        model: ``additive`` or ``mmse``; see the top of this module.
        prior: For ``mmse`` with a channel that has a mean (Rician): ``h_hat - mean`` is then the estimate of the
            scattered part. None is the i.i.d. unit prior.

    Returns:
        ``h_hat``, shape of ``h``.

    Raises:
        ValueError: on an unknown model, shapes that do not fit, a Python number s outside its domain, or ``mmse``
            with a correlated prior (use ``pilots_ls`` and :func:`csi_posterior`).
    """
    s = _checked(h, csi_error_var)
    if w.shape != h.shape:
        raise ValueError(f"w {w.shape} must have the shape of h {h.shape}")
    if model == "additive":
        return weighted_sum((1, h), (standard_deviation(s), w))
    if model != "mmse":
        raise ValueError(f"unknown CSI error model {model!r}; known: additive, mmse")
    prior = ChannelPrior() if prior is None else prior
    if prior.rx_corr is not None or prior.tx_corr is not None:
        raise ValueError("model 'mmse' is defined for uncorrelated fading; use 'additive' with csi_posterior")
    error, power = known(csi_error_var), known(prior.scattered_power)
    if error is not None and power is not None and not np.all(error < power):
        raise ValueError(f"csi_error_var must be < {prior.scattered_power} for model 'mmse', got {csi_error_var}")
    mean = _mean(h, prior)
    shrink = 1 - s / jnp.asarray(prior.scattered_power, s.dtype)
    return weighted_sum((shrink, h), (1 - shrink, mean), (standard_deviation(s * shrink), w))


def csi_posterior(
    h_hat: jax.Array, csi_error_var: ArrayLike, *, prior: ChannelPrior | None = None
) -> tuple[jax.Array, jax.Array]:
    """Mean and error variance of the channel given an estimate with additive error.

    With power q per scattered entry and s = ``csi_error_var``: mean ``mu + q/(q+s) (h_hat - mu)`` and variance
    ``q s/(q+s)``; for the default prior ``h_hat/(1+s)`` and ``s/(1+s)``. Exact for Gaussian fading; for Nakagami and
    Fisher-Snedecor fading it is the linear MMSE estimate and its error variance. Correlated priors have an error that
    is not white: see :func:`csi_posterior_correlated`.

    Args:
        h_hat: Estimate ``h + e``, e ~ CN(0, s) independent of h, ``[..., num_rx_ant, num_tx_ant]`` complex.
        csi_error_var: s, linear, >= 0; scalar or broadcasting against ``[...]``.
        prior: Moments of the channel without correlation. None is the i.i.d. unit prior.

    Returns:
        mean: ``[..., num_rx_ant, num_tx_ant]`` complex.
        variance: Per entry, linear; scalar, or of the rank of ``[...]``.

    Raises:
        ValueError: on shapes that do not fit, a negative Python number s, or a correlated prior.
    """
    s = _checked(h_hat, csi_error_var)
    prior = ChannelPrior() if prior is None else prior
    if prior.rx_corr is not None or prior.tx_corr is not None:
        raise ValueError("the error of a correlated channel is not white: use csi_posterior_correlated")
    q = jnp.asarray(prior.scattered_power, s.dtype)
    weight = q / (q + s)
    variance = s * weight
    variance = variance if variance.ndim == 0 else variance[..., 0, 0]
    if prior.mean is None:
        return weighted_sum((weight, h_hat)), variance
    return weighted_sum((weight, h_hat), (1 - weight, _mean(h_hat, prior))), variance


def csi_posterior_correlated(
    h_hat: jax.Array, csi_error_var: ArrayLike, *, prior: ChannelPrior
) -> tuple[jax.Array, jax.Array]:
    """Posterior of a Kronecker-correlated channel, ``mu + R (R + s I)^-1 (h_hat - mu)``, and its error covariance.

    R is diagonal in the eigenbases of the two correlation matrices, with eigenvalues
    ``scattered_power * rx_i * tx_j``; no matrix of size num_rx_ant num_tx_ant is formed. The correlation matrices are
    treated as constants (the gradient of their eigenbasis does not exist where eigenvalues coincide).

    Args:
        h_hat: Estimate with additive error, ``[..., num_rx_ant, num_tx_ant]`` complex.
        csi_error_var: s, linear, >= 0; scalar or broadcasting against ``[...]``.
        prior: Moments of the channel.

    Returns:
        mean: ``[..., num_rx_ant, num_tx_ant]`` complex.
        error_cov: E[E E^H | h_hat], the covariance that the error E x adds to the noise for E[x x^H] = I,
            ``[num_rx_ant, num_rx_ant]`` or, where s has axes, ``[..., num_rx_ant, num_rx_ant]``.

    Raises:
        ValueError: on shapes that do not fit or a negative Python number s.
    """
    s = _checked(h_hat, csi_error_var)
    num_rx_ant, num_tx_ant = h_hat.shape[-2:]
    bases = []
    for name, corr, size in (("rx_corr", prior.rx_corr, num_rx_ant), ("tx_corr", prior.tx_corr, num_tx_ant)):
        corr = jnp.eye(size, dtype=h_hat.dtype) if corr is None else jnp.asarray(corr, h_hat.dtype)
        if corr.shape != (size, size):
            raise ValueError(f"prior.{name} must have shape {(size, size)} for h_hat {h_hat.shape}, got {corr.shape}")
        bases.append(jnp.linalg.eigh(jax.lax.stop_gradient(corr)))
    (rx_eig, rx_basis), (tx_eig, tx_basis) = bases
    q = jnp.asarray(prior.scattered_power, s.dtype)
    power = q * jnp.maximum(rx_eig, 0)[:, None] * jnp.maximum(tx_eig, 0)[None, :]
    if s.ndim:
        power = power.reshape((1,) * (s.ndim - 2) + power.shape)
    total = power + s
    weight = jnp.where(total > 0, power / jnp.where(total > 0, total, 1), 0)
    mean = _mean(h_hat, prior)
    # H = U_rx D U_tx^H: E[h_ij h_kl^*] = R_rx[i, k] R_tx[l, j], so rows rotate with U_rx and columns with U_tx.
    rotated = jnp.einsum("ji,...jk,kl->...il", jnp.conj(rx_basis), h_hat - mean, tx_basis)
    weight_full = weight if weight.ndim == h_hat.ndim else weight.reshape((1,) * (h_hat.ndim - 2) + weight.shape)
    mean = mean + jnp.einsum(
        "ij,...jk,lk->...il", rx_basis, weight_full.astype(rotated.dtype) * rotated, jnp.conj(tx_basis)
    )
    spread = jnp.sum(s * weight, axis=-1).astype(h_hat.dtype)
    return mean, jnp.einsum("ij,...j,kj->...ik", rx_basis, spread, jnp.conj(rx_basis))


def pilot_matrix(num_tx_ant: int, num_pilots: int, dtype: DTypeLike = jnp.complex64) -> jax.Array:
    """Orthogonal unit-power pilots: rows of a DFT matrix, ``P P^H = num_pilots I``.

    Args:
        num_tx_ant: Transmit antennas.
        num_pilots: Pilot symbols per antenna, >= num_tx_ant.
        dtype: Complex dtype.

    Returns:
        P, ``[num_tx_ant, num_pilots]``, entries of magnitude 1.

    Raises:
        ValueError: if there are fewer pilots than antennas.
    """
    require_pilots(num_pilots, num_tx_ant)
    turns = np.outer(np.arange(num_tx_ant), np.arange(num_pilots)) % num_pilots / num_pilots
    return jnp.asarray(np.exp(-2j * np.pi * turns), dtype)


def require_pilots(num_pilots: int | None, num_tx_ant: int) -> int:
    """``num_pilots``; raises ``ValueError`` unless it is an integer >= ``num_tx_ant``."""
    if num_pilots is None:
        raise ValueError("num_pilots is needed for pilot-based CSI, got None")
    require_count("num_pilots", num_pilots)
    if num_pilots < num_tx_ant:
        raise ValueError(f"num_pilots must be >= num_tx_ant for orthogonal pilots, got {num_pilots} < {num_tx_ant}")
    return num_pilots


def pilot_uses(num_pilots: int, num_tx_ant: int, num_blocks: int = 1) -> int:
    """Channel uses that pilots cost: common to all UAVs, so counted once, ``num_pilots * num_tx_ant`` per block."""
    require_pilots(num_pilots, num_tx_ant)
    return num_pilots * num_tx_ant * num_blocks


def pilot_error_var(no: ArrayLike, num_pilots: int, *, estimator: str = "ls") -> jax.Array:
    """Error variance of a pilot-based estimate of unit-power i.i.d. fading.

    Args:
        no: Noise variance per complex dimension while pilots are sent over the power of a pilot, linear.
        num_pilots: Orthogonal pilots per antenna, T.
        estimator: ``ls`` (no/T) or ``lmmse`` (no/(no + T)).

    Returns:
        Error variance per entry, linear, shape of ``no``.

    Raises:
        ValueError: on an unknown estimator.
    """
    if estimator == "ls":
        return jnp.asarray(no) / num_pilots
    if estimator == "lmmse":
        return jnp.asarray(no) / (jnp.asarray(no) + num_pilots)
    raise ValueError(f"unknown pilot estimator {estimator!r}; known: ls, lmmse")


def estimate_from_pilots(
    y_pilots: jax.Array,
    pilots: jax.Array,
    no: ArrayLike,
    *,
    estimator: str = "ls",
    prior: ChannelPrior | None = None,
) -> jax.Array:
    """Channel estimate from received orthogonal pilots, ``Y_p = H P + N``.

    LS: ``Y_p P^H / T``, which is ``additive`` with s = no/T. LMMSE: the posterior mean of that, which for the default
    prior is ``mmse`` with s = no/(no + T).

    Args:
        y_pilots: Received pilots, ``[..., num_rx_ant, num_pilots]`` complex.
        pilots: P with ``P P^H = num_pilots I``, ``[num_tx_ant, num_pilots]`` complex.
        no: Noise variance per complex dimension, linear; scalar or broadcasting against ``[...]``. Unused by LS.
        estimator: ``ls`` or ``lmmse``.
        prior: Moments of the channel for ``lmmse``. None is the i.i.d. unit prior.

    Returns:
        ``h_hat [..., num_rx_ant, num_tx_ant]``.

    Raises:
        ValueError: on an unknown estimator or pilots that do not fit.
    """
    if pilots.ndim != 2 or y_pilots.shape[-1] != pilots.shape[1] or pilots.shape[1] < pilots.shape[0]:
        raise ValueError(f"pilots {pilots.shape} do not fit y_pilots {y_pilots.shape}")
    num_pilots = pilots.shape[1]
    h_ls = jnp.einsum("...mt,nt->...mn", y_pilots, jnp.conj(pilots)) / num_pilots
    if estimator == "ls":
        return h_ls
    error_var = pilot_error_var(no, num_pilots, estimator="ls")
    if estimator != "lmmse":
        raise ValueError(f"unknown pilot estimator {estimator!r}; known: ls, lmmse")
    if prior is not None and (prior.rx_corr is not None or prior.tx_corr is not None):
        return csi_posterior_correlated(h_ls, error_var, prior=prior)[0]
    return csi_posterior(h_ls, error_var, prior=prior)[0]


def nmse_db_to_error_var(nmse_db: ArrayLike) -> jax.Array:
    """sigma_e^2 of an estimate whose normalised error E||H_hat - H||^2 / E||H||^2 is ``nmse_db`` dB (E|h|^2 = 1)."""
    return db_to_linear(nmse_db)


def error_var_to_nmse_db(csi_error_var: ArrayLike) -> jax.Array:
    """Inverse of :func:`nmse_db_to_error_var`: normalised error in dB; minus infinity for perfect knowledge."""
    return linear_to_db(csi_error_var)
