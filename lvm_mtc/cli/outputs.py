"""Files that commands write: refused before the work where they could not be written after it."""

from pathlib import Path


def check_new_file(path: Path, *, overwrite: bool) -> None:
    """Refuses a file that is there already, and a folder that is not there.

    Args:
        path: Of ``--out``.
        overwrite: Whether an older file may be replaced.

    Raises:
        ValueError: naming the file and what would be right.
    """
    if path.is_dir():
        raise ValueError(f"--out {path}: is a folder; name a file")
    if path.exists() and not overwrite:
        raise ValueError(f"--out {path}: is there already; name a new file or give --overwrite")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--out {path}: its folder {path.parent} does not exist")
