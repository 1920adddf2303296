"""SIGKILL at random moments: the resumed run equals the undisturbed one bit for bit."""

import sys
from pathlib import Path

import numpy as np
import pytest
from kill_resume import differing_arrays, run_killed_and_resumed

from lvm_mtc.training import read_log

PROGRAM = Path(__file__).with_name("tiny_run.py")
FAST_COMPILE = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}

pytestmark = pytest.mark.slow


def command(run_dir, *flags):
    return [sys.executable, str(PROGRAM), str(run_dir), "--total-steps", "120", "--pause", "0.1", *flags]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("undisturbed")
    assert run_killed_and_resumed(command(run_dir), run_dir, kills=0, environment=FAST_COMPILE) == []
    return run_dir


def test_killed_run_ends_with_the_same_bits(undisturbed, tmp_path):
    at_kill = run_killed_and_resumed(command(tmp_path), tmp_path, kills=3, spread=0.8, environment=FAST_COMPILE)

    assert len(at_kill) == 3 and max(at_kill) > 0, at_kill
    assert differing_arrays(undisturbed / "final.npz", tmp_path / "final.npz") == []
    assert read_log(tmp_path / "log.jsonl", wall_times=False) == read_log(undisturbed / "log.jsonl", wall_times=False)
    assert [record["step"] for record in read_log(tmp_path / "log.jsonl") if record["event"] == "validation"] == [
        *range(10, 121, 10)
    ]


def test_the_comparison_sees_one_flipped_bit(undisturbed, tmp_path):
    with np.load(undisturbed / "final.npz") as archive:
        arrays = {name: archive[name].copy() for name in archive.files}
    name = next(name for name in arrays if "kernel" in name)
    arrays[name].view(np.uint32).flat[7] ^= 1
    np.savez(tmp_path / "final.npz", **arrays)

    assert differing_arrays(undisturbed / "final.npz", tmp_path / "final.npz") == [name]
