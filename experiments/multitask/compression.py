r"""Networks compressed by each method alone at each level, and by plans for three devices.

The shipped token codec, and the multi-task transceiver at two of its tasks (``experiments.multitask.learn``), each
alone with its adapters merged. Plans are chosen on some examples and measured on others, over AWGN at 10 dB per receive
antenna, always the same draws. Minutes each.

    python -m experiments.multitask.compression --data ../shared/data --packed build/tasks --runs runs/mt
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.multitask.pack import HOLDOUT, PACKED, TEST
from experiments.multitask.results import FOLDER, add
from experiments.multitask.tasks import MEASURES, read_sources
from experiments.script import DATA, script
from lvm_mtc.cli.pictures import load_views
from lvm_mtc.data.captions import load_sentences
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.tables import METRICS
from lvm_mtc.models.compression import Budget, adapt, measure_rises, singles
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.schemes.compressing import milliseconds, survey
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Params, Scheme, Source
from lvm_mtc.schemes.simulate import forward

LINK = LinkConfig.of(fading="awgn", convention="rx_per_antenna")
POINT = OperatingPoint(10.0)
KEY = 0
DEVICES = {"vehicle": (1 / 4, 1.0), "handset": (1 / 5, 0.8), "sensor": (1 / 8, 0.5)}
"""Bytes over those of the network with 32 bits a number, and operations over its own, that a device allows."""
TASK_DEVICES = {"vehicle": (1 / 4, 1.0), "handset": (1 / 5, 0.9), "sensor": (1 / 8, 0.75)}
"""Of a task: nothing can be taken out of what makes tokens of pictures, nor of the table of words."""
TIMED = {"none", "share 0.5", "bits 8", *DEVICES}


class Study(NamedTuple):
    """A network with examples to choose plans by and others to measure them on, ``[n, 1, ...]``, and by what."""

    scheme: Scheme
    params: Params
    chosen_on: Source
    measured: Source
    metric: str
    devices: Mapping[str, tuple[float, float]]


def token_codec(data: Path, chosen: int = 16, measured: int = 48) -> Study:
    """The shipped token codec and photographs."""
    scheme, params = load_scheme(DEMO_WEIGHTS)
    cut = dict(views="cut", overlap=0.0, boxes=None, limit=chosen + measured)
    views = load_views(data / "voc2012_320" / "JPEGImages", size=scheme.config.image_size, num_uavs=1, **cut)
    images = jnp.asarray(views.images)
    source = Source(images, {"loc": jnp.broadcast_to(jnp.float32([48, 48, 48, 48]), (*images.shape[:2], 4))})
    parts = (jax.tree.map(lambda leaf, p=part: leaf[p], source) for part in (slice(chosen), slice(chosen, None)))
    return Study(scheme, params, *parts, "psnr_db", DEVICES)


def one_task(task: str, runs: Path, packed: Path, chosen: int = 1000, measured: int = 2000) -> Study:
    """The shared transceiver at one task: held-out examples to choose by, test examples to measure on."""
    scheme, params = load_scheme(runs / "shared" / "tasks" / "weights.npz")
    captions = load_sentences(packed / "text.npz")
    held_out = read_sources(packed / HOLDOUT, captions.holdout_sentences, chosen)
    test = read_sources(packed / TEST, captions.test_sentences, measured)
    sources = (jax.tree.map(jnp.asarray, of[task]) for of in (held_out, test))
    return Study(*scheme.of_task(task).alone(params), *sources, MEASURES[task], TASK_DEVICES)


def measure(study: Study) -> dict[str, Any]:
    """All rows: method, bytes, operations, loss where it was chosen, metric on other examples, time."""
    scheme, over = study.scheme, (jax.random.key(KEY), LINK, POINT)
    network, loss_on = survey(scheme, study.params, study.chosen_on, *over)

    def loss(params):
        return float(loss_on(params)[0])

    @jax.jit
    def on_others(params, source):
        out = forward(scheme, params, source, jax.random.key(KEY), LINK, POINT)
        return METRICS[scheme.modality][study.metric](source, out)[:, 0]

    full, known, rises = network.cost({}), singles(network, loss), measure_rises(network, loss)
    found = {candidate.name: candidate for candidate in known}
    budgets = {}
    for device, (size, flops) in study.devices.items():
        budgets[device] = Budget(size * full.size, flops * full.flops)
        found[device] = adapt(network, rises, budgets[device], loss, known)
    rows, whole = [], np.asarray(on_others(study.params, study.measured))
    for label, candidate in found.items():
        row = {"name": label, "method": candidate.name, **candidate.cost._asdict(), "loss": candidate.loss}
        values = np.asarray(on_others(network.same_shapes(candidate.plan), study.measured))
        row["metric"] = float(values.mean())
        row["change"] = [float(n) for n in student_interval(values - whole)[:2]]
        if label in TIMED:
            compressed = network.compressed(candidate.plan)
            row["ms"] = milliseconds(scheme, compressed, study.chosen_on, *over, repeats=40, clock=time.process_time)
        row["fits"] = [device for device, budget in budgets.items() if candidate.cost.within(budget)]
        rows.append(row)
        print(row, flush=True)
    examples = [int(np.prod(part.lead())) for part in (study.chosen_on, study.measured)]
    return {
        "metric": study.metric, "examples": examples, "budgets": {n: list(b) for n, b in budgets.items()}, "rows": rows,
    }  # fmt: skip


@script(
    data="folder of data sets", out="folder of the study", packed="folder of experiments.multitask.pack",
    runs="folder of experiments.multitask.learn",
    networks=dict(help="which (default: all)", choices=("token codec", "class", "text")),
)  # fmt: skip
def main(
    data: Path = DATA, out: Path = FOLDER, packed: Path = PACKED, runs: Path = Path("runs/mt"),
    networks: tuple = ("token codec", "class", "text"),
) -> None:  # fmt: skip
    """Measure networks compressed by each method alone, and for three devices."""
    for name in networks:
        study = token_codec(data) if name == "token codec" else one_task(name, runs, packed)
        add(out, "compression", name, measure(study))


if __name__ == "__main__":
    sys.exit(main())
