"""Joint detection of QAM vectors from ``y = H x + n``: exact, by looking at all of them, and K-best.

Both give log-likelihood ratios that know what the linear receivers throw away: that x has few values. With ``prior``
LLRs of a decoder they weigh the vectors by their probabilities and give what they add to it (extrinsic LLRs).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.kernels import HIGHEST, unit_noise
from lvm_mtc.phy.mimo import lmmse_equalizer, prepare
from lvm_mtc.phy.modulation import DEMAPPERS, qam_points
from lvm_mtc.phy.numerics import abs2, fit, lift, real_dtype, require_count

LARGEST_EXACT_BITS = 16
"""Bits of a vector up to which all vectors are looked at."""
MISSING_LLR = 8.0
"""Size of the LLR of a bit whose other value no kept vector has."""


class Detected(NamedTuple):
    """What a detector found.

    Attributes:
        symbols: The likeliest vector (of those that were looked at), ``[..., num_tx_ant]`` complex.
        llr: ``log P(bit = 1) - log P(bit = 0)`` of the bits, stream after stream, ``[..., num_tx_ant *
            bits_per_symbol]`` real; what a ``prior`` said is subtracted.
    """

    symbols: jax.Array
    llr: jax.Array


class _Problem(NamedTuple):
    """An observation in noise of variance 1; leading axes of one rank, shared channels of size 1."""

    y: jax.Array
    h: jax.Array
    prior: jax.Array  # [..., num_tx_ant, bits_per_symbol]


def _problem(y, h_hat, no, bits_per_symbol: int, prior, noise_cov, method: str) -> _Problem:
    if method not in DEMAPPERS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(DEMAPPERS)}")
    qam_points(bits_per_symbol)
    y, h, no, _, _, noise_cov = prepare(y, h_hat, no, 0.0, None, noise_cov)
    lead, num_tx_ant, dtype = jnp.broadcast_shapes(y.shape[:-1], h.shape[:-2]), h.shape[-1], real_dtype(y)
    prior = jnp.zeros((), dtype) if prior is None else prior
    prior = fit("prior", prior, (*lead, num_tx_ant * bits_per_symbol), dtype)
    y, h = unit_noise(y, h, no, noise_cov)
    return _Problem(y, h, prior.reshape(*lead, num_tx_ant, bits_per_symbol))


def _bits_of(labels, bits_per_symbol: int):
    """Bits of labels ``[..., num_tx_ant]``, first bit most significant, ``[..., num_tx_ant * bits_per_symbol]``."""
    shifts = np.arange(bits_per_symbol)[::-1].reshape((1,) * labels.ndim + (-1,))
    return ((labels[..., None] >> shifts) & 1).reshape(*labels.shape[:-1], -1)


def _llr(belief: jax.Array, bits: jax.Array, prior: jax.Array, method: str) -> jax.Array:
    """Extrinsic LLRs from log-probabilities ``[..., vectors]`` and the vectors' bits, ``[..., vectors, num_bits]``."""
    gather = jnp.max if method == "maxlog" else jax.nn.logsumexp
    one, zero = (gather(jnp.where(bits == value, belief[..., None], -jnp.inf), axis=-2) for value in (1, 0))
    known = jnp.isfinite(one) & jnp.isfinite(zero)
    missing = jnp.where(jnp.isfinite(one), MISSING_LLR, -MISSING_LLR).astype(belief.dtype)
    prior = prior.reshape(*prior.shape[:-2], -1)
    return jnp.where(known, jnp.where(known, one, 0) - jnp.where(known, zero, 0) - prior, missing)


def exact_detector(
    y: jax.Array,
    h_hat: jax.Array,
    no: ArrayLike,
    bits_per_symbol: int,
    *,
    prior: ArrayLike | None = None,
    method: str = "app",
    noise_cov: jax.Array | None = None,
) -> Detected:
    """Maximum-likelihood detection and exact LLRs: the distances of all ``2^(num_tx_ant bits_per_symbol)`` vectors.

    Args:
        y: Received symbols, ``[..., num_rx_ant]`` complex.
        h_hat: Channel, ``[..., num_rx_ant, num_tx_ant]`` complex; leading axes broadcast against those of ``y``. What
            is unknown of it counts as noise: ``no + num_tx_ant csi_error_var``.
        no: Noise variance per complex dimension, linear, >= 0; scalar or broadcasting against ``[...]``. Taken to be
            at least the square of the dtype's eps.
        bits_per_symbol: 1, 2, 4, 6 or 8; static.
        prior: LLRs of the bits before y was heard, ``[..., num_tx_ant * bits_per_symbol]``; None: equally likely.
        method: ``"app"``: exact LLRs, ``"maxlog"``: of the likeliest vector of each kind; static.
        noise_cov: Covariance of further noise, as ``lmmse_equalizer`` has it.

    Returns:
        The likeliest vector (with a prior: a posteriori) and LLRs.

    Raises:
        ValueError: if there are more than 2^16 vectors, shapes do not fit, or a name is unknown.
    """
    y, h, prior = _problem(y, h_hat, no, bits_per_symbol, prior, noise_cov, method)
    num_tx_ant, dtype = h.shape[-1], prior.dtype
    num_bits = num_tx_ant * bits_per_symbol
    if num_bits > LARGEST_EXACT_BITS:
        raise ValueError(
            f"{num_tx_ant} streams of bits_per_symbol {bits_per_symbol} have 2^{num_bits} vectors, and the exact "
            f"detector looks at 2^{LARGEST_EXACT_BITS} at most; use the K-best detector"
        )
    labels = (np.arange(2**num_bits)[:, None] >> np.arange(0, num_bits, bits_per_symbol)[::-1]) % 2**bits_per_symbol
    vectors = qam_points(bits_per_symbol)[labels].astype(h.dtype)
    bits = _bits_of(labels, bits_per_symbol)
    arriving = jnp.matmul(h, lift(vectors.T, h.shape[:-2], 2), precision=HIGHEST)
    distance = sum(abs2(y[..., r, None] - arriving[..., r, :]) for r in range(h.shape[-2]))
    chances = jnp.matmul(prior.reshape(*prior.shape[:-2], num_bits), bits.T.astype(dtype), precision=HIGHEST)
    belief = chances - distance
    llr = _llr(belief, lift(bits, belief.shape[:-1], 2), prior, method)
    return Detected(jnp.take(vectors, jnp.argmax(belief, axis=-1), axis=0), llr)


