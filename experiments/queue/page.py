"""The tables and the figure of the page about the zoo, from ``results.json`` and the zoo's own table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.queue.entries import RATIOS
from lvm_mtc import zoo
from lvm_mtc.report.figures import Curve, Panel, save_curves
from lvm_mtc.report.pages import channel_name, number, table, with_interval

COLORS = {"token2": "C0", "deepjscc": "C1", "menu": "C2", "witt": "C3"}
PUBLISHED = {
    ("WITT", "AWGN"): (29.55, 32.6, 35.35, 37.75, 39.7),
    ("DeepJSCC, retrained by WITT's authors", "AWGN"): (29.1, 31.3, 34.15, 36.45, 38.75),
    ("WITT", "real magnitude"): (27.3, 29.55, 31.4, 32.8, 33.75),
}
"""CBR 1/3, PSNR in dB at the SNRs of the page, read off plots of Yang et al., WITT (2023), +-0.1 dB."""


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    return {
        "codecs": _codecs(results["built"]),
        "levels": _rows(results, "levels"),
        "curves": _curves(results),
        "gains": _rows(results, "gains"),
        "published": _published(results),
    }


def _codecs(built: Mapping[str, Any]) -> str:
    rows = []
    for name, card in (zoo.list_codecs() | {name: zoo.Card(**card) for name, card in built.items()}).items():
        versions = ", ".join(f"{package} {of}" for package, of in sorted(card.versions.items()))
        rows.append((f"`{name}`", card.scheme, f"{card.num_parameters:,}", f"{card.pictures:,}",
                     "-" if card.seed is None else card.seed, card.data, versions or "-",
                     f"`{card.sha256[:12]}`" if card.sha256 else "-", "no" if name in built else "yes"))  # fmt: skip
    heads = ("name", "scheme", "parameters", "pictures seen", "seed", "data", "versions", "SHA-256", "ships")
    return table(heads, rows)


def _curves(results: Mapping[str, Any]) -> str:
    names = [f"psnr_{channel}_{snr_db:g}" for channel in results["channels"] for snr_db in results["snr_db"][::2]]
    heads = [f"{channel_name(channel)} {at:g} dB" for channel in results["channels"] for at in results["snr_db"][::2]]
    rows = [(f"`{name}`", f"{at['pictures']:,}", *(f"{at[metric]:.2f}" for metric in names))
            for name, curve in results["curves"].items() for at in curve]  # fmt: skip
    return table(("codec", "pictures seen", *heads), rows)


def _rows(results: Mapping[str, Any], what: str) -> str:
    rows = [(f"`{name}`", channel_name(channel), *map(with_interval, of[channel]))
            for name, of in results[what].items() for channel in results["channels"]]  # fmt: skip
    return table(("codec", "channel", *(f"{snr_db:g} dB" for snr_db in results["snr_db"])), rows)


def _published(results: Mapping[str, Any]) -> str:
    rows = [(f"`{name}`", "AWGN", *map(number, of["awgn"]))
            for name, of in results["of_mean_mse"].items() if name.endswith("_1_3")]  # fmt: skip
    rows += [(f"{name}, published", channel, *map(number, of)) for (name, channel), of in PUBLISHED.items()]
    return table(("codec", "channel", *(f"{snr_db:g} dB" for snr_db in results["snr_db"])), rows)


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Writes ``psnr.png``: PSNR over SNR, a row of panels for each bandwidth ratio."""
    rows = [[_panel(results, ratio, channel) for channel in results["channels"]] for ratio in RATIOS]
    title = f"CIFAR-10, {results['holdout']} pictures held out"
    save_curves(out / "psnr.png", rows, title=title, footnote="bands: 95 %, over pictures")


def _panel(results: Mapping[str, Any], ratio: str, channel: str) -> Panel:
    curves = [
        Curve(label=name.removesuffix(f"_cbr_{ratio}").removesuffix("_cifar10"), convention=results["convention"],
              snr_db=results["snr_db"], color=COLORS[name.split("_")[0]],
              mean=[mean for mean, _ in levels[channel]], half_width=[half for _, half in levels[channel]])
        for name, levels in results["levels"].items() if name.endswith(f"_{ratio}")
    ]  # fmt: skip
    title = f"{channel_name(channel)}, bandwidth ratio {ratio.replace('_', '/')}"
    return Panel(title=title, y_label="PSNR (dB)", curves=curves)
