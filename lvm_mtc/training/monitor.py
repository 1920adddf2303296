"""What the loop watches beside the training itself: losses that are not finite, speed, signals."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from lvm_mtc.training.processes import is_first

try:
    import fcntl
except ImportError:  # Windows has no such lock
    fcntl = None


class NonFiniteLoss(ArithmeticError):
    """The loss or the gradient became NaN or infinite; ``step`` is the first update in which it did."""

    def __init__(self, message: str, step: int):
        super().__init__(message)
        self.step = step


class TrainingStopped(RuntimeError):
    """The run was asked to stop (``signum``), and saved its state first; the message says how to go on."""

    def __init__(self, message: str, step: int, signum: int):
        super().__init__(message)
        self.step, self.signum = step, signum


class RunBusy(RuntimeError):
    """Another process trains in the same run folder."""


class MetricsWindow:
    """Metrics of the steps since the last log line.

    They stay on the device until a line is due; a checkpoint between two lines takes the window along, so that the
    next line averages the same steps as in an undisturbed run.
    """

    def __init__(self, saved: Mapping[str, Sequence[float]] | None = None):
        self._values = {name: list(values) for name, values in (saved or {}).items()}
        self._waiting = []

    def add(self, last_step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Takes the metrics of the steps up to ``last_step``; waits for the call before, so few are in flight."""
        if self._waiting:
            jax.block_until_ready(self._waiting[-1][1]["loss"])
        self._waiting.append((last_step, metrics))

    def values(self) -> dict[str, list[float]]:
        """Brings everything to the host; NonFiniteLoss names the first step whose loss or gradient is not finite."""
        for last_step, metrics in self._waiting:
            host = {name: np.asarray(array) for name, array in metrics.items()}
            finite = host.pop("finite")
            if not finite.all():
                index = int(np.argmin(finite))
                step = last_step - len(finite) + 1 + index
                name = "grad_norm" if np.isfinite(host["loss"][index]) else "loss"
                raise NonFiniteLoss(f"{name} is {host[name][index]} at step {step}", step)
            for name, array in host.items():
                self._values.setdefault(name, []).extend(array.tolist())
        self._waiting.clear()
        return self._values

    def close(self) -> dict[str, float]:
        """Means over the window (of the learning rate: its last value), after which a new window begins."""
        values = self.values()
        means = {name: math.fsum(series) / len(series) for name, series in values.items()}
        if "learning_rate" in values:
            means["learning_rate"] = values["learning_rate"][-1]
        self._values = {}
        return means


class Speed:
    """Pictures per second of training alone: compiling, validating and saving are not counted."""

    def __init__(self):
        self.started = time.monotonic()
        self._since, self._pictures = None, 0

    def add(self, pictures: int, metrics: Mapping[str, jax.Array]) -> None:
        """Counts the pictures of one call, but for the first call of a process, which compiles."""
        if self._since is None:
            jax.block_until_ready(metrics["loss"])
            self._since = time.monotonic()
        else:
            self._pictures += pictures

    def read(self) -> dict[str, float | None]:
        """Wall-time fields of a log line."""
        now = time.monotonic()
        rate = self._pictures / (now - self._since) if self._pictures else None
        self._since, self._pictures = now, 0
        return {"seconds": round(now - self.started, 3), "pictures_per_second": rate and round(rate, 2)}

    @contextlib.contextmanager
    def paused(self):
        """Leaves out the time spent inside."""
        began = time.monotonic()
        yield
        self._since += time.monotonic() - began


@contextlib.contextmanager
def only_process(run_dir: Path):
    """Holds the run folder, so that a second run does not train in it (RunBusy); the system lets go after any death.

    Of processes that train as one, the first holds it for all.
    """
    if not is_first():
        yield
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(run_dir / "lock", "w") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunBusy(f"another process is training in {run_dir}") from None
        yield


def interrupt_again(signum: int, before: list[int]) -> None:
    """Lets a second Ctrl-C interrupt at once."""
    if signum == signal.SIGINT and before:
        raise KeyboardInterrupt


@contextlib.contextmanager
def stop_requests(react: Callable[[int, list[int]], None] = interrupt_again):
    """Yields a list to which SIGTERM and Ctrl-C add their number, after ``react(number, list so far)``.

    Outside the main thread Python cannot catch signals, and the list stays empty.
    """
    requests = []

    def note(signum, frame):
        react(signum, requests)
        requests.append(signum)

    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    previous = {signum: signal.signal(signum, note) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield requests
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
