"""Small Hermitian systems, unrolled over rows and columns and vectorised over the batch.

Batched library solves of 4x4 systems spend their time on calls, not on arithmetic. Here a matrix is a nested list of
entries, an entry is a pair of real arrays, and the batch is the contiguous axis of every one of them, so that the
compiler turns the whole elimination into loops over the batch. (Complex arrays interleave real and imaginary parts,
which costs a fifth more.) Gradients come from plain arithmetic. The number of operations grows with the cube of the
size and all of them are compiled, so this is for sizes up to ``MAX_UNROLLED``.
"""

import math
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp

MAX_UNROLLED = 8


class Entry(NamedTuple):
    """One complex entry of a small matrix for every batch index: real and imaginary part, ``[...]`` each."""

    re: jax.Array
    im: jax.Array


Vector = list[Entry]
Rows = list[Vector]


class Factor(NamedTuple):
    """Cholesky factor, a lower triangle with a real diagonal: rows below the diagonal, and the diagonal."""

    below: Rows
    diagonal: list[jax.Array]


def _add(a: Entry, b: Entry) -> Entry:
    return Entry(a.re + b.re, a.im + b.im)


def _scale(factor: jax.Array, a: Entry) -> Entry:
    return Entry(factor * a.re, factor * a.im)


def divide(a: Entry, divisor: jax.Array) -> Entry:
    """A true division, on purpose: XLA fuses (and so repeats) products, but computes a quotient once and keeps it.

    With products by a reciprocal it would repeat the whole elimination for every entry of the result, which takes
    several times longer to compile and to run.
    """
    return Entry(a.re / divisor, a.im / divisor)


def _subtract(a: Entry, b: Entry) -> Entry:
    return Entry(a.re - b.re, a.im - b.im)


def _times(a: Entry, b: Entry) -> Entry:
    return Entry(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)


def _conj_times(a: Entry, b: Entry) -> Entry:
    """``conj(a) b``."""
    return Entry(a.re * b.re + a.im * b.im, a.re * b.im - a.im * b.re)


def _power(a: Entry) -> jax.Array:
    return a.re * a.re + a.im * a.im


def _total(entries: Sequence[Entry]) -> Entry:
    return reduce(_add, entries)


def batch_contiguous(a: jax.Array, axes: int) -> jax.Array:
    """The same array, laid out so that the batch is contiguous for every index of its last ``axes`` axes.

    Values and shape do not change. The entries are sliced out and stacked, which XLA does once for all points of a
    sweep that share the array; every later pass over an entry then reads memory in order.

    Args:
        a: ``[..., *tail]`` complex.
        axes: Rank of the tail.

    Returns:
        ``a``.
    """
    lead, tail = a.shape[: a.ndim - axes], a.shape[a.ndim - axes :]

    def part(values: jax.Array) -> jax.Array:
        flat = values.reshape(*lead, math.prod(tail))
        stacked = jnp.stack([flat[..., i] for i in range(flat.shape[-1])])
        return jnp.moveaxis(stacked.reshape(*tail, *lead), range(axes), range(-axes, 0))

    return jax.lax.complex(part(jnp.real(a)), part(jnp.imag(a)))


def split_vector(a: jax.Array) -> Vector:
    """``[..., size]`` complex to ``size`` entries of shape ``[...]``."""
    re, im = jnp.real(a), jnp.imag(a)
    return [Entry(re[..., i], im[..., i]) for i in range(a.shape[-1])]


def split_matrix(a: jax.Array) -> Rows:
    """``[..., rows, columns]`` complex to rows of entries of shape ``[...]``."""
    re, im = jnp.real(a), jnp.imag(a)
    return [[Entry(re[..., i, j], im[..., i, j]) for j in range(a.shape[-1])] for i in range(a.shape[-2])]


def join_vector(entries: Sequence[Entry]) -> jax.Array:
    """Inverse of :func:`split_vector`; entries broadcast to one shape."""
    return jax.lax.complex(join_real([e.re for e in entries]), join_real([e.im for e in entries]))


