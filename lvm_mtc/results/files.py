"""Results that appear under their name only when they are complete."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

RECORD = "lvm-mtc-result.json"
"""The file that every result folder holds, and by which it is known to be one."""

UNFINISHED: set[Path] = set()
"""Temporary files and folders of results that are being written now."""


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """A temporary folder that is gone afterwards, also if the process is told to end at once."""
    with tempfile.TemporaryDirectory(prefix="lvm-mtc-", ignore_cleanup_errors=True) as folder:
        UNFINISHED.add(Path(folder))
        try:
            yield Path(folder)
        finally:
            UNFINISHED.discard(Path(folder))


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
    UNFINISHED.add(temporary)
    try:
        with _full_disk_named(path, temporary):
            yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        UNFINISHED.discard(temporary)


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

    Refuses what ``check_output_directory`` refuses, and at the end a result that another run put there meanwhile: of
    two runs into one folder the first to end stays.
    """
    # Where a link leads, the folder is replaced and not the link.
    path = check_output_directory(path, overwrite=overwrite, owner=owner).resolve()
    before = _identity(path)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    UNFINISHED.add(temporary)
    try:
        with _full_disk_named(path, temporary):
            yield temporary
        temporary.chmod(0o777 & ~_umask())
        if _identity(path) != before:
            raise OutputError(f"{path}: another run has written it meanwhile; its result stays, name a new folder")
        if path.exists() and overwrite:
            # A folder cannot be replaced in one step: the old one goes under a temporary name and then away.
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            try:
                os.rename(temporary, path)  # onto an empty folder, or none
            except OSError as error:
                raise OutputError(f"{path}: another run has written it meanwhile; its result stays") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        UNFINISHED.discard(temporary)


def remove_unfinished() -> None:
    """Removes the temporary files and folders of results that are being written, for a process that ends at once."""
    for temporary in list(UNFINISHED):
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


@contextlib.contextmanager
def _full_disk_named(path: Path, temporary: Path) -> Iterator[None]:
    """Names the result where the disk is full: an error of a write names no file, or one that is temporary."""
    try:
        yield
    except OSError as error:
        own = error.filename is None or Path(str(error.filename)).is_relative_to(temporary)
        if own and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
        raise


def _identity(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
