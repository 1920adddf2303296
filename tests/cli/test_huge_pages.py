"""Pages of 2 MiB: when they are asked for, and that a process that asks gets them."""

import os
import subprocess
import sys

import pytest

from lvm_mtc.cli.huge_pages import TRANSPARENT_HUGE_PAGES, TUNABLES, VARIABLE, missing_tunables

MADVISE = "always [madvise] never\n"

SCRIPT = """
import os, sys
print(os.getpid(), flush=True)
from lvm_mtc.cli.huge_pages import restart_with_huge_pages
restart_with_huge_pages()
block = bytearray(1 << 26)
block[::4096] = bytes([1]) * (len(block) // 4096)
sizes = [int(line.split()[1]) for line in open("/proc/self/smaps") if line.startswith("AnonHugePages")]
print(sum(sizes), sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("present", "wanted"),
    [
        (None, TUNABLES),
        ("glibc.malloc.arena_max=2", f"{TUNABLES}:glibc.malloc.arena_max=2"),
        ("glibc.malloc.hugetlb=0", None),
    ],
)
def test_tunable_is_added_to_what_the_user_set(present, wanted):
    environment = {} if present is None else {VARIABLE: present}
    assert missing_tunables(environment, MADVISE) == wanted


@pytest.mark.parametrize("policy", ["[always] madvise never\n", "always madvise [never]\n"])
def test_nothing_is_asked_for_where_the_kernel_asks_nobody(policy):
    assert missing_tunables({}, policy) is None


@pytest.mark.skipif(
    not TRANSPARENT_HUGE_PAGES.exists() or "[madvise]" not in TRANSPARENT_HUGE_PAGES.read_text(),
    reason="the kernel gives huge pages to everybody or to nobody",
)
@pytest.mark.parametrize("value", [None, "glibc.malloc.hugetlb=0"])
def test_process_starts_over_with_its_number_and_arguments_and_gets_huge_pages(value):
    environment = {name: text for name, text in os.environ.items() if name != VARIABLE}
    if value:
        environment[VARIABLE] = value
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "--flag", "a b"], env=environment, capture_output=True, text=True, check=True
    )
    *numbers, last = done.stdout.splitlines()
    assert len(numbers) == (1 if value else 2) and len(set(numbers)) == 1
    kib, arguments = last.split(maxsplit=1)
    assert arguments == "['--flag', 'a b']"
    assert int(kib) < 2048 if value else int(kib) > 32 * 1024
