"""Sets of complex points of any shape, used with any frequencies: decisions, posteriors, what they can carry."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

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


def _require_points(points: jax.Array) -> jax.Array:
    points = jnp.asarray(points)
    if points.ndim != 1 or not jnp.issubdtype(points.dtype, jnp.complexfloating):
        raise ValueError(f"points must be complex [K], got {points.dtype} {points.shape}")
    return points
