"""Real processes that train as one: the numbers of one process, and a death that nobody has to wait for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from kill_resume import REPOSITORY, newest_checkpoint

from lvm_mtc.training import read_log
from lvm_mtc.training.launch import free_port, launch, main
from lvm_mtc.training.processes import join_processes

PROGRAM = Path(__file__).with_name("tiny_run.py")
# One CPU device per process.
ENVIRONMENT = {
    "PYTHONPATH": str(REPOSITORY),
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
}
STEPS = 60


def command(run_dir, *flags, pause=0.0):
    return [sys.executable, str(PROGRAM), str(run_dir), "--total-steps", str(STEPS), "--pause", str(pause), *flags]


def launcher(run_dir, *options, pause=0.0):
    """The launcher as a process of its own, with two processes below it or those that its options name."""
    start = [sys.executable, "-m", "lvm_mtc.training.launch", "--num-processes", "2", *options, "--"]
    environment = os.environ | ENVIRONMENT
    return subprocess.Popen(start + command(run_dir, pause=pause), env=environment, stderr=subprocess.PIPE, text=True)


def losses(run_dir):
    return [record["loss"] for record in read_log(run_dir / "log.jsonl") if record["event"] == "train"]


def children_of(process):
    """Processes below the launcher by their number in the run."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(path.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1])
            environment = path.joinpath("environ").read_bytes().decode().split("\0")
        except OSError:
            continue
        if parent == process.pid:
            number = next(e.split("=", 1)[1] for e in environment if e.startswith("LVM_MTC_PROCESS_ID="))
            found[int(number)] = int(path.name)
    return found


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("alone")
    subprocess.run(command(run_dir), env=os.environ | ENVIRONMENT, check=True, timeout=120)
    return run_dir


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.parametrize("flags", [(), ("--shard-params",)])
def test_two_processes_have_the_losses_of_one(alone, tmp_path, flags):
    assert launch(command(tmp_path, *flags), num_processes=2, environment=ENVIRONMENT) == 0
    start = read_log(tmp_path / "log.jsonl")[0]
    assert start["devices"]["count"] == 2
    np.testing.assert_allclose(losses(tmp_path), losses(alone), rtol=1e-5)
    with np.load(tmp_path / "final.npz") as got, np.load(alone / "final.npz") as want:
        assert got.files == want.files
        name = next(name for name in got.files if "encoder" in name and "kernel" in name)
        assert np.linalg.norm(got[name] - want[name]) < 1e-4 * np.linalg.norm(want[name])


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others_is_named_and_the_run_goes_on(alone, tmp_path, victim):
    process = launcher(tmp_path, pause=0.3)
    wait_for(lambda: newest_checkpoint(tmp_path) >= 12)
    children = children_of(process)
    assert sorted(children) == [0, 1]
    os.kill(children[victim], signal.SIGKILL)
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 60 and process.returncode == 128 + signal.SIGKILL
    assert not any(Path(f"/proc/{pid}").exists() for pid in children.values())
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"process {victim} of 2 was ended by SIGKILL; the others were stopped; start the same")
    assert "Traceback" not in said and "Fatal" not in said

    assert launch(command(tmp_path), num_processes=2, environment=ENVIRONMENT) == 0
    np.testing.assert_allclose(losses(tmp_path), losses(alone), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_host_ends_the_others_within_a_minute(tmp_path, lost):
    """Each host has a launcher; one of them goes down with all that runs there."""
    where = ["--coordinator", f"127.0.0.1:{free_port()}", "--count", "1", "--first"]
    hosts = [launcher(tmp_path, *where, str(process), pause=0.3) for process in (0, 1)]
    wait_for(lambda: newest_checkpoint(tmp_path) >= 6)
    child = children_of(hosts[lost])[lost]
    hosts[lost].kill()
    os.kill(child, signal.SIGKILL)
    _, said = hosts[1 - lost].communicate(timeout=60)
    assert hosts[1 - lost].returncode not in (0, None)
    assert said.strip().splitlines()[-1].startswith(f"process {1 - lost} of 2 ")
    hosts[lost].communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.kills
def test_sigterm_saves_stops_all_and_the_run_goes_on_with_one_process(alone, tmp_path):
    process = launcher(tmp_path, pause=0.3)
    wait_for(lambda: newest_checkpoint(tmp_path) >= 6)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM and "of 2 was ended" not in said
    stopped = newest_checkpoint(tmp_path)
    assert 6 < stopped < STEPS and stopped % 4 == 0
    subprocess.run(command(tmp_path), env=os.environ | ENVIRONMENT, check=True, timeout=120)
    np.testing.assert_allclose(losses(tmp_path), losses(alone), rtol=1e-5)


def test_a_process_that_fails_is_named_with_its_last_words(capfd):
    program = "import os, sys, time; os.environ['LVM_MTC_PROCESS_ID'] == '1' and sys.exit('no disk'); time.sleep(60)"
    began = time.monotonic()
    assert launch([sys.executable, "-c", program], num_processes=2) == 1
    assert time.monotonic() - began < 30
    assert capfd.readouterr().err.splitlines() == [
        "process 1 of 2 ended with exit code 1 (no disk); the others were stopped; "
        "start the same command again to go on from the last checkpoint"
    ]


def test_processes_learn_who_they_are(tmp_path):
    program = (
        "import os, pathlib; e = os.environ; "
        f"pathlib.Path({str(tmp_path)!r}, e['LVM_MTC_PROCESS_ID']).write_text("
        "e['LVM_MTC_NUM_PROCESSES'] + ' ' + e['LVM_MTC_COORDINATOR'])"
    )
    numbers = ["--num-processes", "4", "--first", "2", "--coordinator", "node:99"]
    assert main([*numbers, "--", sys.executable, "-c", program]) == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"2": "4 node:99", "3": "4 node:99"}


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="first = 3 and count = 2 must be processes of num_processes = 4"):
        launch(["true"], num_processes=4, first=3, count=2)
    with pytest.raises(ValueError, match="coordinator must be host:port of process 0"):
        launch(["true"], num_processes=4, count=2)
    with pytest.raises(ValueError, match="LVM_MTC_PROCESS_ID without the rest"):
        join_processes({"LVM_MTC_PROCESS_ID": "0"})
    everything = {"LVM_MTC_COORDINATOR": "a:1", "LVM_MTC_PROCESS_ID": "2", "LVM_MTC_NUM_PROCESSES": "2"}
    with pytest.raises(ValueError, match="LVM_MTC_PROCESS_ID must be < LVM_MTC_NUM_PROCESSES = 2, got 2"):
        join_processes(everything)
    with pytest.raises(ValueError, match="must be whole numbers"):
        join_processes(everything | {"LVM_MTC_PROCESS_ID": "first"})
    join_processes({})
