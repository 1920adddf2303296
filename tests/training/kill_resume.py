"""Kills a training program with SIGKILL at random moments, starts it again each time, and lets it finish."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]


def run_killed_and_resumed(
    command: Sequence[str],
    run_dir: Path,
    kills: int,
    *,
    seed: int = 0,
    spread: float = 1.0,
    timeout: float = 150.0,
    environment: Mapping[str, str] | None = None,
) -> list[int]:
    """Runs ``command`` until it ends by itself, after having killed it ``kills`` times.

    Each kill falls a random time, uniform in [0, spread) seconds, after the program wrote its first new log line, so
    it lands while training (in a step, a log line, a validation or a checkpoint), not while Python is starting.

    Args:
        command: Program and arguments; the same every time, it must resume by itself.
        run_dir: Its run folder, in which it writes ``log.jsonl``.
        kills: How often to kill it; 0 gives the undisturbed run.
        seed: Seed of the random moments.
        spread: Length of the interval of a kill's moment, seconds.
        timeout: Longest time that one start may take, seconds.
        environment: Environment variables to add.

    Returns:
        The step of the newest checkpoint at each kill (0: none yet). Fewer entries than ``kills`` mean that the
        program finished too soon: make it longer or ``spread`` shorter.

    Raises:
        AssertionError: if the program fails, with the end of its output, or takes too long.
    """
    rng = random.Random(seed)
    checkpoints_at_kill = []
    for _ in range(kills):
        process = _start(command, environment or {})
        if _kill_in_training(process, Path(run_dir) / "log.jsonl", rng.uniform(0, spread), timeout):
            checkpoints_at_kill.append(newest_checkpoint(run_dir))
        else:
            break
    process = _start(command, environment or {})
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, f"exit code {process.returncode}: {output[-2000:]}"
    return checkpoints_at_kill


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen:
    everything = os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"} | environment
    return subprocess.Popen(list(command), env=everything, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _kill_in_training(process: subprocess.Popen, log: Path, delay: float, timeout: float) -> bool:
    """Kills ``delay`` seconds after the log grew; False if the program had ended before."""

    def size():
        return log.stat().st_size if log.exists() else 0

    # A resumed run first cuts the log, which must not be taken for progress.
    lowest, deadline = size(), time.monotonic() + timeout
    while (now := size()) <= lowest and process.poll() is None:
        assert time.monotonic() < deadline, f"no log line within {timeout} s"
        lowest = min(lowest, now)
        time.sleep(0.002)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode in (0, -signal.SIGKILL), f"exit code {process.returncode}: {output[-2000:]}"
    return process.returncode == -signal.SIGKILL


def newest_checkpoint(run_dir: Path) -> int:
    """Step of the newest finished checkpoint, 0 where there is none."""
    names = [path.name for path in (Path(run_dir) / "checkpoints").glob("step_*")]
    return max((int(name[5:]) for name in names if name[5:].isdigit()), default=0)


def differing_arrays(first: Path, second: Path) -> list[str]:
    """Names of the arrays of two npz files that are not equal bit for bit."""
    with np.load(first) as a, np.load(second) as b:
        names = sorted({*a.files, *b.files})
        return [n for n in names if n not in a.files or n not in b.files or a[n].tobytes() != b[n].tobytes()]
