"""Pages of 2 MiB: when they are asked for, and that a process that asks gets them."""

import os
import subprocess
import sys

import pytest

from lvm_mtc.cli import huge_pages
from lvm_mtc.cli.huge_pages import TRANSPARENT_HUGE_PAGES, TUNABLES, VARIABLE, missing_tunables

MADVISE = "always [madvise] never\n"

SCRIPT = """
import os, sys
print(os.getpid(), flush=True)
from lvm_mtc.cli import huge_pages
from lvm_mtc.cli.huge_pages import restart_with_huge_pages
restart_with_huge_pages()
block = bytearray(1 << 26)
block[::4096] = bytes([1]) * (len(block) // 4096)
lines = open("/proc/self/smaps") if os.path.exists("/proc/self/smaps") else ()
sizes = [int(line.split()[1]) for line in lines if line.startswith("AnonHugePages")]
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


@pytest.mark.parametrize("value", [None, "glibc.malloc.hugetlb=0"])
def test_process_starts_over_where_that_gives_it_huge_pages_and_keeps_number_and_arguments(value):
    policy = TRANSPARENT_HUGE_PAGES.read_text() if TRANSPARENT_HUGE_PAGES.exists() else ""
    restarts = value is None and "[madvise]" in policy
    environment = {name: text for name, text in os.environ.items() if name != VARIABLE}
    if value:
        environment[VARIABLE] = value
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "--flag", "a b"], env=environment, capture_output=True, text=True, check=True
    )
    *numbers, last = done.stdout.splitlines()
    assert len(numbers) == (2 if restarts else 1) and len(set(numbers)) == 1
    kib, arguments = last.split(maxsplit=1)
    assert arguments == "['--flag', 'a b']"
    if restarts:
        assert int(kib) > 32 * 1024
    elif "[always]" not in policy:
        assert int(kib) < 2048


def test_a_refused_restart_goes_on(monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(huge_pages, "missing_tunables", lambda *_: "glibc.malloc.hugetlb=1")
    monkeypatch.setattr(os, "execve", refuse)
    assert huge_pages.restart_with_huge_pages() is None