def k_best_detector(
    y: jax.Array,
    h_hat: jax.Array,
    no: ArrayLike,
    bits_per_symbol: int,
    *,
    num_kept: int = 16,
    prior: ArrayLike | None = None,
    method: str = "app",
    noise_cov: jax.Array | None = None,
) -> Detected:
    """Breadth-first search: stream after stream, the ``num_kept`` likeliest beginnings of a vector go on.

    The order is that of the streams' L-MMSE errors, smallest first, and H stands on the identity (in units of the
    noise) when it is made triangular, which takes any number of antennas and guides the search as L-MMSE would; what
    that adds to a distance is taken off again. With ``num_kept`` of ``2^(num_tx_ant bits_per_symbol)`` nothing is
    left out, and this is :func:`exact_detector`. Otherwise a bit has an LLR of size ``MISSING_LLR`` where all kept
    vectors agree on it.

    Args:
        num_kept: K; static.

    Other arguments, what is returned and raised: as :func:`exact_detector`, without its limit.

    Source: Guo and Nilsson, Algorithm and implementation of the K-best sphere decoding for MIMO detection, IEEE JSAC
    24 (2006).
    """
    require_count("num_kept", num_kept)
    y, h, prior = _problem(y, h_hat, no, bits_per_symbol, prior, noise_cov, method)
    num_rx_ant, num_tx_ant = h.shape[-2:]
    lead = prior.shape[:-2]
    _, error = lmmse_equalizer(jnp.zeros_like(h[..., 0]), h, 1.0, variant="paper")
    order = jnp.argsort(-error, axis=-1)
    columns = jnp.take_along_axis(h, order[..., None, :], axis=-1)
    below = jnp.broadcast_to(jnp.eye(num_tx_ant, dtype=h.dtype), (*h.shape[:-2], num_tx_ant, num_tx_ant))
    q, r = jnp.linalg.qr(jnp.concatenate([columns, below], axis=-2))
    seen = jnp.matmul(jnp.conj(jnp.swapaxes(q[..., :num_rx_ant, :], -1, -2)), y[..., None], precision=HIGHEST)[..., 0]
    order = jnp.broadcast_to(order, (*lead, num_tx_ant))
    prior_in_order = jnp.take_along_axis(prior, order[..., None], axis=-2)
    labels, belief = _search(jnp.broadcast_to(seen, order.shape), r, prior_in_order, bits_per_symbol, num_kept)
    labels = jnp.take_along_axis(labels, jnp.argsort(order, axis=-1)[..., None, :], axis=-1)
    points = qam_points(bits_per_symbol).astype(h.dtype)
    llr = _llr(belief, _bits_of(labels, bits_per_symbol), prior, method)
    return Detected(jnp.take(points, labels[..., 0, :], axis=0), llr)


def _search(seen, r, prior, bits_per_symbol: int, num_kept: int) -> tuple[jax.Array, jax.Array]:
    """Labels ``[..., kept, num_tx_ant]`` of the vectors that are left, best first, and their log-probabilities."""
    points = qam_points(bits_per_symbol)
    size, num_tx_ant, dtype = points.size, r.shape[-1], prior.dtype
    bits = _bits_of(np.arange(size)[:, None], bits_per_symbol).astype(dtype)
    chances = jnp.matmul(prior, bits.T, precision=HIGHEST) + lift(
        (np.abs(points) ** 2).astype(dtype), prior.shape[:-1], 1
    )
    points = jnp.asarray(points, r.dtype)
    belief, chosen = jnp.zeros((*seen.shape[:-1], 1), dtype), {}
    for n in reversed(range(num_tx_ant)):
        rest = seen[..., n, None]
        for j, labels in chosen.items():
            rest = rest - r[..., n, j, None] * jnp.take(points, labels)
        arriving = r[..., n, n, None] * lift(points, r.shape[:-2], 1)
        step = chances[..., n, None, :] - abs2(rest[..., None] - arriving[..., None, :])
        total = (belief[..., None] + step).reshape(*belief.shape[:-1], -1)
        belief, index = jax.lax.top_k(total, min(num_kept, total.shape[-1]))
        chosen = {j: jnp.take_along_axis(labels, index // size, axis=-1) for j, labels in chosen.items()}
        chosen[n] = index % size
    return jnp.stack([chosen[n] for n in range(num_tx_ant)], axis=-1), belief
