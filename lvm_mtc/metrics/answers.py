"""Metrics of answers to questions about pictures: is it right, and what became of the bits and features behind it."""

import jax
import jax.numpy as jnp

from lvm_mtc.metrics.pictures import nmse
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import Outcome


def accuracy(source: Source, outcome: Outcome) -> jax.Array:
    """1 where the best-scored answer is the right one, else 0, ``[batch, num_uavs]``."""
    return is_best(outcome.estimate.data, source.data["answer"])


def is_best(scores: jax.Array, right: jax.Array) -> jax.Array:
    """1 where the best of ``scores [..., answers]`` is that of the ``right [...]`` one, else 0."""
    return (jnp.argmax(scores, axis=-1) == right).astype(jnp.float32)


def patch_bit_errors(outcome: Outcome) -> jax.Array:
    """Share of each patch's bits that are wrong, ``[batch, num_uavs, tokens]``; NaN of patches that are not sent.

    NaN throughout where features are no bits.
    """
    valid = outcome.sent.tells["valid"]
    if "bits" not in outcome.sent.tells:
        return jnp.full(valid.shape, jnp.nan)
    wrong = jnp.mean(outcome.sent.tells["bits"] != outcome.estimate.tells["bits"], axis=-1)
    return jnp.where(valid, wrong, jnp.nan)


def bit_error_rate(source: Source, outcome: Outcome) -> jax.Array:
    """Share of all bits that are wrong."""
    return jnp.nanmean(patch_bit_errors(outcome), axis=-1)


def bit_error_rate_top(source: Source, outcome: Outcome) -> jax.Array:
    """Share of the bits of those patches that are wrong which have a picture's highest level."""
    levels = jnp.where(outcome.sent.tells["valid"], outcome.sent.tells["levels"], 0.0)
    top = levels == levels.max(axis=-1, keepdims=True)
    return jnp.nanmean(jnp.where(top, patch_bit_errors(outcome), jnp.nan), axis=-1)


def nmse_features(source: Source, outcome: Outcome) -> jax.Array:
    """Squared error of the features that arrived, over their own square."""
    valid = outcome.sent.tells["valid"][..., None]
    sent, received = (jnp.where(valid, part.tells["features"], 0.0) for part in (outcome.sent, outcome.estimate))
    return nmse(sent, received, axis=(-2, -1))
