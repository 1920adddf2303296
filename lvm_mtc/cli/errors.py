"""What is wrong with a command line, and how a user is told."""

import errno
import json
import os
from pathlib import Path
from typing import Any

_LONGEST_MESSAGE = 700


class UsageError(Exception):
    """The command line itself is wrong; the message is one line."""


def read_json(flag: str, path: Path, wanted: str = "") -> Any:
    """What the JSON file of a flag holds; where it is none, ``wanted`` says what else would do."""
    try:
        return json.loads(path.read_bytes())  # bytes, so that a byte-order mark is understood
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{flag} {path}: is not JSON ({error}){'; ' * bool(wanted)}{wanted}") from None


def one_line(error: BaseException) -> str:
    """A user's mistake as one line: the error's message; for a file that cannot be used, it and the system's reason."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fspath(error.filename)}: {error.strerror}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"standard output: {error.strerror}"  # what is written elsewhere names its file
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 4] + " ..."
