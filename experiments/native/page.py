"""The page about pictures of native size: tables, from ``results.json``."""

import math
from collections.abc import Mapping
from typing import Any

from lvm_mtc.report.pages import number, table

CODECS = {
    "importance": "importance, object first",
    "importance-pca": "importance, linear PCA alone",
    "object": "object first, half of the patches",
    "all": "every patch kept",
    "pca": "linear patch-wise PCA",
    "token2": "token2, CIFAR-10",
    "deepjscc_tiles": "DeepJSCC, CIFAR-10, in tiles",
    "deepjscc_whole": "DeepJSCC, CIFAR-10, whole",
}
"""Name on the command line to that in tables."""


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    snr = f"{results['snr_db']:g} dB"
    head = ("codec", "tile", "CBR", "with side information", f"AWGN {snr}", "inside the box", f"Rayleigh {snr}",
            "seam, dB")  # fmt: skip
    filled = {"kodak": table(head, map(_row, results["rows"]))}
    return filled | ({"frame": _frame(results["frame"])} if results["frame"] else {})


def seam_db(row: Mapping[str, Any]) -> float:
    """Squared error beside the borders of tiles over that elsewhere, dB."""
    return 10 * math.log10(row["beside_borders"] / row["elsewhere"])


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    tile = "whole" if row["tile"] is None else " x ".join(map(str, row["tile"]))
    ratios = (f"{row[name]:.4f}" for name in ("cbr", "cbr_with_side_information"))
    awgn, rayleigh = (f"{number(row[f'{link} psnr_db'])} / {row[f'{link} ssim']:.3f}" for link in ("awgn", "rayleigh"))
    inside = number(row["awgn psnr_inside_db"])
    return (CODECS[row["codec"]], tile, *ratios, awgn, inside, rayleigh, number(seam_db(row)))


def _frame(frame: Mapping[str, Any]) -> str:
    said = "".join(f"{line}\n" for line in frame["said"])
    return (
        f"```text\n$ lvm-mtc transmit --images frame.png --out result {frame['flags']}\n{said}```\n\n"
        f"PSNR {number(frame['psnr_db'], 2)} dB, SSIM {frame['ssim']:.3f}, CBR {frame['cbr']:.4f} "
        f"({frame['cbr_with_side_information']:.4f} with side information). The process took "
        f"{frame['peak_mib'] / 1024:.1f} GiB of memory at most and {frame['seconds']:.0f} s on two busy cores."
    )
