"""``python -m lvm_mtc``: the command line."""

import sys

from lvm_mtc.cli.entry import run_process

if __name__ == "__main__":
    sys.exit(run_process())
