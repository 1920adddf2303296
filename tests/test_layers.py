"""The arrows between the packages, read off the import statements."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lvm_mtc

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lvm_mtc"

# Room -> rooms it may import. `config` is a leaf that everybody but phy and data may use.
_NETWORKS = {"phy", "data", "rendering", "models", "config"}
_SCHEMES = _NETWORKS | {"link", "schemes", "interop", "allocation"}
_SWEEPS = _SCHEMES | {"metrics", "results", "sweep"}
ALLOWED = {
    "__main__": {"cli"},
    "__init__": set(),
    "config": set(),
    "phy": set(),
    "allocation": {"config"},
    "data": set(),
    "results": {"config"},
    "rendering": set(),
    "models": {"phy", "data", "rendering", "config"},
    "interop": {"phy", "models", "config"},
    "knowledge": _NETWORKS | {"interop"},
    "link": {"phy", "interop", "config"},
    "schemes": _SCHEMES,
    "metrics": _NETWORKS | {"link", "schemes"},
    "zoo": _NETWORKS | {"schemes"},
    "sweep": _SWEEPS,
    "training": _SCHEMES | {"metrics"},
    "report": _SWEEPS,
    "cli": _SWEEPS | {"knowledge", "training", "report"},
}

# Third-party package -> rooms that may import it.
CONFINED = {
    "DracoPy": {"data"},
    "av": {"data"},
    "flax": {"models", "schemes", "training"},
    "cloudpickle": {"sweep"},
    "dask": {"sweep"},
    "distributed": {"sweep"},
    "jax": set(ALLOWED) - {"data", "config", "results", "allocation"},
    "matplotlib": {"report"},
    "ml_collections": set(),
    "pyarrow": {"results"},
    "optax": {"training"},
    "orbax": {"training"},
    "PIL": {"data", "report"},
    "pillow_heif": {"data"},
    "scipy": {"allocation"},
    "sionna": {"interop"},
    "skimage": {"data"},
    "tensorflow": {"interop"},
    "torch": {"interop"},
    "tqdm": {"training", "report", "cli"},
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
        ("models", "def f():\n    from lvm_mtc import link"),
        ("link", "from lvm_mtc.schemes import simulate"),
        ("schemes", "from lvm_mtc.metrics.pictures import psnr"),
        ("training", "import lvm_mtc.sweep.plan"),
        ("results", "import jax"),
        ("allocation", "import jax"),
        ("allocation", "import lvm_mtc.phy"),
        ("schemes", "import scipy.optimize"),
        ("report", "import sionna"),
    ],
)
def test_a_wrong_arrow_is_seen(room, source):
    assert violations(room, imports_of(source, f"lvm_mtc.{room}.some_file"))


def modules_of(path: Path) -> tuple[str, set[str]]:
    """A file's module, and those of ours that it imports, at its top or inside a function."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    names = imports_of(path.read_text(), module)
    found = set()
    for name in names:
        while name.startswith("lvm_mtc.") and name not in MODULES:
            name = name.rpartition(".")[0]
        found |= {name} & set(MODULES)
    return module, found - {module}


MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES}


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Modules that import each other one after the other; empty where there are none."""
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_no_files_import_each_other():
    arrows = dict(map(modules_of, FILES))
    # What a package exports are names of its files: the files count.
    packages = {modules_of(path)[0] for path in FILES if path.stem == "__init__"}
    assert circle({module: targets - packages for module, targets in arrows.items() if module not in packages}) == []


def test_a_circle_is_seen():
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}


def test_schemes_import_no_other_scheme():
    for path in FILES:
        parts = path.relative_to(PACKAGE).parts
        if parts[0] == "schemes" and len(parts) > 2:
            others = {
                name for name in modules_of(path)[1] if name.startswith("lvm_mtc.schemes.") and name.count(".") > 2
            }
            assert {n.split(".")[2] for n in others} <= {parts[1]}, path


def test_nothing_asks_which_scheme_it_has():
    asks = re.compile(r"isinstance\([^)]*(LvmMtc|DeepJscc|Witt|Linear|Scheme|System|PictureCodec)\b")
    for path in FILES:
        assert not asks.search(path.read_text()), path


def test_library_does_not_import_the_studies():
    for path in FILES:
        names = {name.split(".")[0] for name in imports_of(path.read_text(), "lvm_mtc.x.y")}
        assert not names & {"experiments", "benchmarks", "tests"}, path


def test_sionna_has_one_door():
    doors = [
        path
        for path in FILES
        if any(n.split(".")[0] in ("sionna", "tensorflow") for n in imports_of(path.read_text(), "lvm_mtc.x.y"))
    ]
    assert len(doors) <= 1, doors


@pytest.mark.parametrize("name", lvm_mtc.__all__)
def test_lazy_names_resolve(name):
    assert getattr(lvm_mtc, name) is not None


def test_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match="Sourse.*Source"):
        _ = lvm_mtc.Sourse


def test_import_of_the_top_package_loads_no_room():
    code = "import sys, lvm_mtc; print([m for m in sys.modules if m.startswith('lvm_mtc.') or m in ('jax', 'flax')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_no_file_is_longer_than_350_lines():
    assert {str(path): n for path in FILES if (n := len(path.read_text().splitlines())) > 350} == {}
