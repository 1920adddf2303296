"""Where the workers of a sweep come from: processes of this machine, or a Dask scheduler at an address."""

import contextlib
import importlib.util
import logging
import multiprocessing
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax

from lvm_mtc.results.files import scratch_directory

if TYPE_CHECKING:
    from distributed import Client

_LOCAL = {
    # Kills are nobody's fault here: DaskWorkers counts them, too, and gives a task up.
    "distributed.scheduler.allowed-failures": 10,
    "distributed.admin.large-graph-warning-threshold": "1TiB",
    "distributed.logging": {"distributed": "critical"},
    # What Dask shows of a cluster, from samples of every process many times a second, nobody looks at here.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1 s",
    "distributed.admin.system-monitor.interval": "10 s",
}
# What one worker has compiled, the others read. Variables of the environment, in capitals, go before.
_SHARED = {
    "jax_compilation_cache_dir": "{}/programs",
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


class ClusterError(ValueError):
    """Workers cannot be used; the message is one line."""


def require_dask() -> None:
    """Raises ``ClusterError`` where the extra is not installed."""
    if importlib.util.find_spec("distributed") is None:
        raise ClusterError("workers need Dask, which is not installed: pip install 'lvm-mtc[cluster]'")


@contextlib.contextmanager
def local_client(num_workers: int, *, silent_s: float = 120.0) -> "Iterator[Client]":
    """A cluster of processes of this machine, which end with this one, however that ends.

    It is there at once; the workers come while this process goes on. Where the system can fork, one process imports
    what they need for a sweep, and they are copies of it.

    Args:
        silent_s: A worker that gives no sign of life for so long is replaced.
    """
    require_dask()
    import dask
    from distributed import Client, LocalCluster
    from distributed.utils import get_mp_context

    settings = _LOCAL | {"distributed.scheduler.worker-ttl": f"{silent_s} s"}
    if copied := "forkserver" in multiprocessing.get_all_start_methods():
        settings["distributed.worker.multiprocessing-method"] = "forkserver"
    imported = ["distributed", __name__, "lvm_mtc.sweep.cluster"]
    options = dict(threads_per_worker=1, memory_limit=0, dashboard_address=":0", host="127.0.0.1", silence_logs=50)
    options |= dict(preload=imported[1:])
    with contextlib.ExitStack() as stack:
        stack.enter_context(_silence("distributed"))
        # Of a program that it reads XLA may say at length that it was made for another machine, which is not so.
        stack.enter_context(_inherited("TF_CPP_MIN_LOG_LEVEL", "3"))
        folder = str(stack.enter_context(scratch_directory()))
        shared = {name.upper(): str(value).format(folder) for name, value in _SHARED.items()}
        shared |= {name: os.environ[name] for name in shared if name in os.environ}
        stack.enter_context(dask.config.set(settings | {"temporary-directory": folder}))
        if copied:
            get_mp_context().set_forkserver_preload(imported)
        cluster = stack.enter_context(LocalCluster(n_workers=0, env=shared, **options))
        client = stack.enter_context(Client(cluster))
        cluster.scale(num_workers)  # a client that comes later waits for them
        yield client


def dask_setup(_: Any) -> None:
    """Dask calls this on a worker of this machine: JAX was imported before the worker's environment was set."""
    for name, value in _SHARED.items():
        jax.config.update(name, type(value)(os.environ[name.upper()]))


@contextlib.contextmanager
def _silence(logger: str) -> Iterator[None]:
    """Lets nothing of a logger through but what is critical, to whatever handlers there are."""
    of_it = logging.getLogger(logger)
    before = of_it.level
    of_it.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        of_it.setLevel(before)


@contextlib.contextmanager
def _inherited(name: str, value: str) -> Iterator[None]:
    """A variable of the environment for processes that start meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


@contextlib.contextmanager
def remote_client(address: str) -> "Iterator[Client]":
    """A cluster whose scheduler is at an address, such as ``tcp://10.0.0.1:8786``."""
    require_dask()
    from distributed import Client

    try:
        client = Client(address, timeout="30 s")
    except (OSError, ValueError) as error:
        raise ClusterError(f"scheduler {address}: does not answer ({type(error).__name__})") from error
    with client:
        yield client
