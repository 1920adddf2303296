"""What the stages of the stereo codec minimise."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes.gs_scnet.disparity import pool
from lvm_mtc.schemes.losses import Loss, image_loss
from lvm_mtc.schemes.scheme import Params, Scheme, Source
from lvm_mtc.schemes.simulate import forward


def codec_loss(
    scheme: Scheme, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """Both views as pixels, end to end, and the disparity that the transmitter finds; a ``Stage.loss``."""
    pixels = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, decoder="pixels"))
    outcome = forward(pixels, params, source, key, link, point)
    loss, psnr = image_loss(outcome.estimate.data, source.data, weights["image_loss"])
    error = disparity_error(outcome.sent.tells["disparity"], source.hints["disparity"]).mean()
    return loss + weights["disparity"] * error, {"psnr": psnr, "epe": error}


def disparity_error(found: jax.Array, disparity: jax.Array) -> jax.Array:
    """Mean distance over both views from the true one's means over squares, pixels, ``[...]``; 0 is unknown.

    Args:
        found: ``[..., 2, rows, columns]``, pixels.
        disparity: ``[..., 2, H, W]``, pixels, at a multiple of the scale.
    """
    true = pool(disparity, disparity.shape[-2] // found.shape[-2])
    known = (true > 0).astype(true.dtype)
    return jnp.sum(known * jnp.abs(found - true), (-3, -2, -1)) / jnp.maximum(known.sum((-3, -2, -1)), 1)
