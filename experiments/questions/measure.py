r"""Questions beyond curves: where schemes cross, how good pilots must be, and what a small change is worth.

    python -m experiments.questions.measure --out docs/questions

Needs the extra ``demo`` for its photographs; a few minutes on one core. Writes ``results.json`` into the folder
``--out``, and the tables into the page beside it, ``--out``.md, between its markers. ``--page-only`` writes the tables
again from ``results.json``.
"""

import functools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.questions.page import PLACES, tables
from experiments.script import PAGE_ONLY, rounded, script, study
from lvm_mtc.data import demo_views
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.results.intervals import paired_difference
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.sweep import programs
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.crossing import Crossing, find_crossing, required_pilot_snr
from lvm_mtc.sweep.named import make_contenders
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.sweep.programs import DrawShape, Items, SendProgram
from lvm_mtc.sweep.sensitivities import mask_sensitivity, path_sensitivities

NAMES = ("object", "all", "pca")
METRICS = tuple(PLACES)
LINK = LinkConfig(fading="rayleigh", num_rx_ant=4, num_tx_ant=4)
TOLERANCE_DB = 0.1
PILOT_SNR_DB, ALLOWED_LOSS_DB = 15.0, 1.0
POINT = OperatingPoint(snr_db=10.0, csi_error_var=0.01, knobs={"mask_prob": 0.25})


class Bench:
    """The schemes over the same channels: one compiled program each, whatever is asked of it.

    ``names`` are the photographs'; ``calls`` counts how often a scheme was sent over all ``num_units`` realisations.
    """

    def __init__(self, schemes: dict[str, Contender], num_units: int, seed: int):
        photographs = demo_views(1)
        self.schemes, self.names, self.num_units, self.calls = schemes, photographs.names, num_units, 0
        self._source = picture_source(jnp.float32(photographs.views) / 255, jnp.asarray(photographs.boxes))
        mask_key, channel_key = jax.random.split(jax.random.key(seed))
        sizes = {contender.scheme.frames(): None for contender in schemes.values()}
        shape = DrawShape((LINK,), len(self.names), 1, tuple(sizes))
        self._draws = programs.draw(shape, channel_key, np.arange(num_units, dtype=np.uint32))
        self._encoded = {
            name: programs.encode(contender.scheme, contender.params, self._source, jax.random.clone(mask_key),
                                  {"mask_prob": jnp.float32(contender.knobs["mask_prob"])})
            for name, contender in schemes.items()
        }  # fmt: skip
        self._known: dict[tuple[str, float, float], dict[str, np.ndarray]] = {}

    def measure(self, name: str, metric: str, snr_db: float, csi_error_var: float = 0.0) -> np.ndarray:
        """The metric's mean over the photographs, of each channel realisation, ``[num_units]``, dB."""
        asked = name, snr_db, csi_error_var
        if asked not in self._known:
            contender, every = self.schemes[name], np.ones(self.num_units, np.float32)
            knobs = {knob: every * np.float32(value) for knob, value in contender.knobs.items()}
            items = Items(every * np.float32(snr_db), every * np.float32(csi_error_var), knobs, np.int32(0 * every),
                          np.arange(self.num_units, dtype=np.int32))  # fmt: skip
            program = SendProgram(scheme=contender.scheme, links=(LINK,), metrics=METRICS)
            sent = programs.send(program, contender.params, self._encoded[name], self._source, self._draws, items)
            self._known[asked] = {key: np.float64(value).mean(axis=(1, 2)) for key, value in sent.metrics.items()}
            self.calls += 1
        return self._known[asked][metric]

    def channel_uses(self, name: str) -> int:
        """Symbols of a picture."""
        return math.prod(self.schemes[name].scheme.frames())


def crossings(bench: Bench) -> list[dict[str, Any]]:
    """Where one scheme overtakes another; a row without ``x`` where none does."""
    rows = []
    for metric in METRICS:
        for question, axis, (low, high), first, second in _questions(bench, metric):
            ends = [_pair(paired_difference(first(x), second(x))) for x in (low, high)]
            row = {"question": question, "metric": metric, "axis": axis, "bracket": [low, high], "at_ends_db": ends}
            if np.sign(ends[0][0]) != np.sign(ends[1][0]):
                crossing = find_crossing(lambda x, pair=(first, second): pair[0](x) - pair[1](x), low, high,
                                         tolerance=TOLERANCE_DB)  # fmt: skip
                row |= _crossing(crossing)
            rows.append(row)
    return rows


