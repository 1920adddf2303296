"""What the stages of the stereo codec minimise."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.link import LinkConfig, OperatingPoint, Received
from lvm_mtc.schemes.gs_scnet.disparity import pool
from lvm_mtc.schemes.losses import Loss, image_loss
from lvm_mtc.schemes.scheme import Params, Scheme, Sent, Source
from lvm_mtc.schemes.simulate import encode, forward

_CLEAN = 1e-6


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


def lift_loss(
    scheme: Scheme, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """Views of the Gaussians of symbols that arrive as they were sent, and their disparity; a ``Stage.loss``."""
    k_encode, k_place = jax.random.split(key)
    sent = scheme.modulate(params, encode(scheme, params, source, k_encode, point.knobs), point)
    symbols = sent.signal.private.symbols
    received = Received(symbols, jnp.full(symbols.shape, _CLEAN))
    return _of_views(scheme, params, source, received, sent, k_place, weights)


def joint_loss(
    scheme: Scheme, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """Views of the Gaussians and their disparity, end to end, beside :func:`codec_loss`; a ``Stage.loss``."""
    k_send, k_place = jax.random.split(key)
    pixels = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, decoder="pixels"))
    outcome = forward(pixels, params, source, k_send, link, point)
    loss, _ = image_loss(outcome.estimate.data, source.data, weights["image_loss"])
    error = disparity_error(outcome.sent.tells["disparity"], source.hints["disparity"]).mean()
    views, told = _of_views(scheme, params, source, outcome.received, outcome.sent, k_place, weights)
    return views + weights["pixels"] * loss + weights["disparity"] * error, told


def _of_views(
    scheme: Scheme, params: Params, source: Source, received: Received, sent: Sent, key: jax.Array,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """The middle view and one of the two others, each scene's at random, and the Gaussians' disparity."""
    gaussians, disparity = scheme.gaussians(params, received, sent.side)
    flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), (source.data, source.hints))
    pair, hints = flat
    right = jax.random.bernoulli(key, shape=(len(pair),))
    places = jnp.stack([right.astype(jnp.float32), jnp.full(len(pair), 0.5)], axis=1)
    outer = jnp.where(right[:, None, None, None], pair[:, 1], pair[:, 0])
    views, overflow = scheme.render(gaussians, places, sent.side)
    kind = weights["image_loss"]
    of_outer, psnr = image_loss(views[:, 0], outer, kind)
    of_middle, psnr_middle = image_loss(views[:, 1], hints["middle"], kind)
    error = disparity_error(disparity, hints["disparity"]).mean()
    loss = (of_outer + weights["middle"] * of_middle) / (1 + weights["middle"]) + weights["disparity"] * error
    told = {"psnr": psnr, "psnr_middle": psnr_middle, "epe": error, "overflow": overflow.sum().astype(jnp.float32)}
    return loss, told


def disparity_error(found: jax.Array, disparity: jax.Array) -> jax.Array:
    """Mean distance over both views from the true one's means over squares, pixels, ``[...]``; 0 is unknown.

    Args:
        found: ``[..., 2, rows, columns]``, pixels.
        disparity: ``[..., 2, H, W]``, pixels, at a multiple of the scale.
    """
    true = pool(disparity, disparity.shape[-2] // found.shape[-2])
    known = (true > 0).astype(true.dtype)
    return jnp.sum(known * jnp.abs(found - true), (-3, -2, -1)) / jnp.maximum(known.sum((-3, -2, -1)), 1)
