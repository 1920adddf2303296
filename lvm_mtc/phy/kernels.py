"""The linear algebra inside the receivers, each in two forms: unrolled, and by library.

The unrolled form is for many small matrices, the library for few or large ones; the two agree to rounding. (The
sequential solver has one form, a loop over antennas, and the matched filter is a product.) Under
``vmap`` the number of matrices that counts is that of one mapped call.

All functions take arrays whose leading axes have one rank and broadcast. What depends on the channel alone is computed
on the channel's own leading axes, so that slots of one coherence block share its factorisation.
"""

import math

import jax
import jax.numpy as jnp
from jax.export import is_symbolic_dim

from lvm_mtc.phy.linalg import (
    MAX_UNROLLED,
    cholesky,
    conj_times_vector,
    conj_transpose,
    divide,
    gram,
    inverse_diagonal,
    join_real,
    join_vector,
    solve_lower,
    solve_lower_hermitian,
    solve_unit,
    split_matrix,
    split_vector,
    times_vector,
)
from lvm_mtc.phy.numerics import abs2, standard_deviation, weighted_sum

HIGHEST = jax.lax.Precision.HIGHEST

# Unrolled code takes seconds to compile and library calls take about a microsecond a matrix, so that a picture with few
# coherence blocks is better served by the library.
MIN_BATCH = 512


def unrolls(h: jax.Array, *others: jax.Array | None) -> bool:
    """Whether to unroll: scalars, or few antennas and enough matrices to be worth the compilation (``MIN_BATCH``).

    Of a symbolic shape (``jax.export``) there may be enough.
    """
    antennas = max(h.shape[-2:])
    shape = jnp.broadcast_shapes(h.shape[:-2], *(a.shape for a in others if a is not None))
    enough = any(map(is_symbolic_dim, shape)) or math.prod(shape) >= MIN_BATCH
    return antennas == 1 or (antennas <= MAX_UNROLLED and enough)


def _hermitian(a: jax.Array) -> jax.Array:
    return jnp.conj(jnp.swapaxes(a, -1, -2))


def _times(a: jax.Array, b: jax.Array) -> jax.Array:
    """``A b``; a matrix that the slots share (size-1 axis before its own two) meets all of them in one product."""
    if a.ndim > 2 and a.shape[-3] == 1:
        return jnp.matmul(b, jnp.swapaxes(a[..., 0, :, :], -1, -2), precision=HIGHEST)
    return jnp.matmul(a, b[..., None], precision=HIGHEST)[..., 0]


def _inverse_lower(factor: jax.Array) -> jax.Array:
    identity = jnp.broadcast_to(jnp.eye(factor.shape[-1], dtype=factor.dtype), factor.shape)
    return jax.lax.linalg.triangular_solve(factor, identity, left_side=True, lower=True)


def _inverse_factor(a: jax.Array) -> jax.Array:
    """W with ``A^-1 = W^H W`` by library routines, ``[..., size, size]``."""
    return _inverse_lower(jnp.linalg.cholesky(a, symmetrize_input=False))


