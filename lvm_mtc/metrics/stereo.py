"""Metrics of stereo pairs: both views, the one half way between that was not sent, disparity, what a renderer lost."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lvm_mtc.metrics import pictures
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


psnr_of_views, ssim_of_views = of_views(pictures.psnr), of_views(pictures.ssim)


def end_point_error(source: Source, outcome: Outcome) -> jax.Array:
    """Mean distance of the received disparity from the true one's means over squares, pixels; NaN if none is known."""
    if "disparity" not in source.hints:
        return jnp.full(source.lead(), jnp.nan)
    return disparity_error(outcome.estimate.tells["disparity"], source.hints["disparity"])


def disparity_error(found: jax.Array, disparity: jax.Array) -> jax.Array:
    """Mean over both views and all squares of which something is known, pixels, ``[...]``; NaN without any.

    Args:
        found: ``[..., 2, rows, columns]``, pixels.
        disparity: ``[..., 2, H, W]``, pixels, at a multiple of the scale; 0 is unknown.
    """
    *lead, rows, columns = found.shape
    parts = disparity.reshape(*lead, rows, disparity.shape[-2] // rows, columns, disparity.shape[-1] // columns)
    known = parts > 0
    count = known.sum((-3, -1))
    true = parts.sum((-3, -1)) / jnp.maximum(count, 1)
    error = jnp.where(count > 0, jnp.abs(found - true), 0.0)
    return error.sum((-3, -2, -1)) / (count > 0).sum((-3, -2, -1))


def overflow(source: Source, outcome: Outcome) -> jax.Array:
    """Splats that the renderer had no room for, over all views: where it is not 0 the pictures are wrong."""
    lost = outcome.estimate.tells.get("overflow")
    return jnp.zeros(source.lead()) if lost is None else lost.astype(jnp.float32)


def _shown(outcome: Outcome) -> jax.Array:
    return jnp.clip(outcome.estimate.data, 0.0, 1.0)
