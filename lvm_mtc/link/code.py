"""Code from outside the library as a sweep's key has it: what would change its numbers changes the description."""

import ast
import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def code_of(function: Callable) -> dict[str, Any]:
    """What a function or class outside the library is: its name, a digest of its source, and what it closes over.

    The digest is of its file, and of all files that are not installed and that it imports, wherever they lie and
    wherever in it the import stands.

    Raises:
        ValueError: where nobody could see it change: without a file, a lambda, or closed over something that is no
            plain value, array or function.
    """
    place = f"{function.__module__}:{function.__qualname__}"
    if "<lambda>" in place:
        raise ValueError(f"{place}: a lambda has no name of its own, so a sweep could not tell it from others: use def")
    module = inspect.getmodule(function)
    try:
        sources = [inspect.getsource(module or function)]
        sources += _imported(module) if module else []
    except (OSError, TypeError) as error:
        raise ValueError(
            f"{function!r}: its source cannot be read, so a sweep could not see it change; put it into a file"
        ) from error
    about: dict[str, Any] = {"code": place, "source": hashlib.sha256("\0".join(sources).encode()).hexdigest()}
    if "<locals>" in place and inspect.isfunction(function):
        about["line"] = function.__code__.co_firstlineno
    if closed := getattr(function, "__closure__", None):
        cells = zip(function.__code__.co_freevars, closed, strict=True)
        about["closure"] = {name: describe(cell.cell_contents, f"{place}: {name}") for name, cell in cells}
    return about


def describe(value: Any, name: str = "value") -> Any:
    """A value in plain terms: dataclasses and functions from outside the library with their code."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [describe(item, f"{name}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): describe(item, f"{name}.{key}") for key, item in value.items()}
    if hasattr(value, "described"):
        return value.described()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        plain = {field: describe(item, f"{name}.{field}") for field, item in fields.items()}
        return plain | (code_of(type(value)) if _is_own(type(value)) else {})
    if isinstance(value, functools.partial):
        bound = {"args": value.args, "keywords": value.keywords}
        return describe(bound, name) | {"function": describe(value.func, name)}
    if hasattr(value, "__qualname__"):
        return code_of(value) if _is_own(value) else f"{value.__module__}:{value.__qualname__}"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        array = np.ascontiguousarray(value)
        return hashlib.sha256(f"{array.dtype} {array.shape} ".encode() + array.tobytes()).hexdigest()
    raise ValueError(f"{name} is {value!r}, of which a sweep could not see that it changes")


def has_own_code(description: Any) -> bool:
    """Whether a description holds that of code from outside the library."""
    if isinstance(description, Mapping):
        return {"code", "source"} <= description.keys() or any(map(has_own_code, description.values()))
    return isinstance(description, list) and any(map(has_own_code, description))


def _is_own(kind: Any) -> bool:
    """Whether code is neither the library's, with its studies, nor that of an installed package."""
    top = str(kind.__module__).partition(".")[0]
    if top in ("lvm_mtc", "experiments") or top in sys.stdlib_module_names:
        return False
    return not _is_installed(getattr(sys.modules.get(kind.__module__), "__file__", None))


def _is_installed(file: str | None) -> bool:
    return file is not None and bool({"site-packages", "dist-packages"} & {*Path(file).parts})


def _imported(module: ModuleType) -> list[str]:
    """Sources of the user's other files that a module imports, anywhere in it, directly or not, by name."""
    found: dict[str, Path | None] = {module.__name__: None}
    open_ends = [(inspect.getsource(module), module.__package__ or "")]
    while open_ends:
        for name in _names_imported(*open_ends.pop()):
            if name in found or (spec := _own_file(name)) is None:
                continue
            found[name] = file = Path(str(spec.origin))
            package = name if spec.submodule_search_locations else name.rpartition(".")[0]
            open_ends.append((file.read_text(encoding="utf-8"), package))
    return [path.read_text(encoding="utf-8") for _, path in sorted(found.items()) if path is not None]


def _names_imported(source: str, package: str) -> Iterator[str]:
    """Names of modules in the import statements of a source; of those in ``from a import b`` both a and a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def _own_file(name: str) -> ModuleSpec | None:
    """Where a module of the user's comes from; None for others, and for what is no module."""
    top = name.partition(".")[0]
    if top in ("lvm_mtc", "experiments") or top in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    own = spec is not None and str(spec.origin).endswith(".py") and not _is_installed(spec.origin)
    return spec if own else None
