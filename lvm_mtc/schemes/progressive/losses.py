"""What training minimises: pictures from prefixes of random length or at several rates, and what codebooks leave."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models import context_transform
from lvm_mtc.models.vector_quantizer import look_up, quantize
from lvm_mtc.schemes.losses import IMAGE_LOSSES, Loss, image_loss
from lvm_mtc.schemes.scheme import Params, Source

WEIGHTS = {"image_loss": IMAGE_LOSSES[::-1], "commitment": 1.0, "codebook": 1.0}

_TINY = 1e-12
RATES_WEIGHTS = WEIGHTS | {"context": 1.0}


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


def rates_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """Pictures at all rates of ``context.ContextVq``, as many at each, without a link; a ``Stage.loss``.

    Gradients pass the quantiser as if it were the identity, and codebooks and features move as in :func:`prefix_loss`.
    The context learns to expect features as a Gaussian density does, of the mean and deviation that it names.
    """
    images, c, fixed = source.data.reshape(-1, *source.data.shape[2:]), scheme.config, jax.lax.stop_gradient
    sizes = c.codebook_sizes
    if len(images) < len(sizes):
        raise ValueError(f"batches must have a picture for each of the {len(sizes)} rates, got {len(images)}")
    its_rate = np.arange(len(images)) * len(sizes) // len(images)
    share = jnp.concatenate([scheme.share(sizes[rate]) for rate in its_rate])
    features, rules = scheme.analyse(params, images), scheme.rules(params)
    of_sizes = [context_transform.nearest_of([book["codes"] for book in scheme.books(params, size)]) for size in sizes]

    def choose(group, rest):
        chosen = [of_size(group, rest[its_rate == rate]) for rate, of_size in enumerate(of_sizes)]
        indices, codes = zip(*chosen, strict=True)
        return jnp.concatenate(indices), jnp.concatenate(codes)

    coded = context_transform.code(rules, choose, c.slices, fixed(features))
    y_hat = coded.y_hat
    images_hat = scheme.synthesise(params, features + fixed(y_hat - features), share)
    loss, psnr = image_loss(images_hat, images, weights["image_loss"])
    error = jnp.sum((features - fixed(y_hat)) ** 2, -1).mean((1, 2)) / c.patch_size**2 / 3
    committed = jnp.mean(error / fixed(jnp.mean((images_hat - images) ** 2, (1, 2, 3))))
    square = (fixed(features) - y_hat) ** 2
    left = jnp.stack([square[its_rate == rate].mean((0, 1, 2)) for rate in range(len(sizes))])
    books_loss = jnp.mean(left / fixed(left + _TINY))
    expected = jnp.mean((fixed(features) - coded.mu) ** 2 * jnp.exp(-2 * coded.s) / 2 + coded.s)
    total = loss + weights["commitment"] * committed + weights["codebook"] * books_loss
    return total + weights["context"] * expected, {"psnr": psnr, "committed": committed, "expected": expected}
