"""Checkpoints of a whole training state. The only file that knows orbax."""

import contextlib
import copy
import errno
import json
import re
import shutil
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from lvm_mtc.training.mesh import whole_on_host
from lvm_mtc.training.processes import is_first, meet
from lvm_mtc.training.state import PyTree, path_name

_STEP_FOLDER = re.compile(r"step_(\d{8,})$")


class CheckpointError(ValueError):
    """A checkpoint does not belong to this run, or none of them can be read."""


class CheckpointStore:
    """The checkpoints of one run: folders ``step_00000100`` and so on below ``directory``.

    A checkpoint appears under its name only when it is complete, holds a CRC-32 of every array, and records the run's
    fingerprint, with which a run of another configuration is refused. It knows nothing of devices: a state comes back
    on as many as its reference lies on. Several processes that train as one save and restore together, in one folder.

    As a context manager it waits for the save that is under way.
    """

    def __init__(self, directory: str | Path, *, keep: int = 3, fingerprint: Mapping[str, Any] | None = None):
        """Opens the store and clears what a killed save left behind.

        Args:
            directory: Made at the first save.
            keep: How many of the newest to keep, >= 1.
            fingerprint: Flat mapping of whatever must not change between start and resumption to JSON values.
        """
        self.directory = Path(directory).absolute()
        self.keep = keep
        # As JSON gives it back: tuples are lists there.
        self.fingerprint = json.loads(json.dumps(dict(fingerprint or {})))
        self._under_way = None
        self._remove("step_*.orbax-checkpoint-tmp*")
        meet(f"checkpoints of {self.directory}")

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        found = (_STEP_FOLDER.match(path.name) for path in self.directory.glob("step_*"))
        return sorted(int(match[1]) for match in found if match)

    def path(self, step: int) -> Path:
        """Folder of the checkpoint of ``step``."""
        return self.directory / f"step_{step:08d}"

    def save(self, state: PyTree, step: int, extra: Mapping[str, Any] | None = None) -> Path:
        """:meth:`start_save` and :meth:`wait`; returns the checkpoint's folder."""
        self.start_save(state, step, extra)
        self.wait()
        return self.path(step)

    def start_save(self, state: PyTree, step: int, extra: Mapping[str, Any] | None = None) -> None:
        """Starts to write a checkpoint and returns once ``state`` is copied, so that training may go on and donate it.

        Waits for the save before. A process that is killed before this one is done leaves the one before. ``extra`` is
        a small JSON object that is kept with it. Where this checkpoint or the one before cannot be written, the OSError
        is one line that names the newest checkpoint that stands.
        """
        self.wait()
        record = {
            "fingerprint": self.fingerprint,
            "arrays": describe(state),
            "crc32": checksums(state),
            "extra": copy.deepcopy(dict(extra or {})),  # its owner changes it while it is written
        }
        with self._told_in_one_line(step):
            self.directory.mkdir(parents=True, exist_ok=True)
            self._under_way = step, ocp.save_async(self.path(step), state, overwrite=True, custom_metadata=record)

    def wait(self) -> None:
        """Waits until the save that was started is done, then deletes the oldest checkpoints beyond ``keep``."""
        if self._under_way is None:
            return
        (step, response), self._under_way = self._under_way, None
        with self._told_in_one_line(step):
            response.result()
        for step_to_drop in self.steps()[: -self.keep]:
            self._remove(self.path(step_to_drop).name)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        with contextlib.nullcontext() if kind is None else contextlib.suppress(OSError):
            self.wait()

    @contextlib.contextmanager
    def _told_in_one_line(self, step: int):
        try:
            yield
        except Exception as error:
            self._remove(f"{self.path(step).name}*")
            older = [other for other in self.steps() if other != step]
            stands = f"the newest checkpoint is that of step {older[-1]}" if older else "there is no earlier one"
            full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
            reason = "the disk is full" if full else first_line(error)
            code = errno.ENOSPC if full else getattr(error, "errno", None) or errno.EIO
            message = f"cannot save step {step} ({reason}); {stands}"
            raise OSError(code, message, str(self.path(step))) from error

    def _remove(self, pattern: str) -> None:
        if is_first():
            for folder in self.directory.glob(pattern):
                shutil.rmtree(folder, ignore_errors=True)

    def newest(self) -> tuple[int, dict[str, Any]] | None:
        """Step and record of the newest checkpoint that has a record; None where there is none."""
        for step in reversed(self.steps()):
            with contextlib.suppress(Exception):
                return step, self._record(step)
        return None

    def _record(self, step: int) -> dict[str, Any]:
        record = ocp.metadata(self.path(step)).custom_metadata
        return {name: record[name] for name in ("fingerprint", "arrays", "crc32", "extra")}

    def restore(self, reference: PyTree) -> tuple[PyTree, int, dict[str, Any]] | None:
        """Reads the newest checkpoint that is whole: state, step, extra; None where none was ever saved.

        A damaged one is renamed to ``step_..._damaged`` with a warning, and the one before it is read. ``reference`` is
        a state of the same structure, shapes, types and shardings.

        Raises:
            CheckpointError: if the checkpoint's fingerprint or shapes differ from this run's (the message names the
                first difference), or if all checkpoints are damaged.
        """
        damaged = {}
        for step in reversed(self.steps()):
            path = self.path(step)
            try:
                parts = self._record(step)
                self._check_same_run(path, parts, reference)
                state = load_checked(path, reference, parts["crc32"])
            except CheckpointError:
                raise
            except Exception as error:
                damaged[path] = first_line(error)
                continue
            # Only now: where nothing at all can be read, the fault may lie elsewhere, and everything stays in place.
            meet("checkpoint read")
            for other, reason in damaged.items():
                aside = other.with_name(other.name + "_damaged")
                if is_first():
                    shutil.rmtree(aside, ignore_errors=True)
                    other.rename(aside)
                message = f"{other} is damaged ({reason}): renamed to {aside.name}, going back to step {step}"
                warnings.warn(message, stacklevel=3)
            return state, step, parts["extra"]
        if damaged:
            newest, reason = next(iter(damaged.items()))
            raise CheckpointError(f"none of the {len(damaged)} checkpoints can be read; the newest, {newest}: {reason}")
        return None

    def _check_same_run(self, path: Path, record: Mapping[str, Any], reference: PyTree) -> None:
        for saved, now in (record["fingerprint"], self.fingerprint), (record["arrays"], describe(reference)):
            for name in saved | now:
                was, wanted = saved.get(name, "absent"), now.get(name, "absent")
                if was != wanted:
                    raise CheckpointError(
                        f"{path} belongs to another configuration: {name} was {was}, now it is {wanted}; "
                        "use the old value or another folder"
                    )


def load_checked(path: Path, reference: PyTree, crc32: Mapping[str, int]) -> PyTree:
    """Loads a checkpoint into the structure and shardings of ``reference`` and compares its checksums."""

    def abstract(leaf):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # orbax speaks of shardings, which the reference fixes
        state = ocp.load(path, jax.tree.map(abstract, reference))
    for name, value in checksums(state).items():
        if value != crc32.get(name):
            raise ValueError(f"array {name} does not match its checksum")
    return state


def first_line(error: Exception) -> str:
    """First line of an error's text, short enough for a one-line message."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= 200 else text[:197] + "..."


def describe(state: PyTree) -> dict[str, str]:
    """Type and shape of every leaf by name, such as ``{"params/kernel": "float32[3, 4]"}``."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {path_name(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves}


def checksums(state: PyTree) -> dict[str, int]:
    """CRC-32 of the bytes of every leaf by name; orbax itself does not notice a flipped bit in an array."""

    def crc(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return zlib.crc32(np.ascontiguousarray(whole_on_host(leaf)).view(np.uint8).data if leaf.size else b"")

    return {path_name(path): crc(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
