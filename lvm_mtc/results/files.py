"""Results that appear under their name only when they are complete."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

RECORD = "lvm-mtc-result.json"
"""The file that every result folder holds, and by which it is known to be one."""


class OutputError(ValueError):
    """A result cannot be written where it was asked for; the message is one line."""


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a temporary path beside ``path``, of its suffix, that takes its name when the block ends without an error.

    Raises:
        OutputError: if it is a folder, or its own cannot be written to.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_output_directory(path: str | os.PathLike, *, overwrite: bool = False, owner: str = RECORD) -> Path:
    """Refuses an output folder that could not be written at the end of a run, before the run.

    Args:
        overwrite: Replace the folder where it holds an earlier result of ours; anything else is never removed.
        owner: Name of the file by which an earlier result is recognised.

    Raises:
        OutputError: if it is a file, the current folder or one with other content, or its parent is missing or not
            writable.
    """
    path = Path(path)
    if path.resolve() == Path.cwd():
        raise OutputError(f"{path}: is the current folder; name a new one")
    if path.is_symlink() or path.exists():
        if not path.is_dir():
            raise OutputError(f"{path}: is not a folder; name a new one")
        holds = os.listdir(path)
        if holds and owner not in holds:
            raise OutputError(f"{path}: holds files of something else; name a new folder")
        if holds and not overwrite:
            raise OutputError(f"{path}: holds an earlier result; name a new folder or give --overwrite")
    parent = path.absolute().parent
    if not parent.is_dir():
        raise OutputError(f"{path}: its parent {parent} does not exist")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: its parent {parent} is not writable")
    return path


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike, *, overwrite: bool = False, owner: str = RECORD) -> Iterator[Path]:
    """Gives a temporary folder beside ``path`` that takes its name when the block ends without an error.

    Refuses what ``check_output_directory`` refuses.
    """
    # Where a link leads, the folder is replaced and not the link.
    path = check_output_directory(path, overwrite=overwrite, owner=owner).resolve()
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            # A folder cannot be replaced in one step: the old one goes under a temporary name and then away.
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