def _questions(bench: Bench, metric: str) -> list[tuple[str, str, tuple[float, float], Callable, Callable]]:
    """Question, axis, bracket on it, and what is compared there: functions of the place on the axis."""
    less_energy = 10 * math.log10(bench.channel_uses("all") / bench.channel_uses("object"))
    pca, every, first = (functools.partial(bench.measure, name, metric) for name in ("pca", "all", "object"))
    return [
        ("PCA less learned codec, every patch kept, perfect CSI", "snr_db", (0.0, 30.0), pca, every),
        ("object first less every patch, same SNR (half the energy)", "snr_db", (-15.0, 20.0), first, every),
        ("object first less every patch, same energy a picture", "snr_db", (-15.0, 20.0), first,
         lambda x: every(x - less_energy)),
        ("learned codec less PCA, every patch kept, SNR 25 dB", "csi_error_var_db", (-50.0, 0.0),
         lambda db: every(25.0, 10 ** (db / 10)), lambda db: pca(25.0, 10 ** (db / 10))),
    ]  # fmt: skip


def pilots(bench: Bench) -> list[dict[str, Any]]:
    """The pilot SNR from which on the CSI error costs less than is allowed."""
    rows = []
    for name, scheme in bench.schemes.items():
        for metric in METRICS:
            over_error = functools.partial(bench.measure, name, metric, PILOT_SNR_DB)
            crossing = required_pilot_snr(over_error, ALLOWED_LOSS_DB, 0.0, 40.0, tolerance_db=TOLERANCE_DB)
            rows.append({"scheme": scheme.name, "metric": metric, "snr_db": PILOT_SNR_DB,
                         "allowed_loss_db": ALLOWED_LOSS_DB} | _crossing(crossing))  # fmt: skip
    return rows


def sensitivities(schemes: dict[str, Contender], num_units: int, seed: int) -> list[dict[str, Any]]:
    """Derivatives of the mean PSNR, two UAVs over channels of their own; with respect to P_r one UAV."""
    rows = []
    for name, scheme in schemes.items():
        for metric in METRICS:
            row = {"scheme": scheme.name, "metric": metric}
            for num_uavs, function in ((2, path_sensitivities), (1, mask_sensitivity)):
                if num_uavs == 1 and name != "object":
                    continue
                photographs = demo_views(num_uavs)
                loc = jnp.asarray(photographs.boxes)
                source = picture_source(jnp.float32(photographs.views) / 255, loc)
                result = function(scheme.scheme, scheme.params, source,
                                  jax.random.key(seed + num_uavs), LINK, POINT, num_units=num_units,
                                  metric_loc=loc if "inside" in metric else None)  # fmt: skip
                row |= {key: _pair(value) for key, value in
                        (result.items() if num_uavs == 2 else [("mask_prob", result)])}  # fmt: skip
            rows.append(row)
    return rows


def answer(num_units: int, seed: int) -> dict[str, Any]:
    """All answers, as ``results.json`` holds them, over so many channel realisations."""
    schemes = dict(zip(NAMES, make_contenders(NAMES, *load_scheme(DEMO_WEIGHTS)), strict=True))
    bench = Bench(schemes, num_units, seed)
    before = programs.TRACES["send"]
    answers = {"crossings": crossings(bench), "pilots": pilots(bench)}
    setup = {
        "photographs": list(bench.names), "units": num_units,
        "link": {name: getattr(LINK, name)
                 for name in ("fading", "num_rx_ant", "num_tx_ant", "equalizer", "csi", "convention")},
        "channel_uses": {scheme.name: bench.channel_uses(name) for name, scheme in schemes.items()},
        "evaluations": bench.calls, "compiled": programs.TRACES["send"] - before,
        "point": {name: getattr(POINT, name) for name in ("snr_db", "csi_error_var")} | POINT.knobs,
    }  # fmt: skip
    return {"setup": setup} | answers | {"sensitivities": sensitivities(schemes, num_units, seed)}


def _crossing(crossing: Crossing) -> dict[str, Any]:
    """JSON has no infinity: an end beyond the bracket is null."""
    ends = {name: end if math.isfinite(end) else None for name in ("low", "high") for end in [getattr(crossing, name)]}
    return {"x": crossing.x} | ends | {"evaluations": crossing.num_evaluations}


def _pair(interval) -> list:
    return [np.asarray(interval.mean).tolist(), np.asarray(interval.half_width).tolist()]


@script(out="folder; the page is beside it", units="channel realisations", seed="of masks and channels",
        page_only=PAGE_ONLY)  # fmt: skip
def main(out: Path = Path("docs/questions"), units: int = 32, seed: int = 0, page_only: bool = False) -> None:
    """Answer questions beyond curves."""

    def measure() -> dict[str, Any]:
        return rounded(answer(units, seed), 5)

    study(out, page_only, measure, tables)


if __name__ == "__main__":
    sys.exit(main())
