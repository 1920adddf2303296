"""Linear receivers as matrices, ``x_hat = G y``: that of the LMMSE equaliser, and the true error of any."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc.phy.mimo import lmmse_equalizer
from lvm_mtc.phy.numerics import abs2, align, lift, real_dtype, require_complex


def lmmse_matrix(
    h_hat: jax.Array, no: ArrayLike, csi_error_var: ArrayLike = 0.0, *, noise_cov: jax.Array | None = None
) -> jax.Array:
    """The (biased) LMMSE matrix ``G = H_hat^H (H_hat H_hat^H + (no + num_tx_ant csi_error_var) I + noise_cov)^-1``.

    Args:
        h_hat: Channel estimate, ``[..., num_rx_ant, num_tx_ant]`` complex.
        no: Noise variance per complex dimension, linear, > 0; scalar or broadcasting against ``[...]``.
        csi_error_var: Variance of each entry of the error of ``h_hat``, linear; 0 gives Eq. 5 of LVM-MTC.
        noise_cov: Covariance of further, coloured noise, broadcasting against ``[..., num_rx_ant, num_rx_ant]``.

    Returns:
        G, ``[..., num_tx_ant, num_rx_ant]`` complex.

    Raises:
        ValueError: if shapes do not fit or a number is negative.
    """
    require_complex("h_hat", h_hat)
    if h_hat.ndim < 2:
        raise ValueError(f"h_hat must be [..., num_rx_ant, num_tx_ant], got shape {h_hat.shape}")
    num_rx_ant, num_tx_ant = h_hat.shape[-2:]
    lead = h_hat.shape[:-2]
    no = align("no", no, lead, 0, real_dtype(h_hat)) + num_tx_ant * align(
        "csi_error_var", csi_error_var, lead, 0, real_dtype(h_hat)
    )
    # One unit vector of the observation per column of G, on a new leading axis: H is factored once for all of them.
    probes = jnp.eye(num_rx_ant, dtype=h_hat.dtype).reshape(num_rx_ant, *(1,) * len(lead), num_rx_ant)
    columns, _ = lmmse_equalizer(probes, h_hat, no, variant="paper", noise_cov=noise_cov)
    return jnp.moveaxis(columns, 0, -1)


def post_detection_mse(
    g: jax.Array,
    h: jax.Array,
    no: ArrayLike,
    csi_error_var: ArrayLike = 0.0,
    *,
    noise_cov: jax.Array | None = None,
) -> jax.Array:
    """True mean squared error per stream of any linear receiver ``x_hat = G y``.

    Given the channel: pass h. Given only an estimate: pass its posterior mean and variance (``csi_posterior``), and
    the result is the mean over the channels that the estimate leaves possible,
    ``||g_n H - e_n||^2 + (no + num_tx_ant csi_error_var) ||g_n||^2``.

    Args:
        g: Receiver matrix, ``[..., num_tx_ant, num_rx_ant]`` complex.
        h: Channel or its posterior mean, ``[..., num_rx_ant, num_tx_ant]`` complex.
        no: Noise variance per complex dimension, linear; scalar or broadcasting against ``[...]``.
        csi_error_var: Posterior variance of each entry, linear; scalar or broadcasting against ``[...]``.
        noise_cov: Covariance of further, coloured noise, broadcasting against ``[..., num_rx_ant, num_rx_ant]``.

    Returns:
        E|x_hat_n - x_n|^2 per stream for E[x x^H] = I, linear, ``[..., num_tx_ant]``; their sum is
        ``||G H - I||_F^2 + (no + num_tx_ant csi_error_var) ||G||_F^2``.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if g.ndim < 2 or h.ndim < 2 or g.shape[-2:] != h.shape[-2:][::-1]:
        raise ValueError(f"g {g.shape} must be [..., num_tx_ant, num_rx_ant] for h {h.shape}")
    num_tx_ant = h.shape[-1]
    lead = jnp.broadcast_shapes(g.shape[:-2], h.shape[:-2])
    g, h = lift(g, lead, 2), lift(h, lead, 2)
    residual = jnp.einsum("...nm,...mk->...nk", g, h, precision="highest") - lift(
        jnp.eye(num_tx_ant, dtype=h.dtype), lead, 2
    )
    white = align("no", no, lead, 1, real_dtype(h)) + num_tx_ant * align(
        "csi_error_var", csi_error_var, lead, 1, real_dtype(h)
    )
    mse = jnp.sum(abs2(residual), axis=-1) + white * jnp.sum(abs2(g), axis=-1)
    if noise_cov is not None:
        cov = lift(jnp.asarray(noise_cov, g.dtype), lead, 2)
        mse = mse + jnp.real(jnp.einsum("...nm,...mk,...nk->...n", g, cov, jnp.conj(g), precision="highest"))
    return mse
