r"""Where 5G's LDPC codes break: words lost over Es/N0 for four pairs of modulation and code rate, beside two limits.

    python -m experiments.coding.waterfall
    python -m experiments.coding.waterfall --page-only

Five minutes on one core. Writes ``docs/waterfalls/results.json``, its figure and the table "waterfalls" of
``docs/waterfalls.md``.
"""

import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments.script import PAGE_ONLY, script, study
from lvm_mtc import phy
from lvm_mtc.phy import coding
from lvm_mtc.phy.constellation import mutual_information
from lvm_mtc.report.figures import save_png
from lvm_mtc.report.pages import number, table

PAIRS = ((2, 1 / 3), (2, 1 / 2), (4, 1 / 2), (6, 2 / 3))
NUM_SYMBOLS = 512
STEP_DB = 0.25
SPAN_DB = 3.5
"""Es/N0 above the limit up to which words are sent, unless two steps before lost none."""
TARGETS = (0.1, 0.01)
_AT_ONCE = 256


def name_of(bits: int, rate: float) -> str:
    """Of a pair, such as "16-QAM, 1/2"."""
    return f"{'QPSK' if bits == 2 else f'{2**bits}-QAM'}, {Fraction(rate).limit_denominator(9)}"


def limit_db(bits: int, rate: float) -> float:
    """Es/N0 at which the constellation carries ``rate`` of its bits over AWGN, dB."""
    grid = np.arange(-6.0, 20.0, 0.05)
    points = phy.qam_points(bits)
    carried = mutual_information(points, np.full(len(points), 1 / len(points)), 10 ** (grid / 10))
    return float(np.interp(bits * rate, carried, grid))


def words_lost(bits: int, rate: float, esno_db: float, num_words: int) -> int:
    """Of so many words over AWGN, those that are not decoded to what was sent."""
    blocks = coding.code_blocks(num_symbols=NUM_SYMBOLS, bits_per_symbol=bits, rate=rate)
    no, lost = np.float32(10 ** (-esno_db / 10)), 0
    for start in range(0, num_words, _AT_ONCE):
        payload = np.random.default_rng(start).integers(0, 2, (_AT_ONCE, blocks.payload_bits), np.uint8)
        x = phy.qam_map(coding.encode_payload(payload, blocks), bits)
        y = x + np.sqrt(no) * jax.random.normal(jax.random.key(start), x.shape, x.dtype)
        found = coding.decode_payload(phy.qam_llr(y, no, bits), blocks)
        right = found.valid & (found.payload == payload).all(-1)
        lost += int((~right)[: num_words - start].sum())
    return lost


def measure(num_words: int) -> dict[str, Any]:
    """What ``results.json`` holds."""
    curves = []
    for bits, rate in PAIRS:
        blocks = coding.code_blocks(num_symbols=NUM_SYMBOLS, bits_per_symbol=bits, rate=rate)
        limit = limit_db(bits, rate)
        esno_db, lost = [], []
        for above in np.arange(0, SPAN_DB + 1e-9, STEP_DB):
            esno_db.append(round(float(np.ceil(limit / STEP_DB) * STEP_DB + above), 2))
            lost.append(words_lost(bits, rate, esno_db[-1], num_words))
            print(name_of(bits, rate), esno_db[-1], lost[-1], flush=True)
            if lost[-2:] == [0, 0]:
                break
        curves.append({
            "bits_per_symbol": bits, "rate": rate, "payload_bits": blocks.payload_bits, "limit_db": round(limit, 3),
            "esno_db": esno_db, "lost": lost,
        })  # fmt: skip
    return {"words": num_words, "num_symbols": NUM_SYMBOLS, "curves": curves}


