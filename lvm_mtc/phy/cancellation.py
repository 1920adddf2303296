"""Interference cancellation with L-MMSE filters: one stream after the other (SIC), and all at once (PIC).

Both ask for the same thing: the L-MMSE estimate of each stream where the other streams have a mean and a variance. With
``x_n = mean_n + sqrt(variance_n) u_n`` that is the unbiased equaliser's estimate of u.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc.phy.detection import exact_detector
from lvm_mtc.phy.kernels import transmit
from lvm_mtc.phy.mimo import lmmse_equalizer, prepare
from lvm_mtc.phy.modulation import qam_llr, qam_map, qam_mean, qam_posterior
from lvm_mtc.phy.numerics import fit, real_dtype, safe_sqrt, weighted_sum

CANCELLATIONS = ("hard", "mean")


def _estimate(y, h, no, mean, variance, noise_cov):
    """Unbiased estimates of all streams, each as if it were of variance its own and the others as told."""
    deviation = safe_sqrt(variance)
    left = weighted_sum((1, y), (-1, transmit(h, mean)))
    scaled = weighted_sum((deviation[..., None, :], h))
    u_hat, no_eff = lmmse_equalizer(left, scaled, no, variant="unbiased", noise_cov=noise_cov)
    return weighted_sum((1, mean), (deviation, u_hat)), variance * no_eff


def sic_equalizer(
    y: jax.Array,
    h_hat: jax.Array,
    no: ArrayLike,
    bits_per_symbol: int,
    *,
    cancellation: str = "hard",
    noise_cov: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """MMSE-SIC: the stream of smallest error is estimated, decided and subtracted, then the next one (V-BLAST).

    Args:
        y: Received symbols, ``[..., num_rx_ant]`` complex.
        h_hat: Channel, ``[..., num_rx_ant, num_tx_ant]`` complex; leading axes broadcast against those of ``y``. What
            is unknown of it counts as noise: ``no + num_tx_ant csi_error_var``.
        no: Noise variance per complex dimension, linear, >= 0; scalar or broadcasting against ``[...]``.
        bits_per_symbol: Of the QAM of all streams, 1, 2, 4, 6 or 8; static.
        cancellation: ``"hard"``: the nearest point is subtracted and taken for what was sent; ``"mean"``: the posterior
            mean, and the posterior variance is left as interference; static.
        noise_cov: Covariance of further noise, as ``lmmse_equalizer`` has it.

    Returns:
        x_hat: Unbiased estimates, ``[..., num_tx_ant]`` complex, each from where its turn came.
        no_eff: Their error variance as the receiver believes it, linear, ``[..., num_tx_ant]``. With ``"hard"`` it is
            that of correct decisions.

    Raises:
        ValueError: on an unknown name, or shapes that do not fit.

    Source: Wolniansky et al., V-BLAST, ISSSE (1998); Choi, Cheong and Cioffi, Iterative soft interference cancellation
    for multiple antenna systems, WCNC (2000), for the mean.
    """
    if cancellation not in CANCELLATIONS:
        raise ValueError(f"unknown cancellation {cancellation!r}; known: {', '.join(CANCELLATIONS)}")
    y, h, no, _, _, noise_cov = prepare(y, h_hat, no, 0.0, None, noise_cov)
    shape = (*jnp.broadcast_shapes(y.shape[:-1], h.shape[:-2]), h.shape[-1])
    zero, one = jnp.zeros(shape, y.dtype), jnp.ones(shape, real_dtype(y))

    def turn(_, state):
        x_hat, no_eff, mean, variance, waiting = state
        estimate, error = _estimate(y, h, no, mean, variance, noise_cov)
        next_one = jnp.argmin(jnp.where(waiting, error, jnp.inf), axis=-1, keepdims=True)
        now = jnp.arange(shape[-1]).reshape((1,) * (len(shape) - 1) + (-1,)) == next_one
        if cancellation == "hard":
            bits = (qam_llr(estimate, error, bits_per_symbol, "maxlog") > 0).astype(error.dtype)
            decided = qam_map(bits, bits_per_symbol, y.dtype)
            left = jnp.zeros_like(variance)
        else:
            decided, left = qam_posterior(estimate, error, bits_per_symbol)
        return (
            jnp.where(now, estimate, x_hat),
            jnp.where(now, error, no_eff),
            jnp.where(now, decided, mean),
            jnp.where(now, left, variance),
            waiting & ~now,
        )

    state = jax.lax.fori_loop(0, shape[-1], turn, (zero, one, zero, one, jnp.ones(shape, bool)))
    return state[0], state[1]


def pic_detector(
    y: jax.Array,
    h_hat: jax.Array,
    no: ArrayLike,
    bits_per_symbol: int,
    *,
    prior: ArrayLike | None = None,
    method: str = "app",
    noise_cov: jax.Array | None = None,
) -> jax.Array:
    """MMSE-PIC: LLRs from L-MMSE estimates of each stream, the others' means under the prior subtracted.

    Without a prior these are the LLRs of the unbiased L-MMSE equaliser. One factorisation serves all streams.

    Args:
        y: Received symbols, ``[..., num_rx_ant]`` complex.
        h_hat: As :func:`sic_equalizer`.
        no: As :func:`sic_equalizer`.
        bits_per_symbol: 1, 2, 4, 6 or 8; static.
        prior: LLRs of the bits before y was heard, ``[..., num_tx_ant * bits_per_symbol]``; None: equally likely.
        method: ``"app"`` or ``"maxlog"``, as ``qam_llr`` has it; static.
        noise_cov: As :func:`sic_equalizer`.

    Returns:
        Extrinsic LLRs, stream after stream, ``[..., num_tx_ant * bits_per_symbol]`` real.

    Raises:
        ValueError: if shapes do not fit or a name is unknown.

    Source: Studer, Fateh and Seethaler, ASIC implementation of soft-input soft-output MIMO detection using MMSE
    parallel interference cancellation, IEEE JSSC 46 (2011).
    """
    y, h, no, _, _, noise_cov = prepare(y, h_hat, no, 0.0, None, noise_cov)
    num_tx_ant, dtype = h.shape[-1], real_dtype(y)
    lead = jnp.broadcast_shapes(y.shape[:-1], h.shape[:-2])
    prior = jnp.zeros((), dtype) if prior is None else prior
    prior = fit("prior", prior, (*lead, num_tx_ant * bits_per_symbol), dtype)
    mean, variance = qam_mean(prior, bits_per_symbol)
    # Of a stream that is known better than this the filter keeps no digits.
    variance = jnp.maximum(variance, jnp.finfo(dtype).eps ** 0.5)
    x_hat, no_eff = _estimate(y, h, no, mean, variance, noise_cov)
    alone = jnp.ones((1,) * x_hat.ndim + (1, 1), x_hat.dtype)
    prior = prior.reshape(*x_hat.shape, bits_per_symbol)
    found = exact_detector(x_hat[..., None], alone, no_eff, bits_per_symbol, prior=prior, method=method)
    return found.llr.reshape(*lead, num_tx_ant * bits_per_symbol)
