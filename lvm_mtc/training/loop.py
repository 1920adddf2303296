"""The training loop: any loss, any batch, resumable at every moment."""

import contextlib
import dataclasses
import itertools
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import tqdm
from jax.sharding import Mesh

from lvm_mtc.training.checkpoint import CheckpointError, CheckpointStore
from lvm_mtc.training.config import TrainConfig, flatten
from lvm_mtc.training.log import JsonLog
from lvm_mtc.training.mesh import make_mesh, place, replicated, state_shardings
from lvm_mtc.training.monitor import MetricsWindow, NonFiniteLoss, Speed, TrainingStopped, only_process, stop_requests
from lvm_mtc.training.optimizer import make_optimizer
from lvm_mtc.training.pictures import Stream
from lvm_mtc.training.processes import is_first, largest
from lvm_mtc.training.provenance import made_with
from lvm_mtc.training.state import PyTree, Trainable, TrainState, averaged_params, init_state
from lvm_mtc.training.step import BatchFn, LossFn, check_batch, make_train_step

ValidateFn = Callable[[PyTree, int], Mapping[str, float]]

# Keeps the run's key apart from keys that a caller derives from the same seed, for example to initialise.
_TRAINING_STREAM = 2**31 - 1


def train(
    config: TrainConfig,
    *,
    loss_fn: LossFn,
    batch_fn: BatchFn,
    data: PyTree | Stream,
    init_params: PyTree,
    run_dir: str | Path,
    fingerprint: Mapping[str, Any] | None = None,
    trainable: Trainable | None = None,
    per_uav: Trainable | None = None,
    validate: ValidateFn | None = None,
    progress: bool | None = None,
) -> TrainState:
    """Trains, from ``init_params`` or from where the same run in ``run_dir`` stopped.

    A run that is killed at any moment and started again ends with the same parameters and the same log, bit for bit,
    on the same machine and number of devices; on another number of devices it goes on with the same numbers but for
    rounding. A finished run goes on where ``config.total_steps`` is larger than it was (:class:`TrainConfig`).
    Checkpoints are written while training goes on. Several processes (``training.launch``) call this alike;
    the first one writes the log, and all need the same file system. ``run_dir`` holds ``log.jsonl``, ``checkpoints/``
    and the file ``lock``.

    Args:
        config: Its numbers.
        loss_fn: Pure ``(params, batch, key) -> (loss, metrics)``; scalars.
        batch_fn: Pure ``(data, key) -> batch``, compiled into the step.
        data: Pytree of arrays (or numpy arrays) that stays on every device as it is, uint8 pictures for example; or a
            stream, whose next batch of such goes to every device at each step.
        init_params: Parameters to start from; left untouched.
        fingerprint: What else must be the same when the run is resumed (the model's configuration, the data's name):
            nested mappings of JSON scalars and lists of them.
        trainable: Predicate on parameter names ``"a/b/c"``; the others are frozen and take no optimiser memory.
        per_uav: Predicate on names ``"params/a/b"`` of arrays whose leading axis is that of the UAVs, which is split
            over ``config.uav_devices``; None: there are none.
        validate: Called every ``config.validate_every`` steps and at the end (never, where that is None) with the
            parameters (averaged, where ``ema_decay`` is set) and the step; the numbers it returns are logged.
        progress: Whether to draw a progress bar on stderr; None: only on a terminal.

    Returns:
        The final state; :func:`averaged_params` gives the parameters to ship.

    Raises:
        NonFiniteLoss: naming the step in which the loss or the gradient is NaN or infinite; nothing is saved after it.
        TrainingStopped: after SIGTERM or Ctrl-C, once the state is saved.
        CheckpointError: if the folder's checkpoints belong to another configuration, or are all damaged.
        RunBusy: if another process trains in ``run_dir``.
        OSError: if a checkpoint or the log cannot be written; one line.
    """
    run_dir = Path(run_dir)
    mesh = make_mesh(config.num_devices, config.uav_devices)
    streamed = isinstance(data, Stream)
    if streamed and config.steps_per_call != 1:
        raise ValueError(f"TrainConfig.steps_per_call must be 1 with a stream of data, got {config.steps_per_call}")
    check_batch(batch_fn, data.empty() if streamed else data, config.batch_size, mesh, config.accumulation)
    optimizer, _ = make_optimizer(config.optimizer, config.total_steps)
    key = jax.random.fold_in(jax.random.key(config.seed), _TRAINING_STREAM)
    state = init_state(init_params, optimizer, key, trainable=trainable, ema=config.ema_decay is not None)
    shardings = state_shardings(state, mesh, shard_params=config.shard_params, per_uav=per_uav)
    identity = config.fingerprint() | {f"run.{k}": v for k, v in flatten(dict(fingerprint or {})).items()}
    with only_process(run_dir):
        store = CheckpointStore(run_dir / "checkpoints", keep=config.keep_checkpoints, fingerprint=identity)
        ends = schedule_ends(config, store)
        optimizer, schedule = make_optimizer(config.optimizer, *ends)
        options = {name: getattr(config, name) for name in ("ema_decay", "steps_per_call", "accumulation")}
        options |= dict(schedule=schedule, trainable=trainable, mesh=mesh, state_sharding=shardings)
        train_step = make_train_step(loss_fn, batch_fn, optimizer, **options)
        state = place(state, shardings)
        state, step, extra = store.restore(state) or (state, 0, {})
        hidden = not is_first() or (None if progress is None else not progress)
        with (
            store,
            JsonLog(run_dir / "log.jsonl", step=step, writes=is_first()) as log,
            tqdm.tqdm(total=config.total_steps, initial=step, unit="step", disable=hidden, dynamic_ncols=True) as bar,
            stop_requests() as stops,
            _told_where_it_is_good(store),
        ):
            if log.records == 0:
                about = {"config": dataclasses.asdict(config), "run": dict(fingerprint or {})}
                devices = {"kind": mesh.devices.flat[0].device_kind, "count": mesh.size}
                log.write(0, "start", **about, versions=made_with()["versions"], devices=devices)
            if step in ends[:-1]:
                log.write(step + 1, "schedule", ends=ends)
            run = _Run(config, store, log, bar, validate, MetricsWindow(extra.get("window")), ends)
            with contextlib.closing(_of_each_call(data, step, mesh)) as of_each_call:
                return run.go(state, step, train_step, of_each_call, stops)