def join_real(values: Sequence[jax.Array]) -> jax.Array:
    """Real arrays ``[...]`` to one array ``[..., size]``; they broadcast to one shape."""
    return jnp.stack(jnp.broadcast_arrays(*values), axis=-1)


def conj_transpose(a: Rows) -> Rows:
    """``A^H``."""
    return [[Entry(e.re, -e.im) for e in column] for column in zip(*a, strict=True)]


def times_vector(a: Rows, b: Vector) -> Vector:
    """``A b``."""
    return [_total([_times(p, q) for p, q in zip(row, b, strict=True)]) for row in a]


def conj_times_vector(a: Rows, b: Vector) -> Vector:
    """``A^H b``."""
    return [_total([_conj_times(p, q) for p, q in zip(column, b, strict=True)]) for column in zip(*a, strict=True)]


def gram(a: Rows) -> tuple[Rows, list[jax.Array]]:
    """``A^H A``: rows of its entries below the diagonal, and its real diagonal."""
    columns = list(zip(*a, strict=True))
    below = [
        [_total([_conj_times(p, q) for p, q in zip(columns[i], columns[j], strict=True)]) for j in range(i)]
        for i in range(len(columns))
    ]
    return below, [reduce(jnp.add, map(_power, column)) for column in columns]


def cholesky(below: Rows, diagonal: list[jax.Array]) -> Factor:
    """Cholesky factor L of a Hermitian positive definite matrix G: ``G = L L^H``.

    Args:
        below: Entries of G below the diagonal, row by row.
        diagonal: Real diagonal of G.

    Returns:
        L. Pivots that rounding has left nothing of are taken to be a quarter unit in the last place of the diagonal.
    """
    factor = Factor([], [])
    last_place = jnp.finfo(diagonal[0].dtype).eps / 4
    for i, row in enumerate(below):
        left: Vector = []
        for j, rest in enumerate(row):
            for k in range(j):
                rest = _subtract(rest, _conj_times(factor.below[j][k], left[k]))
            left.append(divide(rest, factor.diagonal[j]))
        pivot = diagonal[i]
        for entry in left:
            pivot = pivot - _power(entry)
        factor.below.append(left)
        factor.diagonal.append(jnp.sqrt(jnp.maximum(pivot, last_place * diagonal[i])))
    return factor


def solve_lower(factor: Factor, b: Vector) -> Vector:
    """``L^-1 b``."""
    solution: Vector = []
    for i, rest in enumerate(b):
        for k in range(i):
            rest = _subtract(rest, _times(factor.below[i][k], solution[k]))
        solution.append(divide(rest, factor.diagonal[i]))
    return solution


def solve_lower_hermitian(factor: Factor, b: Vector) -> Vector:
    """``L^-H b``."""
    size = len(b)
    solution = list(b)
    for i in reversed(range(size)):
        rest = b[i]
        for k in range(i + 1, size):
            rest = _subtract(rest, _conj_times(factor.below[k][i], solution[k]))
        solution[i] = divide(rest, factor.diagonal[i])
    return solution


def solve_unit(factor: Factor, k: int) -> Vector:
    """``(L L^H)^-1 e_k``: column k of the inverse."""
    zero = jnp.zeros((), factor.diagonal[0].dtype)
    trailing = Factor([row[k:] for row in factor.below[k:]], factor.diagonal[k:])
    unit = [Entry(zero + (i == 0), zero) for i in range(len(trailing.diagonal))]
    return solve_lower_hermitian(factor, [Entry(zero, zero)] * k + solve_lower(trailing, unit))


def inverse_diagonal(factor: Factor) -> list[jax.Array]:
    """Diagonal of ``(L L^H)^-1``: the power of each column of ``L^-1``."""
    size = len(factor.diagonal)
    result = []
    for j in range(size):
        first = 1 / factor.diagonal[j]
        column: Vector = []
        for i in range(j + 1, size):
            total = _scale(first, factor.below[i][j])
            for k, entry in enumerate(column, start=j + 1):
                total = _add(total, _times(factor.below[i][k], entry))
            column.append(divide(total, -factor.diagonal[i]))
        result.append(first**2 + sum(_power(entry) for entry in column))
    return result
