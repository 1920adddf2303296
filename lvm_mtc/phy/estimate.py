"""What a receiver knows of its channel: the estimate, and what follows from it for a receiver that knows its error."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.phy.csi import ChannelPrior, csi_posterior, csi_posterior_correlated, estimate_csi
from lvm_mtc.phy.numerics import require_given, standard_deviation, weighted_sum


class Estimate(NamedTuple):
    """A channel estimate and its posterior.

    Attributes:
        h_hat: What the estimator returned, shape of the channel.
        mean: Posterior mean, shape of the channel.
        error_var: White part of the posterior's error variance, linear; scalar or ``[..., 1 or num_blocks]``.
        error_cov: Coloured part, E[E E^H | h_hat], ``[num_rx_ant, num_rx_ant]`` with leading axes where the error
            variance has them; None if the error is white.
    """

    h_hat: jax.Array
    mean: jax.Array
    error_var: jax.Array
    error_cov: jax.Array | None


def _is_correlated(prior: ChannelPrior | None) -> bool:
    return prior is not None and (prior.rx_corr is not None or prior.tx_corr is not None)


def _posterior(h_hat, error_var, prior):
    """Posterior mean, white error variance and coloured error covariance (None if white) under additive error."""
    if _is_correlated(prior):
        mean, error_cov = csi_posterior_correlated(h_hat, error_var, prior=prior)
        return mean, jnp.zeros((), error_var.dtype), error_cov
    return *csi_posterior(h_hat, error_var, prior=prior), None


def estimate_awgn(h: jax.Array, draw: jax.Array | None, error_var: jax.Array, h_hat: jax.Array | None) -> Estimate:
    """What a receiver knows of channels that are 1: ``h_hat = 1 + e``, which it does not shrink.

    Args:
        h: Ones, ``[..., num_blocks, num_tx_ant]``.
        draw: CN(0, 1), shape of ``h``; None with ``h_hat``.
        error_var: Variance of the error, linear; scalar or of the rank ``[..., num_blocks]``.
        h_hat: The estimate, if it comes from elsewhere.
    """
    if h_hat is None:
        level = standard_deviation(error_var)
        h_hat = weighted_sum((1, h), (level if level.ndim == 0 else level[..., None], require_given("draw", draw)))
    return Estimate(h_hat, h_hat, error_var, None)


def estimate_fading(
    h: jax.Array,
    draw: jax.Array | None,
    error_var: jax.Array,
    *,
    csi: str,
    prior: ChannelPrior | None,
    h_hat: jax.Array | None = None,
) -> Estimate:
    """What a receiver knows of a fading channel.

    Args:
        h: Channel, ``[..., num_blocks, num_rx_ant, num_tx_ant]``.
        draw: CN(0, 1), shape of ``h``; None with ``h_hat``.
        error_var: Variance of the raw estimate's error (of the error given the estimate under ``mmse``), linear;
            scalar or of the rank ``[..., num_blocks]``.
        csi: One of ``CSI_MODELS``.
        prior: What is known beforehand; None is the i.i.d. unit prior.
        h_hat: The estimate, if it comes from elsewhere: what the estimator named by ``csi`` returned.
    """
    if csi == "mmse":
        if h_hat is None:
            h_hat = estimate_csi(h, require_given("draw", draw), error_var, model="mmse", prior=prior)
        return Estimate(h_hat, h_hat, error_var, None)
    if h_hat is not None and csi == "pilots_lmmse":
        _, variance, error_cov = _posterior(h_hat, error_var, prior)
        return Estimate(h_hat, h_hat, variance, error_cov)
    raw = estimate_csi(h, require_given("draw", draw), error_var, model="additive") if h_hat is None else h_hat
    mean, variance, error_cov = _posterior(raw, error_var, prior)
    return Estimate(mean if csi == "pilots_lmmse" else raw, mean, variance, error_cov)