def schedule_ends(config: TrainConfig, store: CheckpointStore) -> tuple[int, ...]:
    """Steps at which the schedules of the learning rate end: those of the run in the store, and one more if it goes on.

    The store's fingerprint gets the first of them, which is the one that its checkpoints have. A schedule that another
    length would change is a CheckpointError.
    """
    given = config.optimizer.total_steps
    wanted = config.total_steps if given is None else given
    if (newest := store.newest()) is None:
        return (wanted,)
    step, record = newest
    ends = tuple(record["extra"].get("ends", [record["fingerprint"].get("optimizer.total_steps", wanted)]))
    if given is None and step == ends[-1] < wanted:
        ends = (*ends, wanted)
    if wanted != ends[-1] or (given is not None and len(ends) > 1):
        way = "finish it first, or" if step < ends[-1] < wanted else "go back to that, or"
        raise CheckpointError(
            f"{store.path(step)} has a schedule of {ends[-1]} steps, which optimizer.total_steps = {wanted} would "
            f"change: {way} use another folder"
        )
    store.fingerprint["optimizer.total_steps"] = ends[0]
    return ends


def _of_each_call(data: PyTree | Stream, step: int, mesh: Mesh) -> Iterator[PyTree]:
    """The data of each call of the step, on the devices."""
    if isinstance(data, Stream):
        with contextlib.closing(data.batches(step)) as batches:
            for batch in batches:
                yield place(batch, replicated(mesh))
    else:
        yield from itertools.repeat(place(data, replicated(mesh)))


@contextlib.contextmanager
def _told_where_it_is_good(store: CheckpointStore):
    """Tells a NaN's reader where the run is still good."""
    try:
        yield
    except NonFiniteLoss as error:
        store.wait()
        good = store.steps()
        where = f"the last good checkpoint is {store.path(good[-1])}" if good else "there is no checkpoint yet"
        raise NonFiniteLoss(f"{error}; {where}", error.step) from None


class _Run:
    """The running loop: what is due at a step, in the order that makes a resumed log equal an undisturbed one."""

    def __init__(self, config: TrainConfig, store: CheckpointStore, log: JsonLog, bar, validate, window, ends):
        self.config, self.store, self.log, self.bar, self.ends = config, store, log, bar, ends
        self.validate, self.window, self.speed = validate, window, Speed()

    def go(self, state: TrainState, step: int, train_step: Callable, data: Iterator, stops: list[int]) -> TrainState:
        config = self.config
        while step < config.total_steps:
            state, metrics = train_step(state, next(data))
            step += config.steps_per_call
            self.window.add(step, metrics)
            self.speed.add(config.batch_size * config.steps_per_call, metrics)
            self.bar.update(config.steps_per_call)
            last = step == config.total_steps
            if last or step % config.log_every == 0:
                self.write_line(step)
            if self.validate and config.validate_every and (last or step % config.validate_every == 0):
                self.write_validation(state, step)
            signum = self.stop_signal(step, stops)
            if last or signum or step % config.checkpoint_every == 0:
                self.save(state, step)
            if signum and not last:
                self.store.wait()
                raise TrainingStopped(
                    f"stopped by {signal.Signals(signum).name} at step {step} of {config.total_steps}; the state is "
                    f"saved in {self.store.path(step)}: start the same run again to go on",
                    step,
                    signum,
                )
        return state

    def stop_signal(self, step: int, stops: list[int]) -> int:
        """Signal that asked to stop, or 0; several processes must agree, and do so with every log line."""
        own = stops[0] if stops else 0
        if jax.process_count() == 1:
            return own
        return largest(own) if step % self.config.log_every == 0 else 0

    def write_line(self, step: int) -> None:
        means = self.window.close()
        times = self.speed.read()
        self.log.write(step, "train", **means, **times)
        self.bar.set_postfix(loss=f"{means['loss']:.4g}", pictures_per_second=times["pictures_per_second"])

    def write_validation(self, state: TrainState, step: int) -> None:
        self.window.values()
        with self.speed.paused():
            numbers = self.validate(averaged_params(state), step)
            self.log.write(step, "validation", **{name: float(value) for name, value in numbers.items()})

    def save(self, state: TrainState, step: int) -> None:
        window = self.window.values()
        with self.speed.paused():
            self.log.sync()
            self.store.start_save(state, step, {"window": window, "ends": self.ends})
