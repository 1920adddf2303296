r"""Questions beyond curves: where schemes cross, how good pilots must be, and what a small change is worth.

    python experiments/questions.py --out docs/questions

Needs the extra ``demo`` for its photographs; a few minutes on one core. Writes ``results.json`` into the folder
``--out``, and the tables into the page beside it, ``--out``.md, between its markers. ``--page-only`` writes the tables
again from ``results.json``.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from knowledge_base_page import fill_page
from questions_page import PLACES, tables

from lvm_mtc.data import demo_views
from lvm_mtc.evaluation import programs
from lvm_mtc.evaluation.crossing import Crossing, find_crossing, required_pilot_snr
from lvm_mtc.evaluation.files import atomic_file
from lvm_mtc.evaluation.grid import Scheme
from lvm_mtc.evaluation.intervals import paired_difference
from lvm_mtc.evaluation.programs import DrawShape, Items, SendProgram
from lvm_mtc.evaluation.schemes import DEMO_WEIGHTS, load_system, make_schemes
from lvm_mtc.evaluation.sensitivities import mask_sensitivity, path_sensitivities
from lvm_mtc.system import LinkConfig, OperatingPoint

NAMES = ("object", "all", "pca")
METRICS = tuple(PLACES)
LINK = LinkConfig(fading="rayleigh", num_rx_ant=4, num_tx_ant=4)
TOLERANCE_DB = 0.1
PILOT_SNR_DB, ALLOWED_LOSS_DB = 15.0, 1.0
POINT = OperatingPoint(snr_db=10.0, csi_error_var=0.01, mask_prob=0.25)


class Bench:
    """The schemes over the same channels: one compiled program each, whatever is asked of it.

    Attributes:
        schemes: Key to scheme.
        names: Of the photographs.
        num_units: Channel realisations.
        calls: How often a scheme was sent over all of them.
    """

    def __init__(self, schemes: dict[str, Scheme], num_units: int, seed: int):
        found = demo_views(1)
        self.schemes, self.names, self.num_units, self.calls = schemes, found.names, num_units, 0
        self._images, self._loc = jnp.float32(found.views) / 255, jnp.asarray(found.boxes)
        mask_key, channel_key = jax.random.split(jax.random.key(seed))
        sizes = {(s.system.config.capacity, s.system.config.num_symbols): None for s in schemes.values()}
        shape = DrawShape((LINK,), len(self.names), 1, tuple(sizes))
        self._draws = programs.draw(shape, channel_key, np.arange(num_units, dtype=np.uint32))
        self._encoded = {
            name: programs.encode(scheme.system, scheme.params, self._images, self._loc, jax.random.clone(mask_key),
                                  jnp.float32(scheme.mask_prob))
            for name, scheme in schemes.items()
        }  # fmt: skip
        self._known: dict[tuple[str, float, float], dict[str, np.ndarray]] = {}

    def measure(self, name: str, metric: str, snr_db: float, csi_error_var: float = 0.0) -> np.ndarray:
        """The metric's mean over the photographs, of each channel realisation, ``[num_units]``, dB."""
        asked = name, snr_db, csi_error_var
        if asked not in self._known:
            scheme, every = self.schemes[name], np.ones(self.num_units, np.float32)
            items = Items(every * np.float32(snr_db), every * np.float32(csi_error_var), 0 * every, np.int32(0 * every),
                          np.arange(self.num_units, dtype=np.int32))  # fmt: skip
            program = SendProgram(system=scheme.system, links=(LINK,), metrics=METRICS)
            found = programs.send(program, scheme.params, self._encoded[name], self._images, self._loc, self._draws,
                                  items)  # fmt: skip
            self._known[asked] = {key: np.float64(value).mean(axis=(1, 2)) for key, value in found.metrics.items()}
            self.calls += 1
        return self._known[asked][metric]

    def channel_uses(self, name: str) -> int:
        """Symbols of a picture."""
        config = self.schemes[name].system.config
        return config.capacity * config.num_symbols


def crossings(bench: Bench) -> list[dict[str, Any]]:
    """Where one scheme overtakes another; a row without ``x`` where none does."""
    less_energy = 10 * math.log10(bench.channel_uses("all") / bench.channel_uses("object"))
    rows = []

    def ask(question: str, metric: str, axis: str, low: float, high: float,
            first: Callable[[float], np.ndarray], second: Callable[[float], np.ndarray]) -> None:  # fmt: skip
        ends = [_pair(paired_difference(first(x), second(x))) for x in (low, high)]
        row = {"question": question, "metric": metric, "axis": axis, "bracket": [low, high], "at_ends_db": ends}
        if np.sign(ends[0][0]) != np.sign(ends[1][0]):
            row |= _crossing(find_crossing(lambda x: first(x) - second(x), low, high, tolerance=TOLERANCE_DB))
        rows.append(row)

    for metric in METRICS:
        def of(name, metric=metric):
            return lambda snr_db: bench.measure(name, metric, snr_db)

        ask("PCA less learned codec, every patch kept, perfect CSI", metric, "snr_db", 0.0, 30.0, of("pca"), of("all"))
        ask("object first less every patch, same SNR (half the energy)", metric, "snr_db", -15.0, 20.0, of("object"),
            of("all"))  # fmt: skip
        ask("object first less every patch, same energy a picture", metric, "snr_db", -15.0, 20.0, of("object"),
            lambda x, metric=metric: bench.measure("all", metric, x - less_energy))  # fmt: skip

        def at_25(name, metric=metric):
            return lambda db: bench.measure(name, metric, 25.0, 10 ** (db / 10))

        ask("learned codec less PCA, every patch kept, SNR 25 dB", metric, "csi_error_var_db", -50.0, 0.0, at_25("all"),
            at_25("pca"))  # fmt: skip
    return rows


