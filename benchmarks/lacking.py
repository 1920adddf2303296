"""What a benchmark lacks, in one line, before it computes anything."""

import importlib.util
import sys


def need(extra: str, *packages: str) -> None:
    """Leaves the program where packages are missing; ``extra`` of the library brings them."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        sys.exit(f"{sys.argv[0]}: lacks {', '.join(missing)}: pip install -e '.[{extra}]'")
