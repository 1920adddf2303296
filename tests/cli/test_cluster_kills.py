"""Sweeps whose workers or driver are killed, stopped or left without room: the store ends as after one process."""

import functools
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lvm_mtc.results.store import ResultStore

pytest.importorskip("distributed")

ROOT = Path(__file__).resolve().parents[2]
# 220 points in four groups.
SWEEP = (
    "sweep --store {} --images photos --set weights=small.npz --set loc=centre --uavs 2 --snr-db 0:20:2 "
    "--csi-error 0,0.025,0.05,0.075,0.1 --channel awgn,rayleigh --schemes object --seeds 0,1 --no-pictures "
    '--units {} --set metrics=\'["psnr_db","mse"]\''
)
UNITS = 300
pytestmark = [pytest.mark.slow, pytest.mark.kills]


def start(store, cache, *flags, units=UNITS):
    code = "import sys; from lvm_mtc.cli import main\nif __name__ == '__main__': sys.exit(main())"
    Path("command.py").write_text(code)
    variables = os.environ | {
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "command.py", *shlex.split(SWEEP.format(store, units)), *flags]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def contents(path):
    if not path.exists():
        return []
    with ResultStore(path) as store:
        return store.read()


def children_of(pid, what):
    """Processes that one started whose command has a word."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and what in entry.joinpath("cmdline").read_bytes():
                found.append(int(entry.name))
        except (OSError, IndexError):
            pass
    return sorted(found)


def source_of(process):
    """The process that has imported what workers need, and forks them."""
    return children_of(process.pid, b"forkserver")


def workers_of(process):
    return [worker for source in source_of(process) for worker in children_of(source, b"forkserver")]


def wait_for(condition, process, seconds=300):
    """Until something holds; False where the process ended before."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        if process.poll() is not None:
            return False
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def overcome(store, there, process):
    return len(contents(store)) > there and workers_of(process)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def undisturbed(folder, places):
    process = start(folder / "one.sqlite", places)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    points = contents(folder / "one.sqlite")
    assert len(points) == 220
    return points


def test_ten_kills_of_workers_and_two_of_the_driver(folder, places, undisturbed):
    rng, store = random.Random(4), folder / "s.sqlite"
    kills, drivers, process = 0, 0, start(store, places, "--workers", "4")
    while kills < 10:
        there = len(contents(store))
        # A kill comes when the last one is overcome: there are workers, and a point more than before.
        if not wait_for(functools.partial(overcome, store, there, process), process):
            # All points are there already: the next kills are those of another sweep.
            assert process.wait() == 0 and contents(store) == undisturbed
            store = folder / f"s{kills}.sqlite"
            process = start(store, places, "--workers", "4")
            continue
        for victim in rng.sample(sorted(workers_of(process)), k=1):
            os.kill(victim, signal.SIGKILL)
            kills += 1
        if kills in (3, 7):
            children = workers_of(process) + source_of(process)
            process.kill()
            process.communicate()
            drivers += 1
            until = time.monotonic() + 60
            while any(Path(f"/proc/{child}").exists() for child in children):
                assert time.monotonic() < until, "workers outlive their driver"
                time.sleep(0.1)
            found = contents(store)
            assert found and all(point in undisturbed for point in found)
            process = start(store, places, "--workers", "4")
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert contents(store) == undisturbed and drivers == 2


def test_a_kill_of_what_workers_are_copies_of(folder, places, undisturbed):
    store = folder / "source.sqlite"
    process = start(store, places, "--workers", "2")
    assert wait_for(lambda: contents(store) and workers_of(process), process)
    (source,) = source_of(process)
    os.kill(source, signal.SIGKILL)
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert contents(store) == undisturbed


def test_a_worker_that_stops_answering(folder, places, undisturbed):
    store = folder / "stopped.sqlite"
    process = start(store, places, "--workers", "2", "--patience", "0.2")
    assert wait_for(lambda: contents(store) and workers_of(process), process)
    stopped = workers_of(process)[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        _, err = process.communicate(timeout=900)
    finally:
        if Path(f"/proc/{stopped}").exists():
            os.kill(stopped, signal.SIGKILL)
    assert process.returncode == 0, err
    assert contents(store) == undisturbed


def test_a_full_disk_is_one_line(folder, places, undisturbed):
    (folder / "disk").mkdir()
    command = shlex.join([sys.executable, "command.py", *shlex.split(SWEEP.format("disk/s.sqlite", UNITS))])
    script = f"""
mount -t tmpfs -o size=100k tmpfs disk || exit 42
{command} --workers 2 2> error.txt > /dev/null; echo $? >> error.txt
mount -o remount,size=16m disk
{command} --workers 2 || exit 1
cp disk/s.sqlite copy.sqlite
"""
    variables = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    shell = ["unshare", "--mount", "--map-root-user", "bash", "-c", script]
    done = subprocess.run(shell, env=variables, capture_output=True, text=True, timeout=900)
    if done.returncode == 42 or "unshare" in done.stderr:
        pytest.skip(f"no mounts of one's own here: it may not mount a tmpfs: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    *lines, code = (folder / "error.txt").read_text().splitlines()
    faults = [line for line in lines if not line.startswith("sweep: ")]
    assert code == "2" and len(faults) == 1 and "no space left on the disk" in faults[0], lines
    assert contents(folder / "copy.sqlite") == undisturbed


def test_jobs_that_slurm_starts(folder, places, undisturbed):
    """With commands in SLURM's place that start a job's script as a process of this machine, and end it."""
    (folder / "bin").mkdir()
    programs = {
        "sbatch": '#!/bin/bash\nsetsid bash "${@: -1}" > /dev/null 2>&1 &\necho "Submitted batch job $!"\n',
        "scancel": '#!/bin/bash\nkill -- "-$1" 2> /dev/null || true\n',
    }
    for name, text in programs.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    variables = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "XLA_FLAGS": "",
        "JAX_COMPILATION_CACHE_DIR": str(places),
    }
    command = [sys.executable, "-u", "-m", "experiments.clusters.slurm", "--jobs", "2"]
    jobs = subprocess.Popen(command, env=variables, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        address = next(line.split()[3] for line in jobs.stdout if line.startswith("lvm-mtc sweep --scheduler "))
        process = start(folder / "slurm.sqlite", places, "--scheduler", address)
        _, err = process.communicate(timeout=900)
        assert process.returncode == 0, err
        assert contents(folder / "slurm.sqlite") == undisturbed
    finally:
        jobs.send_signal(signal.SIGINT)
        jobs.wait(timeout=60)
