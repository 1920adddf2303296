"""Trains one entry of the queue through the library's loop."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from pathlib import Path

import jax
import numpy as np

import lvm_mtc
from experiments.queue.entries import ENTRIES, SHARES
from experiments.queue.mixture import FILE, draw_pictures, load_mixture
from experiments.queue.mixture import SHARES as MIXTURE
from experiments.queue.objectives import make_loss_fn, make_validation
from lvm_mtc.models.weights import load_weights, save_weights
from lvm_mtc.schemes import make_scheme
from lvm_mtc.schemes.loading import identity
from lvm_mtc.training.loop import train
from lvm_mtc.training.state import averaged_params


def train_to_weights(name: str, home: Path) -> None:
    """Trains an entry, or goes on with it, and writes its weights when it is through.

    Args:
        name: In ``ENTRIES``.
        home: Folder of the runs, which holds ``mixture.npz``; the run's own is ``home / name``.

    Raises:
        TrainingStopped: after SIGTERM, once the state is saved.
        FileNotFoundError: if the pictures, or the weights to start from, are not there.
    """
    entry = ENTRIES[name]
    scheme = make_scheme(entry.codec, entry.config, where=name)
    data, holdout = load_mixture(home / FILE)
    params = scheme.init(jax.random.key(entry.seed))
    if entry.start is not None:
        params = load_weights(home / entry.start / "weights.npz", params)[0]
    counts = {kind: len(pictures) for kind, pictures in data.items()}
    about = identity(scheme) | {
        "entry": dataclasses.asdict(entry),
        "shares": SHARES,
        "mixture": MIXTURE,
        "pictures": counts,
    }
    state = train(
        entry.training,
        loss_fn=make_loss_fn(scheme, SHARES),
        batch_fn=lambda data, key: draw_pictures(data, key, entry.training.batch_size),
        data=data,
        init_params=params,
        run_dir=home / name,
        fingerprint=identity(scheme)
        | {"shares": SHARES, "mixture": MIXTURE, "pictures": counts, "start": entry.start or ""},
        validate=make_validation(scheme, holdout),
        progress=False,
    )
    versions = {package: importlib.metadata.version(package) for package in ("jax", "flax", "optax", "numpy")}
    about["versions"] = {"lvm_mtc": lvm_mtc.__version__, "python": platform.python_version(), **versions}
    params = jax.tree.map(np.asarray, averaged_params(state))
    save_weights(home / name / "weights.npz", params, about, dtype="float32")
