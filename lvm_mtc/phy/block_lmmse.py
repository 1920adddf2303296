"""L-MMSE of systems of any size, by Cholesky and products of matrices."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.numerics import abs2, align, ceil_div, real_dtype, weighted_sum


def _lower_inverse(factor: jax.Array) -> jax.Array:
    """Inverse of lower triangles ``[..., n, n]``: of small ones on the diagonal, then of twice the size by products."""
    size, halvings = factor.shape[-1], 0
    while ceil_div(size, 2**halvings) > 16:
        halvings += 1
    count, small = 2**halvings, ceil_div(size, 2**halvings)
    lead, missing = factor.shape[:-2], count * small - size
    factor = jnp.pad(factor, [(0, 0)] * len(lead) + [(0, missing)] * 2)
    ends = np.diag(np.arange(count * small) >= size).reshape((1,) * len(lead) + factor.shape[-2:])
    factor = factor + ends.astype(factor.dtype)

    def blocks(row: int, column: int, parts: int) -> jax.Array:
        """Of the ``count`` blocks on the diagonal, in ``parts`` each way, one part."""
        split = factor.reshape(*lead, count, parts, -1, count, parts, small)[..., row, :, :, column, :]
        return jnp.moveaxis(jnp.diagonal(split, axis1=-4, axis2=-2), -1, -3)

    diagonal = blocks(0, 0, 1)
    eye = jnp.broadcast_to(jnp.eye(small, dtype=factor.dtype), diagonal.shape)
    inverse = jax.lax.linalg.triangular_solve(diagonal, eye, left_side=True, lower=True)
    while count > 1:
        count //= 2
        first, second = inverse[..., ::2, :, :], inverse[..., 1::2, :, :]
        below = jnp.matmul(second, jnp.matmul(blocks(1, 0, 2), first, precision="highest"), precision="highest")
        rows = jnp.concatenate([first, jnp.zeros_like(first)], -1), jnp.concatenate([-below, second], -1)
        inverse, small = jnp.concatenate(rows, axis=-2), 2 * small
    return inverse[..., 0, :size, :size]


def block_lmmse(y: jax.Array, h: jax.Array, no: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Biased L-MMSE estimate ``(H^H H + no I)^-1 H^H y`` by Cholesky, for E[x x^H] = I and any number of streams.

    Args:
        y: ``[..., observations]`` complex.
        h: ``[..., observations, unknowns]`` complex.
        no: Noise variance per complex dimension, linear, > 0; scalar or broadcasting against ``[...]``.

    Returns:
        x_hat: ``[..., unknowns]``.
        mse: Its mean squared error, bias included, ``no [(H^H H + no I)^-1]_ii``, shape of ``x_hat``; the gain of an
            estimate is ``1 - mse``.
    """
    no = align("no", no, h.shape[:-2], 1, real_dtype(h))
    hermitian = jnp.conj(jnp.swapaxes(h, -2, -1))
    eye = jnp.eye(h.shape[-1], dtype=h.dtype).reshape((1,) * (h.ndim - 2) + (h.shape[-1],) * 2)
    gram = jnp.matmul(hermitian, h, precision="highest") + weighted_sum((no if no.ndim == 0 else no[..., None], eye))
    inverse = _lower_inverse(jnp.linalg.cholesky(gram))
    matched = jnp.einsum("...ij,...j->...i", hermitian, y, precision="highest")
    half = jnp.einsum("...ij,...j->...i", inverse, matched, precision="highest")
    x_hat = jnp.einsum("...ji,...j->...i", jnp.conj(inverse), half, precision="highest")
    return x_hat, no * jnp.sum(abs2(inverse), axis=-2)
