r"""Fits the codec with a conditioned transform, and the same one without context, to the training pictures.

    python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz
    python -m experiments.context_vq.fit --data build/pictures_160.npz --out build/context_vq

A minute on one core: principal components, least squares and Lloyd's algorithm, no gradients. Writes
``context_vq.npz``, which the package ships (``lvm_mtc/weights``), and ``plain.npz``, in float16; one that is there is
left as it is.
"""

import sys
from pathlib import Path

import jax

from experiments.script import script
from lvm_mtc.models.weights import save_weights
from lvm_mtc.schemes.loading import identity
from lvm_mtc.schemes.progressive.context import ContextVq, ContextVqConfig
from lvm_mtc.training.pictures import load_pictures

NAMES = {"context_vq": True, "plain": False}
"""File to whether it has context."""


@script(data="packed pictures", out="folder for the weights", crops="that are fitted to", seed="of crops and codes")
def main(
    data: Path = Path("build/pictures_160.npz"), out: Path = Path("build/context_vq"), crops: int = 256, seed: int = 0
) -> None:
    """Fit the codec with and without context."""
    out.mkdir(parents=True, exist_ok=True)
    for name, context in NAMES.items():
        path = out / f"{name}.npz"
        if not path.exists():
            scheme = ContextVq(ContextVqConfig(context=context))
            params = jax.device_get(scheme.fit(load_pictures(data), seed=seed, num_crops=crops))
            save_weights(path, params, identity(scheme) | {"seed": seed, "crops": crops}, dtype="float16")
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
