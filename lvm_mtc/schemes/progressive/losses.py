"""What training minimises: pictures from prefixes of random length, and the vectors that the codebooks leave."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.vector_quantizer import look_up, quantize
from lvm_mtc.schemes.losses import IMAGE_LOSSES, Loss, image_loss
from lvm_mtc.schemes.scheme import Params, Source

WEIGHTS = {"image_loss": IMAGE_LOSSES[::-1], "commitment": 1.0, "codebook": 1.0}


def prefix_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """The first t stages of each picture, t uniform, without a link; a ``Stage.loss``.

    Gradients pass the quantiser as if it were the identity. Codebooks move to the vectors that choose them, and
    features to what is chosen: their error counts in units of the pictures' own, which at the start it equals, or else
    features would outgrow the codebooks.
    """
    images = source.data.reshape(-1, *source.data.shape[2:])
    features, books = scheme.analyse(params, images), scheme.books(params)
    indices, parts = jax.lax.stop_gradient(quantize(features, books))
    stages = jax.random.randint(key, images.shape[:1], 1, len(books) + 1)
    sums = jnp.cumsum(parts, axis=-2)
    chosen = jnp.take_along_axis(sums, (stages - 1).reshape(-1, 1, 1, 1, 1), axis=-2)[..., 0, :]
    straight = features + jax.lax.stop_gradient(chosen - features)
    images_hat = scheme.synthesise(params, straight, stages / len(books))
    loss, psnr = image_loss(images_hat, images, weights["image_loss"])
    error = jnp.sum((features - chosen) ** 2, -1).mean((1, 2)) / scheme.config.patch_size**2 / 3
    mse = jax.lax.stop_gradient(jnp.mean((images_hat - images) ** 2, (1, 2, 3)))
    committed = jnp.mean(error / mse)
    rest = jax.lax.stop_gradient(features[..., None, :] - (sums - parts))
    left = jnp.sum((rest - look_up(indices, books)) ** 2, -1).mean((0, 1, 2))
    books_loss = jnp.mean(left / jax.lax.stop_gradient(left))
    total = loss + weights["commitment"] * committed + weights["codebook"] * books_loss
    return total, {"psnr": psnr, "committed": committed}
