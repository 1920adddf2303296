"""The tables and the figure of the page about the zoo, from ``results.json`` and the zoo's own table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lvm_mtc import zoo
from lvm_mtc.report.figures import Curve, Panel, save_curves
from lvm_mtc.report.pages import channel_name, table, with_interval


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    return {
        "codecs": _codecs(),
        "levels": _rows(results, "levels"),
        "curves": _curves(results),
        "gains": _rows(results, "gains"),
    }


def _codecs() -> str:
    rows = []
    for name, card in zoo.list_codecs().items():
        versions = ", ".join(f"{package} {of}" for package, of in sorted(card.versions.items()))
        rows.append((f"`{name}`", card.scheme, f"{card.num_parameters:,}", f"{card.pictures:,}",
                     "-" if card.seed is None else card.seed, card.data, versions or "-",
                     f"`{card.sha256[:12]}`" if card.sha256 else "-"))  # fmt: skip
    return table(("name", "scheme", "parameters", "pictures seen", "seed", "data", "versions", "SHA-256"), rows)


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


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Writes ``psnr.png``: PSNR over SNR at bandwidth ratio 1/3."""
    shown = [name for name in results["levels"] if name.endswith("_1_3")]
    panels = [
        Panel(title=channel_name(channel), y_label="PSNR (dB)", curves=[
            Curve(label=name, convention=results["convention"], snr_db=results["snr_db"], color=f"C{number}",
                  mean=[mean for mean, _ in results["levels"][name][channel]],
                  half_width=[half for _, half in results["levels"][name][channel]])
            for number, name in enumerate(shown)])
        for channel in results["channels"]
    ]  # fmt: skip
    title = f"CIFAR-10, {results['holdout']} pictures held out, bandwidth ratio 1/3"
    save_curves(out / "psnr.png", [panels], title=title, footnote="bands: 95 %, over pictures")
