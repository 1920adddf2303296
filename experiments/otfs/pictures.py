"""Coded words and pictures as OTFS and as OFDM: what is behind the receivers that ``measure`` has."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.otfs.grid import AT_ONCE, CARRIERS, GRID, SetOut, cells, link_of
from lvm_mtc import phy, zoo
from lvm_mtc.data import load_cifar10_sheets
from lvm_mtc.data.twins import HELD_OUT
from lvm_mtc.interop.classifier_weights import load_cifar_resnet
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.pictures import psnr
from lvm_mtc.models.cifar_resnet import CifarResNet
from lvm_mtc.phy import coding
from lvm_mtc.results.intervals import paired_difference, student_interval
from lvm_mtc.schemes.scheme import Scheme, Source
from lvm_mtc.schemes.separation import digital
from lvm_mtc.schemes.simulate import forward

CODES = ((4, 3 / 4), (4, 9 / 10))
"""Bits a symbol and rate of the LDPC code, one word a frame."""
CODECS = {"deepjscc": "deepjscc_cifar10_cbr_1_3", "token2": "token2_cifar10_cbr_1_3"}
"""Codecs of one frame a picture, and their names in the zoo."""


@functools.partial(jax.jit, static_argnums=(0, 1))
def demapped(
    link: LinkConfig, bits_per_symbol: int, coded: jax.Array, key: jax.Array, point: OperatingPoint
) -> jax.Array:
    """LLRs of coded bits ``[AT_ONCE, bits]``, which are interleaved over the cells of a frame each."""
    order = digital.symbol_order(GRID.slots_per_grid)
    x = phy.qam_map(coded, bits_per_symbol)[:, order]
    x_hat, no_eff = (a[:, 0, np.argsort(order), 0] for a in cells(link, x[:, None, :, None], key, point))
    return phy.qam_llr(x_hat, no_eff, bits_per_symbol)


def measure_words(points: list[SetOut], num_words: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows: share of lost words for each code, point and receiver, of the same words over the same channels."""
    for bits_per_symbol, rate in CODES:
        blocks = coding.code_blocks(GRID.slots_per_grid, bits_per_symbol, rate)
        shape = num_words, blocks.payload_bits
        payload = np.random.default_rng(seed).integers(0, 2, shape, np.uint8)
        coded = jnp.int32(coding.encode_payload(payload, blocks)).reshape(-1, AT_ONCE, blocks.num_coded_bits)
        for at in points:
            for name, carrier in CARRIERS.items():
                llr = [demapped(link_of(carrier), bits_per_symbol, part,
                                jax.random.fold_in(jax.random.key(seed), i), at.point)
                       for i, part in enumerate(coded)]  # fmt: skip
                found = coding.decode_payload(np.concatenate(llr), blocks)
                lost = ~(found.valid & (found.payload == payload).all(axis=1))
                yield at.described() | {
                    "bits_per_symbol": bits_per_symbol, "rate": rate, "receiver": name, "words": num_words,
                    "lost": [float(n) for n in student_interval(lost)[:2]],
                }  # fmt: skip


@functools.partial(jax.jit, static_argnums=(0, 1))
def received(
    scheme: Scheme, link: LinkConfig, params: Any, judge: Any, source: Source, key: jax.Array, point: OperatingPoint
) -> dict[str, jax.Array]:
    """Of each picture, ``[batch]``: its PSNR, whether the judge names it, the error expected, and what it cost."""
    outcome = forward(scheme, params, source, key, link, point)
    pictures = jnp.clip(outcome.estimate.data[:, 0], 0, 1)
    right = jnp.argmax(CifarResNet().apply({"params": judge}, pictures), axis=-1) == source.hints["labels"][:, 0]
    no_eff = outcome.received.no_eff
    return {
        "psnr": psnr(source.data[:, 0], pictures), "accuracy": right.astype(jnp.float32),
        "expected_mse": (no_eff / (1 + no_eff)).mean((1, 2, 3)), "uses": outcome.ledger.channel_uses(),
    }  # fmt: skip


def measure_pictures(
    codec: str, points: list[SetOut], data: Path, num_pictures: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Rows: PSNR and accuracy at each point with each receiver, and what OTFS has more, picture by picture."""
    sheets = load_cifar10_sheets(data / "cifar10")
    pictures, labels = (a[-HELD_OUT:][:num_pictures] for a in (sheets.pictures, sheets.labels))
    judge = load_cifar_resnet(data / "weights" / "cifar10_resnet20.npz")
    scheme, params = zoo.load_codec(CODECS[codec])
    for at in points:
        otfs: dict[str, np.ndarray] = {}
        for name, carrier in CARRIERS.items():
            parts = []
            for i in range(0, num_pictures, AT_ONCE):
                some = np.float32(pictures[i : i + AT_ONCE, None]) / 255
                source = Source(some, {"labels": np.int32(labels[i : i + AT_ONCE, None])})
                key = jax.random.fold_in(jax.random.key(seed), i)
                parts.append(jax.device_get(received(scheme, link_of(carrier), params, judge, source, key, at.point)))
            values = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
            otfs = otfs or values
            row = {"codec": codec, "receiver": name, "uses": float(values.pop("uses")[0])}
            row |= {key: [float(n) for n in student_interval(value)[:2]] for key, value in values.items()}
            for key in ("psnr", "accuracy"):
                row[f"otfs_{key}_gain"] = [float(n) for n in paired_difference(otfs[key], values[key])[:2]]
            yield at.described() | row
