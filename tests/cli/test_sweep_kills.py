"""Sweeps that are killed, run twice at once, or find the disk full: the store ends as after an undisturbed run."""

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

ROOT = Path(__file__).resolve().parents[2]
# Eight groups of points, so that some are complete and some are not when a kill comes.
SWEEP = (
    "sweep --store {} --images photos --set weights=small.npz --set loc=centre --uavs 2 --snr-db 0:20:5 "
    '--channel awgn,rayleigh --schemes object --no-pictures --units 400 --set metrics=\'["psnr_db","mse"]\' '
    "--seeds 0,1,2,3,4,5,6,7"
)

pytestmark = [pytest.mark.slow, pytest.mark.kills]


def start(store, cache):
    code = "import sys; from lvm_mtc.cli import main; sys.exit(main())"
    variables = os.environ | {
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-c", code, *shlex.split(SWEEP.format(store))],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def contents(path):
    if not path.exists():
        return []
    with ResultStore(path) as store:
        return store.read()


@pytest.fixture
def undisturbed(folder):
    began = time.monotonic()
    process = start("whole.sqlite", folder / "cache")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    points = contents(folder / "whole.sqlite")
    assert len(points) == 8 * 10
    return points, time.monotonic() - began


def test_twenty_kills_at_random_moments(folder, undisturbed):
    points, seconds = undisturbed
    rng, kills, counts, path = random.Random(2), 0, set(), folder / "killed0.sqlite"
    while kills < 20:
        process = start(path, folder / "cache")
        time.sleep(rng.uniform(0.3, 1.0) * seconds)
        process.kill()
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL), err
        kills += process.returncode != 0
        found = contents(path)
        assert all(point in points for point in found)
        counts.add(len(found))
        if process.returncode == 0:
            assert found == points
            path = folder / f"killed{kills}.sqlite"
    process = start(path, folder / "cache")
    assert process.wait(timeout=300) == 0
    assert contents(path) == points
    assert len(counts - {0, len(points)}) >= 2, "no kill came between the first and the last point"


def test_two_sweeps_into_one_store(folder, undisturbed):
    processes = [start("both.sqlite", folder / "cache") for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert contents(folder / "both.sqlite") == undisturbed[0]


def test_a_full_disk_is_one_line_and_the_sweep_goes_on_later(folder, undisturbed):
    (folder / "disk").mkdir()
    command = f'"{sys.executable}" -c "import sys; from lvm_mtc.cli import main; sys.exit(main())" ' + SWEEP.format(
        "disk/s.sqlite"
    )
    script = f"""
mount -t tmpfs -o size=60k tmpfs disk || exit 42
{command} 2> error.txt > /dev/null; echo $? >> error.txt
mount -o remount,size=8m disk
{command} || exit 1
cp disk/s.sqlite copy.sqlite
"""
    # Without the cache, of which XLA may complain on stderr.
    variables = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    # A mount of its own, which no other process sees and which ends with this one.
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "bash", "-c", script],
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode == 42 or "unshare" in done.stderr:
        pytest.skip(f"no mounts of one's own here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    *lines, code = (folder / "error.txt").read_text().splitlines()
    assert code == "2" and len(lines) == 1 and "no space left on the disk" in lines[0], lines
    assert contents(folder / "copy.sqlite") == undisturbed[0]