def pilots(bench: Bench) -> list[dict[str, Any]]:
    """The pilot SNR from which on the CSI error costs less than is allowed."""
    rows = []
    for name, scheme in bench.schemes.items():
        for metric in METRICS:
            found = required_pilot_snr(
                lambda s, name=name, metric=metric: bench.measure(name, metric, PILOT_SNR_DB, s),
                ALLOWED_LOSS_DB, 0.0, 40.0, tolerance_db=TOLERANCE_DB,
            )  # fmt: skip
            rows.append({"scheme": scheme.name, "metric": metric, "snr_db": PILOT_SNR_DB,
                         "allowed_loss_db": ALLOWED_LOSS_DB} | _crossing(found))  # fmt: skip
    return rows


def sensitivities(schemes: dict[str, Scheme], num_units: int, seed: int) -> list[dict[str, Any]]:
    """Derivatives of the mean PSNR, two UAVs over channels of their own; with respect to P_r one UAV."""
    rows = []
    for name, scheme in schemes.items():
        for metric in METRICS:
            row = {"scheme": scheme.name, "metric": metric}
            for num_uavs, function in ((2, path_sensitivities), (1, mask_sensitivity)):
                if num_uavs == 1 and name != "object":
                    continue
                found = demo_views(num_uavs)
                loc = jnp.asarray(found.boxes)
                result = function(scheme.system, scheme.params, jnp.float32(found.views) / 255, loc,
                                  jax.random.key(seed + num_uavs), LINK, POINT, num_units=num_units,
                                  metric_loc=loc if "inside" in metric else None)  # fmt: skip
                row |= {key: _pair(value) for key, value in
                        (result.items() if num_uavs == 2 else [("mask_prob", result)])}  # fmt: skip
            rows.append(row)
    return rows


def answer(num_units: int, seed: int) -> dict[str, Any]:
    """All answers, as ``results.json`` holds them.

    Args:
        num_units: Channel realisations.
        seed: Of masks and channels.
    """
    system, params = load_system(DEMO_WEIGHTS)
    schemes = dict(zip(NAMES, make_schemes(NAMES, system, params), strict=True))
    bench = Bench(schemes, num_units, seed)
    before = programs.TRACES["send"]
    found = {"crossings": crossings(bench), "pilots": pilots(bench)}
    setup = {
        "photographs": list(bench.names),
        "units": num_units,
        "link": {"fading": LINK.fading, "num_rx_ant": LINK.num_rx_ant, "num_tx_ant": LINK.num_tx_ant,
                 "equalizer": LINK.equalizer, "csi": LINK.csi, "convention": LINK.convention},
        "channel_uses": {scheme.name: bench.channel_uses(name) for name, scheme in schemes.items()},
        "evaluations": bench.calls,
        "compiled": programs.TRACES["send"] - before,
        "point": {name: getattr(POINT, name) for name in ("snr_db", "csi_error_var", "mask_prob")},
    }  # fmt: skip
    return {"setup": setup} | found | {"sensitivities": sensitivities(schemes, num_units, seed)}


def _crossing(found: Crossing) -> dict[str, Any]:
    """JSON has no infinity: an end beyond the bracket is null."""
    ends = {name: value if math.isfinite(value) else None for name, value in (("low", found.low), ("high", found.high))}
    return {"x": found.x} | ends | {"evaluations": found.num_evaluations}


def _pair(interval) -> list:
    return [np.asarray(interval.mean).tolist(), np.asarray(interval.half_width).tolist()]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/questions"), help="folder of results.json")
    parser.add_argument("--units", type=int, default=32, help="channel realisations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page-only", action="store_true", help="write the page again from results.json")
    options = parser.parse_args()
    path, page = options.out / "results.json", options.out.with_suffix(".md")
    if not page.is_file():
        parser.error(f"--out {options.out}: there is no page {page} beside it")
    if not options.page_only:
        options.out.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(_rounded(answer(options.units, options.seed)), indent=1) + "\n")
    with atomic_file(page) as temporary:
        temporary.write_text(fill_page(page.read_text(), tables(json.loads(path.read_text()))))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
