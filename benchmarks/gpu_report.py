"""What ``benchmarks/gpu.py`` found: a page of text, and few small archives to carry back."""

import json
import xml.etree.ElementTree as ElementTree
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

MOST_ARCHIVES, MOST_BYTES = 8, 16_000_000
ENTRY_BYTES = 256  # headers of a file in an archive, its name but for that


def failures(junit: Path) -> list[str]:
    """Number of tests that ran, and a line for each that failed; nothing where there is no file."""
    if not junit.exists():
        return []
    cases = list(ElementTree.parse(junit).iter("testcase"))
    lines, skipped = [], 0
    for case in cases:
        skipped += case.find("skipped") is not None
        for kind in ("failure", "error"):
            found = case.find(kind)
            if found is not None:
                said = " ".join((found.get("message") or "").split())
                lines.append(f"  {case.get('classname')}::{case.get('name')}: {said[:300]}")
    return [f"oracles: {len(cases)} tests, {len(lines)} failed, {skipped} skipped", *lines]


def report(out: Path, states: Mapping[str, Mapping]) -> str:
    """How each part ended, which oracles failed, and the numbers of the benchmarks."""
    lines = [f"{name:20} {state['state']:8} {state['seconds']:7.1f} s" for name, state in states.items()]
    lines += failures(out / "oracles.xml")
    for timing in _read(out / "bench.json").get("timings", ()):
        lines.append(f"{timing['program']} of {timing['batch']}: {timing['items_per_s']:,.0f} {timing['unit']}/s")
    if channel := _read(out / "channel.json"):
        lines.append(f"channel layer: {channel['channel_uses_per_s']:,.0f} channel uses/s ({channel['device_kind']})")
    for path in sorted(out.glob("step_*.json")):
        step = _read(path)
        for row in step["batches"]:
            if "out_of_memory" in row:
                lines.append(f"{path.stem}, {row['batch']} pictures: out of memory")
                continue
            mfu = "unknown peak" if row["mfu"] is None else f"MFU {row['mfu']:.3f}"
            peak = row["peak_device_gib"] or row["memory_analysis"]["peak_gib"]
            lines.append(
                f"{path.stem}, {row['batch']} pictures: {row['pictures_per_s']:,.1f} pictures/s, "
                f"{row['channel_uses_per_s']:,.0f} channel uses/s, {mfu}, {peak:.2f} GiB"
            )
    return "\n".join(lines) + "\n"


def _read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}


def worth_carrying(out: Path, home: Path) -> Iterator[tuple[str, Path]]:
    """Name and file, the more important first: results, trained weights and their logs, then checkpoints."""
    for path in sorted(path for path in out.iterdir() if path.is_file()):
        yield path.name, path
    runs = sorted(log.parent for log in home.glob("*/log.jsonl"))  # weights without a log came with the package
    for run in runs:
        for path in (run / "log.jsonl", run / "weights.npz"):
            if path.exists():
                yield f"queue/{run.name}/{path.name}", path
    for run in runs:
        if not (run / "weights.npz").exists():
            for path in sorted(path for path in run.rglob("*") if path.is_file() and path.name != "log.jsonl"):
                yield f"queue/{path.relative_to(home)}", path


def pack(out: Path, home: Path, folder: Path, *, archives: int = MOST_ARCHIVES, size: int = MOST_BYTES) -> list[str]:
    """Writes ``gpu_1.zip`` and so on into a folder that is emptied first; the names of what did not fit."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("gpu_*.zip"):
        old.unlink()
    room, left_out = [size] * archives, []
    for name, path in worth_carrying(out, home):
        data = path.read_bytes()
        squeezed = len(zlib.compress(data, 6))
        needed = min(len(data), squeezed) + 2 * len(name.encode()) + ENTRY_BYTES
        place = next((i for i, left in enumerate(room) if needed <= left), None)
        if place is None:
            left_out.append(name)
            continue
        room[place] -= needed
        kind = zipfile.ZIP_DEFLATED if squeezed < len(data) else zipfile.ZIP_STORED
        with zipfile.ZipFile(folder / f"gpu_{place + 1}.zip", "a", kind, compresslevel=6) as archive:
            archive.writestr(name, data)
    return left_out
