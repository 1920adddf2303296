r"""A codec's symbols as coded bits, as points on air and as they are, at equal uses, over SNR.

    python -m experiments.constellation.coded --data ../shared/data
    python -m experiments.constellation.coded --page-only

Ten minutes on one core. Writes ``docs/coded/results.json``, its figure and the tables of ``docs/coded.md``. The codec
is token2 of the zoo, whose weights stay as they are; points are fitted to its symbols on other pictures.
"""

import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.constellation.measure import CONVENTION, LINKS, as_source, pictures_of, send, with_half_width
from experiments.script import DATA, PAGE_ONLY, script, study
from lvm_mtc import zoo
from lvm_mtc.report.figures import Curve, Panel, save_curves
from lvm_mtc.report.pages import channel_name, table, with_interval
from lvm_mtc.schemes.constellation.coded import as_coded
from lvm_mtc.training.constellation import fit_constellation

CODEC = "token2_cifar10_cbr_1_3"
SNR_DB = (1.0, 4.0, 7.0, 10.0, 13.0, 16.0, 19.0, 22.0)
FIT_DB = (1.0, 13.0)
CODES = {4: (4, 1 / 2), 16: (6, 2 / 3), 64: (8, 3 / 4)}
"""Points to bits of a symbol on air and code rate: log2 K bits a symbol, the uses of the codec itself."""
ANALOG = "as they are"
_FRAMES_PER_WORD = 64
_COLORS = {4: "C1", 16: "C2", 64: "C3"}


def on_air(count: int) -> str:
    """Name of K points that are sent themselves."""
    return f"{count} points on air"


def as_bits(count: int) -> str:
    """Name of the labels of K points that are sent through the code."""
    bits, rate = CODES[count]
    return f"labels of {count}: {2**bits}-QAM, {Fraction(rate).limit_denominator(9)}"


def measure(data: Path) -> dict[str, Any]:
    """What ``results.json`` holds: PSNR of every picture's mean, dB, with intervals, by name, channel and SNR."""
    scheme, params = zoo.load_codec(CODEC)
    to_fit, to_send = pictures_of(data)["token2"]
    contenders = {ANALOG: (scheme, params)}
    for count, (bits, rate) in CODES.items():
        over = fit_constellation(scheme, params, as_source(to_fit), FIT_DB, jax.random.key(0), num_points=count)
        code = dict(bits_per_symbol=bits, rate=rate, frames_per_word=_FRAMES_PER_WORD)
        contenders[on_air(count)] = over
        contenders[as_bits(count)] = as_coded(*over, **code)
    uses = {name: int(np.prod(one.frames())) for name, (one, _) in contenders.items()}
    if len(set(uses.values())) > 1:
        raise ValueError(f"unequal uses: {uses}")
    levels: dict[str, dict[str, list]] = {name: {} for name in contenders}
    gains: dict[str, dict[str, list]] = {as_bits(count): {} for count in CODES}
    for link in LINKS:
        psnr = {}
        for name, contender in contenders.items():
            psnr[name] = np.stack([send(*contender, to_send, link, snr_db) for snr_db in SNR_DB])
            levels[name][link] = [with_half_width(row) for row in psnr[name]]
            print(link, name, levels[name][link], flush=True)
        for name, of in gains.items():
            of[link] = [with_half_width(row) for row in psnr[name] - psnr[ANALOG]]
    return {
        "convention": CONVENTION, "channels": list(LINKS), "snr_db": list(SNR_DB), "uses": uses[ANALOG],
        "pictures": len(to_send), "levels": levels, "gains": gains,
    }  # fmt: skip


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    head = ("symbols", "channel", *(f"{snr_db:g} dB" for snr_db in results["snr_db"]))
    return {
        place: table(head, [
            (name, channel_name(channel), *map(with_interval, of[channel]))
            for channel in results["channels"] for name, of in results[part].items()
        ])
        for place, part in (("coded_levels", "levels"), ("coded_gains", "gains"))
    }  # fmt: skip


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Writes ``psnr.png``: cliffs beside the slope."""
    styles = {ANALOG: dict(color="k", marker="o")}
    for count, color in _COLORS.items():
        styles[on_air(count)] = dict(color=color, marker="s", linestyle="--")
        styles[as_bits(count)] = dict(color=color, marker="v")
    panels = []
    for channel in results["channels"]:
        curves = [
            Curve(label=name, convention=results["convention"], snr_db=results["snr_db"],
                  mean=[mean for mean, _ in of[channel]], half_width=[half for _, half in of[channel]], **styles[name])
            for name, of in results["levels"].items()
        ]  # fmt: skip
        panels.append(Panel(title=channel_name(channel), y_label="PSNR (dB)", curves=curves))
    title = f"The symbols of {CODEC} as they are, as points, as labels through an LDPC code; equal uses"
    save_curves(out / "psnr.png", [panels], title=title, footnote="bands: 95 %, over pictures")


@script(out="folder; the page is beside it", data="folder of pictures", page_only=PAGE_ONLY)
def main(out: Path = Path("docs/coded"), data: Path = DATA, page_only: bool = False) -> None:
    """Measure a codec's symbols as coded bits."""
    study(out, page_only, lambda: measure(data), tables, draw)


if __name__ == "__main__":
    sys.exit(main())
