"""Goldens of Sionna 1.2.2, and the scripts that make them."""

import importlib

import numpy as np
import pytest
from golden import stored


class Golden:
    """What ``tests/golden/make_<name>.py`` stored, and what it computes today."""

    def __init__(self, name: str):
        self.name = name

    def stored(self) -> dict[str, np.ndarray]:
        found = stored(self.name)
        assert str(found["sionna_version"]) == "1.2.2"
        return found

    def fresh(self) -> dict[str, np.ndarray]:
        return importlib.import_module(f"golden.make_{self.name}").cases()

    def assert_current(self, fresh: dict[str, np.ndarray], rtol: float) -> None:
        """Versions aside, what is stored is what is computed, relative to the largest entry of each array."""
        stored = self.stored()
        assert set(stored) == set(fresh)
        for name, array in stored.items():
            if array.dtype.kind == "U":
                continue
            bound = rtol if array.dtype.itemsize >= 16 or array.dtype == np.float64 else 1e-4
            np.testing.assert_allclose(fresh[name], array, rtol=0, atol=bound * np.abs(array).max(), err_msg=name)


@pytest.fixture(scope="session")
def golden():
    return Golden
