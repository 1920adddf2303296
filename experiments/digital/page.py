"""Tables and figures of the page about the digital side, from ``results.json``."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.file_codecs import NAMES, cell
from lvm_mtc import phy
from lvm_mtc.report.figures import Curve, Panel, save_curves
from lvm_mtc.report.pages import channel_name, number, table, with_interval

CONVENTION, KINDS = "rx_per_antenna", ("awgn", "rayleigh")


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place; of the parts that are there."""
    places = {}
    if "short" in results:
        places["short"] = _short(results["short"])
    if "adaptation" in results:
        places |= {f"adaptation_{kind}": _adaptation(results["adaptation"], kind) for kind in KINDS}
    if "codec" in results:
        places["books"] = _books(results["codec"])
        places["rates"] = _rates(results["codec"], results.get("files", {}))
    pictures = _by_channel(results)
    if pictures:
        places |= {f"pictures_{kind}": _pictures(found) for kind, found in pictures.items()}
        places["staircase"] = _staircase(pictures)
    return places


def _by_channel(results: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: results[f"pictures_{kind}"] for kind in KINDS if f"pictures_{kind}" in results}


def _short(found: Mapping[str, Any]) -> str:
    rows = []
    for slots, measured, least in zip(found["slots"], found["measured"], found["least"], strict=True):
        rows.append((slots, *(number(_reach(found["snr_db"], lost, 0.1)) for lost in (measured, least))))
    return table(("symbols", "LDPC, dB at which 10 % are lost", "normal approximation, dB"), rows)


def _reach(snr_db, lost, error: float) -> float:
    """Where word errors fall to ``error``, by interpolation of their logarithm."""
    logs = np.log(np.maximum(lost, 1e-6))
    i = int(np.argmax(logs < np.log(error)))
    share = (np.log(error) - logs[i - 1]) / (logs[i] - logs[i - 1])
    return float(snr_db[i - 1] + share * (snr_db[i] - snr_db[i - 1]))


def _adaptation(found: Mapping[str, Any], kind: str) -> str:
    rows = []
    for i, snr_db in enumerate(found["snr_db"]):
        harq, single, limit = (found[kind][name][i] for name in ("harq", "single", "limits"))
        rows.append((
            f"{snr_db:g}", f"{2 ** harq['bits_per_symbol']}-QAM, {harq['rate']:.2f}", number(harq["first_errors"]),
            with_interval((harq["goodput"], 1.96 * harq["goodput_deviation"])), number(harq["latency"], 0),
            number(harq["latency_99"], 0), number(single["goodput"]), number(single["delivered"], 3),
            number(limit["finite"]), number(limit["capacity"]),
        ))  # fmt: skip
    head = ("SNR, dB", "modulation, rate", "first lost", "goodput, HARQ", "latency", "99 %", "goodput, one at 1 %",
            "delivered", "short codes at 10 %", "capacity")  # fmt: skip
    return table(head, rows)


def _books(codec: Mapping[str, Any]) -> str:
    bits = np.log2(codec["codebook_size"])
    rows = [(t, number(row["entropy"]), number(bits - row["entropy"]), row["used"], number(row["sqnr_db"]))
            for t, row in enumerate(codec["books"], 1)]  # fmt: skip
    return table(("stage", "entropy, bits", f"below {bits:g}", "codes used", "features after it, dB"), rows)


def _rates(codec: Mapping[str, Any], files: Mapping[str, Any]) -> str:
    rows = []
    for t, bits in enumerate(codec["bits"]):
        cells = [cell(*found[t]) for found in files.values()]
        rows.append((t + 1, bits, number(bits / codec["pixels"], 3), number(codec["psnr_db"][t]), *cells))
    return table(("stages", "bits", "bits a pixel", "progressive, dB", *(NAMES[name] for name in files)), rows)


def _pictures(found: Mapping[str, Any]) -> str:
    rows = [(name, *(with_interval(pair) for pair in zip(row["psnr_db"], row["half_width"], strict=True)))
            for name, row in found["curves"].items()]  # fmt: skip
    return table(("PSNR, dB", *(f"{snr:g} dB" for snr in found["snr_db"])), rows)


def _staircase(pictures: Mapping[str, Any]) -> str:
    rows = []
    for kind, found in pictures.items():
        for name in ("staircase", "staircase, told the SNR"):
            row = found["curves"][name]
            gaps = np.array(found["envelope"]) - row["psnr_db"]
            plan = ", ".join(f"{2**bits}-QAM {rate:.2f}" for _, bits, rate in row["packets"][0])
            stages = " to ".join(map(str, sorted({min(map(len, row["packets"])), max(map(len, row["packets"]))})))
            rows.append((channel_name(kind), name, stages, number(gaps.max()), number(gaps.mean()),
                         plan if len(row["packets"]) == 1 else ""))  # fmt: skip
        if kind == "awgn":
            ideal = ideal_gaps(found)
            rows.insert(
                1, (channel_name(kind), "one plan, ideal codes", "", number(ideal.max()), number(ideal.mean()), "")
            )
    head = ("channel", "plan", "stages sent", "largest gap, dB", "mean gap, dB", "packets")
    return table(head, rows)


