"""Features of DeepJSCC on the streams of a MIMO-OTFS link by importance: four allocations over the same draws.

    python -m experiments.pack_cifar10 --out build/cifar10.npz
    for n in 2_learned 2_none; do lvm-mtc train --config experiments/configs/streams.py:$n \
        --stage all --data build/cifar10.npz --run-dir runs/streams_$n; done
    OPENBLAS_NUM_THREADS=1 python -m experiments.otfs.streams --streams 2 --out docs/otfs_streams

Minutes on one core. Writes ``results.json`` and ``figure.png`` into ``--out`` and the tables into the page beside it.
"""

import dataclasses
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.otfs.streams_page import draw, tables
from experiments.script import DATA, PAGE_ONLY, rounded, script, study
from lvm_mtc.interop.classifier_weights import load_cifar_resnet
from lvm_mtc.link import LinkConfig, OperatingPoint, Otfs, RankedStreams
from lvm_mtc.metrics.pictures import psnr
from lvm_mtc.models.cifar_resnet import CifarResNet
from lvm_mtc.models.kendall import kendall_tau
from lvm_mtc.phy import SPEED_OF_LIGHT, ResourceGrid
from lvm_mtc.results.intervals import paired_difference, student_interval
from lvm_mtc.schemes.deepjscc.streams import DeepJsccStreams, StreamsConfig, stream_quality
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

CARRIER_FREQUENCY, SPACING, DELAY_SPREAD, DELAYS = 28e9, 120e3, 5e-7, 16
SYMBOLS = 1024  # of a picture
FADINGS = ("rayleigh", "exponential")
SPEEDS_KMH, SNRS_DB = (3, 30, 100, 300), (0, 5, 10)
SPEED_KMH, SNR_DB = 100, 5
AT_ONCE = 32
ALLOCATIONS = {
    "none": ("none", "fixed", None), "random": ("none", "random", 0), "sorted": ("none", "sorted", 0),
    "learned": ("learned", "fixed", 0), "learned, unranked": ("learned", "fixed", None),
    "learned, old order": ("learned", "fixed", 1),
}  # fmt: skip
"""Name to the weights, the order of the groups, and of the streams: none, or so many frames old."""


def link_of(streams: int, fading: str, age: int | None) -> LinkConfig:
    """One picture a frame; ``age`` frames."""
    grid = ResourceGrid(fft_size=DELAYS, num_ofdm_symbols=SYMBOLS // streams // DELAYS + 1, cyclic_prefix_length=3,
                        subcarrier_spacing=SPACING, pilot_symbols=(0,))  # fmt: skip
    carrier = Otfs(grid=grid, carrier_frequency=CARRIER_FREQUENCY)
    if age is not None:
        carrier = RankedStreams(carrier=carrier, age=age * grid.slots_per_grid)
    spread = {"delay_spread": DELAY_SPREAD} if fading == "exponential" else {}
    return LinkConfig(fading=fading, num_rx_ant=streams, num_tx_ant=streams, convention="rx_per_antenna",
                      carrier=carrier, **spread)  # fmt: skip


@functools.partial(jax.jit, static_argnums=(0, 1))
def frames(
    scheme: DeepJsccStreams, link: LinkConfig, params: Any, judge: Any, source: Source, key: jax.Array,
    point: OperatingPoint,
) -> dict[str, jax.Array]:  # fmt: skip
    """Of each picture, ``[batch]``: what arrived, bits of its groups and the quality of their streams."""
    outcome = forward(scheme, params, source, key, link, point)
    pictures = jnp.clip(outcome.estimate.data[:, 0], 0, 1)
    right = jnp.argmax(CifarResNet().apply({"params": judge}, pictures), axis=-1) == source.hints["labels"][:, 0]
    no_eff = scheme.in_groups(outcome.received, outcome.sent.side.order).no_eff[:, 0]
    return {
        "psnr": psnr(source.data[:, 0], pictures), "accuracy": right.astype(jnp.float32),
        "bits": outcome.sent.tells["group_bits"][:, 0], "quality": stream_quality(no_eff, scheme.config.num_streams),
        "uses": outcome.ledger.channel_uses(), "side_bits": outcome.ledger.side_information_bits,
    }  # fmt: skip


