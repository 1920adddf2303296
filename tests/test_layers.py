"""The arrows between the packages, read off the import statements."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lvm_mtc

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lvm_mtc"

# Room -> rooms it may import. `config` is a leaf that everybody but phy and data may use.
_BELOW_SYSTEM = {"phy", "data", "models", "bandwidth", "knowledge", "config"}
ALLOWED = {
    "__init__": set(),
    "config": set(),
    "phy": set(),
    "data": set(),
    "bandwidth": {"phy", "config"},
    "knowledge": {"data", "models", "config"},
    "models": {"phy", "data", "config"},
    "interop": {"phy", "models", "config"},
    "system": _BELOW_SYSTEM | {"interop"},
    "training": _BELOW_SYSTEM | {"system"},
    "evaluation": _BELOW_SYSTEM | {"interop", "system"},
    "cli": _BELOW_SYSTEM | {"interop", "system", "training", "evaluation"},
}

# Third-party package -> rooms that may import it.
CONFINED = {
    "flax": {"models"},
    "jax": set(ALLOWED) - {"data", "config"},
    "matplotlib": {"evaluation"},
    "ml_collections": set(),
    "pyarrow": {"evaluation"},
    "optax": {"training"},
    "orbax": {"training"},
    "PIL": {"data", "evaluation"},
    "scipy": set(),
    "sionna": {"interop"},
    "skimage": {"data"},
    "tensorflow": {"interop"},
    "torch": {"interop"},
    "tqdm": {"training", "evaluation", "cli"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(source: str, module: str) -> set[str]:
    """Absolute names of what a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, base] if base else parents)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def violations(room: str, imported: set[str]) -> list[str]:
    wrong = []
    for name in sorted(imported):
        parts = name.split(".")
        if parts[0] == "lvm_mtc":
            target = parts[1] if len(parts) > 1 else "__init__"
            if target in ALLOWED and target not in (room, "__init__") and target not in ALLOWED[room]:
                wrong.append(f"{room} imports {name}")
        elif room not in CONFINED.get(parts[0], {room}):
            wrong.append(f"{room} imports {parts[0]}")
    return wrong


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path):
    room = room_of(path)
    assert room in ALLOWED, f"{path.relative_to(ROOT)}: give the new room its arrows in this file"
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    assert violations(room, imports_of(path.read_text(), module)) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("phy", "from lvm_mtc.config import from_dict"),
        ("phy", "from ..models import codec"),
        ("phy", "import flax.linen as nn"),
        ("data", "import jax.numpy as jnp"),
        ("models", "def f():\n    from lvm_mtc import system"),
        ("system", "from lvm_mtc.training import loop"),
        ("training", "import lvm_mtc.evaluation.metrics"),
        ("evaluation", "import sionna"),
    ],
)
def test_a_wrong_arrow_is_seen(room, source):
    assert violations(room, imports_of(source, f"lvm_mtc.{room}.some_file"))


def test_library_does_not_import_the_studies():
    for path in FILES:
        names = {name.split(".")[0] for name in imports_of(path.read_text(), "lvm_mtc.x.y")}
        assert not names & {"experiments", "benchmarks", "tests"}, path


def test_sionna_has_one_door():
    doors = [path for path in FILES if any(n.split(".")[0] in ("sionna", "tensorflow")
                                           for n in imports_of(path.read_text(), "lvm_mtc.x.y"))]
    assert len(doors) <= 1, doors


@pytest.mark.parametrize("name", lvm_mtc.__all__)
def test_lazy_names_resolve(name):
    assert getattr(lvm_mtc, name) is not None


def test_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match="Systen.*SystemConfig"):
        _ = lvm_mtc.Systen


def test_import_of_the_top_package_loads_no_room():
    code = "import sys, lvm_mtc; print([m for m in sys.modules if m.startswith('lvm_mtc.') or m in ('jax', 'flax')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
