r"""Fits the codec with a conditioned transform, and the same one without context, and trains both with networks.

    python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz
    python -m experiments.context_vq.fit --data build/pictures_160.npz --out build/context_vq

A minute on one core for the linear codecs: principal components, least squares and Lloyd's algorithm, no gradients.
Writes ``context_vq.npz``, which the package ships (``lvm_mtc/weights``), and ``plain.npz``, in float16; and, by the
recipes of ``experiments/configs/context_vq.py``, one as long as the other, ``trained.npz`` and ``trained_plain.npz``,
whose codebooks are fitted anew behind the training. One that is there is left as it is, and a training that was stopped
goes on. ``--names`` makes some of them.
"""

import sys
from pathlib import Path

import jax

from experiments.script import CONFIGS, script
from lvm_mtc import from_dict
from lvm_mtc.cli.train import read_config
from lvm_mtc.models.weights import load_weights, save_weights
from lvm_mtc.schemes.loading import identity, load_scheme
from lvm_mtc.schemes.progressive.context import ContextVq, ContextVqConfig
from lvm_mtc.training.pictures import load_pictures
from lvm_mtc.training.recipe import Recipe, run_stage

NAMES = {"context_vq": True, "plain": False}
"""File of a linear codec to whether it has context."""
TRAINED = {"trained": "context_vq", "trained_plain": "plain"}
"""File of a codec with networks to its recipe."""


@script(
    data="packed pictures", out="folder for the weights", run_dir="folder of the training runs",
    crops="that are fitted to", seed="of crops and codes of the linear codecs",
    names={"choices": (*NAMES, *TRAINED), "help": "files that are made"},
)  # fmt: skip
def main(
    data: Path = Path("build/pictures_160.npz"), out: Path = Path("build/context_vq"),
    run_dir: Path = Path("runs/context_vq"), crops: int = 256, seed: int = 0,
    names: tuple[str, ...] = (*NAMES, *TRAINED),
) -> None:  # fmt: skip
    """Fit and train the codec with and without context."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = out / f"{name}.npz"
        if not path.exists():
            if name in TRAINED:
                params, about = trained(TRAINED[name], data, run_dir, crops)
            else:
                scheme = ContextVq(ContextVqConfig(context=NAMES[name]))
                params = scheme.fit(load_pictures(data), seed=seed, num_crops=crops)
                about = identity(scheme) | {"seed": seed}
            save_weights(path, jax.device_get(params), about | {"crops": crops}, dtype="float16")
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", flush=True)


def trained(recipe_name: str, data: Path, run_dir: Path, crops: int) -> tuple[dict, dict]:
    """Parameters after a recipe's training, their codebooks fitted behind it, and what a file says of them."""
    recipe = from_dict(Recipe, read_config(CONFIGS / f"context_vq.py:{recipe_name}", []))
    weights = run_stage(recipe, "all", data, run_dir / recipe_name)
    scheme, params = load_scheme(weights)
    _, about = load_weights(weights)
    return scheme.with_books(params, load_pictures(data), about["seed"], crops), about


if __name__ == "__main__":
    sys.exit(main())
