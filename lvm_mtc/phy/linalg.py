"""Hermitian positive definite systems of small size, unrolled over rows and vectorised over the batch.

Batched library solves of 4x4 systems spend their time on calls, not on arithmetic. Here a matrix is a nested list
of arrays, ``a[i][j]`` of shape ``[...]``: the batch is the last (contiguous) axis of every operation, XLA fuses the
whole elimination, and gradients come from plain arithmetic. The number of operations grows with the cube of the size
and all of them are compiled, so this is for sizes up to ``MAX_UNROLLED``.
"""

import jax
import jax.numpy as jnp

MAX_UNROLLED = 8

Rows = list[list[jax.Array]]


def split_matrix(a: jax.Array) -> Rows:
    """``[..., rows, columns]`` to a nested list of ``[...]``, contiguous along the batch."""
    moved = jnp.moveaxis(a, (-2, -1), (0, 1))
    return [[moved[i, j] for j in range(a.shape[-1])] for i in range(a.shape[-2])]


def split_vector(a: jax.Array) -> list[jax.Array]:
    """``[..., size]`` to a list of ``[...]``, contiguous along the batch."""
    moved = jnp.moveaxis(a, -1, 0)
    return [moved[i] for i in range(a.shape[-1])]


def _abs2(a: jax.Array) -> jax.Array:
    return jnp.real(a) ** 2 + jnp.imag(a) ** 2


def gram(a: Rows) -> Rows:
    """Lower triangle of ``A^H A``; its diagonal is real.

    Args:
        a: A, ``rows x columns`` arrays.

    Returns:
        ``g[i][j]`` for j <= i.
    """
    columns = list(zip(*a, strict=True))
    return [
        [sum(jnp.conj(p) * q for p, q in zip(columns[i], columns[j], strict=True)) for j in range(i)]
        + [sum(_abs2(p) for p in columns[i])]
        for i in range(len(columns))
    ]


def inverse_cholesky(g: Rows) -> Rows:
    """Inverse W of the Cholesky factor of a Hermitian positive definite matrix: ``G^-1 = W^H W``.

    Args:
        g: Lower triangle of G with a real diagonal.

    Returns:
        Lower triangle of W with a real diagonal. NaN where G is not positive definite.
    """
    size = len(g)
    factor: Rows = [[] for _ in range(size)]
    inverse: Rows = [[] for _ in range(size)]
    for i in range(size):
        for j in range(i):
            rest = g[i][j] - sum(factor[i][k] * jnp.conj(factor[j][k]) for k in range(j)) if j else g[i][j]
            factor[i].append(rest * inverse[j][j])
        pivot = g[i][i] - sum(_abs2(p) for p in factor[i]) if i else g[i][i]
        diagonal = jax.lax.rsqrt(pivot)
        for j in range(i):
            inverse[i].append(-diagonal * sum(factor[i][k] * inverse[k][j] for k in range(j, i)))
        inverse[i].append(diagonal)
    return inverse


def apply_lower(w: Rows, b: list[jax.Array]) -> list[jax.Array]:
    """``W b`` for a lower triangle W."""
    return [sum(w[i][j] * b[j] for j in range(i + 1)) for i in range(len(w))]


def apply_lower_hermitian(w: Rows, b: list[jax.Array]) -> list[jax.Array]:
    """``W^H b`` for a lower triangle W with a real diagonal."""
    return [sum(jnp.conj(w[i][j]) * b[i] for i in range(j, len(w))) for j in range(len(w))]


def column_powers(w: Rows) -> list[jax.Array]:
    """Diagonal of ``W^H W`` for a lower triangle W: the sum of |w|^2 down each column."""
    return [sum(_abs2(w[i][j]) for i in range(j, len(w))) for j in range(len(w))]
