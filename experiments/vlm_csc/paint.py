r"""How often ResNet-56 names right what the shipped generator paints of captions that no link has touched.

Guidance, and then steps and solver, are chosen on captions of held-out pictures. 1,000 captions of test pictures are
painted as the weights ship, and as chosen, each of noise of its own. An earlier painter, of half the training, was
judged by the same captions, before steps and solver were put in. Into the store of
``experiments.vlm_csc.measure``; what it has is not measured again. Five minutes.

    python -m experiments.vlm_csc.pack --data ../shared/data --out build/cifar10_described.npz
    python -m experiments.vlm_csc.paint --packed build/cifar10_described.npz
    python -m experiments.vlm_csc.page
"""

import collections
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.script import DATA, script
from experiments.stores import read_points, store_values
from experiments.vlm_csc.export import classify, load_judge
from experiments.vlm_csc.measure import CONVENTION, SNR_DB, STORE
from experiments.vlm_csc.pack import PACKED, load_described
from lvm_mtc.data.grammar import Facts, describe
from lvm_mtc.knowledge.generators import FlowGenerator, Generator, load_generator
from lvm_mtc.results.hashing import params_hash
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.results.points import Measured
from lvm_mtc.results.store import ResultStore
from lvm_mtc.training.described import Described

HELD_OUT, TEST = "painted of held-out captions", "painted of test captions"
GUIDANCES = (2.0, 3.5, 5.0)
FINER = ({"steps": 16}, {"solver": "heun"})
"""Twice as many passes of the network as ship."""
_AT_ONCE = 100


@script(data="folder with weights/", packed="packed pictures", store="result store to add to",
        held_out="captions to choose guidance by", count="captions of test pictures")  # fmt: skip
def main(data: Path = DATA, packed: Path = PACKED, store: Path = STORE, held_out: int = 250, count: int = 1000) -> None:
    """Judge what is painted of captions, with the guidance that is best on held-out ones."""
    judge, shipped = load_judge(data), load_generator()
    chosen_on, test = (
        _spread(load_described(packed, split), n) for split, n in (("holdout", held_out), ("test", count))
    )
    with ResultStore(store) as results:
        painters = [dataclasses.replace(shipped, guidance=guidance) for guidance in GUIDANCES]
        for painter in painters:
            _judged(results, HELD_OUT, painter, chosen_on, judge)
        guided = _best(results, painters)
        finer = [guided, *(dataclasses.replace(guided, **fields) for fields in FINER)]
        for painter in finer:
            _judged(results, HELD_OUT, painter, chosen_on, judge)
        for painter in (shipped, _best(results, finer)):
            _judged(results, TEST, painter, test, judge)


def painter_name(painter: FlowGenerator) -> str:
    """Its guidance, and what else differs from what ships."""
    steps = f", {painter.steps} steps" if painter.steps != FlowGenerator.steps else ""
    solver = f", {painter.solver.capitalize()}'s solver" if painter.solver != FlowGenerator.solver else ""
    return f"guidance {painter.guidance:g}{steps}{solver}"


def _best(store: ResultStore, painters: Sequence[FlowGenerator]) -> FlowGenerator:
    """The painter of the largest accuracy on held-out captions."""
    found = {
        point.coordinates["scheme"]: point.metrics["accuracy"].mean for point in read_points(store, HELD_OUT, "vlm_csc")
    }
    return max(painters, key=lambda painter: found[painter_name(painter)])


def paint_each(generator: Generator, texts: Sequence[str]) -> np.ndarray:
    """A picture of each text, ``[n, height, width, 3]``; equal texts get unequal noise, the n-th one of seed n."""
    seen: collections.Counter[str] = collections.Counter()
    seeds = []
    for text in texts:
        seeds.append(seen[text])
        seen[text] += 1
    places = [np.flatnonzero(np.array(seeds) == seed) for seed in range(max(seeds) + 1)]
    painted = [generator([texts[i] for i in place], seed) for seed, place in enumerate(places)]
    return np.concatenate(painted)[np.argsort(np.concatenate(places))]


def _judged(store: ResultStore, name: str, painter: FlowGenerator, facts: Facts, judge: Any) -> None:
    about = {"name": name, "painter": params_hash(painter.params), "judge": params_hash(judge)}
    about["captions"] = len(facts.label)
    at = {"scheme": painter_name(painter)}
    if store.missing(store.register(about), [at]):
        pictures = paint_each(painter, describe(facts))
        parts = (pictures[start : start + _AT_ONCE] for start in range(0, len(pictures), _AT_ONCE))
        named = np.concatenate([np.asarray(classify(judge, part)).argmax(-1) for part in parts])
        interval = student_interval(np.float64(named == facts.label))
        accuracy = Measured(float(interval.mean), float(interval.half_width), interval.num_units)
        store_values(store, about, at, {"accuracy": accuracy}, snr_db=SNR_DB[-1], convention=CONVENTION)
        print(f"{name}, {at['scheme']}: {accuracy.mean:.3f} ± {accuracy.half_width:.3f}", flush=True)


def _spread(described: Described, count: int) -> Facts:
    take = np.linspace(0, len(described.pictures) - 1, count).round().astype(int)
    return Facts(*(of[take] for of in described.facts))


if __name__ == "__main__":
    sys.exit(main())