def _by_orthogonal_columns(h: jax.Array, diagonal: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """W with ``(H^H H + diag(diagonal))^-1 = W^H W``, and ``W H^H y``, without forming ``H^H H``.

    Small singular values of H would drown in the rounding of their squares. Where rounding has left nothing of a column
    that depends on the others, a quarter unit in the last place of it is taken to be left.
    """
    num_rx_ant, num_tx_ant = h.shape[-2:]
    least = jnp.finfo(diagonal.dtype).eps ** 2 / 16 * jnp.sum(abs2(jax.lax.stop_gradient(h)), axis=-2)
    diagonal = jnp.maximum(diagonal, jnp.maximum(least, jnp.finfo(diagonal.dtype).tiny))
    below = _add_diagonal(jnp.zeros((1,) * (h.ndim - 2) + (num_tx_ant, num_tx_ant), h.dtype), jnp.sqrt(diagonal))
    lead = jnp.broadcast_shapes(h.shape[:-2], below.shape[:-2])
    stacked = [jnp.broadcast_to(part, (*lead, *part.shape[-2:])) for part in (h, below)]
    columns, triangle = jnp.linalg.qr(jnp.concatenate(stacked, axis=-2))
    return _inverse_lower(_hermitian(triangle)), _times(_hermitian(columns[..., :num_rx_ant, :]), y)


def _silence(h: jax.Array, active: jax.Array | None) -> jax.Array:
    return h if active is None else jnp.where(active[..., None, :], h, jnp.zeros((), h.dtype))


def _add_diagonal(a: jax.Array, diagonal: jax.Array) -> jax.Array:
    """``a [..., size, size]`` plus a diagonal that is a scalar or has the shape ``[..., size or 1]``."""
    eye = jnp.eye(a.shape[-1], dtype=a.dtype).reshape((1,) * (a.ndim - 2) + a.shape[-2:])
    return a + (diagonal if diagonal.ndim == 0 else diagonal[..., None]).astype(a.dtype) * eye


def _per_stream(value: jax.Array) -> jax.Array:
    return value if value.ndim == 0 else value[..., None]


def stream_solve(
    y: jax.Array, h: jax.Array, no: jax.Array, active: jax.Array | None, *, ridge: float
) -> tuple[jax.Array, jax.Array]:
    """``A^-1 H^H y / no`` and ``diag(A^-1)`` for ``A = H^H H / no + ridge I``, solved on the side of the streams.

    With ridge 1 this is LMMSE and its mean squared error, with ridge 0 zero forcing and its noise. A silent stream
    loses its column and gets 1 on the diagonal, which takes it out of the system. With no = 0 both are zero forcing
    and 0.

    Args:
        y: ``[..., num_rx_ant]`` complex.
        h: ``[..., num_rx_ant, num_tx_ant]`` complex.
        no: Linear, scalar or ``[...]``.
        active: Boolean ``[..., num_tx_ant]`` or None.
        ridge: 0 or 1; static.

    Returns:
        solution: ``[..., num_tx_ant]`` complex.
        error: ``[..., num_tx_ant]`` real, on the leading axes of h, no and active.
    """
    h = _silence(h, active)
    noisy = no > 0
    unit = jnp.sqrt(jnp.where(noisy, no, jnp.ones_like(no)))
    exists = noisy.astype(no.dtype)
    if unrolls(h, no, None if active is None else active[..., 0]):
        # Scaled entry by entry: the quotients are contiguous along the batch, where h itself is interleaved.
        rows = [[divide(entry, unit) for entry in row] for row in split_matrix(h)]
        observed = [divide(entry, unit) for entry in split_vector(y)]
        below, diagonal = gram(rows)
        diagonal = [power + ridge * exists for power in diagonal]
        if active is not None:
            diagonal = [d + (1 - active[..., n].astype(no.dtype)) for n, d in enumerate(diagonal)]
        factor = cholesky(below, diagonal)
        inner = solve_lower(factor, conj_times_vector(rows, observed))
        solution = join_vector(solve_lower_hermitian(factor, inner))
        return solution, join_real(inverse_diagonal(factor)) * _per_stream(exists)
    unit = unit.astype(h.dtype)
    h = h / (unit if unit.ndim == 0 else unit[..., None, None])
    diagonal = ridge * _per_stream(exists)
    if active is not None:
        diagonal = diagonal + (1 - active.astype(no.dtype))
    w, observed = _by_orthogonal_columns(h, diagonal, y / _per_stream(unit))
    return _times(_hermitian(w), observed), jnp.sum(abs2(w), axis=-2) * _per_stream(exists)


def sequential_solve(
    y: jax.Array, h: jax.Array, no: jax.Array, active: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """LMMSE estimates, their mean squared error and their gain, learnt from one receive antenna after the other.

    For fewer receive antennas than streams, where Gram matrices are singular, or all but, on either side. Every antenna
    updates the estimate and a square root of its error covariance (which begins at I). Error and gain are both sums of
    squares: neither is left over from 1 minus the other, however close to 0 it is. With u the unit roundoff, they and
    the estimate (over the root of its error) are right to about ``num_rx_ant u sqrt(1 + |H|^2 / no)``.

    Args:
        y: ``[..., num_rx_ant]`` complex.
        h: ``[..., num_rx_ant, num_tx_ant]`` complex.
        no: Linear, scalar or ``[...]``.
        active: Boolean ``[..., num_tx_ant]`` or None.

    Returns:
        solution: ``G y`` for ``G = H^H (H H^H + no I)^-1``, ``[..., num_tx_ant]`` complex.
        error: ``1 - diag(G H)``, ``[..., num_tx_ant]`` real, on the leading axes of h, no and active.
        gain: ``diag(G H)``, shape of ``error``.

    Source: Bierman, Factorization methods for discrete sequential estimation (1977), section V.2 (Potter's update).
    """
    h = _silence(h, active)
    num_tx_ant = h.shape[-1]
    lead = jnp.broadcast_shapes(h.shape[:-2], no.shape)
    root = jnp.broadcast_to(jnp.eye(num_tx_ant, dtype=h.dtype), (*lead, num_tx_ant, num_tx_ant))
    gain = jnp.zeros((*lead, num_tx_ant), no.dtype)
    solution = jnp.zeros((*jnp.broadcast_shapes(lead, y.shape[:-1]), num_tx_ant), h.dtype)

    def hear(known, antenna):
        solution, root, gain = known
        row, heard = antenna
        seen = jnp.sum(row[..., :, None] * root, axis=-2)
        power = jnp.sum(abs2(seen), axis=-1)
        total = power + no
        total = jnp.where(total > 0, total, 1)
        correlation = jnp.sum(root * jnp.conj(seen)[..., None, :], axis=-1)
        surprise = (heard - jnp.sum(row * solution, axis=-1))[..., None]
        solution = solution + weighted_sum((1 / total[..., None], correlation * surprise))
        shrink = 1 / (total + standard_deviation(no) * jnp.sqrt(total))
        root = root - weighted_sum((shrink[..., None, None], correlation[..., :, None] * seen[..., None, :]))
        return (solution, root, gain + abs2(correlation) / total[..., None]), None

    antennas = jnp.moveaxis(h, -2, 0), jnp.moveaxis(y, -1, 0)
    (solution, root, gain), _ = jax.lax.scan(hear, (solution, root, gain), antennas)
    return solution, jnp.sum(abs2(root), axis=-1), gain


def matched_filter(y: jax.Array, h: jax.Array, no: jax.Array, active: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """``diag(H^H H)^-1 H^H y`` and the error variance that noise and the other columns leave in it.

    Every column is first scaled by a power of two to magnitudes about 1. That rounds nothing, and keeps fourth powers
    within the range of the dtype.

    Args:
        y: ``[..., num_rx_ant]`` complex.
        h: ``[..., num_rx_ant, num_tx_ant]`` complex.
        no: Linear, scalar or ``[...]``.
        active: Boolean ``[..., num_tx_ant]`` or None.

    Returns:
        solution: ``[..., num_tx_ant]`` complex; 0 where a column is 0.
        error: ``no / |h_n|^2 + sum over j != n of |h_n^H h_j|^2 / |h_n|^4``, ``[..., num_tx_ant]`` real; the dtype's
            largest number where a column is 0.
    """
    h = _silence(h, active)
    largest = jnp.max(jnp.maximum(jnp.abs(jnp.real(h)), jnp.abs(jnp.imag(h))), axis=-2)
    scale = jnp.ldexp(jnp.ones_like(largest), -jnp.frexp(jax.lax.stop_gradient(largest))[1])
    scaled = weighted_sum((scale[..., None, :], h))
    products = abs2(jnp.matmul(_hermitian(scaled), h, precision=HIGHEST))
    others = 1 - jnp.eye(h.shape[-1], dtype=products.dtype)
    interference = jnp.sum(products * others.reshape((1,) * (h.ndim - 2) + others.shape), axis=-1)
    power = jnp.sum(abs2(scaled), axis=-2)
    heard = ~(power <= 0)  # NaN stays visible
    safe = jnp.where(heard, power, 1)
    worst = jnp.finfo(power.dtype).max
    error = jnp.minimum((interference + _per_stream(no) * power) / safe**2 * scale**2, worst)
    solution = weighted_sum((scale / safe, _times(_hermitian(scaled), y)))
    return jnp.where(heard, solution, 0), jnp.where(heard, error, worst)


def whiten(y: jax.Array, h: jax.Array, no: jax.Array, noise_cov: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Multiply observation and channel by W with ``W (no I + noise_cov) W^H = I``: the noise becomes CN(0, I).

    Args:
        y: ``[..., num_rx_ant]`` complex.
        h: ``[..., num_rx_ant, num_tx_ant]`` complex.
        no: Linear, scalar or ``[...]``.
        noise_cov: Hermitian, ``[..., num_rx_ant, num_rx_ant]`` complex; its sum with ``no I`` is positive definite.

    Returns:
        Whitened y and h, shapes as given (leading axes broadcast).
    """
    w = _inverse_factor(_add_diagonal(noise_cov, _per_stream(no)))
    return _times(w, y), jnp.matmul(w, h, precision=HIGHEST)


def unit_noise(y: jax.Array, h: jax.Array, no: jax.Array, noise_cov: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Observation and channel in noise CN(0, I): scaled, or with ``noise_cov`` as :func:`whiten` does.

    ``no`` (linear, scalar or ``[...]``) is taken to be at least the square of the dtype's eps.
    """
    no = jnp.maximum(no, jnp.finfo(no.dtype).eps ** 2)
    if noise_cov is not None:
        return whiten(y, h, no, noise_cov)
    unit = 1 / standard_deviation(no)
    of_y, of_h = (unit, unit) if unit.ndim == 0 else (unit[..., None], unit[..., None, None])
    return weighted_sum((of_y, y)), weighted_sum((of_h, h))


def transmit(h: jax.Array, x: jax.Array) -> jax.Array:
    """``H x`` for channels that are shared by, or given for, every slot.

    Args:
        h: ``[..., num_rx_ant, num_tx_ant]`` complex.
        x: ``[..., num_tx_ant]`` complex; leading axes of one rank with those of h.

    Returns:
        ``[..., num_rx_ant]`` complex.
    """
    if not unrolls(h):
        return _times(h, x)
    return join_vector(times_vector(split_matrix(h), split_vector(x)))


def multiply(a: jax.Array, b: jax.Array) -> jax.Array:
    """``A B`` for matrices whose leading axes have one rank.

    Args:
        a: ``[..., rows, inner]`` complex.
        b: ``[..., inner, columns]`` complex.

    Returns:
        ``[..., rows, columns]`` complex.
    """
    if not (unrolls(a) and unrolls(b)):
        return jnp.matmul(a, b, precision=HIGHEST)
    rows, columns = split_matrix(a), zip(*split_matrix(b), strict=True)
    return jnp.stack([join_vector(times_vector(rows, list(column))) for column in columns], axis=-1)


def right_inverse(h: jax.Array, ridge: jax.Array) -> jax.Array:
    """``H^H (H H^H + ridge I)^-1``, the regularised right inverse, solved on the smaller side of H.

    With no more rows than columns the unit vectors are solved for and H^H is applied last: what is left of ``H W - I``
    without a ridge is then of the order of eps cond(H)^2 (with H as the right-hand side it would be cond(H)^3).

    Args:
        h: ``[..., rows, columns]`` complex.
        ridge: Linear, >= 0, scalar or ``[...]``; > 0 where there are more rows than columns.

    Returns:
        ``[..., columns, rows]`` complex. NaN, or large numbers, where the matrix to invert is singular.
    """
    wide = h.shape[-2] <= h.shape[-1]
    if unrolls(h, ridge):
        rows = split_matrix(h)
        below, diagonal = gram(conj_transpose(rows) if wide else rows)
        factor = cholesky(below, [power + ridge for power in diagonal])
        if wide:
            columns = [conj_times_vector(rows, solve_unit(factor, k)) for k in range(len(rows))]
        else:
            hermitian = conj_transpose(rows)
            beams = [list(column) for column in zip(*hermitian, strict=True)]
            columns = [solve_lower_hermitian(factor, solve_lower(factor, beam)) for beam in beams]
        return jnp.stack([join_vector(column) for column in columns], axis=-1)
    hermitian = _hermitian(h)
    square = jnp.matmul(h, hermitian, precision=HIGHEST) if wide else jnp.matmul(hermitian, h, precision=HIGHEST)
    w = _inverse_factor(_add_diagonal(square, _per_stream(ridge)))
    inverse = jnp.matmul(_hermitian(w), w, precision=HIGHEST)
    return jnp.matmul(*((hermitian, inverse) if wide else (inverse, hermitian)), precision=HIGHEST)
