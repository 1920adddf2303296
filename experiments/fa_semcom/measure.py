r"""Accuracy of answers over SNR, for six ways to share out power: FA-SemCom's shipped answerers, into a store.

Questions about test pictures of CARLA, and of TraPedesVeh, which nothing was trained on; an answerer that was trained
with noise, one that never saw any, and one that sees nothing but the levels. A quarter of an hour.

    python -m experiments.fa_semcom.pack --out build/vqa
    python -m experiments.fa_semcom.measure --packed build/vqa --store docs/fa_semcom/results.sqlite
    python -m experiments.fa_semcom.page --store docs/fa_semcom/results.sqlite --out docs/fa_semcom
"""

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from experiments.fa_semcom.export import FILES
from experiments.fa_semcom.pack import PACKED
from experiments.script import script
from lvm_mtc.data.packed_questions import PackedQuestions, load_questions
from lvm_mtc.data.vqa import KINDS, floor_accuracy
from lvm_mtc.link import LinkConfig
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.question_source import question_source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.paired import NamedSweep, Pair, run_paired_sweep
from lvm_mtc.sweep.stopping import StoppingRule

STORE = Path("docs/fa_semcom/results.sqlite")
ALLOCATIONS = {
    "average": (0.5, 0.0), "both, beta 1": (0.5, 1.0), "both, beta 2": (0.5, 2.0), "both, beta 4": (0.5, 4.0),
    "subjective, beta 1": (0.0, 1.0), "objective, beta 1": (1.0, 1.0),
}  # fmt: skip
"""Name to alpha and beta."""
ANSWERERS = {"noisy": "trained with noise", "clean": "never saw noise", "levels": "sees levels alone"}
SNR_DB = (-8.0, -4.0, 0.0, 4.0, 8.0, 12.0, 16.0, 20.0)
QUIET_DB = 60.0
LEVELS = "levels alone"
METRICS = ("accuracy", "bit_error_rate", "bit_error_rate_top")
_ANTENNAS = dict(num_rx_ant=1, num_tx_ant=1)
_SHAPES = dict(m_f=5.0, m_s=4.0)
AWGN = LinkConfig(fading="awgn", **_ANTENNAS)
FADING = LinkConfig(fading="fisher_snedecor", **_SHAPES, **_ANTENNAS)
FAST = dataclasses.replace(FADING, name="F, per symbol", carrier=dataclasses.replace(FADING.carrier, block_length=1))
_RESOURCES = Resources(num_devices=1, items_per_device=4)
_UNITS = 4
_AT_ONCE = 64
"""Questions of a step; sources hold a multiple of it, and one program serves all."""


@script(
    packed="folder of experiments.fa_semcom.pack (default: %(default)s)",
    store="result store to add to; what it holds of this study is not measured again",
    questions="test questions over SNR, evenly spread over all",
)  # fmt: skip
def main(packed: Path = PACKED, store: Path = STORE, questions: int = 192) -> None:
    """Measure FA-SemCom's answers into a store."""
    store.parent.mkdir(parents=True, exist_ok=True)
    with ResultStore(store) as results:
        for spec, pairs in sweeps(packed, questions):
            run_paired_sweep(spec, pairs, results, resources=_RESOURCES)
            print(f"{spec.name}: {len(list(spec.coordinates()))} points", flush=True)


