"""Files and folders as users hand them in: their order, what they are not, and what is wrong inside."""

import os
import re
import stat
from pathlib import Path


def natural_order(name: str) -> tuple:
    """Sorting key of file names: numbers by their value, letters without regard to case, suffixes last.

    ``shot2.png`` comes before ``shot10.png``, ``9999.png`` before ``10000.png``, and every frame of ``t1_uav10`` before
    those of ``t2_uav1``. Names that differ in leading zeros or case only come in the order of their characters.
    """
    parts = re.split("([0-9]+)", os.path.splitext(name)[0].casefold())
    # Every second part is a number. Its length and then its digits order it by value, however long it is.
    parts[1::2] = [(len(digits), digits) for digits in (part.lstrip("0") for part in parts[1::2])]
    return parts, name


def check_regular_file(path: Path, error: type[ValueError] = ValueError) -> None:
    """Raises ``error`` for what is not a regular, non-empty file: opening a pipe would wait for ever."""
    status = _status(path, error, "a readable file")
    if stat.S_ISDIR(status.st_mode):
        raise error(f"{path}: is a folder; expected a file")
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{path}: is not a regular file; expected a file")
    if status.st_size == 0:
        raise error(f"{path}: is empty (0 bytes); expected a whole file")


def check_directory(path: Path, error: type[ValueError] = ValueError) -> None:
    """Raises ``error`` for what is not an existing folder."""
    if not stat.S_ISDIR(_status(path, error, "a folder").st_mode):
        raise error(f"{path}: is not a folder; expected a folder")


def _status(path: Path, error: type[ValueError], expected: str) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError as cause:
        raise error(f"{path}: does not exist; expected {expected}") from cause
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror}); expected {expected}") from cause
    except ValueError as cause:
        raise error(f"{str(path)!r}: is not a usable name ({cause}); expected {expected}") from cause


def reason(error: Exception) -> str:
    """What a parser stumbled over, as one line: its message, or the name of the error where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
