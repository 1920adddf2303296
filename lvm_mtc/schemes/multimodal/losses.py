"""What training minimises: pictures beside their descriptions first, then right answers."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.multimodal import info_nce
from lvm_mtc.schemes.losses import Loss
from lvm_mtc.schemes.scheme import Params, Scheme, Source
from lvm_mtc.schemes.simulate import forward


def align_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """InfoNCE of received pictures and received descriptions over the batch; a ``Stage.loss``.

    The description goes over the link in the question's place. Pictures with the same description are no wrong pair.
    """
    words, valid = (source.hints[name] for name in ("described", "described_valid"))
    told = source._replace(data={**source.data, "words": words, "words_valid": valid})
    outcome = forward(scheme, params, told, key, link, point)
    first, second, scale = scheme.align(params, outcome.estimate.tells)
    sentences = words.reshape(first.shape[0], -1)
    different = jnp.any(jnp.abs(sentences[:, None] - sentences[None]) > 0, axis=-1)
    loss = info_nce(first, second, scale, different)
    found = jnp.argmax(jnp.where(different | jnp.eye(len(first), dtype=bool), first @ second.T, -2.0), axis=1)
    return loss, {"found": jnp.mean(found == jnp.arange(len(first)))}


def answer_loss(
    scheme: Scheme, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """Cross-entropy of the right answer; a ``Stage.loss``."""
    scores = forward(scheme, params, source, key, link, point).estimate.data
    answer = source.data["answer"][..., None]
    loss = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores), answer, axis=-1))
    return loss, {"accuracy": jnp.mean(jnp.argmax(scores, axis=-1, keepdims=True) == answer)}
