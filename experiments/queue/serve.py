r"""Serves the queue of trainings in the background, when nothing else wants the processor.

    python -m experiments.queue.serve             # starts the service, which outlives the terminal, and returns
    python -m experiments.queue.serve --status    # where each training stands
    python -m experiments.queue.serve --stop      # saves and ends; the next start goes on bit for bit

One core at most, at the lowest priority that the system has. Runs lie in ``$XDG_CACHE_HOME/lvm_mtc/queue``, so they
outlive a work tree; the service imports the work tree that it was started from, so start it from one that is not edited
(``git worktree add ../queue HEAD``). Run folders hold ``log.jsonl``, whose lines with the event ``validation`` are the
learning curve, checkpoints of every few minutes, and ``weights.npz`` when they are through.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from experiments.queue.entries import ENTRIES, SHIPPED_ENTRIES
from experiments.queue.mixture import FILE as MIXTURE
from experiments.queue.mixture import pack_mixture
from experiments.script import DATA, parser_of
from lvm_mtc.cli.huge_pages import restart_with_huge_pages
from lvm_mtc.models.weights import SHIPPED

HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lvm_mtc" / "queue"
ROOT = Path(__file__).resolve().parents[2]
MOST_FAILURES = 3
RETRY_SECONDS = 60.0
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
"""XLA complains about the programs that an earlier start of the same training compiled."""


def become_idle() -> None:
    """Gives this process, and what it starts, the lowest priority.

    Where Linux groups processes by session, nice counts within a group only: a session of its own gives its group the
    lowest priority too. In another's session that would slow down all that runs there.
    """
    os.nice(19)
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):  # Linux only, where it is allowed
        print("queue: this system has no idle class for it: the service runs at the lowest nice value", file=sys.stderr)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text("19")


def start_on_one_core() -> None:
    """Starts JAX with one worker thread, which may run on any core: the one that is idle.

    XLA makes as many threads as the process may use cores when it starts, and that stays so.
    """
    import jax

    if not hasattr(os, "sched_setaffinity"):
        print("queue: this system binds no process to a core: the training may use all of them", file=sys.stderr)
        jax.devices()
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    jax.devices()
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), cores)


def train_entry(name: str, home: Path) -> None:
    """Trains one entry, or goes on with it, in this process."""
    start_on_one_core()
    import jax

    from experiments.queue.training import train_to_weights
    from lvm_mtc.training.monitor import TrainingStopped

    # An idle priority makes minutes out of the seconds that compiling takes: no start should pay them again.
    jax.config.update("jax_compilation_cache_dir", str(home / "compiled"))
    try:
        train_to_weights(name, home)
    except TrainingStopped as stopped:
        print(stopped, flush=True)


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Holds a lock file while inside; yields whether it was free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield True


def serve(names: list[str], home: Path, command: list[str], prepare: Callable[[], None] = lambda: None) -> int:
    """Trains what is not trained, each in a process of its own, until nothing is left.

    An entry that fails is tried again when the others are through, three times in a row at most.

    Args:
        names: Entries, in order.
        home: Folder of the run folders.
        command: What trains an entry; its name is appended.
        prepare: Called first, once no other service runs.

    Returns:
        0, 1 if an entry keeps failing or another service runs, or 128 + the signal that ended the service.
    """
    with held(home / "service.lock") as free:
        if not free:
            print(f"another service holds {home / 'service.lock'}", file=sys.stderr)
            return 1
        prepare()
        child, stops = None, []

        def stop(signum, frame):
            stops.append(signum)
            if child is not None:
                child.send_signal(signal.SIGTERM)

        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, stop)
        failures = dict.fromkeys(names, 0)
        while not stops:
            left = [name for name in names if not weights_of(home, name).exists() and failures[name] < MOST_FAILURES]
            if not left:
                break
            name = min(left, key=lambda name: failures[name])
            print(time.strftime("%F %T"), name, flush=True)
            child = subprocess.Popen([*command, name], env=QUIET | os.environ)
            if stops:
                child.send_signal(signal.SIGTERM)
            status = child.wait()
            child = None
            failures[name] = failures[name] + 1 if status else 0
            if status and not stops:
                print(time.strftime("%F %T"), f"{name} ended with status {status}", flush=True)
                time.sleep(RETRY_SECONDS)
        if stops:
            return 128 + stops[0]
        return int(any(count == MOST_FAILURES for count in failures.values()))


def prepare_home(home: Path, data: Path) -> None:
    """Packs the pictures, and takes for trained what the package brings: the second round then goes on from there."""
    if not (home / MIXTURE).exists():
        pack_mixture(data, home / MIXTURE)
    for entry, shipped in brought(home).items():
        (home / entry).mkdir()
        shutil.copyfile(shipped, weights_of(home, entry))


def brought(home: Path) -> dict[str, Path]:
    """Entries that were not begun in ``home`` and whose weights the package brings: name to file."""
    files = {entry: SHIPPED / f"{name}.npz" for name, entry in SHIPPED_ENTRIES.items()}
    return {entry: file for entry, file in files.items() if file.exists() and not (home / entry).exists()}


def weights_of(home: Path, name: str) -> Path:
    """File of an entry's weights, which is there when the entry is through."""
    return home / name / "weights.npz"


