"""What the networks minimise: the error that the water-filling minimises too."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, OperatingPoint, per_link
from lvm_mtc.models.patches import patches_in_box
from lvm_mtc.schemes.losses import Loss, image_loss
from lvm_mtc.schemes.scheme import Params, Scheme, Source
from lvm_mtc.schemes.simulate import all_knobs, forward


def weighted_loss(
    scheme: Scheme, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """Mean over pictures of the log of their squared error, pixels of the box weighted; a ``Stage.loss``."""
    del weights
    outcome, images = forward(scheme, params, source, key, link, point), source.data
    weight = phy.db_to_linear(per_link(all_knobs(scheme, point.knobs)["importance_db"], source.lead()))
    inside = patches_in_box(source.hints["loc"], images.shape[2:4], 1).reshape(images.shape[:-1])
    weight = jnp.where(inside, weight[..., None, None], 1.0)
    weight = weight / weight.mean((-2, -1), keepdims=True)
    error = jnp.sqrt(weight)[..., None] * (outcome.estimate.data - images)
    loss, _ = image_loss(error, jnp.zeros_like(error), "log_mse")
    return loss, {"psnr": image_loss(outcome.estimate.data, images, "mse")[1]}
