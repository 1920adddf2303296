"""What of the study of point clouds is counted, not sent: symbols at equal quality, what the judge makes of codes.

Over AWGN in the mode in which the octree was best: all blocks are taken to arrive, and how many bits fit decides.
"""

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.point_clouds.judge import Labelled, accuracy
from experiments.point_clouds.names import (
    BITS,
    CLEAN,
    EQUAL,
    JUDGED_BITS,
    LEARNED,
    LOW_SNR_DB,
    MOST_SYMBOLS,
    NAME,
    SNR_DB,
    SYMBOLS,
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
from lvm_mtc.sweep.paired import NamedSweep

_d1 = jax.jit(d1_psnr)


def measure_clean(test: Labelled, params: Any, store: ResultStore) -> None:
    """Puts into a store what the judge names right of clouds that were not sent, and the largest class's share."""
    majority = np.bincount(test.labels).max() / len(test.labels)
    values = {"accuracy": share(accuracy(params, test)), "majority": Measured(float(majority), None, len(test.labels))}
    _store(store, {"name": CLEAN, "judge": params_hash(params)}, {"scheme": CLEAN}, SNR_DB[-1], values)


def octree_modes(spec: NamedSweep, octree: Coded, store: ResultStore) -> dict[float, tuple[int, float]]:
    """By SNR the mode in which the octree was best over AWGN: without losses its mean D1 PSNR is nearest to that."""
    reached = at_awgn(read_points(store, f"{NAME}, {BITS}", "point_clouds"), BITS)
    clean = {mode: float(_d1(*shown_clouds(spec, octree, mode)).mean()) for mode in octree.modes}
    return {
        snr_db: min(
            (mode for mode in clean if is_below_capacity(mode, snr_db)), key=lambda m: abs(clean[m] - reached[snr_db])
        )
        for snr_db in LOW_SNR_DB
    }


def at_awgn(points: Sequence[Point], scheme: str) -> dict[float, float]:
    """Mean D1 PSNR of a scheme over AWGN by SNR."""
    of_awgn = (p for p in points if (p.coordinates["scheme"], p.coordinates["channel"]) == (scheme, "awgn"))
    return {point.snr_db: point.metrics["d1_psnr_db"].mean for point in of_awgn}


def shown_clouds(
    spec: NamedSweep, coded: Coded, mode: tuple[int, float], num_symbols: int = SYMBOLS
) -> tuple[np.ndarray, np.ndarray]:
    """Clouds of a sweep, ``[n, num_points, 3]``, and what a receiver shows of them where all blocks arrive."""
    clouds = spec.sources[1].data[:, 0]
    sender = CloudBits(coded.code, coded.lost, bits_per_symbol=mode[0], rate=mode[1], num_symbols=num_symbols)
    payloads = (coded.code.encode(cloud, sender.blocks.payload_bits) for cloud in clouds)
    return clouds, np.stack([sender.shown(payload) for payload in payloads])


def measure_equal(spec: NamedSweep, coded: Sequence[Coded], modes: Mapping[float, Any], store: ResultStore) -> None:
    """Puts into a store how many symbols codes need for the learned scheme's mean D1 PSNR over AWGN.

    In the octree's modes, all of whose blocks are taken to arrive: what decides is how many bits of a cloud fit, so
    nothing is sent.
    """
    learned = at_awgn(read_points(store, NAME, "point_clouds"), LEARNED)
    for (snr_db, mode), code in itertools.product(modes.items(), coded):

        def d1_of(num_symbols, code=code, mode=mode):
            return float(_d1(*shown_clouds(spec, code, mode, num_symbols)).mean())

        values = {"d1_psnr_db": learned[snr_db], "bits_per_symbol": mode[0], "rate": mode[1]}
        values["symbols"] = symbols_needed(d1_of, learned[snr_db])
        values = {name: Measured(float(value), None, len(spec.sources[1].data)) for name, value in values.items()}
        at = {"scheme": code.name, "channel": "awgn", "snr_db": snr_db}
        _store(store, {"name": EQUAL, "learned": spec.key()}, at, snr_db, values)


def share(right: np.ndarray) -> Measured:
    """Share of clouds ``[n]`` bool with its interval."""
    interval = student_interval(np.float64(right))
    return Measured(float(interval.mean), float(interval.half_width), interval.num_units)


def symbols_needed(d1_of: Callable[[int], float], wanted: float) -> int:
    """Least symbols with which a D1 PSNR is ``wanted`` or more, if it does not fall with them; by bisection."""
    return bisect.bisect_left(range(MOST_SYMBOLS), wanted, lo=SYMBOLS, key=d1_of)


def judge_codes(spec: NamedSweep, coded: Sequence[Coded], modes: Mapping[float, Any], store: ResultStore) -> None:
    """Puts the judge's accuracy on codes, in the octree's modes without losses, into a store."""
    params, labels = spec.judges[0].params, spec.sources[1].hints["labels"][:, 0]
    for (snr_db, mode), code in itertools.product(modes.items(), coded):
        right = accuracy(params, Labelled(shown_clouds(spec, code, mode)[1], labels))
        at = {"scheme": code.name, "channel": "awgn", "csi_error_var": 0, "snr_db": snr_db}
        _store(store, {"name": JUDGED_BITS, "judge": params_hash(params)}, at, snr_db, {"accuracy": share(right)})


def _store(store: ResultStore, about: Mapping[str, Any], at: Mapping[str, Any], snr_db: float, values: Mapping) -> None:
    store_values(store, about, at, values, snr_db=snr_db, convention="rx_per_antenna")