def status_lines(entries: Mapping, home: Path) -> list[str]:
    """A table of where each entry stands: pictures seen and to see, PSNR over AWGN, pictures a second."""
    from lvm_mtc.training.log import read_log

    there = brought(home)
    lines = [f"{'entry':<22} {'pictures':>19} {'1 dB':>6} {'7 dB':>6} {'13 dB':>6} {'a second':>8}  state"]
    for name, entry in entries.items():
        log = home / name / "log.jsonl"
        records = read_log(log) if log.exists() else []
        trained = [r for r in records if r["event"] == "train"]
        curve = [r for r in records if r["event"] == "validation"]
        seen = trained[-1]["step"] * entry.training.batch_size if trained else 0
        psnr = [f"{curve[-1][f'psnr_awgn_{snr}']:.2f}" if curve else "-" for snr in (1, 7, 13)]
        rates = [r["pictures_per_second"] for r in trained if r.get("pictures_per_second")]
        state = "done" if weights_of(home, name).exists() else "shipped" if name in there else "waits"
        if state == "done" and name in SHIPPED_ENTRIES.values() and not log.exists():
            state = "shipped"  # prepare_home took it from the package
        if (home / name / "lock").exists() and state not in ("done", "shipped"):
            with held_for_reading(home / name / "lock") as free:
                state = "stopped" if free else "runs"
        lines.append(
            f"{name:<22} {seen:>9,}/{entry.pictures:>9,} {psnr[0]:>6} {psnr[1]:>6} {psnr[2]:>6} "
            f"{rates[-1] if rates else '-':>8}  {state}"
        )
    return lines


@contextlib.contextmanager
def held_for_reading(path: Path) -> Iterator[bool]:
    """Whether nobody holds a lock file, which is left as it is."""
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def start_service(home: Path, data: Path, names: list[str]) -> int:
    """Starts a service of its own session, so that it outlives the terminal; returns its process number."""
    home.mkdir(parents=True, exist_ok=True)
    program = module("serve", home) + ["--data", str(data.resolve()), "--foreground", "--only", *names]
    with open(home / "service.log", "a") as log:
        files = dict(stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        return subprocess.Popen(program, **files, start_new_session=True, cwd=ROOT).pid


def module(name: str, home: Path) -> list[str]:
    """What runs a module of this folder, with ``--home``."""
    return [sys.executable, "-m", f"experiments.queue.{name}", "--home", str(home)]


def stop_service(home: Path) -> bool:
    """Asks the service to save and end; whether there was one."""
    with contextlib.suppress(FileNotFoundError), held_for_reading(home / "service.lock") as free:
        if not free:
            os.kill(int((home / "service.lock").read_text()), signal.SIGTERM)
            return True
    return False


def main(arguments: list[str] | None = None) -> int:
    """Serves, trains one entry, or tells; returns an exit status."""
    parser = parser_of("queue.serve", "Serve the queue of trainings.")
    parser.add_argument("--home", type=Path, default=HOME, help="folder of the runs (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=ENTRIES, default=list(ENTRIES), metavar="NAME", help="entries")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of pictures (default: %(default)s)")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--status", action="store_true", help="print where each training stands")
    action.add_argument("--stop", action="store_true", help="end the service once its state is saved")
    action.add_argument("--foreground", action="store_true", help="serve in this process")
    action.add_argument("--train", choices=ENTRIES, metavar="NAME", help="train one entry in this process")
    options = parser.parse_args(arguments)
    home = options.home.resolve()
    if options.status:
        print("\n".join(status_lines({name: ENTRIES[name] for name in options.only}, home)))
    elif options.stop:
        print("asked to stop" if stop_service(home) else f"no service in {home}")
    elif options.train:
        train_entry(options.train, home)
    elif options.foreground:
        become_idle()
        return serve(options.only, home, module("serve", home) + ["--train"], lambda: prepare_home(home, options.data))
    else:
        print(f"service {start_service(home, options.data, options.only)}, log {home / 'service.log'}")
    return 0


if __name__ == "__main__":
    if "--train" in sys.argv:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD}".strip()
        restart_with_huge_pages()
    sys.exit(main())
