"""How a process of the command line ends: interrupted while XLA compiles, or with nobody to read what it prints."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A call of C that no signal ends, as XLA's compiler is one, in place of the measurements.
BLOCKED = """
import ctypes, signal, sys
from lvm_mtc.cli import entry, study

signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal; what runs in the background ignores it

def blocked(*_, **__):
    print("measuring", flush=True)
    ctypes.CDLL(None).sleep(300)

study.measure_study = blocked
sys.exit(entry.run_process())
"""
SEND = "transmit --images photos --out out --weights small.npz --loc centre --uavs 2 --schemes object".split()


def environment():
    """With standard output buffered, as it is for users."""
    given = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return given | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_at_once_and_leaves_nothing(folder, number):
    before = sorted(folder.iterdir())
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with subprocess.Popen([sys.executable, "-c", BLOCKED, *SEND], env=environment(), **pipes) as process:
        said = "p0.png and 2 more: 100 x 80: 2 views of 67 x 67, resized to 32 x 32\n"
        assert [process.stdout.readline(), process.stdout.readline()] == [said, "measuring\n"]
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err == "lvm-mtc: interrupted\n"
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("command", "target", "words"),
    [
        ("completion bash", "| sleep 0.01", "closed by its reader"),
        ("completion bash", "> /dev/full", "standard output: No space left"),
        ("--help", "> /dev/full", "standard output: No space left"),
        ("--version", "> /dev/full", "standard output: No space left"),
    ],
)
def test_output_that_nobody_takes_is_one_line(folder, command, target, words):
    command = f'"{sys.executable}" -m lvm_mtc {command} {target}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and words in done.stderr
