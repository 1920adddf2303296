"""Uncoded QPSK as OTFS and as OFDM, with the channel told and estimated."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.otfs.grid import AT_ONCE, CARRIERS, ESTIMATES, GRID, SetOut, cells, link_of, slots_of
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.results.intervals import student_interval

ANTENNAS = (1, 2)


@functools.partial(jax.jit, static_argnums=0)
def frames(link: LinkConfig, key: jax.Array, point: OperatingPoint) -> dict[str, jax.Array]:
    """Frames of random QPSK: share of wrong bits, biased squared error and what is expected of it, ``[AT_ONCE]``."""
    key_bits, key_link = jax.random.split(key)
    shape = (AT_ONCE, 1, slots_of(link), link.num_tx_ant)
    signs = 2.0 * jax.random.bernoulli(key_bits, shape=(2, *shape)) - 1
    x = jax.lax.complex(*signs) * math.sqrt(0.5)
    x_hat, no_eff = cells(link, x, key_link, point)
    wrong = (jnp.sign(jnp.stack([x_hat.real, x_hat.imag])) != signs).mean(axis=(0, 2, 3, 4))
    error = jnp.abs(x_hat / (1 + no_eff) - x) ** 2  # the L-MMSE estimate before its gain is divided out
    return {"ber": wrong, "mse": error.mean((1, 2, 3)), "expected_mse": (no_eff / (1 + no_eff)).mean((1, 2, 3))}


def measure_symbols(points: list[SetOut], num_frames: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the table, one for each number of antennas, speed, SNR and receiver."""
    for antennas in ANTENNAS:
        for name, carrier in CARRIERS.items():
            link = link_of(carrier, antennas)
            for at in points:
                yield {"antennas": antennas, "receiver": name} | _row(link, at, num_frames, seed)


def measure_estimates(points: list[SetOut], num_frames: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows: the same of OTFS that has to find out about the channel, and the share of the samples that carry data."""
    for name, (csi, carrier) in ESTIMATES.items():
        link = link_of(carrier, csi=csi)
        per_symbol = GRID.fft_size + GRID.cyclic_prefix_length
        share = slots_of(link) / (carrier.grid.num_ofdm_symbols * per_symbol)
        for at in points:
            yield {"estimate": name, "share": share} | _row(link, at, num_frames, seed)


def _row(link: LinkConfig, at: SetOut, num_frames: int, seed: int) -> dict[str, Any]:
    found = [jax.device_get(frames(link, jax.random.fold_in(jax.random.key(seed), i), at.point))
             for i in range(num_frames // AT_ONCE)]  # fmt: skip
    values = {key: np.concatenate([one[key] for one in found]) for key in found[0]}
    means = {key: [float(n) for n in student_interval(value)[:2]] for key, value in values.items()}
    return at.described() | {"bits": 2 * link.num_tx_ant * slots_of(link) * num_frames} | means
