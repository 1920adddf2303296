"""Running statistics of batch norms for given weights, computed and not averaged along the training."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.models.flashsam_blocks import BATCH_NORM_MOMENTUM


def batch_statistics(model: Any, params: Mapping[str, Any], batches: Iterable[jax.Array]) -> dict[str, Any]:
    """Mean and variance of every norm's input over pictures, for fixed weights.

    The moments of the batches are pooled: m = mean m_b and v = mean v_b + mean m_b^2 - m^2, so batches of one size
    give the moments of the whole. (Each layer sees what the earlier ones make with their own batch's statistics.)

    Args:
        model: Linen module with ``nn.BatchNorm`` of momentum ``BATCH_NORM_MOMENTUM`` and a ``train`` argument.
        params: Its parameters.
        batches: Inputs of one shape, at least one (ValueError).

    Source: Wu and Johnson, Rethinking "Batch" in BatchNorm (2021), Sec. 3.
    """
    moments = [_batch_moments(model, params, images) for images in batches]
    if not moments:
        raise ValueError("batches is empty: the statistics need at least one")

    def pooled(*norms):
        mean, var, square = (sum(norm[name] for norm in norms) / len(norms) for name in ("mean", "var", "square"))
        return {"mean": mean, "var": jnp.maximum(var + square - mean * mean, 0)}

    return jax.tree.map(pooled, *moments, is_leaf=_is_norm)


def _is_norm(node: Any) -> bool:
    return isinstance(node, Mapping) and "mean" in node


@functools.partial(jax.jit, static_argnums=0)
def _batch_moments(model, params, images) -> dict[str, Any]:
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)["batch_stats"]
    variables = {"params": params, "batch_stats": jax.tree.map(jnp.zeros_like, shapes)}
    _, after = model.apply(variables, images, train=True, mutable=["batch_stats"])

    def undo(norm):
        # From zero, one step leaves (1 - momentum) of the batch's moments.
        mean, var = (norm[name] / (1 - BATCH_NORM_MOMENTUM) for name in ("mean", "var"))
        return {"mean": mean, "var": var, "square": mean * mean}

    return jax.tree.map(undo, after["batch_stats"], is_leaf=_is_norm)
