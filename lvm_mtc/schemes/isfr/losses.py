"""Nested dropout with rising distortion."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes.isfr.quantiser import dequantise, quantise
from lvm_mtc.schemes.losses import Loss, image_loss
from lvm_mtc.schemes.scheme import Params, Source

_LEAST_FLIPS = 1e-3


def nested_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """Mean squared error of pictures from a random prefix of the groups with wrong bits; a ``Stage.loss``.

    Group i of N survives with probability ``retention^((i - 1) / (N - 1))``, always with all before it. Its bits flip
    with a probability that rises from 1e-3 to ``flips`` on a logarithmic scale, times a level in [0, 1] of the picture;
    0: the features are not even quantised. Link and point are not used.

    Source: Rippel, Gelbart and Adams, Learning ordered representations with nested dropout (2014).
    """
    config, lead = scheme.config, source.lead()
    key_prefix, key_level, key_flips = jax.random.split(jnp.ravel(key)[0], 3)
    features = scheme.features(params, source.data)
    place = jnp.repeat(jnp.linspace(0.0, 1.0, config.num_groups), config.group_size)
    kept = jax.random.uniform(key_prefix, (*lead, 1)) < weights["retention"] ** place.reshape(1, 1, -1)
    if weights["flips"]:
        scale = jax.lax.stop_gradient(features.std((0, 1, 2), keepdims=True)) + 1e-6
        rate = _LEAST_FLIPS * (weights["flips"] / _LEAST_FLIPS) ** place
        rate = rate.reshape(1, 1, 1, -1, 1) * jax.random.uniform(key_level, (*lead, 1, 1, 1))
        bits = quantise(features / scale, config.quantiser_bits)
        bits = bits ^ jax.random.bernoulli(key_flips, rate, bits.shape)
        features = features + jax.lax.stop_gradient(dequantise(bits) * scale - features)
    images = scheme.paint(params, jnp.where(kept[:, :, None], features, 0.0))
    loss, psnr = image_loss(images, source.data, "mse")
    return loss, {"psnr": psnr}
