"""What the answerer minimises."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc import link as links_room
from lvm_mtc.link import LinkConfig, OperatingPoint, uav_keys
from lvm_mtc.schemes.scheme import Params, Source
from lvm_mtc.schemes.simulate import encode, transmit


def answer_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> tuple[jax.Array, dict[str, jax.Array]]:  # fmt: skip
    """Cross-entropy of the right answer from what arrived; a ``Stage.loss``.

    Bits have no gradient: the projection gets that of features which arrive as they were sent (straight through).
    """
    batch, num_uavs = source.lead()
    keys = uav_keys(key, num_uavs)
    encoded = encode(scheme, params, source, keys, point.knobs)
    num_frames, num_symbols = scheme.frames()
    draws = links_room.draw(link, keys, batch, num_frames, num_symbols, point)
    outcome = transmit(scheme, params, encoded, (link,), (draws,), point)
    sent, arrived = (jnp.where(encoded.valid[..., None], part.tells["features"], 0.0) for part in outcome[:2][::-1])
    scores = scheme.answer(params, sent + jax.lax.stop_gradient(arrived - sent), outcome.sent.side)
    answer = source.data["answer"]
    loss = -jnp.take_along_axis(jax.nn.log_softmax(scores), answer[..., None], axis=-1).mean()
    return loss, {"accuracy": jnp.mean(jnp.argmax(scores, axis=-1) == answer)}
