"""Answers of reference implementations: ``<name>.npz``, written by ``make_<name>.py``, with the versions inside."""

from pathlib import Path

import numpy as np


def stored(name: str) -> dict[str, np.ndarray]:
    """All arrays of one file."""
    with np.load(Path(__file__).with_name(f"{name}.npz"), allow_pickle=False) as archive:
        return dict(archive)


def weights(arrays: dict[str, np.ndarray], folder: str = "weights/") -> dict[str, np.ndarray]:
    """Those in one folder of ``arrays``, by their published names."""
    return {name.removeprefix(folder): array for name, array in arrays.items() if name.startswith(folder)}
