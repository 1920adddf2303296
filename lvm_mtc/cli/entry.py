"""Entry point: runs a command and turns the library's errors into one line and an exit code."""

import argparse
import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence

from lvm_mtc.cli.errors import UsageError, one_line
from lvm_mtc.cli.huge_pages import restart_with_huge_pages
from lvm_mtc.cli.parser import build_parser
from lvm_mtc.results.files import remove_unfinished

WRONG_INPUT = 2
INTERRUPTED = 130


def run_process() -> int:
    """What the command ``lvm-mtc`` runs: :func:`main`, in a process with huge pages."""
    restart_with_huge_pages()
    return main(end_at_once=True)


def main(argv: Sequence[str] | None = None, *, end_at_once: bool = False) -> int:
    """Runs one command; returns its exit code: 0; 2 for wrong input; 130 where the user interrupted.

    Args:
        end_at_once: An interruption ends the process, without waiting for what is being compiled or computed.
    """
    try:
        code = _run(sys.argv[1:] if argv is None else argv, end_at_once)
        _flush()
        return code
    except KeyboardInterrupt:
        print("lvm-mtc: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _drop_the_rest()
        print("lvm-mtc: error: standard output was closed by its reader", file=sys.stderr)
        return WRONG_INPUT
    except (UsageError, ValueError, OSError) as error:
        if os.environ.get("LVM_MTC_TRACEBACK"):
            raise
        print(f"lvm-mtc: error: {one_line(error)}", file=sys.stderr)
        return WRONG_INPUT


def _flush() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_the_rest()
        raise


def _drop_the_rest() -> None:
    """Nobody takes what is left for standard output; the interpreter would complain of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: Sequence[str], end_at_once: bool) -> int:
    try:
        options = build_parser().parse_args(_join_negative_numbers(argv))
        with _termination_unwinds():
            if end_at_once and not options.own_signals:
                _run_beside(options)
            else:
                options.run(options)
    except SystemExit as leaving:  # --help and --version
        return leaving.code if isinstance(leaving.code, int) else 0
    return 0


def _run_beside(options: argparse.Namespace) -> None:
    """Runs a command in a second thread: an interruption reaches the first one while XLA compiles, and ends all.

    Stores hold whole points at any moment; of results whose time had not come nothing is left.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            options.run(options)
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    try:
        worker.join()
    except KeyboardInterrupt:
        remove_unfinished()
        print("lvm-mtc: interrupted", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)
    if errors:
        raise errors[0]


def _join_negative_numbers(argv: Sequence[str]) -> list[str]:
    """``--snr-db -5,0`` to ``--snr-db=-5,0``, which argparse would take for a flag."""
    joined: list[str] = []
    for argument in argv:
        follows_flag = bool(joined) and joined[-1].startswith("--") and "=" not in joined[-1]
        if follows_flag and re.match(r"-[\d.]", argument):
            joined[-1] += "=" + argument
        else:
            joined.append(argument)
    return joined


@contextlib.contextmanager
def _termination_unwinds():
    """Lets SIGTERM end the command as Ctrl-C does, so that unfinished output folders are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
