"""What the stages of the stereo codec minimise."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.link import LinkConfig, OperatingPoint, Received
from lvm_mtc.schemes.gs_scnet.disparity import disparity_error
from lvm_mtc.schemes.losses import Loss, image_loss
from lvm_mtc.schemes.scheme import Params, Sent, Source
from lvm_mtc.schemes.simulate import encode, forward

_CLEAN = 1e-6


def codec_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """Both views as pixels, end to end, and the disparity that the transmitter finds; a ``Stage.loss``."""
    pixels = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, decoder="pixels"))
    outcome = forward(pixels, params, source, key, link, point)
    loss, psnr = image_loss(outcome.estimate.data, source.data, weights["image_loss"])
    error = disparity_error(outcome.sent.tells["disparity"], source.hints["disparity"]).mean()
    return loss + weights["disparity"] * error, {"psnr": psnr, "epe": error}


def lift_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """Views of the Gaussians of symbols that arrive as they were sent, and their disparity; a ``Stage.loss``."""
    k_encode, k_place = jax.random.split(key)
    sent = scheme.modulate(params, encode(scheme, params, source, k_encode, point.knobs), point)
    symbols = sent.signal.private.symbols
    received = Received(symbols, jnp.full(symbols.shape, _CLEAN))
    return _of_views(scheme, params, source, received, sent, k_place, weights)


def joint_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """Views of the Gaussians and their disparity, end to end, beside :func:`codec_loss`; a ``Stage.loss``."""
    k_send, k_place = jax.random.split(key)
    pixels = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, decoder="pixels"))
    outcome = forward(pixels, params, source, k_send, link, point)
    loss, _ = image_loss(outcome.estimate.data, source.data, weights["image_loss"])
    views, told = _of_views(scheme, params, source, outcome.received, outcome.sent, k_place, weights)
    return views + weights["pixels"] * loss, told


def _of_views(
    scheme: Any, params: Params, source: Source, received: Received, sent: Sent, key: jax.Array,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """A view of each scene, the middle one as often as both others; disparity as found and of the Gaussians."""
    gaussians, disparity = scheme.gaussians(params, received, sent.side)
    pair, hints, found = jax.tree.map(
        lambda a: a.reshape(-1, *a.shape[2:]), (source.data, source.hints, sent.tells["disparity"])
    )
    middle, right = jax.random.bernoulli(key, shape=(2, len(pair)))
    places = jnp.where(middle, 0.5, right.astype(jnp.float32))
    views, overflow = scheme.render(gaussians, places[:, None], sent.side)
    middle, right = (a[:, None, None, None] for a in (middle, right))
    wanted = jnp.where(middle, hints["middle"], jnp.where(right, pair[:, 1], pair[:, 0]))
    loss, psnr = image_loss(views[:, 0], wanted, weights["image_loss"])
    error = disparity_error(disparity, hints["disparity"]).mean()
    errors = error + disparity_error(found, hints["disparity"]).mean()
    told = {"psnr": psnr, "epe": error, "overflow": overflow.sum().astype(jnp.float32)}
    return loss + weights["disparity"] * errors, told
