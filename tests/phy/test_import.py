"""The channel layer and its channel code can be imported alone."""

import subprocess
import sys

import pytest

FOREIGN = ["flax", "optax", "orbax", "scipy", "tensorflow", "sionna", "torch", "PIL", "matplotlib"]


def _loaded(statement):
    code = f"{statement}\nimport sys\nprint(*(n for n in {FOREIGN} if n in sys.modules), sep=',')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [name for name in done.stdout.strip().split(",") if name]


@pytest.mark.parametrize("module", ["lvm_mtc.phy", "lvm_mtc.phy.coding"])
def test_importing_phy_loads_jax_and_numpy_only(module):
    assert _loaded(f"import {module}") == []


def test_the_check_sees_what_is_loaded():
    pytest.importorskip("PIL")
    assert _loaded("import lvm_mtc.phy, PIL.Image") == ["PIL"]
