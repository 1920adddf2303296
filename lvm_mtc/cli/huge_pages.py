"""Memory in pages of 2 MiB on Linux, kept until the process ends, which programs that XLA compiles for CPUs need.

XLA allocates a program's scratch memory anew at every call, and glibc gives blocks of this size back to the system at
once. So each step of a training touches all of it for the first time, in pages of 4 KiB, which the system has to
provide; a virtual machine may even have to fetch them from its host. With glibc's tunables memory comes in pages of
2 MiB, and what was freed stays with the process, which ends up holding the most memory that it ever needed at a time.
They are read when a process starts, and no later: hence the second start. ``benchmarks/train_step.py`` measures with
and without.

Source: The GNU C Library manual, Memory Allocation Tunables (glibc 2.35 or newer; older ones ignore ``hugetlb``).
"""

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "GLIBC_TUNABLES"
TUNABLE = "glibc.malloc.hugetlb"
# One arena, for the others hold no large blocks; no block with a mapping of its own, which would be undone when freed.
TUNABLES = f"{TUNABLE}=1:glibc.malloc.arena_max=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold={1 << 40}"
TRANSPARENT_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages() -> None:
    """Starts this process over, in place, with the tunables set; does nothing where that is done or has no use.

    Call it before anything is loaded or opened: the process keeps its number and its arguments and loses the rest.
    A user's own value of ``hugetlb`` stands, such as ``GLIBC_TUNABLES=glibc.malloc.hugetlb=0``.
    """
    try:
        policy = TRANSPARENT_HUGE_PAGES.read_text()
    except OSError:  # not Linux, or a kernel without them
        return
    if value := missing_tunables(os.environ, policy):
        with contextlib.suppress(OSError):  # refused: everything works without huge pages too
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, VARIABLE: value})


def missing_tunables(environment: Mapping[str, str], policy: str) -> str | None:
    """The value that ``GLIBC_TUNABLES`` should have for huge pages; what the user set comes last, and counts.

    None where the kernel's policy, such as ``always [madvise] never``, whose choice stands in brackets, gives huge
    pages to everybody or to nobody, or the user decided about them.
    """
    present = environment.get(VARIABLE, "")
    if "[madvise]" not in policy or TUNABLE in present:
        return None
    return f"{TUNABLES}:{present}" if present else TUNABLES
