"""The page about pictures of native size: tables, from ``results.json``."""

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
    rows = results["rows"]
    places = list(rows[0]["points"])
    head = ("codec", "tile", "CBR", "with side information", *places, "seam, dB")
    filled = {"kodak": table(head, [_row(row, places) for row in rows])}
    return filled | ({"frame": _frame(results["frame"])} if results["frame"] else {})


def _row(row: Mapping[str, Any], places: list[str]) -> tuple[str, ...]:
    points = row["points"]
    tile = "whole" if row["tile"] is None else " x ".join(map(str, row["tile"]))
    cells = [f"{number(points[at]['psnr_db'])} / {points[at]['ssim']:.3f}" for at in places]
    ratios = (f"{row[name]:.4f}" for name in ("cbr", "cbr_with_side_information"))
    return (CODECS[row["codec"]], tile, *ratios, *cells, number(row["seam_db"], 2))


def _frame(frame: Mapping[str, Any]) -> str:
    said = "".join(f"{line}\n" for line in frame["said"])
    return (
        f"```text\n$ lvm-mtc transmit --images frame.png --out result {frame['flags']}\n{said}```\n\n"
        f"PSNR {number(frame['psnr_db'], 2)} dB, SSIM {frame['ssim']:.3f}, CBR {frame['cbr']:.4f} "
        f"({frame['cbr_with_side_information']:.4f} with side information). The process took "
        f"{frame['peak_mib'] / 1024:.1f} GiB of memory at most and {frame['seconds']:.0f} s on two busy cores."
    )
