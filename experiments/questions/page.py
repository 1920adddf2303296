"""The tables of the page about questions, from ``results.json``."""

from collections.abc import Mapping, Sequence
from typing import Any

from lvm_mtc.report.pages import table, with_interval

PLACES = {"psnr_inside_db": "inside the box", "psnr_db": "whole picture"}
AXES = {"snr_db": "SNR, dB", "csi_error_var_db": "CSI error variance, dB"}


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    return {
        "facts": _facts(results["setup"]),
        "crossings": _crossings(results["crossings"]),
        "pilots": _pilots(results["pilots"]),
        "sensitivities": _sensitivities(results["sensitivities"]),
    }


def _facts(setup: Mapping[str, Any]) -> str:
    link, uses = setup["link"], ", ".join(f"{name} {count}" for name, count in setup["channel_uses"].items())
    return (
        f"{len(setup['photographs'])} photographs ({', '.join(setup['photographs'])}), {setup['units']} channel "
        f"realisations, the same for all; {link['fading'].capitalize()} {link['num_rx_ant']}x{link['num_tx_ant']}, "
        f"equaliser `{link['equalizer']}`, CSI error `{link['csi']}`, SNR `{link['convention']}`. Channel uses a "
        f"picture: {uses}. Asked {setup['evaluations']} times, compiled {setup['compiled']} times."
    )


def _crossings(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for row in rows:
        low, high = row["bracket"]
        first, last = map(with_interval, row["at_ends_db"])
        where = _where(row) if "x" in row else f"none from {low:g} to {high:g}"
        lines.append((row["question"], PLACES[row["metric"]], AXES[row["axis"]], where,
                      f"{first} at {low:g}, {last} at {high:g}"))  # fmt: skip
    return table(("difference", "PSNR", "axis", "changes its sign at", "difference at the ends, dB"), lines)


def _pilots(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [(row["scheme"], PLACES[row["metric"]], f"{row['snr_db']:g}", f"{row['allowed_loss_db']:g}",
              _where(row | {"bracket": [0, 40]})) for row in rows]  # fmt: skip
    return table(("scheme", "PSNR", "SNR, dB", "loss, dB", "pilot SNR, dB"), lines)


def _sensitivities(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for row in rows:
        power = "; ".join(with_interval(pair, 3) for pair in zip(*row["power_db"], strict=True))
        odds = with_interval(row["mask_prob"], 1) if "mask_prob" in row else "-"
        lines.append((row["scheme"], PLACES[row["metric"]], with_interval(row["snr_db"], 3), power,
                      with_interval(row["csi_error_std"], 1), odds))  # fmt: skip
    return table(("scheme", "PSNR", "per dB of SNR", "per dB of UAV 1's power; UAV 2's",
                   "per unit of the CSI error's standard deviation", "per unit of P_r"), lines)  # fmt: skip


def _where(row: Mapping[str, Any]) -> str:
    low = f"{row['low']:.2f}" if row["low"] is not None else f"below {row['bracket'][0]:g}"
    high = f"{row['high']:.2f}" if row["high"] is not None else f"above {row['bracket'][1]:g}"
    return f"{row['x']:.2f} ({low} to {high})"
