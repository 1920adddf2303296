"""What training minimises, as far as several schemes share it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes.scheme import Params, Scheme, Source
from lvm_mtc.schemes.simulate import forward

IMAGE_LOSSES = ("mse", "log_mse")
_MSE_FLOOR = 1e-6

Loss = tuple[jax.Array, dict[str, jax.Array]]


def picture_loss(
    scheme: Scheme, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """End to end: the loss of the received pictures, ``weights["image_loss"]``; a ``Stage.loss``."""
    outcome = forward(scheme, params, source, key, link, point)
    loss, psnr = image_loss(outcome.estimate.data, source.data, weights["image_loss"])
    return loss, {"psnr": psnr}


def image_loss(images_hat: jax.Array, images: jax.Array, kind: str) -> tuple[jax.Array, jax.Array]:
    """Loss and mean PSNR (dB, mean over pictures, not clipped) of ``[..., height, width, 3]`` pictures in [0, 1].

    ``"mse"`` is the mean squared error; ``"log_mse"`` the mean over pictures of its natural logarithm.
    """
    mse = jnp.mean((images_hat - images) ** 2, axis=(-3, -2, -1))
    log_mse = jnp.log(mse + _MSE_FLOOR)
    psnr = jax.lax.stop_gradient(-10 / jnp.log(10.0) * log_mse.mean())
    return (mse.mean() if kind == "mse" else log_mse.mean()), psnr


def masked_mse(estimate: jax.Array, target: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean squared error per element of ``[..., num_tokens, width]`` over the tokens that are ``valid``."""
    weight = valid[..., None]
    return jnp.sum(weight * (estimate - target) ** 2) / (jnp.maximum(weight.sum(), 1) * estimate.shape[-1])
