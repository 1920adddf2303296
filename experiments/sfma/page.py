"""The page about superposed users: tables from ``results.json``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lvm_mtc.report.pages import number, table
from lvm_mtc.results.intervals import student_interval

BINS = {"above 0.8": (0.8, 1.01), "0.1 to 0.8": (0.1, 0.8), "below 0.1": (-0.01, 0.1)}
WAYS = {"exchange": "exchange", "plain": "plain", "closed": "exchange, told s = 0", "turns": "taking turns"}


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place, of the parts that were measured."""
    found = {"bins": _bins(results["rows"]), "pairs": _pairs(results["rows"])} if "rows" in results else {}
    found |= {"leak": _leak(results["leak"])} if "leak" in results else {}
    return found | ({"digital": _digital(results)} if {"rows", "digital"} <= results.keys() else {})


def gains(rows, link: str, snr_db: float, low: float, high: float, better: str, worse: str) -> np.ndarray:
    """Paired gains in dB of the pairs of a bin, the mean of each picture's pairs where it has several."""
    at = [row for row in rows if row["link"] == link and row["snr_db"] == snr_db]
    units: dict[Any, list[float]] = {}
    for row in at:
        gain = np.array(row["psnr_db"][better]) - np.array(row["psnr_db"][worse])
        for place, (alike, value) in enumerate(zip(row["similarity"], gain, strict=True)):
            if low <= alike < high:
                units.setdefault((row["pair"] == "two pictures", place), []).append(float(value))
    return np.array([np.mean(values) for values in units.values()])


def _points(rows):
    return list(dict.fromkeys((row["link"], row["snr_db"]) for row in rows))


def _interval(found: np.ndarray) -> str:
    mean, half, _ = student_interval(found)
    return f"{mean:+.3f} ± {half:.3f}"


def _bins(rows):
    body = []
    for label, edges in BINS.items():
        for link, snr_db in _points(rows):
            found = {name: gains(rows, link, snr_db, *edges, "exchange", name) for name in ("plain", "closed", "turns")}
            if len(found["plain"]) > 1:
                cells = map(_interval, found.values())
                body.append((label, link, f"{snr_db:g}", f"{len(found['plain'])}", *cells))
    over = ("exchange over plain, dB", "over itself, told s = 0", "over taking turns")
    return table(("similarity", "link", "SNR, dB", "pictures", *over), body)


def _mean(row, name: str) -> float:
    return float(np.mean(row["psnr_db"][name]))


def _pairs(rows):
    body = []
    for row in rows:
        values = [number(_mean(row, name)) for name in WAYS]
        body.append((row["pair"], f"{np.mean(row['similarity']):.2f}", row["link"], f"{row['snr_db']:g}", *values))
    return table(("pair", "mean similarity", "link", "SNR, dB", *WAYS.values()), body)


def _digital(results):
    body = []
    for row in results["digital"]:
        (networks,) = [
            of for of in results["rows"]
            if (of["pair"], of["link"], of["snr_db"]) == (row["pair"], "awgn", row["snr_db"])
        ]  # fmt: skip
        values = [number(_mean(networks, name)) for name in ("exchange", "plain", "turns")]
        bits, rate = row["turns"]
        users = ", ".join(f"{2**of_bits}-QAM {of_rate:.2f}" for of_bits, of_rate in row["sic"])
        body.append((row["pair"], f"{row['snr_db']:g}", *values, number(_mean(row, "turns")), number(_mean(row, "sic")),
                     " / ".join(map(number, row["users_db"])), f"{2**bits}-QAM {rate:.2f}",
                     f"{row['share']:g}: {users}"))  # fmt: skip
    return table(("pair", "SNR, dB", "exchange", "plain", "taking turns", "AVIF, taking turns", "AVIF, SIC",
                  "its users", "code, taking turns", "share and codes, SIC"), body)  # fmt: skip


def _leak(leak):
    names = ("t0", "t1, similarity", "t2, ln of the partner's power", "t3, ratio", "variance explained")
    return table(names, [tuple(f"{value:.2f}" for value in (*leak["coefficients"], leak["explained"]))])
