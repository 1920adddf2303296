"""A differentiable choice among the levels of square QAM, one axis at a time.

An encoder proposes a value, another a logit for each level. Level a_j of value u and logits pi has the score
pi_j - (u - a_j)^2 / tau_q: with equal logits it is soft quantisation, with 1 / tau_q = 0 a categorical choice.

Source: Jang, Gu, Poole, Categorical reparameterization with Gumbel-softmax (2017); Agustsson and others, Soft-to-hard
vector quantization (2017); Bo and others, Joint coding-modulation for digital semantic communications (2023).
"""

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.phy.modulation import qam_points
from lvm_mtc.phy.numerics import lift

MODULATORS = ("jsccm", "gumbel", "soft", "analog")
LEAST_TEMPERATURE = 0.2


def axis_levels(bits_per_symbol: int) -> np.ndarray:
    """Levels of one axis of square QAM of power 1, rising, ``[2**(bits_per_symbol / 2)]``."""
    return np.unique(np.round(np.real(qam_points(bits_per_symbol)), 12)).astype(np.float32)


def level_scores(values: jax.Array, logits: jax.Array, levels: np.ndarray, log_tau: jax.Array, kind: str) -> jax.Array:
    """Scores of the levels, ``[..., L]``, from ``values [...]`` and ``logits [..., L]``; natural logarithms.

    ``log_tau`` is the logarithm of tau_q over the squared distance of two levels. ``kind``: ``"jsccm"``, ``"gumbel"``
    (logits alone) or ``"soft"`` (values alone).
    """
    tau = jnp.exp(log_tau) * (levels[1] - levels[0]) ** 2
    distance = (values[..., None] - lift(levels, values.shape, 1)) ** 2 / tau
    if kind == "gumbel":
        return logits
    return -distance if kind == "soft" else logits - distance


def choose_levels(scores: jax.Array, noise: jax.Array, levels: np.ndarray, temperature: jax.Array) -> jax.Array:
    """One level for each axis, ``[...]``.

    At temperature 0 the level of the largest score, exactly, with the gradient of the mean level at
    ``LEAST_TEMPERATURE``. Above it the mean level under softmax((scores + noise) / temperature).

    Args:
        scores: ``[..., L]``.
        noise: Gumbel noise of the shape of ``scores``; not used at temperature 0.
        levels: ``[L]``.
        temperature: >= 0, ``[...]`` without the axis of the levels.
    """
    temperature = temperature[..., None]
    soft = temperature > 0
    share = jax.nn.softmax((scores + jnp.where(soft, noise, 0)) / jnp.maximum(temperature, LEAST_TEMPERATURE), axis=-1)
    mean, hard = (
        jnp.sum(share * lift(levels, scores.shape, 0), axis=-1),
        jnp.asarray(levels)[jnp.argmax(scores, axis=-1)],
    )
    # Written so that what is sent is the level to the last bit.
    return jnp.where(soft[..., 0], mean, hard + (mean - jax.lax.stop_gradient(mean)))
