"""Memory in pages of 2 MiB on Linux, which programs that XLA compiles for CPUs gain much from.

XLA allocates a program's scratch memory anew at every call, and glibc gives blocks of this size back to the system at
once. So each training step of ViT-S with 8 pictures touches 55,000 pages of 4 KiB for the first time, and to provide
them is 29 % of its work. With glibc's tunable ``glibc.malloc.hugetlb=1`` the same memory comes in pages of 2 MiB, 250
times fewer. glibc reads it when a process starts, and no later: hence the second start.

Source: The GNU C Library manual, Memory Allocation Tunables (glibc 2.35 or newer; older ones ignore the tunable).
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "GLIBC_TUNABLES"
TUNABLE = "glibc.malloc.hugetlb"
TRANSPARENT_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages() -> None:
    """Starts this process over, in place, with the tunable set; does nothing where that is done or has no use.

    Call it before anything is loaded or opened: the process keeps its number and its arguments and loses the rest.
    A user's own value of the tunable stands, such as ``GLIBC_TUNABLES=glibc.malloc.hugetlb=0``.
    """
    try:
        policy = TRANSPARENT_HUGE_PAGES.read_text()
    except OSError:  # not Linux, or a kernel without them
        return
    if value := missing_tunables(os.environ, policy):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, VARIABLE: value})


def missing_tunables(environment: Mapping[str, str], policy: str) -> str | None:
    """The value that ``GLIBC_TUNABLES`` should have for huge pages.

    Args:
        environment: Of the process.
        policy: The kernel's, such as ``always [madvise] never``; the choice stands in brackets.

    Returns:
        The variable's value with the tunable added; None where the kernel gives huge pages to everybody or to nobody,
        or the tunable is set.
    """
    present = environment.get(VARIABLE, "")
    if "[madvise]" not in policy or TUNABLE in present:
        return None
    return f"{present}:{TUNABLE}=1" if present else f"{TUNABLE}=1"
