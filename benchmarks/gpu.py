"""Everything that a machine with a GPU is to tell, in one command of at most 25 minutes: ``make gpu``.

Parts run one after another, each in a process of its own with a budget of seconds; what ends badly or too late loses
only itself. ``plan.json`` in the output folder says how each part ended: started again, the command leaves out what is
done, and the trainings go on where they were. At the end all that is worth carrying back lies in ``pack/``, at most 8
files of at most 16 MB. Exit status 1 if a part failed, 2 where there is no GPU.

    python benchmarks/gpu.py --out build/gpu --data ../shared/data [--rehearse]

``--rehearse`` goes through the same parts at small sizes on the CPU.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from gpu_report import pack, report

from lvm_mtc.results.files import atomic_file

ROOT = Path(__file__).resolve().parents[1]
MINUTES = 24.0
"""All parts and packing together; the 25th is for starting."""
GRACE_SECONDS = 60.0
"""For a part to save and end once its time is up."""
PACKING_SECONDS = 30.0
ORACLES = (
    "tests/phy/test_mimo.py",
    "tests/phy/test_csi.py",
    "tests/phy/test_fading.py",
    "tests/phy/test_ofdm.py",
    "tests/phy/test_ofdm_estimate.py",
    "tests/phy/test_precoding.py",
    "tests/phy/test_mac.py",
    "tests/phy/test_mimo_detection.py",
    "tests/phy/test_modulation.py",
    "tests/phy/test_capacity.py",
    "tests/phy/coding/test_belief_propagation.py",
    "tests/parity/test_sionna_equalizers.py",
    "tests/parity/test_sionna_ofdm.py",
    "tests/interop/test_mae_weights.py",
    "tests/interop/test_clip_weights.py",
    "tests/training/test_same_as_before.py",
)
"""Tests against float64 NumPy, closed forms and the files of tests/golden."""


class Part(NamedTuple):
    """One process.

    Attributes:
        seconds: Budget; None is what the others leave.
        command: Arguments of Python.
        ends_with: Signal that has it save and end.
        interruptible: Being ended when time is up is how it should end.
    """

    name: str
    seconds: float | None
    command: tuple[str, ...]
    ends_with: int = signal.SIGTERM
    interruptible: bool = False


def plan(out: Path, data: Path, home: Path, *, rehearse: bool) -> tuple[Part, ...]:
    """The parts, in their order."""
    small = rehearse
    tests = ("tests/phy/test_csi.py",) if small else ORACLES
    oracles = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not sionna and not parity", "-k", "not sharded")
    oracles += (f"--junitxml={out}/oracles.xml",)
    bench = ("-m", "lvm_mtc", "bench", "--overwrite", "--out", f"{out}/bench.json")
    bench += ("--only", "encode,send,decode,chain,channel")  # training steps are parts of their own
    bench += ("--batch", "1", "--repeats", "2", "--uavs", "1") if small else ("--batch", "1,8,64,256")
    channel = ("benchmarks/phy.py", "--out", f"{out}/channel.json", "--slots", "200" if small else "20000")
    queue = ("-m", "experiments.queue.serve", "--foreground", "--home", str(home), "--data", str(data))
    queue += ("--only", "token2_1_12") if small else ()
    parts = (
        Part("doctor", 60, ("-m", "lvm_mtc", "doctor")),
        Part("oracles", 420, (*oracles, *tests), ends_with=signal.SIGINT),
        Part("bench", 120, bench),
        Part("channel", 60, channel),
        *(Part(f"step_{mode}", 120, _step(out, mode, small)) for mode in ("bfloat16", "tensorfloat32", "float32")),
        Part("queue", None, queue, interruptible=True),
    )
    if not small:
        return parts
    # A busy processor compiles slowly; the training is to begin, no more.
    return tuple(part._replace(seconds=120 if part.seconds is None else 4 * part.seconds) for part in parts)


def _step(out: Path, mode: str, small: bool) -> tuple[str, ...]:
    sizes = ("--variant", "tiny", "--batches", "1", "--repeats", "2", "--product", "256") if small else ()
    return ("benchmarks/device.py", "--mode", mode, "--out", f"{out}/step_{mode}.json", *sizes)


def environment(*, rehearse: bool) -> dict[str, str]:
    """Of the parts: the device, and memory that is taken when it is needed, so that its peak says something."""
    found = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if rehearse:
        return found | {"JAX_PLATFORMS": "cpu"}
    return found | {"JAX_PLATFORMS": "cuda,cpu", "LVM_MTC_TEST_PLATFORM": "cuda"}


def run_part(part: Part, seconds: float, log: Path, env: dict[str, str], grace: float = GRACE_SECONDS) -> dict:
    """Runs one part for so long; how it ended.

    ``state`` is "done", "failed" or "time up": the last when it did not end by itself and should have.
    """
    start = time.monotonic()
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, *part.command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=ROOT,
            env=env,
        )
        ended = "by itself"
        try:
            status = process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            ended = "when its time was up"
            process.send_signal(part.ends_with)
            try:
                status = process.wait(grace)
            except subprocess.TimeoutExpired:
                ended, status = "killed", _kill(process)
        except BaseException:  # this process is being ended: nothing of the part stays behind
            process.send_signal(part.ends_with)
            try:
                process.wait(grace)
            finally:
                _kill(process)
            raise
    fine = status == 0 or (part.interruptible and ended == "when its time was up")
    state = "done" if fine else "failed" if ended == "by itself" else "time up"
    seconds = round(time.monotonic() - start, 1)
    return {"state": state, "ended": ended, "status": status, "seconds": seconds, "log": log.name}


def _kill(process: subprocess.Popen) -> int:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return process.wait()


def run_plan(
    parts: tuple[Part, ...], out: Path, env: dict[str, str], *, minutes: float = MINUTES, grace: float = GRACE_SECONDS
) -> dict[str, dict]:
    """Runs what is not done yet, writes ``plan.json`` after each part; how each ended."""
    out.mkdir(parents=True, exist_ok=True)
    state_file, until = out / "plan.json", time.monotonic() + 60 * minutes - PACKING_SECONDS
    states = json.loads(state_file.read_text()) if state_file.exists() else {}
    for part in parts:
        if states.get(part.name, {}).get("state") == "done":
            print(f"{part.name}: done before", flush=True)
            continue
        left = until - time.monotonic() - grace
        seconds = left if part.seconds is None else min(part.seconds, left)
        if seconds <= 0:
            states[part.name] = {"state": "no time", "seconds": 0.0}
        else:
            states[part.name] = run_part(part, seconds, out / f"{part.name}.log", env, grace)
        with atomic_file(state_file) as temporary:
            temporary.write_text(json.dumps(states, indent=1) + "\n")
        print(f"{part.name}: {states[part.name]['state']}, {states[part.name]['seconds']:.0f} s", flush=True)
    return states


def gpu_found() -> bool:
    """Whether JAX has one; asked in a process of its own, which does not keep its memory."""
    question = "import jax, sys; sys.exit(jax.default_backend() != 'gpu')"
    return subprocess.run([sys.executable, "-c", question], capture_output=True).returncode == 0


def rehearsal_pictures(home: Path) -> None:
    """A few pictures of noise in the place of those that the trainings use."""
    import numpy as np

    from experiments.queue.mixture import FILE, SHARES

    rng = np.random.default_rng(0)
    home.mkdir(parents=True, exist_ok=True)
    kinds = {kind: rng.integers(0, 256, (64, 32, 32, 3), np.uint8) for kind in (*SHARES, "holdout")}
    np.savez(home / FILE, **kinds)


def main(argv: list[str] | None = None) -> int:
    """Runs the plan and packs what it found."""
    parser = argparse.ArgumentParser(prog="gpu.py", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/gpu"), help="output folder (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="pictures of the trainings")
    parser.add_argument("--home", type=Path, help="folder of the trainings (default: OUT/queue)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for everything (default: %(default)s)")
    parser.add_argument("--rehearse", action="store_true", help="small sizes, on the CPU")
    options = parser.parse_args(argv)
    if options.minutes < 2:
        parser.error(f"--minutes must be >= 2, got {options.minutes:g}")
    if not options.rehearse and not gpu_found():
        print("gpu.py: JAX finds no GPU here; --rehearse (REHEARSE=1) goes through it on the CPU", file=sys.stderr)
        return 2
    out, home = options.out.resolve(), (options.home or options.out / "queue").resolve()
    sys.path.insert(0, str(ROOT))
    if options.rehearse:
        rehearsal_pictures(home)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parts = plan(out, options.data.resolve(), home, rehearse=options.rehearse)
    states = run_plan(parts, out, environment(rehearse=options.rehearse), minutes=options.minutes)
    (out / "report.txt").write_text(report(out, states))
    left_out = pack(out, home, out / "pack")
    print((out / "report.txt").read_text(), end="")
    print(
        f"{out / 'pack'}: {len(list((out / 'pack').iterdir()))} files"
        + (f", left out: {', '.join(left_out)}" if left_out else "")
    )
    return int(any(states[part.name]["state"] != "done" for part in parts))


if __name__ == "__main__":
    sys.exit(main())
