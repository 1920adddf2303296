"""The channel layer can be imported alone."""

import subprocess
import sys

import pytest

FOREIGN = ["flax", "optax", "orbax", "tensorflow", "sionna", "torch", "PIL", "matplotlib"]


def _loaded(statement):
    code = f"{statement}\nimport sys\nprint(*(n for n in {FOREIGN} if n in sys.modules), sep=',')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [name for name in done.stdout.strip().split(",") if name]


def test_importing_phy_loads_jax_and_numpy_only():
    assert _loaded("import lvm_mtc.phy") == []


def test_the_check_sees_what_is_loaded():
    pytest.importorskip("PIL")
    assert _loaded("import lvm_mtc.phy, PIL.Image") == ["PIL"]
