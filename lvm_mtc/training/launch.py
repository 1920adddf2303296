"""Starts processes that train as one, and watches them: if one dies, the others end at once and one line names it.

On one host ``lvm-mtc train --processes 2 ...`` does so by itself. On several hosts, with a file system that all see,
start on each of them, with its own first process number::

    python -m lvm_mtc.training.launch --coordinator HOST:PORT --num-processes 4 --first 2 --count 2 -- \
        lvm-mtc train --config ... --run-dir ...

``HOST`` is the host of process 0, ``PORT`` any free port of it. The same commands go on after a failure.
"""

import argparse
import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from lvm_mtc.training.monitor import stop_requests
from lvm_mtc.training.processes import COORDINATOR, NUM_PROCESSES, PEER_LOST, PROCESS_ID

_POLL_S = 0.1
_GRACE_S = 1.0  # in which the process that died first is told from those that it took along


def launch(
    command: Sequence[str],
    *,
    num_processes: int,
    coordinator: str | None = None,
    first: int = 0,
    count: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Runs a command in several processes and waits for them.

    Process 0 keeps the terminal; of the others only the last line is shown, and only after a failure. SIGTERM and
    Ctrl-C are passed on, upon which the processes save and stop at their next log line.

    Args:
        command: Program and arguments; it calls :func:`lvm_mtc.training.processes.join_processes`.
        num_processes: On all hosts together, >= 1.
        coordinator: ``host:port`` of process 0; None: a free port of this host.
        first: Number of the first process on this host.
        count: Processes on this host; None: all.
        environment: Variables to add.

    Returns:
        0; or the exit code of the process that failed, 128 plus the signal's number for a signal.
    """
    count = num_processes - first if count is None else count
    if num_processes < 1 or first < 0 or count < 1 or first + count > num_processes:
        raise ValueError(f"first = {first} and count = {count} must be processes of num_processes = {num_processes}")
    if coordinator is None and count < num_processes:
        raise ValueError("coordinator must be host:port of process 0 where other hosts take part")
    common = {COORDINATOR: coordinator or f"127.0.0.1:{free_port()}", NUM_PROCESSES: str(num_processes)}
    everything = os.environ | (environment or {}) | common
    with contextlib.ExitStack() as stack:
        children = {}
        for process in range(first, first + count):
            output = None if process == 0 else stack.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
            environment = everything | {PROCESS_ID: str(process)}
            child = subprocess.Popen(list(command), env=environment, stdout=output, stderr=output)
            # One that still runs is killed: it waits for one that is gone, and checkpoints survive it.
            stack.callback(child.wait)
            stack.callback(child.kill)
            children[process] = child, output

        def pass_on(signum, before):
            for child, _ in children.values():
                child.send_signal(signal.SIGTERM)

        return _watch(children, num_processes, stack.enter_context(stop_requests(pass_on)))


def _watch(children: dict, num_processes: int, asked_to_stop: list[int]) -> int:
    deadline = math.inf
    while True:
        codes = {process: child.poll() for process, (child, _) in children.items()}
        if all(code == 0 for code in codes.values()):
            return 0
        if any(codes.values()):
            deadline = min(deadline, time.monotonic() + _GRACE_S)
            if None not in codes.values() or time.monotonic() >= deadline:
                break
        time.sleep(_POLL_S)
    # A signal comes from outside; an error may be of its own making; a lost peer never is.
    failed = [(code > 0, code == PEER_LOST, process) for process, code in codes.items() if code]
    process = min(failed)[-1]
    if not asked_to_stop:
        rest = "the others were stopped; " if num_processes > 1 else ""
        print(
            f"process {process} of {num_processes} {_cause(codes[process], children[process][1])}; {rest}"
            "start the same command again to go on from the last checkpoint",
            file=sys.stderr,
        )
    return codes[process] if codes[process] > 0 else 128 - codes[process]


def _cause(code: int, output) -> str:
    if code == PEER_LOST:
        return "lost the connection to a process on another host"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    lines = []
    if output is not None:
        output.seek(0)
        lines = [line.strip() for line in output if line.strip()]
    return f"ended with exit code {code}" + (f" ({lines[-1][:300]})" if lines else "")


def free_port() -> int:
    """A port of this host that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of a host's launcher."""
    parser = argparse.ArgumentParser(prog="python -m lvm_mtc.training.launch", description=__doc__.splitlines()[0])
    parser.add_argument("--num-processes", type=int, required=True, help="processes on all hosts together")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0; may be left out on a single host")
    parser.add_argument("--first", type=int, default=0, help="number of the first process on this host (default: 0)")
    parser.add_argument("--count", type=int, help="processes on this host (default: all from the first on)")
    parser.add_argument("command", nargs="+", help="program and arguments, behind --")
    options = vars(parser.parse_args(argv))
    try:
        return launch(options.pop("command"), **options)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
