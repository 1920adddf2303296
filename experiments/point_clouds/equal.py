"""What stands beside the sweeps of point clouds: symbols at equal quality, clouds that were not sent.

How many symbols a code needs is looked for by what fits, and then sent: bits, CRC, LDPC code, QAM, AWGN, demapper,
decoder. Blocks that are lost are shown as what stands for them, and cost symbols until the mean is reached again.
"""

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.point_clouds.judge import Labelled, accuracy
from experiments.point_clouds.names import (
    CLEAN,
    EQUAL,
    LEARNED,
    LOW_SNR_DB,
    MODES,
    MOST_SYMBOLS,
    SNR_DB,
    SYMBOLS,
    VARIED,
    Coded,
    is_below_capacity,
)
from experiments.stores import read_points, store_values
from lvm_mtc.metrics.points import d1_psnr
from lvm_mtc.results.hashing import params_hash
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.separation.clouds import CloudBits
from lvm_mtc.schemes.separation.digital import draw_pictures, send_bits
from lvm_mtc.sweep.paired import NamedSweep

WORDS, STRETCHES = 96, (1.0, 1.02, 1.05, 1.1, 1.2)
"""Blocks that are sent at the least, and times the symbols that would do without losses."""
_SLOT = 4
_d1 = jax.jit(d1_psnr)


class Needed(NamedTuple):
    """A mode and the symbols of a cloud with which a code reaches a D1 PSNR; the share of blocks that are lost."""

    mode: tuple[int, float]
    symbols: int
    lost: float


def measure_clean(test: Labelled, params: Any, store: ResultStore) -> None:
    """Puts into a store what the judge names right of clouds that were not sent, and the largest class's share."""
    right, majority = accuracy(params, test), np.bincount(test.labels).max() / len(test.labels)
    interval = student_interval(np.float64(right))
    share = Measured(float(interval.mean), float(interval.half_width), interval.num_units)
    values = {"accuracy": share, "majority": Measured(float(majority), None, len(test.labels))}
    _store(store, {"name": CLEAN, "judge": params_hash(params)}, {"scheme": CLEAN}, SNR_DB[-1], values)


def at_awgn(points: Sequence[Point], scheme: str) -> dict[float, float]:
    """Mean D1 PSNR of a scheme over AWGN by SNR."""
    of_awgn = (p for p in points if (p.coordinates["scheme"], p.coordinates["channel"]) == (scheme, "awgn"))
    return {point.snr_db: point.metrics["d1_psnr_db"].mean for point in of_awgn}


def measure_equal(spec: NamedSweep, coded: Sequence[Coded], store: ResultStore) -> None:
    """Puts into a store the fewest symbols with which codes reach the learned scheme's mean D1 PSNR over AWGN."""
    learned = at_awgn(read_points(store, VARIED, "point_clouds"), LEARNED)
    about = {"name": EQUAL, "learned": spec.key()}
    key = store.register(about)
    for snr_db, code in itertools.product(LOW_SNR_DB, coded):
        at = {"scheme": code.name, "channel": "awgn", "snr_db": snr_db}
        if not store.missing(key, [at]):
            continue
        found = fewest(spec, code._replace(modes=MODES), snr_db, learned[snr_db])
        values = {"d1_psnr_db": learned[snr_db], "bits_per_symbol": found.mode[0], "rate": found.mode[1]}
        values |= {"symbols": found.symbols, "lost": found.lost}
        values = {name: Measured(float(value), None, len(spec.sources[1].data)) for name, value in values.items()}
        _store(store, about, at, snr_db, values)


def fewest(spec: NamedSweep, coded: Coded, snr_db: float, wanted: float) -> Needed:
    """Of all modes the one that reaches a mean D1 PSNR with the fewest symbols, sent over AWGN.

    Modes stand in the order of the symbols that would do without losses, so the first ones that are through settle it.
    """
    counted = []
    for mode in (mode for mode in coded.modes if is_below_capacity(mode, snr_db)):
        counted.append((symbols_needed(lambda n, m=mode: shown_d1(spec, coded, m, n), wanted), mode))
    best: Needed | None = None
    for symbols, mode in sorted(counted):
        for stretch in STRETCHES:
            num_symbols = -(-round(stretch * symbols) // _SLOT) * _SLOT
            if best is not None and num_symbols >= best.symbols:
                break
            d1_psnr_db, lost = sent_d1(spec, coded, mode, num_symbols, snr_db)
            if d1_psnr_db >= wanted:
                best = Needed(mode, num_symbols, lost)
                break
    if best is None:
        raise ValueError(f"{coded.name} reaches {wanted:.2f} dB at {snr_db:g} dB with no mode")
    return best


def symbols_needed(d1_of: Callable[[int], float], wanted: float) -> int:
    """Least symbols, whole slots, with which a D1 PSNR is ``wanted`` or more, if it does not fall; by bisection."""
    slots = range(MOST_SYMBOLS // _SLOT)
    return _SLOT * bisect.bisect_left(slots, wanted, lo=SYMBOLS // _SLOT, key=lambda n: d1_of(_SLOT * n))


def shown_d1(spec: NamedSweep, coded: Coded, mode: tuple[int, float], num_symbols: int) -> float:
    """Mean D1 PSNR of a sweep's clouds where all blocks arrive."""
    clouds, sender = spec.sources[1].data[:, 0], sender_of(coded, mode, num_symbols)
    payloads = (coded.code.encode(cloud, sender.blocks.payload_bits) for cloud in clouds)
    return float(_d1(clouds, np.stack([sender.shown(payload) for payload in payloads])).mean())


def sender_of(coded: Coded, mode: tuple[int, float], num_symbols: int) -> CloudBits:
    """Both ends in a mode."""
    return CloudBits(coded.code, coded.lost, bits_per_symbol=mode[0], rate=mode[1], num_symbols=num_symbols)


def sent_d1(
    spec: NamedSweep, coded: Coded, mode: tuple[int, float], num_symbols: int, snr_db: float
) -> tuple[float, float]:
    """Mean D1 PSNR of a sweep's clouds as they arrive over AWGN, and the share of blocks that are lost.

    Each cloud is sent so often that there are ``WORDS`` blocks or more.
    """
    clouds, sender, link = spec.sources[1].data[:, 0], sender_of(coded, mode, num_symbols), spec.links[0]
    repeats = -(-WORDS // len(clouds))
    of_clouds = sender.encode(clouds)
    bits = np.tile(of_clouds.bits, (repeats, 1, 1))
    draws = draw_pictures(link, len(bits), 1, num_symbols // link.num_tx_ant, jax.random.key(num_symbols))
    llr = send_bits(link, mode[0], bits, draws, np.float32(snr_db), np.float32(0)).llr
    received = sender.decode(np.asarray(llr), of_clouds._replace(bits=bits))
    lost = (received == coded.lost).all((-2, -1)).mean()
    return float(_d1(np.tile(clouds, (repeats, 1, 1)), received).mean()), float(lost)


def _store(store: ResultStore, about: Mapping[str, Any], at: Mapping[str, Any], snr_db: float, values: Mapping) -> None:
    store_values(store, about, at, values, snr_db=snr_db, convention="rx_per_antenna")
