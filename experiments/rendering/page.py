"""The page about the renderer: its tables, from ``results.json``."""

from collections.abc import Mapping
from typing import Any

from lvm_mtc.report.pages import number, table

_PLACES = {"left": "psnr_0_db", "middle": "psnr_0.5_db", "right": "psnr_1_db"}


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    head = ("pairs", "Gaussians", "density, pixels", "of", "filter, pixels²", *(f"{p}, dB" for p in _PLACES))
    lifted = [
        (row["source"], row["gaussians"] * row["views"] // 2, row["density"],
         "both views" if row["views"] == 2 else "the left view", row["dilation"], *_psnr(row))
        for row in results["lifted"]
    ]  # fmt: skip
    lifted += [(row["source"], "", "", "the left picture itself", "", *_psnr(row)) for row in results["copied"]]
    return {"facts": _facts(results), "lifted": table(head, lifted), "lego": _lego(results["lego"])}


def _psnr(row: Mapping[str, Any]) -> list[str]:
    return [number(row[name], 1) if name in row else "" for name in _PLACES.values()]


def _facts(results: Mapping[str, Any]) -> str:
    made, real = (next(r["pairs"] for r in results["lifted"] if r["source"] == s) for s in ("synthetic", "Middlebury"))
    side, (height, width) = results["setup"]["side"], results["setup"]["real_size"]
    lost = sum(row["overflow"] for row in results["lifted"])
    return (f"{made} synthetic scenes of {side} x {side} pixels, {real} Middlebury pairs of {width} x {height}. Splats "
            f"left out by tiles: {lost}.")  # fmt: skip


def _lego(lego: Mapping[str, Any]) -> str:
    rows = [
        (f"{name} views", *(number(lego[split][f"{kind}psnr_db"], 1) for kind in ("", "worst_", "white_")))
        for name, split in ((f"{lego['views']} fitted", "train"), ("other", "test"))
    ]
    lost = max(lego["largest_overflow"], *(lego[split]["overflow"] for split in ("train", "test")))
    size = f"{lego['gaussians']} Gaussians, {lego['side']} x {lego['side']} pixels, {lego['steps']} steps of one view."
    note = f"{size} Splats left out by tiles, at most: {lost}."
    return table(("", "mean PSNR, dB", "worst view, dB", "a white picture, dB"), rows) + "\n\n" + note
