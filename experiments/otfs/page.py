"""The page about OTFS: tables and figure, from ``results.json``."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lvm_mtc.report.figures import save_png
from lvm_mtc.report.pages import number, table

RECEIVERS = {"otfs": "OTFS, L-MMSE", "block": "OFDM, L-MMSE of a symbol", "one_tap": "OFDM, one tap"}
SPEED_KMH, SNR_DB = 500, 20


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    head = ("antennas", "speed, km/h", "f_D T", "SNR, dB", *(f"BER {name}" for name in RECEIVERS.values()),
            *(f"MSE {name}, dB" for name in RECEIVERS.values()))  # fmt: skip
    return {"facts": _facts(results), "points": table(head, [_row(of) for of in _points(results["rows"])])}


def largest_difference_db(rows: list[Mapping[str, Any]]) -> float:
    """Of the expected mean biased error of OTFS and of OFDM with L-MMSE, over all points, dB."""
    both = [(of["otfs"]["expected_mse"][0], of["block"]["expected_mse"][0]) for of in _points(rows)]
    return max(abs(10 * math.log10(first / second)) for first, second in both)


def _points(rows: list[Mapping[str, Any]]) -> list[dict[str, Mapping[str, Any]]]:
    """Rows of all receivers at each point, by the receiver."""
    points: dict[tuple, dict] = {}
    for row in rows:
        points.setdefault((row["antennas"], row["speed_kmh"], row["snr_db"]), {})[row["receiver"]] = row
    return [points[at] for at in sorted(points)]


def _rate(value: list[float], symbols: float) -> str:
    return f"{value[0]:.2g} ± {value[1]:.1g}" if value[0] else f"< {3 / symbols:.1g}"


def _row(of: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    first = of["otfs"]
    rates = [_rate(of[name]["ber"], of[name]["bits"]) for name in RECEIVERS]
    errors = [number(10 * math.log10(of[name]["mse"][0])) for name in RECEIVERS]
    at = f"{first['antennas']} x {first['antennas']}", f"{first['speed_kmh']}", number(first["doppler"], 3)
    return (*at, f"{first['snr_db']}", *rates, *errors)


def _facts(results: Mapping[str, Any]) -> str:
    of = results["setup"]
    return (
        f"{of['delays']} delays and {of['dopplers']} Dopplers; {of['taps']} taps of exponentially falling power, RMS "
        f"delay spread {of['delay_spread_s'] * 1e9:g} ns, classical Doppler spectrum; "
        f"{of['carrier_frequency_hz'] / 1e9:g} GHz, subcarriers {of['subcarrier_spacing_hz'] / 1e3:g} kHz apart, "
        f"prefix of {of['prefix']} samples, one symbol of pilots; uncoded QPSK, perfect CSI, {of['frames']} frames a "
        "point, the same for all. Mean biased MSE that the receivers expect: OTFS and OFDM with L-MMSE differ by "
        f"{largest_difference_db(results['rows']):.0e} dB at most."
    )


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Draws ``figure.png``: errors over speed and over SNR."""
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    panels = figure.subplots(2, 3)
    for axes_of, antennas in zip(panels, (1, 2), strict=True):
        own = [row for row in results["rows"] if row["antennas"] == antennas]
        fast, slow = (
            [row for row in own if row[key] == at] for key, at in (("speed_kmh", SPEED_KMH), ("snr_db", SNR_DB))
        )
        for axes, rows, x, y in zip(axes_of, (slow, slow, fast), ("speed_kmh", "speed_kmh", "snr_db"),
                                    ("ber", "mse", "ber"), strict=True):  # fmt: skip
            _curves(axes, sorted(rows, key=lambda row, x=x: row[x]), x, y)
            axes.set_title(f"{antennas} x {antennas}, " + (f"{SNR_DB} dB" if x == "speed_kmh" else f"{SPEED_KMH} km/h"),
                           fontsize=9)  # fmt: skip
    panels[0][0].legend(fontsize=8)
    figure.suptitle("Bars: 95 % Student's intervals over frames; a BER of 0 is not drawn", fontsize=9)
    save_png(figure, out / "figure.png")


def _curves(axes, rows, x: str, y: str) -> None:
    for i, (name, label) in enumerate(RECEIVERS.items()):
        of = [row for row in rows if row["receiver"] == name and row[y][0] > 0]
        means, halves = zip(*(row[y] for row in of), strict=True)
        if y == "mse":
            halves = [10 / math.log(10) * half / mean for mean, half in zip(means, halves, strict=True)]
            means = [10 * math.log10(mean) for mean in means]
        axes.errorbar([row[x] for row in of], means, yerr=halves, fmt="osv"[i], linestyle=("-", "--", "-")[i],
                      markersize=4, linewidth=1, color=f"C{i}", label=label)  # fmt: skip
    axes.set_yscale("linear" if y == "mse" else "log")
    axes.set_xlabel({"speed_kmh": "speed (km/h)", "snr_db": "SNR (dB)"}[x], fontsize=8)
    axes.set_ylabel({"ber": "bit error rate, QPSK", "mse": "mean biased MSE (dB)"}[y], fontsize=8)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)
