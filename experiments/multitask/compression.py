"""The token codec compressed: each method alone at each level, and plans for three devices. A few minutes.

Plans are chosen on some examples and measured on others, over AWGN at 10 dB per receive antenna, always the same draws.
"""

import operator
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.multitask.results import FOLDER, add
from experiments.script import DATA, script
from lvm_mtc.cli.pictures import load_views
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.compression import Budget, adapt, measure_rises, singles
from lvm_mtc.schemes.compressing import measured_on, milliseconds, survey
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Source

LINK = LinkConfig.of(fading="awgn", convention="rx_per_antenna")
POINT = OperatingPoint(10.0)
DEVICES = {"vehicle": (1 / 4, 1.0), "handset": (1 / 5, 0.8), "sensor": (1 / 8, 0.5)}
"""Bytes over those of the codec with 32 bits a number, and operations over its own, that a device allows."""
GROUPS = 8


def pictures(data: Path) -> tuple[Any, Any, Source]:
    """The shipped token codec and photographs."""
    scheme, params = load_scheme(DEMO_WEIGHTS)
    cut = dict(views="cut", overlap=0.0, boxes=None, limit=6 * GROUPS)
    views = load_views(data / "voc2012_320" / "JPEGImages", size=scheme.config.image_size, num_uavs=1, **cut)
    images = jnp.asarray(views.images)
    loc = jnp.broadcast_to(jnp.float32([48, 48, 48, 48]), (*images.shape[:2], 4))
    return scheme, params, Source(images, {"loc": loc})


def measure(data: Path) -> dict[str, Any]:
    """All rows: method, bytes, operations, loss where it was chosen, metric on other examples, time."""
    scheme, params, source = pictures(data)
    parts = slice(GROUPS), slice(GROUPS, None)
    chosen_on, measured = (jax.tree.map(operator.itemgetter(part), source) for part in parts)
    over = jax.random.key(0), LINK, POINT
    network, loss_on = survey(scheme, params, chosen_on, *over)

    def loss(params):
        return float(loss_on(params)[0])

    on_others = measured_on(scheme, measured, *over)
    full, known, rises = network.cost({}), singles(network, loss), measure_rises(network, loss)
    found = {candidate.name: candidate for candidate in known}
    budgets = {}
    for device, (size, flops) in DEVICES.items():
        budgets[device] = Budget(size * full.size, flops * full.flops)
        found[device] = adapt(network, rises, budgets[device], loss, known)
    timed = {"none", "share 0.75", "share 0.5", "share 0.25", "bits 8", *DEVICES}
    rows = []
    for label, candidate in found.items():
        whole = network.same_shapes(candidate.plan)
        row = {"name": label, "method": candidate.name, **candidate.cost._asdict(), "loss": candidate.loss}
        row["metric"] = float(on_others(whole)[1]["psnr"])
        if label in timed:
            row["ms"] = milliseconds(scheme, network.compressed(candidate.plan), chosen_on, *over)
        row["fits"] = [device for device, budget in budgets.items() if candidate.cost.within(budget)]
        rows.append(row)
        print(row, flush=True)
    examples = [int(np.prod(part.lead())) for part in (chosen_on, measured)]
    return {"metric": "psnr", "examples": examples, "budgets": {n: list(b) for n, b in budgets.items()}, "rows": rows}


@script(data="folder of data sets", out="folder of the study")
def main(data: Path = DATA, out: Path = FOLDER) -> None:
    """Measure the token codec compressed by each method alone, and for three devices."""
    add(out, "compression", "token codec", measure(data))


if __name__ == "__main__":
    sys.exit(main())
