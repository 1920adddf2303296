"""Correlation of the antennas of a line array."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.phy.numerics import known, require_count


def exp_corr_mat(a: ArrayLike, n: int, dtype: DTypeLike = jnp.complex64) -> jax.Array:
    """Exponential correlation matrix of a line array.

    Entry (i, j) is ``a^(i - j)`` for i >= j and the conjugate of entry (j, i) otherwise.

    Args:
        a: Correlation of neighbouring antennas, complex or real, of magnitude :func:`largest_correlation` at most.
        n: Number of antennas.
        dtype: Complex dtype.

    Returns:
        Hermitian positive definite matrix with unit diagonal, ``[n, n]``.

    Raises:
        ValueError: if ``n`` is not an integer >= 1, or a Python number ``a`` is too large or NaN.

    Source: the model of Sionna's function of the same name.
    """
    require_count("n", n)
    largest = largest_correlation(n, dtype)
    if (number := known(a)) is not None and not np.abs(number.astype(dtype)) <= largest:
        raise ValueError(f"a must have magnitude <= {largest!r} for {n} antennas in {jnp.dtype(dtype)}, got {a}")
    a = jnp.asarray(a, dtype)
    powers = jnp.cumprod(jnp.concatenate([jnp.ones((1,), dtype), jnp.broadcast_to(a, (n - 1,))]))
    lag = jnp.arange(n)[:, None] - jnp.arange(n)[None, :]
    magnitude_lag = powers[jnp.abs(lag)]
    return jnp.where(lag >= 0, magnitude_lag, jnp.conj(magnitude_lag))


def largest_correlation(n: int, dtype: DTypeLike = jnp.complex64) -> float:
    """Up to where :func:`exp_corr_mat` of ``n`` antennas is positive definite in ``dtype``, rounding included.

    (1 - a) / (1 + a) is a lower bound of its eigenvalues.
    """
    return 1 - 2 * n * float(jnp.finfo(dtype).eps)


def correlation(name: str, matrix: ArrayLike | None, size: int, h_shape: Sequence[Any]) -> jax.Array | None:
    """A correlation matrix of ``size`` antennas as an array; None stays.

    Args:
        name: Name of the argument, for the message.
        matrix: ``[size, size]``, or None.
        size: Antennas.
        h_shape: Of the channel, for the message.

    Raises:
        ValueError: on another shape, or if it is :func:`known` and not Hermitian positive definite.
    """
    if matrix is None:
        return None
    corr = jnp.asarray(matrix)
    if corr.shape != (size, size):
        raise ValueError(f"{name} must have shape {(size, size)} for h {h_shape}, got {corr.shape}")
    if (dense := known(corr)) is not None:
        dense = dense.astype(complex)
        if not np.allclose(dense, dense.conj().T, atol=1e-5):
            raise ValueError(f"{name} must be Hermitian, got {dense.tolist()}")
        if not (least := np.linalg.eigvalsh(dense)[0]) > 0:
            raise ValueError(f"{name} must be positive definite, and its least eigenvalue is {least:.4g}")
    return corr


def correlate(h: jax.Array, *, rx_corr: jax.Array | None = None, tx_corr: jax.Array | None = None) -> jax.Array:
    """Give i.i.d. entries a Kronecker correlation: E[H H^H] = num_tx_ant R_rx and E[H^H H] = num_rx_ant R_tx.

    ``H = L_rx W L_tx^H`` with Cholesky factors; for Gaussian W this has the same distribution as the form with
    Hermitian square roots, and a gradient where eigenvalues coincide.

    Args:
        h: W, i.i.d. entries, ``[..., num_rx_ant, num_tx_ant]`` complex.
        rx_corr: R_rx, Hermitian positive definite, unit diagonal, ``[num_rx_ant, num_rx_ant]``, or None for I.
        tx_corr: R_tx, Hermitian positive definite, unit diagonal, ``[num_tx_ant, num_tx_ant]``, or None for I.

    Returns:
        Correlated channel, shape of ``h``.

    Raises:
        ValueError: if a correlation matrix does not fit the antennas, or is not Hermitian positive definite.
    """
    rx_corr = correlation("rx_corr", rx_corr, h.shape[-2], h.shape)
    tx_corr = correlation("tx_corr", tx_corr, h.shape[-1], h.shape)
    if rx_corr is not None:
        h = jnp.einsum("ij,...jk->...ik", jnp.linalg.cholesky(rx_corr.astype(h.dtype)), h)
    if tx_corr is not None:
        h = jnp.einsum("...ij,kj->...ik", h, jnp.conj(jnp.linalg.cholesky(tx_corr.astype(h.dtype))))
    return h
