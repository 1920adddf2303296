"""What the queue needs of a codec: a loss, and the PSNR on the hold-out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes.losses import picture_loss
from lvm_mtc.schemes.scheme import Scheme, Source
from lvm_mtc.schemes.simulate import forward

CONVENTION = "rx_per_antenna"
LINKS = {name: LinkConfig(fading=name, convention=CONVENTION) for name in ("awgn", "rayleigh")}
"""AWGN, and 4x4 block Rayleigh with perfect CSI."""
SNR_DB = (1.0, 4.0, 7.0, 10.0, 13.0)
LOWEST_SNR_DB, HIGHEST_SNR_DB = 0.0, 14.0
_CHUNK = 100


def make_loss_fn(scheme: Scheme, shares: Mapping[str, int]) -> Callable:
    """Builds ``loss_fn(params, images, key)``: mean log MSE, SNR in strata from 0 to 14 dB.

    Args:
        scheme: The codec.
        shares: Name in ``LINKS`` to how many pictures of a batch go through it.
    """
    edges = np.cumsum([0, *shares.values()])

    def loss_fn(params, images, key):
        total, metrics = 0.0, {}
        for number, (name, count) in enumerate(shares.items()):
            snr_key, link_key = jax.random.split(jax.random.fold_in(key, number))
            place = (jnp.arange(count) + jax.random.uniform(snr_key, (count,))) / count
            point = OperatingPoint(snr_db=LOWEST_SNR_DB + (HIGHEST_SNR_DB - LOWEST_SNR_DB) * place)
            source = Source(images[edges[number] : edges[number + 1], None])
            weights = {"image_loss": "log_mse"}
            loss, told = picture_loss(scheme, params, source, link_key, LINKS[name], point, weights)
            total = total + loss * count / edges[-1]
            metrics[f"psnr_{name}"] = told["psnr"]
        return total, metrics

    return loss_fn


def make_psnr(scheme: Scheme, holdout: np.ndarray) -> Callable[[Any, str, float], np.ndarray]:
    """Builds ``psnr(params, link, snr_db)``: of each picture, dB, clipped to [0, 1], ``[M]``.

    Every picture has a realisation of the channel of its own, the same in every call and for every codec.

    Args:
        scheme: The codec.
        holdout: ``[M, 32, 32, 3]`` uint8.
    """

    @functools.partial(jax.jit, static_argnames="link")
    def send(params, images, key, snr_db, link):
        out = forward(scheme, params, Source(images), key, LINKS[link], OperatingPoint(snr_db=snr_db)).estimate.data
        return -10 * jnp.log10(jnp.mean((jnp.clip(out, 0, 1) - images) ** 2, axis=(1, 2, 3, 4)))

    chunks = [np.float32(holdout[start : start + _CHUNK, None]) / 255 for start in range(0, len(holdout), _CHUNK)]

    def psnr(params, link, snr_db):
        values = [send(params, chunk, jax.random.key(n), snr_db, link) for n, chunk in enumerate(chunks)]
        return np.concatenate(values)

    return psnr


def make_validation(
    scheme: Scheme, holdout: np.ndarray, links: Sequence[str] = tuple(LINKS)
) -> Callable[[Any, int], dict[str, float]]:
    """Builds ``validate(params, step)``: mean of :func:`make_psnr` by link and SNR.

    Args:
        scheme: The codec.
        holdout: ``[M, 32, 32, 3]`` uint8.
        links: Names in ``LINKS``.
    """
    psnr = make_psnr(scheme, holdout)

    def validate(params, step):
        del step
        return {f"psnr_{name}_{at:g}": float(psnr(params, name, at).mean()) for name in links for at in SNR_DB}

    return validate
