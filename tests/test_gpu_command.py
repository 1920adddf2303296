"""``make gpu``: parts that fail or last too long lose only themselves, what is done stays done, and the way back."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import gpu  # noqa: E402
import gpu_report  # noqa: E402
from device import MODES, peak_of  # noqa: E402

SAVES = """
import signal, sys, time, pathlib
def save(*_):
    pathlib.Path(sys.argv[1]).write_text("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[1]).write_text("begun")
time.sleep(60)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


def python(name, code, *arguments, seconds=20.0, **more):
    return gpu.Part(name, seconds, ("-c", code, *map(str, arguments)), **more)


def test_parts_end_apart_and_what_is_done_is_not_done_again(tmp_path):
    counter, saved = tmp_path / "counter", tmp_path / "saved"
    parts = (
        python("counts", "import sys; open(sys.argv[1], 'a').write('x'); print('counted')", counter),
        python("fails", "raise SystemExit('no such thing')"),
        python("deaf", DEAF, seconds=0.5),
        python("saves", SAVES, saved, seconds=1.0, interruptible=True),
    )
    states = gpu.run_plan(parts, tmp_path / "out", dict(os.environ), grace=1.0)
    assert [states[part.name]["state"] for part in parts] == ["done", "failed", "time up", "done"]
    assert states["deaf"]["ended"] == "killed" and states["deaf"]["status"] == -signal.SIGKILL
    assert states["saves"]["status"] == 143 and saved.read_text() == "saved"
    assert "no such thing" in (tmp_path / "out" / "fails.log").read_text()
    assert json.loads((tmp_path / "out" / "plan.json").read_text()) == states
    again = gpu.run_plan((parts[0], python("fails", "")), tmp_path / "out", dict(os.environ), grace=1.0)
    assert counter.read_text() == "x" and again["fails"]["state"] == "done"


def test_time_for_all_bounds_the_last_part_and_a_part_without_time_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "PACKING_SECONDS", 0.0)
    parts = (python("rest", DEAF, seconds=None, interruptible=True), python("late", ""))
    states = gpu.run_plan(parts, tmp_path, dict(os.environ), minutes=1.5 / 60, grace=0.5)
    assert [state["state"] for state in states.values()] == ["time up", "no time"]
    assert states["rest"]["seconds"] < 5


def test_budgets_of_the_real_plan_leave_the_trainings_a_quarter_of_the_time(tmp_path):
    parts = gpu.plan(tmp_path, tmp_path, tmp_path, rehearse=False)
    taken = sum(part.seconds for part in parts if part.seconds is not None)
    assert [part.name for part in parts if part.seconds is None] == ["queue"] and parts[-1].name == "queue"
    assert 60 * gpu.MINUTES <= 60 * 25 - 60
    left = 60 * gpu.MINUTES - taken - gpu.PACKING_SECONDS - gpu.GRACE_SECONDS
    assert left > 60 * gpu.MINUTES / 4 - gpu.GRACE_SECONDS
    assert all((ROOT / name).is_file() for name in gpu.ORACLES)


def test_what_is_carried_back_fits_and_the_important_comes_first(tmp_path):
    rng = np.random.default_rng(0)
    out, home = tmp_path / "out", tmp_path / "home"
    files = {
        out / "bench.json": b"{}" * 3000,
        home / "trained" / "log.jsonl": b"\n" * 500,
        home / "trained" / "weights.npz": rng.bytes(6000),
        home / "begun" / "log.jsonl": b"{}\n",
        home / "begun" / "checkpoints" / "step_00000100" / "large": rng.bytes(10_500),
        home / "begun" / "checkpoints" / "step_00000100" / "small": rng.bytes(2500),
        home / "shipped" / "weights.npz": rng.bytes(100),
        home / "mixture.npz": rng.bytes(100),
    }
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    left_out = gpu_report.pack(out, home, tmp_path / "pack", archives=2, size=10_000)
    assert left_out == ["queue/begun/checkpoints/step_00000100/large"]
    packed = {}
    for archive in (tmp_path / "pack").iterdir():
        assert archive.stat().st_size <= 10_000
        with zipfile.ZipFile(archive) as file:
            packed |= {name: file.read(name) for name in file.namelist()}
    assert packed["queue/trained/weights.npz"] == files[home / "trained" / "weights.npz"]
    assert packed["bench.json"] == files[out / "bench.json"]
    assert not [name for name in packed if "shipped" in name or "mixture" in name] and len(packed) == 5
    assert gpu_report.pack(out, home, tmp_path / "pack", archives=2, size=10_000) == left_out, "emptied first"
    assert len(list((tmp_path / "pack").iterdir())) == 2
    assert gpu_report.MOST_ARCHIVES == 8 and gpu_report.MOST_BYTES == 16_000_000


def test_report_names_the_oracles_that_fail(tmp_path):
    (tmp_path / "oracles.xml").write_text(
        '<testsuites><testsuite><testcase classname="tests.phy.test_mimo" name="test_a"/>'
        '<testcase classname="tests.phy.test_mimo" name="test_b"><failure message="Not equal\n to 1e-5"/></testcase>'
        '<testcase classname="tests.phy.test_mimo" name="test_c"><skipped/></testcase></testsuite></testsuites>'
    )
    said = gpu_report.report(tmp_path, {"oracles": {"state": "failed", "seconds": 3.0}})
    assert "oracles: 3 tests, 1 failed, 1 skipped\n  tests.phy.test_mimo::test_b: Not equal to 1e-5\n" in said


def test_peaks_are_those_of_the_named_device():
    assert peak_of("NVIDIA H100 80GB HBM3", "bfloat16") == 989.4e12
    assert peak_of("NVIDIA A100-SXM4-80GB", "tensorfloat32") == 156e12
    assert peak_of("NVIDIA L4", "float32") == 30.3e12 and peak_of("NVIDIA L40S", "float32") == 91.6e12
    assert peak_of("cpu", "float32") is None and tuple(MODES) == ("bfloat16", "tensorfloat32", "float32")


def test_a_machine_without_a_gpu_gets_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, "benchmarks/gpu.py", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert done.stderr.splitlines() == [
        "gpu.py: JAX finds no GPU here; --rehearse (REHEARSE=1) goes through it on the CPU"
    ]


@pytest.mark.slow
def test_rehearsal_goes_through_every_part(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "benchmarks/gpu.py", "--rehearse", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    states = json.loads((out / "plan.json").read_text())
    assert done.returncode == 0, (done.stdout, {name: (out / f"{name}.log").read_text()[-2000:] for name in states})
    assert [*states] == [part.name for part in gpu.plan(out, out, out, rehearse=True)]
    assert "oracles: " in done.stdout and ", 0 failed" in done.stdout
    for mode in MODES:
        (row,) = json.loads((out / f"step_{mode}.json").read_text())["batches"]
        assert (
            0 < row["of_largest_product"] and row["operations"] > 1e8 and np.isfinite(row["first_and_last_loss"]).all()
        )
    assert (out / "queue" / "token2_1_12" / "log.jsonl").exists()
    names = {name for file in (out / "pack").iterdir() for name in zipfile.ZipFile(file).namelist()}
    assert {"report.txt", "plan.json", "bench.json", "channel.json", "queue/token2_1_12/log.jsonl"} <= names
