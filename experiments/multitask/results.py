"""The file in which the parts of this study keep their numbers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.script import as_json, rounded
from lvm_mtc.results.files import atomic_file

FOLDER = Path("docs/multitask")


def add(folder: Path, part: str, key: str, numbers: Mapping[str, Any] | list[Any]) -> None:
    """Puts numbers in their place in ``results.json``, which is made where there is none."""
    results = read(folder) if (folder / "results.json").exists() else {}
    results.setdefault(part, {})[key] = numbers
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / "results.json") as temporary:
        temporary.write_text(as_json(rounded(results)), encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """Everything that was measured so far."""
    return json.loads((folder / "results.json").read_text())