def wilson(lost: np.ndarray, words: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a share (Wilson, 1927)."""
    z, share = 1.96, lost / words
    middle = (share + z**2 / 2 / words) / (1 + z**2 / words)
    half = z * np.sqrt(share * (1 - share) / words + z**2 / 4 / words**2) / (1 + z**2 / words)
    return np.maximum(middle - half, 0), middle + half


def approximation(curve: Mapping[str, Any], num_symbols: int, esno_db: np.ndarray) -> np.ndarray:
    """Least share of lost words for the payload in as many symbols of any kind, by the normal approximation."""
    no = 10 ** (-np.asarray(esno_db) / 10)
    at = phy.awgn_capacity(no), phy.awgn_dispersion(no)
    return np.asarray(phy.finite_error(*at, num_symbols, curve["payload_bits"] / num_symbols))


def reaches_db(esno_db: np.ndarray, share: np.ndarray, target: float) -> float:
    """Where a falling curve first is at the target, between points straight in the logarithm; NaN if nowhere."""
    share = np.maximum(share, 1e-9)
    below = np.flatnonzero(share <= target)
    if not below.size or below[0] == 0:
        return float("nan")
    i = below[0]
    return float(np.interp(-np.log(target), -np.log(share[i - 1 : i + 1]), esno_db[i - 1 : i + 1]))


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    rows = []
    for curve in results["curves"]:
        esno_db, lost = np.array(curve["esno_db"]), np.array(curve["lost"]) / results["words"]
        fine = np.arange(curve["limit_db"] - 3, curve["limit_db"] + 3, 0.02)
        best = approximation(curve, results["num_symbols"], fine)
        of_code = [reaches_db(esno_db, lost, target) for target in TARGETS]
        least = reaches_db(fine, best, TARGETS[0])
        rows.append((
            name_of(curve["bits_per_symbol"], curve["rate"]), str(curve["payload_bits"]), number(curve["limit_db"]),
            number(least), *map(number, of_code),
            number(of_code[0] - curve["limit_db"]),
        ))  # fmt: skip
    head = ("modulation, rate", "payload, bits", "constellation's limit, dB", "normal approximation at 10 %, dB",
            "10 % lost, dB", "1 % lost, dB", "10 % above the limit, dB")  # fmt: skip
    return {"waterfalls": table(head, rows)}


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Writes ``waterfall.png``."""
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes, words = figure.subplots(), results["words"]
    for number_, curve in enumerate(results["curves"]):
        color, esno_db, lost = f"C{number_}", np.array(curve["esno_db"]), np.array(curve["lost"])
        low, high = wilson(lost, words)
        shown = lost > 0
        label = name_of(curve["bits_per_symbol"], curve["rate"])
        axes.semilogy(esno_db[shown], lost[shown] / words, color=color, marker="o", markersize=3, label=label)
        axes.fill_between(esno_db, np.maximum(low, 0.1 / words), high, color=color, alpha=0.2, linewidth=0)
        axes.axvline(curve["limit_db"], color=color, linestyle=":")
        fine = np.arange(curve["limit_db"] - 1, curve["limit_db"] + 3, 0.02)
        axes.semilogy(fine, approximation(curve, results["num_symbols"], fine), color=color, linestyle="--")
    axes.set(xlabel="Es/N0 (dB)", ylabel="share of words lost", ylim=(0.5 / words, 1.2))
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, loc="upper center")
    figure.suptitle(
        f"{results['num_symbols']} symbols a word, AWGN, {words:,} words a point; bands: 95 % (Wilson)\n"
        "dotted: limit of the constellation; dashed: normal approximation for any signal, same payload",
        fontsize=9,
    )
    save_png(figure, out / "waterfall.png")


@script(out="folder; the page is beside it", words="of each point", page_only=PAGE_ONLY)
def main(out: Path = Path("docs/waterfalls"), words: int = 4096, page_only: bool = False) -> None:
    """Measure the share of lost words over Es/N0."""
    study(out, page_only, lambda: measure(words), tables, draw)


if __name__ == "__main__":
    sys.exit(main())
