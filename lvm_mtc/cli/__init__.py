"""The command line: ``lvm-mtc demo``, ``transmit``, ``train`` and ``results``.

A user's mistake is answered by one line on stderr that names the flag, field or file, its value and what is right, and
by exit code 2; nothing is left behind. Tracebacks are for faults of the program.
"""

from lvm_mtc.cli.entry import main

__all__ = ["main"]
