"""OTFS and OFDM over a doubly selective channel, from the same draws: errors of QPSK and mean squared errors.

    OPENBLAS_NUM_THREADS=1 python -m experiments.otfs.measure --out docs/otfs

Minutes on one core; with more threads, matrices this small wait for each other. Writes ``results.json`` and
``figure.png`` into ``--out`` and the tables into the page beside it, ``--out``.md, between its markers. ``--page-only``
draws and writes from the old ``results.json``.
"""

import functools
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.otfs.page import draw, tables
from experiments.script import PAGE_ONLY, script, study
from lvm_mtc.link import LinkConfig, OfdmIci, OperatingPoint, Otfs, Slots
from lvm_mtc.phy import SPEED_OF_LIGHT, ResourceGrid
from lvm_mtc.results.intervals import student_interval

GRID = ResourceGrid(
    fft_size=32, num_ofdm_symbols=33, cyclic_prefix_length=5, subcarrier_spacing=120e3, pilot_symbols=(0,)
)
CARRIER_FREQUENCY, DELAY_SPREAD = 28e9, 3e-7
CARRIERS = {"otfs": Otfs(grid=GRID), "block": OfdmIci(grid=GRID), "one_tap": OfdmIci(grid=GRID, receiver="one_tap")}
SPEEDS_KMH, SNRS_DB, ANTENNAS = (0, 50, 125, 250, 500, 750, 1000), (10, 15, 20, 25, 30), (1, 2)
SPEED_KMH, SNR_DB = 500, 20
AT_ONCE = 10


@functools.partial(jax.jit, static_argnums=0)
def frames(link: LinkConfig, key: jax.Array, point: OperatingPoint) -> dict[str, jax.Array]:
    """Frames of random QPSK: share of wrong bits, biased squared error and what is expected of it, ``[AT_ONCE]``."""
    key_bits, key_link = jax.random.split(key)
    shape = (AT_ONCE, 1, GRID.slots_per_grid, link.num_tx_ant)
    signs = 2.0 * jax.random.bernoulli(key_bits, shape=(2, *shape)) - 1
    x = jax.lax.complex(*signs) * math.sqrt(0.5)
    draws = link.carrier.draw(link, key_link[None], AT_ONCE, *2 * (GRID.slots_per_grid,), point)
    x_hat, no_eff, *_ = link.carrier.send(link, Slots(x), draws, point)
    wrong = (jnp.sign(jnp.stack([x_hat.real, x_hat.imag])) != signs).mean(axis=(0, 2, 3, 4))
    error = jnp.abs(x_hat / (1 + no_eff) - x) ** 2  # the L-MMSE estimate before its gain is divided out
    return {"ber": wrong, "mse": error.mean((1, 2, 3)), "expected_mse": (no_eff / (1 + no_eff)).mean((1, 2, 3))}


def measure(num_frames: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the table, one for each number of antennas, speed, SNR and receiver."""
    points = [(speed, SNR_DB) for speed in SPEEDS_KMH] + [(SPEED_KMH, snr) for snr in SNRS_DB if snr != SNR_DB]
    for antennas in ANTENNAS:
        for name, carrier in CARRIERS.items():
            link = LinkConfig(fading="exponential", delay_spread=DELAY_SPREAD, num_rx_ant=antennas,
                              num_tx_ant=antennas, carrier=carrier)  # fmt: skip
            for speed, snr_db in points:
                doppler = speed / 3.6 * CARRIER_FREQUENCY / SPEED_OF_LIGHT
                at = OperatingPoint(snr_db=jnp.float32(snr_db), max_doppler=jnp.float32(doppler))
                found = [jax.device_get(frames(link, jax.random.fold_in(jax.random.key(seed), i), at))
                         for i in range(num_frames // AT_ONCE)]  # fmt: skip
                values = {key: np.concatenate([one[key] for one in found]) for key in found[0]}
                row = {"antennas": antennas, "receiver": name, "speed_kmh": speed, "snr_db": snr_db,
                       "doppler": doppler / GRID.subcarrier_spacing,
                       "bits": 2 * antennas * GRID.slots_per_grid * num_frames}  # fmt: skip
                yield row | {key: [float(n) for n in student_interval(value)[:2]] for key, value in values.items()}


@script(out="folder; the page is beside it", num_frames="of each point, a multiple of ten", seed="of channels",
        page_only=PAGE_ONLY)  # fmt: skip
def main(out: Path = Path("docs/otfs"), num_frames: int = 100, seed: int = 0, page_only: bool = False) -> None:
    """Compare OTFS with OFDM over a doubly selective channel."""
    if num_frames % AT_ONCE or num_frames < AT_ONCE:
        raise ValueError(f"--num-frames must be a multiple of {AT_ONCE}, got {num_frames}")

    def results() -> dict[str, Any]:
        setup = {"frames": num_frames, "seed": seed, "delays": GRID.num_carriers, "dopplers": len(GRID.data_symbols),
                 "taps": GRID.cyclic_prefix_length + 1, "delay_spread_s": DELAY_SPREAD,
                 "carrier_frequency_hz": CARRIER_FREQUENCY, "subcarrier_spacing_hz": GRID.subcarrier_spacing,
                 "prefix": GRID.cyclic_prefix_length}  # fmt: skip
        rows = list(tqdm(measure(num_frames, seed), total=len(ANTENNAS) * len(CARRIERS) * 11))
        return json.loads(json.dumps({"setup": setup, "rows": rows}), parse_float=lambda t: float(f"{float(t):.8g}"))

    study(out, page_only, results, tables, draw)


if __name__ == "__main__":
    sys.exit(main())
