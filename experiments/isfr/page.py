"""The page about groups of features by importance: tables from ``results.json``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lvm_mtc.report.pages import number, table
from lvm_mtc.results.intervals import student_interval

CODECS = {"restructured": "restructured", "control": "control", "components": "principal components"}


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    return {"importance": _importance(results["known"]), "psnr": _levels(results["rows"]),
            "gains": _gains(results["rows"])}  # fmt: skip


def _importance(known):
    groups = range(1, len(next(iter(known.values()))["importance"]) + 1)
    rows = []
    for name, of in known.items():
        weight = np.array(of["importance"])
        shares = [f"{share:.3g}" for share in 100 * weight / weight.sum()]
        rows.append((CODECS[name], *shares, f"{weight[0] / weight[-1]:.3g}"))
    return table(("codec", *(f"group {i}, %" for i in groups), "first over last"), rows)


def psnr(rows, codec: str, allocation: str, snr_db: float) -> np.ndarray:
    """Of each picture, dB."""
    at = {"codec": codec, "allocation": allocation, "snr_db": snr_db}
    (row,) = [row for row in rows if all(row[key] == value for key, value in at.items())]
    return np.array(row["psnr_db"])


def _snrs(rows):
    return sorted({row["snr_db"] for row in rows})


def _levels(rows):
    body = []
    for row in rows:
        expected = "" if row["expected_mse"] is None else f"{row['expected_mse']:.2e}"
        body.append((CODECS[row["codec"]], row["allocation"], f"{row['snr_db']:g}", number(np.mean(row["psnr_db"])),
                     f"{row['mse']:.2e}", expected, f"{row['uses']:.0f}"))  # fmt: skip
    return table(("codec", "allocation", "SNR, dB", "PSNR, dB", "MSE", "MSE expected", "symbols"), body)


def _gains(rows):
    pairs = {
        "restructured + joint over control + uniform": (("restructured", "joint"), ("control", "uniform")),
        "restructured + joint over restructured + uniform": (("restructured", "joint"), ("restructured", "uniform")),
        "restructured + joint over control + joint": (("restructured", "joint"), ("control", "joint")),
        "components + joint over restructured + joint": (("components", "joint"), ("restructured", "joint")),
    }
    body = []
    for label, (better, worse) in pairs.items():
        for snr_db in _snrs(rows):
            mean, half, *_ = student_interval(psnr(rows, *better, snr_db) - psnr(rows, *worse, snr_db))
            body.append((label, f"{snr_db:g}", f"{mean:+.2f} ± {half:.2f}"))
    return table(("pair", "SNR, dB", "gain in PSNR, dB"), body)