def sweeps(packed: Path, count: int) -> Iterable[tuple[NamedSweep, list[Pair]]]:
    """All of the study, each sweep with its pairs."""
    files = {name: load_questions(packed / f"{name}_base.npz") for name in ("carla", "carla_test", "trapedesveh")}
    training, test = _asked(files["carla"]), files["carla_test"]
    told = ("both, beta 1", "subjective, beta 1", "objective, beta 1")
    quiet = [*contenders(("noisy", "clean"), ("average",)), *contenders(("levels",), told)]
    for name in ("carla_test", "trapedesveh"):
        asked = _asked(files[name])
        groups = {"all": np.arange(len(asked))}
        if name == "carla_test":
            groups |= {kind: np.flatnonzero(asked[:, 0] == number) for number, kind in enumerate(KINDS)}
        for kind, own in groups.items():
            index = _spread(own, len(own) // _AT_ONCE * _AT_ONCE)
            about = {"floor": f"{floor_accuracy(training, asked[index]):.4f}", "questions": str(len(index))}
            # Without noise all realisations are alike: two are enough where no interval is asked for.
            units = _UNITS if kind == "all" else 2
            yield _sweep(f"quiet, {name}, {kind}", files[name], index, quiet, (AWGN,), (QUIET_DB,), about, units), []
    spread = _spread(np.arange(len(test.answer)), count)
    about = {"floor": f"{floor_accuracy(training, _asked(test)[spread]):.4f}", "questions": str(count)}
    # What it sees is told without errors: one SNR stands for all.
    yield _sweep(LEVELS, test, spread, contenders(("levels",), told), (AWGN,), (QUIET_DB,), about), []
    every = contenders(("noisy", "clean"), ALLOCATIONS)
    for link in (AWGN, FADING):
        spec = _sweep(f"allocations, {link.label}", test, spread, every, (link,), SNR_DB, about)
        yield spec, list(against_average(spec))
    noisy = contenders(("noisy",), ("average", "both, beta 1", "both, beta 4"))
    spec = _sweep(f"allocations, {FAST.label}", test, spread, noisy, (FAST,), (4.0, 12.0), about)
    yield spec, list(against_average(spec))
    floats = contenders(("noisy", "clean"), ALLOCATIONS, quantizer="float16")
    for link in (AWGN, FADING):
        spec = _sweep(f"float16, {link.label}", test, spread, floats, (link,), SNR_DB, about)
        yield spec, list(against_average(spec))


def contenders(answerers: Sequence[str], allocations: Iterable[str], **config) -> list[Contender]:
    """Each answerer with each allocation, as schemes of a sweep."""
    made = []
    for answerer in answerers:
        scheme, params = load_scheme(FILES[answerer])
        scheme = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, **config))
        for name in allocations:
            knobs = dict(zip(("alpha", "beta"), ALLOCATIONS[name], strict=True))
            label = f"{ANSWERERS[answerer]}: {name}"
            made.append(Contender(name=label, scheme=scheme, params=params, knobs=knobs, swept=()))
    return made


def against_average(spec: NamedSweep) -> Iterable[Pair]:
    """Every allocation minus average power, of one answerer at one point."""
    points = list(spec.coordinates())
    for at in points:
        answerer, _, name = at["scheme"].partition(": ")
        if name != "average":
            average = dict(zip(("alpha", "beta"), ALLOCATIONS["average"], strict=True))
            yield Pair(at["scheme"], at, {**at, "scheme": f"{answerer}: average", **average})


def _sweep(
    name: str, packed: PackedQuestions, index: np.ndarray, schemes: Sequence[Contender],
    links: tuple[LinkConfig, ...], snr_db: tuple[float, ...], about: dict[str, str],
    units: int = _UNITS,
) -> NamedSweep:  # fmt: skip
    return NamedSweep(
        name=name,
        about=about,
        schemes=tuple(schemes),
        links=links,
        sources={1: question_source(packed, index[:, None])},
        snr_db=snr_db,
        stopping=StoppingRule(target_half_width=None, max_units=units),
        random_pictures=True,
        metrics=METRICS,
        pictures_per_step=_AT_ONCE,
    )


def _spread(index: np.ndarray, count: int) -> np.ndarray:
    """So many of ``index``, evenly spread."""
    return index[np.linspace(0, len(index) - 1, count).round().astype(int)]


def _asked(packed: PackedQuestions) -> np.ndarray:
    return np.concatenate([packed.question, packed.answer[:, None]], axis=1)


if __name__ == "__main__":
    sys.exit(main())
