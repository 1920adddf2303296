"""What the network learns by where frames shall look right: squared error, ST-LPIPS and structural similarity."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.interop.perceptual_weights import load_perceptual
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.perceptual import distance_maps
from lvm_mtc.models.similarity import similarity_terms
from lvm_mtc.schemes.losses import Loss, image_loss
from lvm_mtc.schemes.scheme import Params, Source
from lvm_mtc.schemes.simulate import forward

WEIGHTS = {"distance": 0.02, "similarity": 0.1}
"""Of ST-LPIPS, and of 1 - SSIM, beside a mean squared error of weight 1."""


def perceptual_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """End to end, means over frames: MSE + distance ST-LPIPS + similarity (1 - SSIM); a ``Stage.loss``.

    Frames are not clipped to [0, 1] here, so that all of their errors have a gradient, and SSIM counts their edges.
    """
    received = forward(scheme, params, source, key, link, point).estimate.data
    mse, psnr = image_loss(received, source.data, "mse")
    frames, seen = (a.reshape(-1, *a.shape[-3:]) for a in (source.data, received))
    maps = distance_maps(_judge(scheme.perceptual), frames, seen)
    distance = jnp.sum(jnp.stack([jnp.mean(differences) for differences in maps]))
    similarity = jnp.mean(jnp.prod(jnp.stack(similarity_terms(frames, seen)), axis=0))
    loss = mse + weights["distance"] * distance + weights["similarity"] * (1 - similarity)
    return loss, {"psnr": psnr, "distance": distance, "ssim": similarity}


@functools.lru_cache(maxsize=1)
def _judge(path: str) -> Any:
    """Parameters of ``models.perceptual.PerceptualNet`` of a file."""
    return load_perceptual(path)