def measure(
    data: Path, runs: Path, weights: Path, antennas: list[int], num_pictures: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Rows: one for each number of streams, fading, point and allocation."""
    with np.load(data) as packed:
        pictures, labels = (packed[f"holdout_{kind}"][:num_pictures] for kind in ("pictures", "labels"))
    judge = load_cifar_resnet(weights / "cifar10_resnet20.npz")
    points = [(speed, SNR_DB) for speed in SPEEDS_KMH] + [(SPEED_KMH, snr) for snr in SNRS_DB if snr != SNR_DB]
    for streams in antennas:
        trained = {name: load_scheme(runs / f"streams_{streams}_{name}" / "system" / "weights.npz")[:2]
                   for name in ("none", "learned")}  # fmt: skip
        for fading in FADINGS:
            found: dict[tuple, dict[str, np.ndarray]] = {}
            for name, (which, order, age) in ALLOCATIONS.items():
                scheme, params = trained[which]
                config = dataclasses.replace(scheme.config, order=order)
                assert isinstance(config, StreamsConfig)
                link, scheme = link_of(streams, fading, age), dataclasses.replace(scheme, config=config)
                for speed, snr_db in points:
                    doppler = speed / 3.6 * CARRIER_FREQUENCY / SPEED_OF_LIGHT
                    at = OperatingPoint(snr_db=jnp.float32(snr_db), max_doppler=jnp.float32(doppler))
                    parts = []
                    for i in range(0, num_pictures, AT_ONCE):
                        some = np.float32(pictures[i : i + AT_ONCE, None]) / 255
                        source = Source(some, {"labels": np.int32(labels[i : i + AT_ONCE, None])})
                        key = jax.random.fold_in(jax.random.key(seed), i)
                        parts.append(jax.device_get(frames(scheme, link, params, judge, source, key, at)))
                    values = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
                    pairs = zip(values.pop("bits"), values.pop("quality"), strict=True)
                    values["tau"] = np.array([kendall_tau(*pair) for pair in pairs])
                    found[name, speed, snr_db] = values
                    yield _row(streams, fading, name, speed, snr_db, doppler, values, found["none", speed, snr_db])


def _row(streams, fading, name, speed, snr_db, doppler, values, without) -> dict[str, Any]:
    row = {"streams": streams, "fading": fading, "allocation": name, "speed_kmh": speed, "snr_db": snr_db,
           "doppler": doppler / SPACING}  # fmt: skip
    row |= {name: float(values[name][0]) for name in ("uses", "side_bits")}
    for metric in ("psnr", "accuracy", "tau"):
        row[metric] = [float(n) for n in student_interval(values[metric])[:2]]
        row[f"{metric}_gain"] = [float(n) for n in paired_difference(values[metric], without[metric])[:2]]
    return row


@script(
    data="of experiments.pack_cifar10",
    runs="folder with streams_2_none and so on",
    weights="folder of the judge's",
    out="folder; the page is beside it",
    streams=dict(help="as many antennas at each end", choices=("2", "4")),
    num_pictures="of the hold-out, a multiple of 32",
    seed="of channels",
    page_only=PAGE_ONLY,
)
def main(
    data: Path = Path("build/cifar10.npz"),
    runs: Path = Path("runs"),
    weights: Path = DATA / "weights",
    out: Path = Path("docs/otfs_streams"),
    streams: tuple = ("2", "4"),
    num_pictures: int = 96,
    seed: int = 0,
    page_only: bool = False,
) -> None:
    """Compare allocations of features to the streams of a MIMO-OTFS link."""
    if num_pictures % AT_ONCE or num_pictures < AT_ONCE:
        raise ValueError(f"--num-pictures must be a multiple of {AT_ONCE}, got {num_pictures}")

    def results() -> dict[str, Any]:
        antennas = list(map(int, streams))
        total = len(antennas) * len(FADINGS) * len(ALLOCATIONS) * (len(SPEEDS_KMH) + len(SNRS_DB) - 1)
        rows = list(tqdm(measure(data, runs, weights, antennas, num_pictures, seed), total=total))
        setup = {"pictures": num_pictures, "seed": seed, "delays": DELAYS, "symbols": SYMBOLS,
                 "delay_spread_s": DELAY_SPREAD, "carrier_frequency_hz": CARRIER_FREQUENCY}  # fmt: skip
        return rounded({"setup": setup, "rows": rows})

    study(out, page_only, results, tables, draw)


if __name__ == "__main__":
    sys.exit(main())
