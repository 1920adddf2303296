"""Files that commands write: refused before the work where they could not be written after it."""

from pathlib import Path


def check_new_file(path: Path, *, overwrite: bool, store: Path | None = None) -> None:
    """Refuses a file that is there already, a folder that is not there, and the store that is read."""
    if path.is_dir():
        raise ValueError(f"--out {path}: is a folder; name a file")
    if path.exists() and not overwrite:
        raise ValueError(f"--out {path}: is there already; name a new file or give --overwrite")
    if store is not None and path.exists() and store.exists() and path.samefile(store):
        raise ValueError(f"--out {path}: is the store itself; name another file")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--out {path}: cannot be written, its folder {path.parent} does not exist")
