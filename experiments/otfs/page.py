"""The page about OTFS: tables and figure, from ``results.json``."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lvm_mtc.report.figures import save_png
from lvm_mtc.report.pages import number, table, with_interval

RECEIVERS = {"otfs": "OTFS, L-MMSE", "block": "OFDM, L-MMSE of a symbol", "one_tap": "OFDM, one tap"}
OTHERS = {name: label for name, label in RECEIVERS.items() if name != "otfs"}
ESTIMATES = {"told": "told", "impulses": "9 pilot symbols, Wiener filter", "full": "embedded, full guard",
             "reduced": "embedded, guard of 5 Dopplers"}  # fmt: skip
CODECS = {"deepjscc": "DeepJSCC", "token2": "token2"}
Row = Mapping[str, Any]


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    at = ("speed, km/h", "f_D T", "SNR, dB")
    symbols = ("antennas", *at, *(f"BER {name}" for name in RECEIVERS.values()),
               *(f"MSE {name}, dB" for name in RECEIVERS.values()))  # fmt: skip
    words = ("code", *at, *RECEIVERS.values())
    pictures = ("codec", *at, "PSNR OTFS, dB", *(f"gain of OTFS over {name}, dB" for name in OTHERS.values()))
    accuracy = ("codec", *at, "accuracy OTFS", *(f"gain of OTFS over {name}" for name in OTHERS.values()))
    shown = grouped((row for codec in CODECS for row in results[codec]), "codec")
    return {
        "facts": _facts(results), "estimates": _estimates(results["estimates"]),
        "points": table(symbols, map(_symbols, grouped(results["symbols"], "antennas"))),
        "words": table(words, map(_words, grouped(results["words"], "rate"))),
        "pictures": table(pictures, [_pictures(of, "psnr", 2) for of in shown]),
        "accuracy": table(accuracy, [_pictures(of, "accuracy", 3) for of in shown]),
        "finding": _finding(shown),
    }  # fmt: skip


def grouped(rows: Iterable[Row], kind: str, of: str = "receiver") -> list[dict[str, Row]]:
    """Rows of all receivers at each point, by the receiver; in the order of ``kind``, speed and SNR."""
    points: dict[tuple, dict] = {}
    for row in rows:
        points.setdefault((row[kind], row["speed_kmh"], row["snr_db"]), {})[row[of]] = row
    return [points[at] for at in sorted(points)]


def largest_difference_db(points: Iterable[Mapping[str, Row]]) -> float:
    """Of the expected mean biased error of OTFS and of OFDM with L-MMSE, over all points, dB."""
    both = [(of["otfs"]["expected_mse"][0], of["block"]["expected_mse"][0]) for of in points]
    return max(abs(10 * math.log10(first / second)) for first, second in both)


def _at(row: Row) -> tuple[str, ...]:
    return f"{row['speed_kmh']:g}", number(row["doppler"], 3), f"{row['snr_db']:g}"


def _rate(value: Sequence[float], trials: float, digits: str = ".2g") -> str:
    return f"{value[0]:{digits}} ± {value[1]:.1g}" if value[0] else f"< {3 / trials:.1g}"


def _symbols(of: Mapping[str, Row]) -> tuple[str, ...]:
    first = of["otfs"]
    rates = [_rate(of[name]["ber"], of[name]["bits"]) for name in RECEIVERS]
    errors = [number(10 * math.log10(of[name]["mse"][0])) for name in RECEIVERS]
    return (f"{first['antennas']} x {first['antennas']}", *_at(first), *rates, *errors)


def _estimates(rows: list[Row]) -> str:
    share = {row["estimate"]: row["share"] for row in rows}
    names = {name: f"{label} ({100 * share[name]:.0f} %)" for name, label in ESTIMATES.items()}
    head = ("speed, km/h", "f_D T", "SNR, dB", *(f"BER {label}" for label in names.values()),
            *(f"MSE {label}, dB" for label in names.values()))  # fmt: skip
    lines = []
    for of in grouped((row | {"all": 0} for row in rows), "all", "estimate"):
        rates = [_rate(of[name]["ber"], of[name]["bits"]) for name in ESTIMATES]
        lines.append((*_at(of["told"]), *rates, *(number(10 * math.log10(of[name]["mse"][0])) for name in ESTIMATES)))
    return table(head, lines)


def code_name(row: Row) -> str:
    """Modulation and rate of a row of words."""
    return f"{2 ** row['bits_per_symbol']}-QAM, rate {row['rate']:g}"


def _words(of: Mapping[str, Row]) -> tuple[str, ...]:
    first = of["otfs"]
    return (code_name(first), *_at(first), *(_rate(of[name]["lost"], of[name]["words"]) for name in RECEIVERS))


def _pictures(of: Mapping[str, Row], metric: str, digits: int) -> tuple[str, ...]:
    first = of["otfs"]
    gains = [with_interval(of[name][f"otfs_{metric}_gain"], digits) for name in OTHERS]
    return (CODECS[first["codec"]], *_at(first), with_interval(first[metric], digits), *gains)


def _finding(points: list[Mapping[str, Row]]) -> str:
    """For each metric, codec and other receiver: the range of gains, and at how many points they are decided."""
    lines = []
    for metric, unit, digits in (("psnr", "PSNR, dB", 2), ("accuracy", "accuracy", 3)):
        for codec, label in CODECS.items():
            for other, name in OTHERS.items():
                gains = [of[other][f"otfs_{metric}_gain"] for of in points if of["otfs"]["codec"] == codec]
                above, below = (sum(sign * mean > half for mean, half in gains) for sign in (1, -1))
                means = [mean for mean, _ in gains]
                lines.append((unit, label, name, number(min(means), digits), number(max(means), digits), f"{above}",
                              f"{below}", f"{len(gains) - above - below}"))  # fmt: skip
    head = "gain of OTFS in", "codec", "over", "least", "largest", "points above 0", "below 0", "undecided"
    return table(head, lines)


def _facts(results: Mapping[str, Any]) -> str:
    of = results["setup"]
    pictures = [row for codec in CODECS for row in results[codec]]
    uses = {row["uses"] for row in pictures}
    return (
        f"{of['delays']} delays and {of['dopplers']} Dopplers; {of['taps']} taps of exponentially falling power, RMS "
        f"delay spread {of['delay_spread_s'] * 1e9:g} ns, classical Doppler spectrum; "
        f"{of['carrier_frequency_hz'] / 1e9:g} GHz, subcarriers {of['subcarrier_spacing_hz'] / 1e3:g} kHz apart, "
        f"prefix of {of['prefix']} samples, one symbol of pilots, which are booked for all: a frame of one antenna "
        f"costs {' or '.join(f'{n:.0f}' for n in sorted(uses))} channel uses under every waveform. Perfect CSI; SNR is "
        f"E_s/N_0 (`esno`); the same {of['frames']} frames of uncoded QPSK, {of['frames']} words of LDPC-coded 16-QAM "
        f"and {of['pictures']} lossless CIFAR-10 pictures that no training saw at every point, a frame and a channel "
        "each. Mean biased MSE that the receivers expect: OTFS and OFDM with L-MMSE differ by "
        f"{largest_difference_db(grouped(results['symbols'], 'antennas')):.0e} dB at most for QPSK, by "
        f"{largest_difference_db(grouped(pictures, 'codec')):.0e} dB for the pictures' symbols."
    )


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Draws ``figure.png``, symbols, and ``pictures.png``, words and pictures, over speed and over SNR."""
    at = results["setup"]
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    for axes_of, antennas in zip(figure.subplots(2, 3), (1, 2), strict=True):
        own = [row for row in results["symbols"] if row["antennas"] == antennas]
        for axes, x, y in zip(axes_of, ("speed_kmh", "speed_kmh", "snr_db"), ("ber", "mse", "ber"), strict=True):
            _curves(axes, own, x, y, at)
            _title(axes, f"{antennas} x {antennas}", x, at)
    figure.axes[0].legend(fontsize=8)
    figure.suptitle("Bars: 95 % Student's intervals over frames; SNR: E_s/N_0; a BER of 0 is not drawn", fontsize=9)
    save_png(figure, out / "figure.png")

    figure = Figure(figsize=(11, 3 + 3.1 * len(CODECS)), layout="constrained")
    panels = figure.subplots(1 + len(CODECS), 3)
    codes = sorted({row["rate"] for row in results["words"]})
    shown = ((codes[0], "speed_kmh"), (codes[-1], "speed_kmh"), (codes[0], "snr_db"))
    for axes, (rate, x) in zip(panels[0], shown, strict=True):
        own = [row for row in results["words"] if row["rate"] == rate]
        _curves(axes, own, x, "lost", at)
        _title(axes, code_name(own[0]), x, at)
    for axes_of, codec in zip(panels[1:], CODECS, strict=True):
        own = results[codec]
        shown = (("speed_kmh", "psnr"), ("snr_db", "psnr"), ("speed_kmh", "accuracy"))
        for axes, (x, y) in zip(axes_of, shown, strict=True):
            _curves(axes, own, x, y, at)
            _title(axes, CODECS[codec], x, at)
    panels[1][0].legend(fontsize=7)
    figure.suptitle("Bars: 95 % Student's intervals over words or pictures, a channel each; SNR: E_s/N_0; 1 x 1",
                    fontsize=9)  # fmt: skip
    save_png(figure, out / "pictures.png")


