"""The page about streams by importance: tables and figure, from ``results.json``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lvm_mtc.report.figures import save_png
from lvm_mtc.report.pages import number, table, with_interval

FADING_NAMES = {"rayleigh": "flat", "exponential": "4 taps"}
GAINS = ("sorted", "learned", "random", "learned, unranked", "learned, old order")


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    rows = results["rows"]
    head = ("streams", "fading", "speed, km/h", "f_D T", "SNR, dB", "PSNR none, dB",
            *(f"{name}, gain in dB" for name in GAINS))  # fmt: skip
    what = ("streams", "fading", "speed, km/h", "SNR, dB", "accuracy none",
            *(f"{name}, gain" for name in ("sorted", "learned", "learned, old order")),
            *(f"tau {name}" for name in ("none", "sorted", "learned", "learned, old order")))  # fmt: skip
    points = _points(rows)
    return {
        "facts": _facts(results), "psnr": table(head, map(_psnr, points)), "tasks": table(what, map(_tasks, points)),
        "costs": _costs(rows), "finding": _finding(points),
    }  # fmt: skip


def _points(rows: list[Mapping[str, Any]]) -> list[dict[str, Mapping[str, Any]]]:
    """Rows of all allocations at each point, by the allocation."""
    points: dict[tuple, dict] = {}
    for row in rows:
        at = row["streams"], row["fading"] != "rayleigh", row["snr_db"], row["speed_kmh"]
        points.setdefault(at, {})[row["allocation"]] = row
    return [points[at] for at in sorted(points)]


def _psnr(of: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    row = of["none"]
    at = f"{row['streams']}", FADING_NAMES[row["fading"]], f"{row['speed_kmh']}", number(row["doppler"], 4)
    gains = [with_interval(of[name]["psnr_gain"]) for name in GAINS]
    return (*at, f"{row['snr_db']}", with_interval(row["psnr"]), *gains)


def _tasks(of: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    row = of["none"]
    at = f"{row['streams']}", FADING_NAMES[row["fading"]], f"{row['speed_kmh']}", f"{row['snr_db']}"
    gains = [with_interval(of[name]["accuracy_gain"], 3) for name in ("sorted", "learned", "learned, old order")]
    taus = [number(of[name]["tau"][0]) for name in ("none", "sorted", "learned", "learned, old order")]
    return (*at, with_interval(row["accuracy"], 3), *gains, *taus)


def _costs(rows: list[Mapping[str, Any]]) -> str:
    seen = {(row["streams"], row["allocation"]): row for row in rows}
    return table(("streams", "allocation", "channel uses", "bits beside them"),
                 [(f"{streams}", name, number(row["uses"], 0), number(row["side_bits"], 0))
                  for (streams, name), row in sorted(seen.items())])  # fmt: skip


def _finding(points: list[Mapping[str, Mapping[str, Any]]]) -> str:
    lines = []
    for name in GAINS:
        gains = [of[name]["psnr_gain"] for of in points]
        better, worse = (sum(sign * mean > half for mean, half in gains) for sign in (1, -1))
        low, high = min(mean for mean, _ in gains), max(mean for mean, _ in gains)
        lines.append((name, number(low), number(high), f"{better}", f"{worse}", f"{len(gains) - better - worse}"))
    return table(("allocation", "least gain, dB", "largest", "points where it helps", "where it harms", "undecided"),
                 lines)  # fmt: skip


def _facts(results: Mapping[str, Any]) -> str:
    of = results["setup"]
    dopplers = " or ".join(f"{of['symbols'] // n // of['delays']} Dopplers with {n} antennas at each end"
                           for n in sorted({row["streams"] for row in results["rows"]}))  # fmt: skip
    return (
        f"{of['pictures']} lossless CIFAR-10 pictures that no training saw, one channel each; "
        f"{of['symbols']} symbols a picture, one OTFS frame with {of['delays']} delays and "
        f"{dopplers}; {of['carrier_frequency_hz'] / 1e9:g} GHz, subcarriers "
        "120 kHz apart; flat Rayleigh fading, or 4 taps with an RMS delay spread of "
        f"{of['delay_spread_s'] * 1e9:g} ns; SNR per receive antenna; perfect CSI at the receiver."
    )


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Draws ``figure.png``: gains over SNR and over speed."""
    counts = sorted({row["streams"] for row in results["rows"]})
    figure = Figure(figsize=(11, 3.4 * len(counts)), layout="constrained")
    panels = figure.subplots(len(counts), 4, sharey="row", squeeze=False)
    for axes_of, streams in zip(panels, counts, strict=True):
        for i, fading in enumerate(FADING_NAMES):
            own = [row for row in results["rows"] if (row["streams"], row["fading"]) == (streams, fading)]
            for axes, x, fixed, value in ((axes_of[2 * i], "snr_db", "speed_kmh", 100),
                                          (axes_of[2 * i + 1], "speed_kmh", "snr_db", 5)):  # fmt: skip
                _curves(axes, sorted((row for row in own if row[fixed] == value), key=lambda row, x=x: row[x]), x)
                at = f"{value} km/h" if fixed == "speed_kmh" else f"{value} dB"
                axes.set_title(f"{streams} streams, {FADING_NAMES[fading]}, {at}", fontsize=9)
        axes_of[0].set_ylabel("gain in PSNR over none (dB)", fontsize=8)
    panels[0][0].legend(fontsize=7)
    figure.suptitle("Bars: 95 % intervals of differences over pictures, paired but for the old order", fontsize=9)
    save_png(figure, out / "figure.png")


def _curves(axes, rows, x: str) -> None:
    for i, name in enumerate(GAINS):
        of = [row for row in rows if row["allocation"] == name]
        means, halves = zip(*(row["psnr_gain"] for row in of), strict=True)
        axes.errorbar([row[x] for row in of], means, yerr=halves, marker="osv^x"[i], markersize=4, linewidth=1,
                      color=f"C{i}", label=name)  # fmt: skip
    axes.axhline(0, color="0.6", linewidth=0.8)
    if x == "speed_kmh":
        axes.set_xscale("log")
    axes.set_xlabel({"speed_kmh": "speed (km/h)", "snr_db": "SNR (dB)"}[x], fontsize=8)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)
