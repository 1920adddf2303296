r"""Ships captioner and painter: 8 bits a number, and the guidance that is best on pictures held out.

A painter of 8 bits a number is judged, and ResNet-56 judges it. ``--only painter`` leaves the captioner as it is.

    python -m experiments.vlm_csc.export --painter runs/painter/weights.npz --captioner runs/captioner/weights.npz
"""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.script import DATA, script
from experiments.vlm_csc.pack import PACKED, load_described
from lvm_mtc.data.grammar import Facts, describe
from lvm_mtc.interop.classifier_weights import load_cifar_resnet
from lvm_mtc.knowledge.captioners import CAPTIONER_WEIGHTS
from lvm_mtc.knowledge.generators import GENERATOR_WEIGHTS, load_generator
from lvm_mtc.models.cifar_resnet import CifarResNet
from lvm_mtc.models.packed import Packing
from lvm_mtc.models.weights import flatten_params, load_weights, save_weights

JUDGE_DEPTH, BITS, LEAST = 56, 8, 256
GUIDANCES = (1.0, 2.0, 5.0)


@jax.jit
def classify(params: Any, pictures: jax.Array) -> jax.Array:
    """The judge's scores of pictures ``[n, 32, 32, 3]`` in [0, 1]."""
    return CifarResNet(JUDGE_DEPTH).apply({"params": params}, pictures)


def load_judge(data: Path) -> Any:
    """Parameters of ResNet-56, which nothing else here uses."""
    path = data / "weights" / f"cifar10_resnet{JUDGE_DEPTH}.npz"
    return jax.tree.map(jnp.asarray, load_cifar_resnet(path, JUDGE_DEPTH))


def ship(source: Path, target: Path, **more: Any) -> None:
    """Writes weights as they ship: matrices in 8 bits, the rest in half precision."""
    params, metadata = load_weights(source)
    matrices = {name for name, leaf in flatten_params(params).items() if leaf.ndim > 1 and leaf.size >= LEAST}
    save_weights(target, params, metadata | more, packings=dict.fromkeys(matrices, Packing(BITS)))


@script(data="folder with weights/", packed="packed pictures", painter="trained weights",
        captioner="trained weights", count="captions of held-out pictures",
        only="captioner or painter; both without it")  # fmt: skip
def main(
    data: Path = DATA, packed: Path = PACKED, painter: Path = Path("runs/painter/weights.npz"),
    captioner: Path = Path("runs/captioner/weights.npz"), count: int = 64, only: str | None = None,
) -> None:  # fmt: skip
    """Ship captioner and painter."""
    if only not in (None, "captioner", "painter"):
        raise ValueError(f"--only must be captioner or painter, got {only!r}")
    if only != "painter":
        ship(captioner, CAPTIONER_WEIGHTS)
        print(f"{CAPTIONER_WEIGHTS.name}: {CAPTIONER_WEIGHTS.stat().st_size:,} bytes")
    if only == "captioner":
        return
    ship(painter, GENERATOR_WEIGHTS)
    held, judge = load_described(packed, "holdout"), load_judge(data)
    take = np.linspace(0, len(held.pictures) - 1, count).round().astype(int)
    facts = Facts(*(of[take] for of in held.facts))
    found = {}
    for guidance in GUIDANCES:
        pictures = load_generator(GENERATOR_WEIGHTS, guidance=guidance)(describe(facts), 0)
        found[guidance] = float((np.asarray(classify(judge, pictures)).argmax(-1) == facts.label).mean())
        print(f"guidance {guidance:g}: accuracy {found[guidance]:.3f} on {count} held-out captions", flush=True)
    best = max(found, key=found.get)
    ship(painter, GENERATOR_WEIGHTS, guidance=best, held_out={f"{g:g}": accuracy for g, accuracy in found.items()})
    print(f"{GENERATOR_WEIGHTS.name}: {GENERATOR_WEIGHTS.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
