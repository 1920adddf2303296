"""The page about Kodak beside codecs of files: tables and figure, from ``results.json``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.file_codecs import NAMES
from lvm_mtc.report.figures import Curve, Panel, save_curves
from lvm_mtc.report.pages import number, table, with_interval
from lvm_mtc.results.intervals import paired_difference
from lvm_mtc.results.rate_distortion import bd_psnr, bd_rate

OURS = "importance"
CODES = {"named": "LDPC", "ideal": "ideal codes"}
MODULATIONS = {2: "QPSK", 4: "16-QAM", 6: "64-QAM"}
MIDDLE = (24, 12)
"""Ratios at which differences have intervals."""


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    return {"facts": _facts(results), "pairs": _pairs(results), "kodak": _levels(results), "deltas": _deltas(results)}


def levels(results: Mapping[str, Any], codec: str, code: str) -> np.ndarray:
    """PSNR of each picture at each ratio, NaN where no file is as small, ``[num_pictures, num_ratios]``."""
    field = "psnr_db" if codec == OURS else code
    rows = sorted((row for row in results["rows"] if row["codec"] == codec), key=lambda row: row["number"])
    return np.array([row[field] for row in rows], float)


def curve(results: Mapping[str, Any], codec: str, code: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Channel bandwidth ratios, with our side information, and mean PSNR, where every picture has a file."""
    mean, ratios = levels(results, codec, code).mean(0), 1 / np.array(results["ratios"])
    if codec == OURS:
        ratios = np.mean([row["cbr_with_side_information"] for row in results["rows"] if row["codec"] == OURS], axis=0)
    return ratios[np.isfinite(mean)], mean[np.isfinite(mean)]


def systems(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Codec, kind of channel code and name of what ours is compared with."""
    measured = {row["codec"] for row in results["rows"]}
    return [(codec, code, f"{name}, {how}") for code, how in CODES.items() for codec, name in NAMES.items()
            if codec in measured]  # fmt: skip


def _facts(results: Mapping[str, Any]) -> str:
    numbers = sorted({row["number"] for row in results["rows"]})
    pair = chosen(results["pairs"])
    uses = ", ".join(f"1/{ratio}" for ratio in results["ratios"])
    return (
        f"Pictures {', '.join(f'{i + 1:02d}' for i in numbers)} of 24; channel uses a sample {uses}; "
        f"LDPC: {MODULATIONS[pair['bits_per_symbol']]} at rate {pair['rate']:.2f}, {pair['bits']:.2f} bits a use; "
        f"ideal codes: {np.log2(1 + 10 ** (results['snr_db'] / 10)):.2f}."
    )


def chosen(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """The fastest pair with which every picture arrived."""
    return max((pair for pair in pairs if pair["arrived"] == 1), key=lambda pair: pair["bits"])


def _pairs(results: Mapping[str, Any]) -> str:
    head = ("modulation", "rate", "information bits a use", "pictures that arrived")
    rows = [(MODULATIONS[pair["bits_per_symbol"]], f"{pair['rate']:.2f}", number(pair["bits"], 3),
             f"{pair['arrived']:.0%}")
            for pair in results["pairs"]]  # fmt: skip
    return table(head, rows)


def _levels(results: Mapping[str, Any]) -> str:
    def cells(values: np.ndarray) -> list[str]:
        fits = np.isfinite(values).mean(0)
        return [number(mean) if share == 1 else f"{share:.0%} fit"
                for mean, share in zip(values.mean(0), fits, strict=True)]  # fmt: skip

    rows = [(OURS, *cells(levels(results, OURS, "")))]
    rows += [(name, *cells(levels(results, codec, code))) for codec, code, name in systems(results)]
    return table(("PSNR, dB", *(f"CBR 1/{ratio}" for ratio in results["ratios"])), rows)


def _deltas(results: Mapping[str, Any]) -> str:
    head = ("against", "BD-PSNR, dB", "BD-rate", *(f"at 1/{ratio}, dB" for ratio in MIDDLE))
    own, rows = levels(results, OURS, ""), []
    for codec, code, name in systems(results):
        both = curve(results, codec, code), curve(results, OURS)
        theirs, cells = levels(results, codec, code), []
        for ratio in MIDDLE:
            at = results["ratios"].index(ratio)
            fits = np.isfinite(theirs[:, at]).all()
            gain = paired_difference(own[:, at], theirs[:, at]) if fits else None
            cells.append(with_interval((gain.mean, gain.half_width)) if gain else "")
        rows.append((name, *_bd(both), *cells))
    return table(head, rows)


def _bd(curves) -> tuple[str, str]:
    try:
        return number(bd_psnr(*curves)), f"{bd_rate(*curves):+.0%}"
    except ValueError:  # fewer than three points, or no overlap
        return "", ""


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Writes the figure."""
    panels = []
    for code, how in CODES.items():
        ratios, mean = curve(results, OURS)
        own = Curve(label=OURS, convention="rx_per_antenna", snr_db=ratios, mean=mean, color="k", marker="s")
        curves = [own]
        for i, (codec, name) in enumerate(NAMES.items()):
            if any(row["codec"] == codec for row in results["rows"]):
                ratios, mean = curve(results, codec, code)
                curves.append(Curve(label=name, convention="rx_per_antenna", snr_db=ratios, mean=mean,
                                    color=f"C{i}"))  # fmt: skip
        panels.append(Panel(title=how, x_label="channel uses a sample", y_label="PSNR (dB)", curves=curves))
    save_curves(out / "psnr.png", [panels], title=f"Kodak at full size, AWGN {results['snr_db']:g} dB")
