r"""The paper's Fig. 9 with the control that it lacks: transceivers with and without noise attention, into a store.

Five trainings of one recipe, budget and seed: with noise attention in both forms and without, each for 0 to 10 dB, and
without for 0 dB and for 8 dB alone, which is what the paper compares with. Over AWGN, on test captions.

    python -m experiments.text.pack_captions --out build/captions.npz
    for run in gain:gain:0,10 literal:literal:0,10 none:none:0,10 none_0:none:0,0 none_8:none:8,8; do
        IFS=: read name form range <<< "$run"
        lvm-mtc train --config experiments/configs/vlm_csc.py:awgn --stage system --data build/captions.npz \
            --set config.noise_attention=$form --set "ranges.snr_db=[$range]" --run-dir runs/noise/$name
    done
    python -m experiments.text.noise_attention --captions build/captions.npz --runs runs/noise
    python -m experiments.text.noise_attention --page-only
"""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from experiments.script import fill_page, script
from experiments.stores import curve_of, read_points
from experiments.text.measure import SNR_DB, text_sweep
from experiments.text.pack_captions import PACKED
from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.data.captions import load_sentences
from lvm_mtc.link import OperatingPoint, Received
from lvm_mtc.report.figures import Curve, Panel, curves_figure, save_png
from lvm_mtc.report.pages import table, with_interval
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.scheme import Estimate, Sent
from lvm_mtc.schemes.vlm_csc.scheme import VlmCsc
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.paired import PREFIX, NamedSweep, Pair, differences_name, run_paired_sweep

NAME = "noise attention"
STORE = Path("docs/noise_attention/results.sqlite")
NONE, GAIN, MISLED = "none, 0 to 10 dB", "gain, 0 to 10 dB", "gain, told 4 dB too much"
CURVES = {
    "none": NONE, "gain": GAIN, "literal": "literal, 0 to 10 dB", "none_0": "none, 0 dB alone",
    "none_8": "none, 8 dB alone",
}  # fmt: skip
"""What a run's folder is called in figure and table; the first is what the others are compared with."""
EXCESS_DB = 4.0
TITLE = "Noise attention: test captions of Multi30k, five trainings of 160,000 sentences"
FOOTNOTE = "95 % bootstrap over noise and captions"


@dataclasses.dataclass(frozen=True)
class Misled(VlmCsc):
    """A transceiver whose two ends believe that the SNR is ``EXCESS_DB`` higher than it is."""

    def modulate(self, params: dict, encoded: jax.Array, point: OperatingPoint) -> Sent:
        """As the transceiver's, for another SNR."""
        return super().modulate(params, encoded, _believed(point))

    def decode(self, params: dict, received: Received, side: jax.Array, point: OperatingPoint) -> Estimate:
        """As the transceiver's, for another SNR."""
        return super().decode(params, received, side, _believed(point))


def _believed(point: OperatingPoint) -> OperatingPoint:
    return point._replace(snr_db=point.snr_db + EXCESS_DB)


@script(
    captions="packed captions (default: %(default)s)", runs="folder of the five runs (default: %(default)s)",
    store="result store to add to; what it holds is not measured again", out="folder of the figure",
    sentences="test captions, evenly spread over all", units="draws of the noise, 4 or more",
    page_only="figure and table from the store as it is",
)  # fmt: skip
def main(
    captions: Path = PACKED, runs: Path = Path("runs/noise"), store: Path = STORE,
    out: Path = STORE.parent, sentences: int = 256, units: int = 16, page_only: bool = False,
) -> None:  # fmt: skip
    """Measure what noise attention gains, and draw it."""
    store.parent.mkdir(parents=True, exist_ok=True)
    with ResultStore(store, create=not page_only) as results:
        if not page_only:
            spec = noise_sweep(captions, runs, sentences, units)
            resources = Resources(num_devices=1, items_per_device=12)
            run_paired_sweep(spec, less_control(spec), results, resources=resources)
        points, differences = (read_points(results, name, "text") for name in (NAME, differences_name(NAME)))
    out.mkdir(parents=True, exist_ok=True)
    save_png(curves_figure(panels(points, differences), title=TITLE, footnote=FOOTNOTE), out / "bleu.png")
    fill_page(out, {"noise": by_snr(points, "bleu1"), "noise_paired": by_snr(differences, f"{PREFIX}bleu1")})


def noise_sweep(captions: Path, runs: Path, sentences: int, units: int) -> NamedSweep:
    """All transceivers on the same captions and noise, one antenna on each side."""
    weights = {folder: runs / folder / "system" / "weights.npz" for folder in CURVES}
    spec = text_sweep(load_sentences(captions), weights["none"], sentences, units)
    (link,) = (link for link in spec.links if link.fading == "awgn")
    return dataclasses.replace(
        spec,
        name=NAME,
        schemes=tuple(_contenders(weights)),
        links=(dataclasses.replace(link, num_rx_ant=1, num_tx_ant=1),),
        about={"training": "experiments/configs/vlm_csc.py:awgn, seed 0", "sentences": "Multi30k task 2, test_2016"},
        snr_db=SNR_DB,
    )


def _contenders(weights: dict[str, Path]) -> Iterator[Contender]:
    for folder, name in CURVES.items():
        contender, _ = load_text_contender(weights[folder])
        yield dataclasses.replace(contender, name=name)
        if name == GAIN:
            yield dataclasses.replace(contender, name=MISLED, scheme=Misled(contender.scheme.config))


def less_control(spec: NamedSweep) -> list[Pair]:
    """Each transceiver less the one without noise attention that was trained for the same SNRs."""
    control = {at["snr_db"]: at for at in spec.coordinates() if at["scheme"] == NONE}
    return [Pair(minus(at["scheme"]), at, control[at["snr_db"]]) for at in spec.coordinates() if at["scheme"] != NONE]


def minus(name: str) -> str:
    """What the difference of a transceiver and the control is called."""
    return f"{name} - control"


def panels(points: Sequence[Point], differences: Sequence[Point]) -> list[list[Panel]]:
    """BLEU-1 and its paired difference from the control, over the SNR."""
    colors = {name: f"C{number}" for number, name in enumerate(_schemes(points))}
    absolute = [_curve(points, name, "bleu1", color) for name, color in colors.items()]
    paired = [
        _curve(differences, minus(name), f"{PREFIX}bleu1", color, name)
        for name, color in colors.items()
        if name != NONE
    ]
    shown = (("BLEU-1", absolute), (f"BLEU-1 minus that of '{NONE}'", paired))
    return [[Panel(title="AWGN, 1x1", y_label=label, curves=curves)] for label, curves in shown]


def _schemes(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.coordinates["scheme"] for point in points))


def _curve(points: Sequence[Point], scheme: str, metric: str, color: str, label: str = "") -> Curve:
    return curve_of([point for point in points if point.coordinates["scheme"] == scheme], metric, color, label)


def by_snr(points: Sequence[Point], metric: str) -> str:
    """A line an SNR, a column a scheme."""
    cells = {
        (point.snr_db, point.coordinates["scheme"]): with_interval(point.metrics[metric][:2], 3) for point in points
    }
    schemes = _schemes(points)
    lines = [(f"{snr_db:g}", *(cells[snr_db, name] for name in schemes)) for snr_db in sorted({at for at, _ in cells})]
    return table(("SNR, dB", *schemes), lines)


if __name__ == "__main__":
    sys.exit(main())
