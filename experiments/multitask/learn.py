r"""Trains everything that the four tasks compare, one run after the other, and keeps their curves on held-out examples.

Backbone, then from it: the four tasks together (``shared``), heads alone, and a network for each task. As by
``lvm-mtc train --config experiments/configs/multitask.py:NAME``, but that every few steps what is learned is measured
at 10 dB over AWGN on pictures and captions that are neither trained on nor reported. Runs that are done are left alone,
and one that was stopped goes on.

    python -m experiments.multitask.learn --packed build/tasks --runs runs/mt
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.multitask.pack import HOLDOUT, PACKED
from experiments.multitask.results import FOLDER, add
from experiments.multitask.tasks import MEASURES, STEP, read_sources, score
from experiments.script import CONFIGS, script
from lvm_mtc.cli.train import read_config
from lvm_mtc.config import from_dict
from lvm_mtc.data.captions import load_sentences
from lvm_mtc.schemes.multitask.scheme import Multitask
from lvm_mtc.schemes.scheme import Params, Source
from lvm_mtc.training.log import read_log
from lvm_mtc.training.recipe import Recipe, run_stage

RUNS = {"backbone": ("backbone", "backbone"), "shared": ("tasks", "tasks"), "heads": ("heads", "heads")} | {
    task: (task, "alone") for task in MEASURES
}
"""Folder of a run to the name of its recipe and of its stage."""
SNR_DB = 10.0


def measure(scheme: Multitask, params: Params, sources: Mapping[str, Source]) -> dict[str, float]:
    """Mean measure of each task at 10 dB over AWGN, always the same draws."""
    found = {}
    for task, source in sources.items():
        parts = [jax.tree.map(lambda x, s=s: jnp.asarray(x[s : s + STEP]), source)
                 for s in range(0, source.lead()[0], STEP)]  # fmt: skip
        values = [
            score(scheme.of_task(task), params, part, jax.random.key(i), jnp.float32(SNR_DB), jnp.int32(0))[0]
            for i, part in enumerate(parts)
        ]
        found[task] = float(np.concatenate(values).mean())
    return found


@script(
    packed="folder of experiments.multitask.pack", runs="folder for the trainings", out="folder of the study",
    names=dict(help="which runs (default: all)", choices=tuple(RUNS)),
    examples="of each task that are held out to measure on",
)  # fmt: skip
def main(
    packed: Path = PACKED, runs: Path = Path("runs/mt"), out: Path = FOLDER, names: tuple = tuple(RUNS),
    examples: int = 1000,
) -> None:  # fmt: skip
    """Train the backbone and what starts from it."""
    held_out = read_sources(packed / HOLDOUT, load_sentences(packed / "text.npz").holdout_sentences, examples)
    for name in names:
        recipe_name, stage = RUNS[name]
        recipe = from_dict(Recipe, read_config(CONFIGS / f"multitask.py:{recipe_name}", []))
        scheme = recipe.make_scheme()
        learned = {scenario.scheme(scheme).config.task for scenario in recipe.scenarios}
        sources = {task: source for task, source in held_out.items() if task in learned}

        def validate(params: Params, step: int, scheme=scheme, sources=sources, name=name) -> dict[str, float]:
            found = measure(scheme, params, sources)
            print(name, step, {task: round(value, 4) for task, value in found.items()}, flush=True)
            return found

        start = None if name == "backbone" else runs / "backbone" / "backbone" / "weights.npz"
        run_stage(recipe, stage, packed, runs / name, start=start, validate=validate, progress=False)
        told = [record for record in read_log(runs / name / stage / "log.jsonl") if record["event"] == "validation"]
        curve = [{key: record[key] for key in ("step", *MEASURES) if key in record} for record in told]
        add(out, "curves", name, curve)


if __name__ == "__main__":
    sys.exit(main())
