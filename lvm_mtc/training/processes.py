"""Several processes that train as one: how they join, meet and agree. With one process all of it does nothing."""

import contextlib
import os
from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

COORDINATOR = "LVM_MTC_COORDINATOR"
PROCESS_ID = "LVM_MTC_PROCESS_ID"
NUM_PROCESSES = "LVM_MTC_NUM_PROCESSES"

HEARTBEAT_S = 20
"""Seconds of silence after which a process counts as dead; JAX's own 100 s would leave the others hanging as long."""

PEER_LOST = 75
"""Exit code of a process that can only go on with another one, which is gone."""


def join_processes(environment: Mapping[str, str] | None = None) -> None:
    """Joins the other processes that the launcher started, or does nothing without a launcher.

    To be called before anything is computed. The launcher leaves ``LVM_MTC_COORDINATOR`` (``host:port``),
    ``LVM_MTC_PROCESS_ID`` and ``LVM_MTC_NUM_PROCESSES`` in the environment; a ValueError if these do not fit.
    """
    environment = os.environ if environment is None else environment
    given = {name: environment[name] for name in (COORDINATOR, PROCESS_ID, NUM_PROCESSES) if environment.get(name)}
    if not given:
        return
    if len(given) < 3:
        raise ValueError(f"{', '.join(given)} without the rest of {COORDINATOR}, {PROCESS_ID}, {NUM_PROCESSES}")
    if not (given[PROCESS_ID].isdigit() and given[NUM_PROCESSES].isdigit()):
        raise ValueError(f"{PROCESS_ID} and {NUM_PROCESSES} must be whole numbers, got {given}")
    process, count = int(given[PROCESS_ID]), int(given[NUM_PROCESSES])
    if process >= count:
        raise ValueError(f"{PROCESS_ID} must be < {NUM_PROCESSES} = {count}, got {process}")
    jax.distributed.initialize(
        given[COORDINATOR],
        num_processes=count,
        process_id=process,
        heartbeat_timeout_seconds=HEARTBEAT_S,
        shutdown_timeout_seconds=HEARTBEAT_S,
    )


@contextlib.contextmanager
def ended_with_peers():
    """Ends this process at once, without a word, where one of the others is gone; their launcher tells which.

    What follows such an error is an exit that waits for the others. A process that is alone, or out of memory, raises
    what it has.
    """
    try:
        yield
    except Exception as error:
        if jax.process_count() == 1 or not _tells_of_a_lost_peer(error):
            raise
        os._exit(PEER_LOST)


def _tells_of_a_lost_peer(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, jax.errors.JaxRuntimeError):
            return "RESOURCE_EXHAUSTED" not in str(error)
        error = error.__cause__ or error.__context__
    return False


def is_first() -> bool:
    """Whether this is the process that writes logs and weights, and the only one to do so."""
    return jax.process_index() == 0


def meet(name: str) -> None:
    """Waits until every process is here; ``name`` must be the same in all of them."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def largest(number: int) -> int:
    """The largest of the numbers that the processes give; every process must ask."""
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))