LABELS = {"speed_kmh": "speed (km/h)", "snr_db": "SNR (dB)", "ber": "bit error rate, QPSK",
          "mse": "mean biased MSE (dB)", "lost": "share of words lost", "psnr": "PSNR (dB)",
          "accuracy": "accuracy, ResNet-20"}  # fmt: skip


def _title(axes, what: str, x: str, at: Row) -> None:
    fixed = f"{at['snr_db']:g} dB" if x == "speed_kmh" else f"{at['speed_kmh']:g} km/h"
    axes.set_title(f"{what}, {fixed}", fontsize=9)


def _curves(axes, rows: list[Row], x: str, y: str, at: Row) -> None:
    """Each receiver's rows over ``x``, where the other one is that of ``at``."""
    fixed = "snr_db" if x == "speed_kmh" else "speed_kmh"
    rows = sorted((row for row in rows if row[fixed] == at[fixed]), key=lambda row: row[x])
    for i, (name, label) in enumerate(RECEIVERS.items()):
        of = [row for row in rows if row["receiver"] == name and (row[y][0] > 0 or y != "ber")]
        if not of:
            continue
        means, halves = zip(*(row[y] for row in of), strict=True)
        if y == "mse":
            halves = [10 / math.log(10) * half / mean for mean, half in zip(means, halves, strict=True)]
            means = [10 * math.log10(mean) for mean in means]
        axes.errorbar([row[x] for row in of], means, yerr=halves, fmt="osv"[i], linestyle=("-", "--", "-")[i],
                      markersize=4, linewidth=1, color=f"C{i}", label=label)  # fmt: skip
    axes.set_yscale("log" if y == "ber" else "linear")
    axes.set_xlabel(LABELS[x], fontsize=8)
    axes.set_ylabel(LABELS[y], fontsize=8)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)
