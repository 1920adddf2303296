"""Metrics of stereo pairs: both views, the one half way between that was not sent, disparity, what a renderer lost."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lvm_mtc.schemes.gs_scnet.disparity import disparity_error
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import Outcome

MIDDLE = 2


def of_views(measure: Callable) -> Callable[[Source, Outcome], jax.Array]:
    """A function of two pictures as a metric, its mean over the left and the right view."""
    return lambda source, outcome: measure(source.data, _shown(outcome)[:, :, :MIDDLE]).mean(-1)


def of_middle(measure: Callable) -> Callable[[Source, Outcome], jax.Array]:
    """A function of two pictures as a metric of the middle view; NaN where there is none at either end."""

    def metric(source: Source, outcome: Outcome) -> jax.Array:
        views = _shown(outcome)
        if "middle" not in source.hints or views.shape[2] <= MIDDLE:
            return jnp.full(source.lead(), jnp.nan)
        return measure(source.hints["middle"], views[:, :, MIDDLE])

    return metric


def end_point_error(source: Source, outcome: Outcome) -> jax.Array:
    """Mean distance of the received disparity from the true one's means over squares, pixels; NaN if none is known."""
    if "disparity" not in source.hints:
        return jnp.full(source.lead(), jnp.nan)
    return disparity_error(outcome.estimate.tells["disparity"], source.hints["disparity"])


def overflow(source: Source, outcome: Outcome) -> jax.Array:
    """Splats that the renderer had no room for, over all views: where it is not 0 the pictures are wrong."""
    lost = outcome.estimate.tells.get("overflow")
    return jnp.zeros(source.lead()) if lost is None else lost.astype(jnp.float32)


def _shown(outcome: Outcome) -> jax.Array:
    return jnp.clip(outcome.estimate.data, 0.0, 1.0)
