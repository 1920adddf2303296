"""Bit error rates of uncoded Gray-labelled QAM with hard decisions, in closed form and by quadrature over fading."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc, gammaln
from jax.typing import ArrayLike

from lvm_mtc.phy.modulation import bits_per_dimension
from lvm_mtc.phy.numerics import floating, lift, require_at_least

_NODES = 801
_DECAY = 30.0  # how many factors e of the density's tails are integrated over


def qam_ber(es_no: ArrayLike, bits_per_symbol: int = 2) -> jax.Array:
    """Bit error rate of ``qam_map`` symbols in white Gaussian noise, decided by their nearest point.

    Of QPSK it is Q(sqrt(es_no)).

    Args:
        es_no: Symbol energy over noise variance per complex symbol, linear, >= 0, ``[...]``.
        bits_per_symbol: 1, 2, 4, 6 or 8; static.

    Returns:
        Mean over the bits of a symbol, ``[...]``.

    Raises:
        ValueError: on another number of bits, or a Python number ``es_no`` below 0.

    Source: Cho, Yoon, On the general BER expression of one- and two-dimensional amplitude modulations (2002), Eq. 14.
    """
    require_at_least("es_no", es_no, 0.0)
    es_no = floating(es_no)
    if bits_per_symbol == 1:
        return qam_ber(2 * es_no, 2)
    bits_per_dimension(bits_per_symbol)
    side = 2 ** (bits_per_symbol // 2)
    weights = np.zeros(side)
    for bit in range(1, bits_per_symbol // 2 + 1):
        for i in range(int((1 - 2.0**-bit) * side)):
            group = i * 2 ** (bit - 1) / side
            weights[i] += (-1) ** int(group) * (2 ** (bit - 1) - int(group + 0.5))
    scale = 2 / (side * bits_per_symbol)  # the mean over bits, with erfc = 2 Q
    odd = lift(jnp.asarray(2.0 * np.arange(side) + 1, es_no.dtype), es_no.shape, 1)
    tails = erfc(odd * jnp.sqrt(1.5 * es_no / (side**2 - 1))[..., None])
    return jnp.sum(tails * lift(jnp.asarray(scale * weights, es_no.dtype), es_no.shape, 1), axis=-1)


def fisher_snedecor_ber(es_no: ArrayLike, bits_per_symbol: int = 2, *, m_f: float, m_s: float) -> jax.Array:
    """Mean over Fisher-Snedecor F fading of :func:`qam_ber` at ``es_no |h|^2``, one antenna, perfect CSI.

    By the trapezoidal rule over log |h|^2, which converges as fast as the density falls.

    Args:
        es_no: Mean symbol energy over noise variance, linear, >= 0, ``[...]``.
        bits_per_symbol: As in :func:`qam_ber`.
        m_f: Fading shape, > 0; static.
        m_s: Shadowing shape, > 1; static. Towards infinity this is Nakagami fading of m = m_f.

    Returns:
        ``[...]``.

    Raises:
        ValueError: as :func:`qam_ber`, and for shapes outside their domain.

    Source: Yoo et al., The Fisher-Snedecor F distribution: a simple and accurate composite fading model (2017), Eq. 5.
    """
    require_at_least("m_f", m_f, 0.0, strict=True)
    require_at_least("m_s", m_s, 1.0, strict=True)
    es_no = floating(es_no)
    dtype = es_no.dtype
    log_g = jnp.linspace(-_DECAY / m_f, max(_DECAY / m_s, np.log(_DECAY)), _NODES, dtype=dtype)
    log_ratio = jnp.log(jnp.asarray(m_f / (m_s - 1), dtype)) + log_g
    log_beta = gammaln(m_f) + gammaln(m_s) - gammaln(m_f + m_s)
    density = jnp.exp(m_f * log_ratio - (m_f + m_s) * jnp.log1p(jnp.exp(log_ratio)) - log_beta.astype(dtype))
    density = density / jnp.sum(density)  # the step of the rule, and what rounding leaves of a large m_s
    weights, gains = (lift(a, es_no.shape, 1) for a in (density, jnp.exp(log_g)))
    return jnp.sum(weights * qam_ber(es_no[..., None] * gains, bits_per_symbol), axis=-1)
