"""Sets of complex points of any shape, used with any frequencies: decisions, posteriors, what they can carry."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.modulation import labels_of
from lvm_mtc.phy.numerics import fit, real_dtype, require_complex

NUM_POINTS = (4, 16, 64, 256)
_RADII = (1.0, 2.2, 3.6, 5.0, 6.4, 7.8, 9.2, 10.6)
_NODES = 24


def apsk_points(num_points: int) -> np.ndarray:
    """Rings of 4, 12, 20, ... points, denser in the middle than square QAM; average power 1.

    Args:
        num_points: 4, 16, 64 or 256.

    Returns:
        ``[num_points]`` complex128, ring after ring from the inside.

    Raises:
        ValueError: on another number of points.

    Source: amplitude-phase-shift keying as in DVB-S2X (ETSI EN 302 307-2); the radii are ours.
    """
    if num_points not in NUM_POINTS:
        raise ValueError(f"num_points must be one of {', '.join(map(str, NUM_POINTS))}, got {num_points!r}")
    radii = (1.0, 2.6) if num_points == 16 else _RADII[: round((num_points / 4) ** 0.5)]
    rings = []
    for number, radius in enumerate(radii):
        count = 8 * number + 4
        rings.append(radius * np.exp(2j * np.pi * (np.arange(count) + 0.5) / count))
    points = np.concatenate(rings)
    return points / np.sqrt(np.mean(np.abs(points) ** 2))


def nearest_point(symbols: jax.Array, points: jax.Array) -> jax.Array:
    """Index of the point next to each symbol, ``[...]`` int32; ``points`` ``[K]`` complex."""
    require_complex("symbols", symbols)
    return jnp.argmin(_squares(symbols, _require_points(points)), axis=-1)


def posterior(x_hat: jax.Array, no_eff: ArrayLike, points: jax.Array, log_use: jax.Array) -> jax.Array:
    """Probability of each point behind an equalised symbol.

    Model: x_hat = x + e with e ~ CN(0, no_eff), and x the k-th point with probability ``exp(log_use[k])``.

    Args:
        x_hat: Equalised symbols, ``[...]`` complex; unbiased (``robust``, ``unbiased`` or ``zf``).
        no_eff: Variance of ``x_hat - x``, linear, >= 0, infinite where nothing was received; broadcasts against
            ``x_hat``. It is taken to be at least the square of the dtype's eps, the rounding of ``x_hat``.
        points: ``[K]`` complex.
        log_use: Natural logarithm of the points' frequencies, up to a constant, ``[K]``.

    Returns:
        ``[..., K]`` real; sums to 1.
    """
    require_complex("x_hat", x_hat)
    dtype = real_dtype(x_hat)
    precision = 1 / jnp.maximum(fit("no_eff", no_eff, x_hat.shape, dtype), jnp.finfo(dtype).eps ** 2)
    squares = _squares(x_hat, _require_points(points))
    exponent = log_use.astype(dtype).reshape((1,) * x_hat.ndim + (-1,)) - squares * precision[..., None]
    return jax.nn.softmax(exponent, axis=-1)


def label_llr(x_hat: jax.Array, no_eff: ArrayLike, points: jax.Array, log_use: jax.Array | None = None) -> jax.Array:
    """Log-likelihood ratios of the bits of a point's label, which is its index in binary, first bit first.

    Of :func:`lvm_mtc.phy.qam_points`, used alike, they are those of :func:`lvm_mtc.phy.qam_llr`.

    Args:
        x_hat: Equalised symbols, ``[...]`` complex; unbiased (``robust``, ``unbiased`` or ``zf``).
        no_eff: As for :func:`posterior`.
        points: ``[K]`` complex, K a power of two.
        log_use: Natural logarithm of the points' frequencies, up to a constant, ``[K]``; None: used alike.

    Returns:
        ``log P(bit = 1) - log P(bit = 0)``, ``[..., num_bits]`` real with ``num_bits`` log2 K.

    Raises:
        ValueError: if K is no power of two.
    """
    require_complex("x_hat", x_hat)
    points, dtype = _require_points(points), real_dtype(x_hat)
    labels = labels_of(_label_bits(points))
    precision = 1 / jnp.maximum(fit("no_eff", no_eff, x_hat.shape, dtype), jnp.finfo(dtype).eps ** 2)
    squares = _squares(x_hat, points)
    further = squares - squares.min(-1, keepdims=True)
    use = jnp.zeros(len(points), dtype) if log_use is None else log_use.astype(dtype)
    exponent = use.reshape((1,) * x_hat.ndim + (-1,)) - further * precision[..., None]
    halves = ((exponent[..., column == value] for value in (1, 0)) for column in labels.T)
    both = ((jax.nn.logsumexp(ones, -1), jax.nn.logsumexp(zeros, -1)) for ones, zeros in halves)
    return jnp.stack([one - zero for one, zero in both], axis=-1)


def label_order(points: ArrayLike, use: ArrayLike) -> np.ndarray:
    """Which point gets each label, so that one wrong bit costs little: pairs are exchanged while that helps.

    What falls is the mean over points and bits of the squared distance to the point whose label differs in that bit,
    the points weighted by their use.

    Args:
        points: ``[K]`` complex, K a power of two.
        use: How often each is sent, up to a factor, ``[K]``, >= 0.

    Returns:
        Permutation ``[K]`` int64: label k goes to ``points[order[k]]``. No exchange of two labels improves on it; it is
        not the best of all in general.

    Raises:
        ValueError: if K is no power of two, or the shapes differ.

    Source: Zeger and Gersho, Pseudo-Gray coding (1990).
    """
    places, use = np.asarray(points), np.asarray(use, float)
    if places.ndim != 1 or use.shape != places.shape:
        raise ValueError(f"points and use must be [K], got {places.shape} and {use.shape}")
    number = np.arange(len(places))
    near = number[:, None] ^ (1 << np.arange(_label_bits(places)))
    cost = (use[:, None] + use) * np.abs(places[:, None] - places) ** 2
    order = number.copy()
    while True:
        now = cost[np.ix_(order, order)]
        put = now[near].sum(1)  # what label a costs with the point of label b
        change = put + put.T - np.diag(put)[:, None] - np.diag(put)
        change[number[:, None], near] += 2 * np.take_along_axis(now, near, 1)
        a, b = np.unravel_index(np.argmin(change), change.shape)
        if change[a, b] >= -1e-9 * cost.sum():
            return order
        order[[a, b]] = order[[b, a]]


def mutual_information(points: ArrayLike, use: ArrayLike, snr: ArrayLike) -> np.ndarray:
    """What a constellation can carry over AWGN, by Gauss-Hermite quadrature in float64.

    Args:
        points: ``[K]`` complex; scaled to power 1 under ``use``.
        use: Probability of each point, ``[K]``.
        snr: Es/N0, linear, ``[...]``.

    Returns:
        I(X; Y) of Y = sqrt(snr) X + CN(0, 1), bits a symbol, right to 2e-4, ``[...]``.
    """
    places, use, snr = np.asarray(points), np.asarray(use, float), np.asarray(snr, float)
    places = places[use > 0] / np.sqrt(np.sum(use * np.abs(places) ** 2))
    use = use[use > 0]
    nodes, weights = np.polynomial.hermite.hermgauss(_NODES)
    noise, weight = (nodes[:, None] + 1j * nodes).ravel(), np.outer(weights, weights).ravel() / np.pi
    gaps = np.sqrt(snr)[..., None, None] * (places[:, None] - places)
    bits = np.zeros(snr.shape)
    for value, share in zip(noise, weight, strict=True):
        exponent = -(np.abs(gaps + value) ** 2) + np.abs(value) ** 2 + np.log(use)
        largest = exponent.max(-1, keepdims=True)
        log_sum = largest[..., 0] + np.log(np.exp(exponent - largest).sum(-1))
        bits -= share * (log_sum @ use) / np.log(2)
    return bits


def _squares(symbols: jax.Array, points: jax.Array) -> jax.Array:
    """Squared distances to all points, ``[..., K]``."""
    gap = symbols[..., None] - points.astype(symbols.dtype).reshape((1,) * symbols.ndim + (-1,))
    return jnp.real(gap) ** 2 + jnp.imag(gap) ** 2


def _label_bits(points: ArrayLike) -> int:
    """log2 K."""
    count = np.shape(points)[0]
    if count < 2 or count & (count - 1):
        raise ValueError(f"points must be a power of two above 1, got {count}")
    return count.bit_length() - 1


def _require_points(points: jax.Array) -> jax.Array:
    points = jnp.asarray(points)
    if points.ndim != 1 or not jnp.issubdtype(points.dtype, jnp.complexfloating):
        raise ValueError(f"points must be complex [K], got {points.dtype} {points.shape}")
    return points