def ideal_gaps(found: Mapping[str, Any]) -> np.ndarray:
    """Gaps to the envelope, dB at each SNR, of the plan whose largest gap is smallest, with codes at AWGN's capacity.

    A stage that is to arrive from an SNR on takes its bits over the capacity there; no order of packets in time does
    better over AWGN.
    """
    levels, envelope = np.array(found["levels"]), np.array(found["envelope"])
    capacity = np.array([float(phy.awgn_capacity(10 ** (-snr_db / 10))) for snr_db in found["snr_db"]])
    stage_bits, every = found["curves"]["1 stages, one packet"]["ledgers"][0]["payload_bits"], range(len(capacity))
    gaps = [
        envelope - levels[np.searchsorted(plan, every, side="right")]
        for count in range(1, len(levels))
        for plan in itertools.combinations_with_replacement(every, count)
        if (stage_bits / capacity[list(plan)]).sum() <= found["uses"]
    ]
    return min(gaps, key=max)


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Writes ``pictures.png``, ``goodput.png`` and ``rates.png``, of the parts that are there."""
    pictures = _by_channel(results)
    if pictures:
        panels, found = [_panel(kind, of_kind) for kind, of_kind in pictures.items()], next(iter(pictures.values()))
        note = f"{found['uses']} symbols a picture, perfect CSI; bands: 95 %, {found['num_pictures']} pictures"
        save_curves(out / "pictures.png", [panels], title="Cliff, staircase and slope", footnote=note)
    if "adaptation" in results:
        save_curves(out / "goodput.png", [[_goodput(results["adaptation"], kind) for kind in KINDS]])
    if "codec" in results:
        save_curves(out / "rates.png", [[_rate_panel(results["codec"], results.get("files", {}))]])


def _panel(kind: str, found: Mapping[str, Any]) -> Panel:
    styles = {
        "staircase": ("C3", "-", "s"),
        "staircase, told the SNR": ("C0", "-", "o"),
        "uncoded": ("C1", "--", "v"),
        "analogue": ("C2", "-", "^"),
        "WebP": ("k", ":", "d"),
    }
    curves = []
    for name, row in found["curves"].items():
        color, line, marker = styles.get(name, ("C7", "-", ""))
        label = name if name in styles else "one packet" if name.startswith("1 ") else None
        half_width = row["half_width"] if name in styles else None
        curves.append(Curve(label=label, convention=CONVENTION, snr_db=found["snr_db"], mean=row["psnr_db"],
                            half_width=half_width, color=color, linestyle=line, marker=marker))  # fmt: skip
    return Panel(title=channel_name(kind), y_label="PSNR (dB)", curves=curves)


def _goodput(found: Mapping[str, Any], kind: str) -> Panel:
    def curve(label, values, **style):
        return Curve(label=label, convention=CONVENTION, snr_db=found["snr_db"], mean=values, **style)

    def column(name, what):
        return [row[what] for row in found[kind][name]]

    limits = {"capacity": ("capacity", "k"), "finite": ("one transmission, 10 % lost, short codes", "C7")}
    curves = [curve(label, column("limits", name), color=color, linestyle="--", marker="")
              for name, (label, color) in limits.items()]  # fmt: skip
    bands = [1.96 * value for value in column("harq", "goodput_deviation")]
    curves.append(curve("target 10 %, HARQ", column("harq", "goodput"), half_width=bands, color="C0"))
    curves.append(curve("target 1 %, one transmission", column("single", "goodput"), color="C1", marker="s"))
    return Panel(title=channel_name(kind), y_label="goodput (bits a symbol)", curves=curves)


def _rate_panel(codec: Mapping[str, Any], files: Mapping[str, Any]) -> Panel:
    rate = np.array(codec["bits"]) / codec["pixels"]
    of_codec = dict(convention=CONVENTION, snr_db=rate, color="C3", marker="s")
    curves = [Curve(label="progressive", mean=codec["psnr_db"], **of_codec)]
    for i, (name, found) in enumerate(files.items()):
        fits = [t for t, (mean, _) in enumerate(found) if mean is not None]
        curves.append(Curve(label=NAMES[name], convention=CONVENTION, snr_db=rate[fits], color=f"C{i}",
                            mean=[found[t][0] for t in fits], linestyle=":"))  # fmt: skip
    return Panel(title="96-pixel photographs", x_label="bits a pixel", y_label="PSNR (dB)", curves=curves)
