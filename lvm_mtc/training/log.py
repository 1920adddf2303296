"""The run's log: one JSON object a line, appended and flushed at once."""

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any

WALL_TIME_FIELDS = ("seconds", "pictures_per_second")


class JsonLog:
    """Append-only JSON-lines file that a killed run can take up again.

    Every line has an integer ``step``. At opening, lines after the restored step and a half-written last line are cut,
    so that the finished log equals an undisturbed run's but for :data:`WALL_TIME_FIELDS`.
    """

    def __init__(self, path: str | Path, *, step: int = 0, writes: bool = True):
        """Opens the log, made with its folder where absent, of a run that goes on from ``step``.

        ``writes=False`` leaves the file alone, for a process beside the one that writes it.
        """
        self.path = Path(path)
        self.records, self._file = 0, None
        if writes:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.records = cut_log(self.path, step)
            self._file = open(self.path, "a", encoding="utf-8")

    def write(self, step: int, event: str, **fields: Any) -> None:
        """Appends one line and hands it to the operating system; a number that is not finite is written as a string.

        Where it cannot be written, for example because the disk is full, the OSError is one line with the file's name.
        """
        if self._file is None:
            return
        record = make_finite({"step": step, "event": event, **fields})
        try:
            self._file.write(json.dumps(record, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            message = f"cannot write the log at step {step} ({error.strerror})"
            raise OSError(error.errno, message, str(self.path)) from error

    def sync(self) -> None:
        """Waits until the log is on the disk; called before a checkpoint that relies on it."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file; a write that the disk refused is not tried again."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def cut_log(path: Path, step: int) -> int:
    """Cuts a log at its first line that is unreadable or lies after ``step``; returns the number of lines kept."""
    if not path.is_file():
        return 0
    kept, size = 0, 0
    with open(path, "rb") as file:
        for line in file:
            try:
                later = json.loads(line)["step"] > step
            except (ValueError, KeyError, TypeError):
                break
            if later or not line.endswith(b"\n"):
                break
            kept, size = kept + 1, size + len(line)
    if size < path.stat().st_size:
        os.truncate(path, size)
    return kept


def read_log(path: str | Path, *, wall_times: bool = True) -> list[dict[str, Any]]:
    """One dictionary a line of a log; a half-written last line is left out.

    ``wall_times=False`` drops :data:`WALL_TIME_FIELDS`, the only part in which two equal runs differ.
    """
    with open(path, encoding="utf-8") as file:
        records = [json.loads(line) for line in file if line.endswith("\n")]
    if wall_times:
        return records
    return [{name: value for name, value in record.items() if name not in WALL_TIME_FIELDS} for record in records]


def make_finite(value: Any) -> Any:
    """Replaces NaN and infinities, which JSON does not know, by the strings ``"nan"``, ``"inf"`` and ``"-inf"``."""
    if isinstance(value, dict):
        return {name: make_finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [make_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
