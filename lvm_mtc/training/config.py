"""Configuration of a training run."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from lvm_mtc.config import require_count, to_dict
from lvm_mtc.training.optimizer import OptimizerConfig

# What may change between start and resumption because it does not change the numbers.
_FREE_FIELDS = (
    "total_steps", "checkpoint_every", "keep_checkpoints", "log_every", "validate_every", "num_devices", "uav_devices",
    "shard_params",
)  # fmt: skip
# What came later, with the value that leaves the fingerprints of older checkpoints as they are.
_LATER_FIELDS = {"accumulation": 1, "optimizer.muon": [], "optimizer.muon_learning_rate": 1e-2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Numbers of a training run.

    A finished run goes on where it is started again with a larger ``total_steps`` and ``optimizer.total_steps`` None.
    What it has done stays as it is; the added steps have a schedule of their own, warm-up and cosine from the peak
    again, with moments and averages as they were. Another length of an unfinished run, or a smaller one, would change
    its past and is refused. Where ``optimizer.total_steps`` is given, it is the end of the only schedule:
    ``total_steps`` may change at any time, and steps beyond that end have its last rate.

    Attributes:
        batch_size: Pictures in a batch (leading axis of every batch array), >= 1.
        total_steps: Step at which the run ends, >= 1.
        seed: Of everything random in the run, in [0, 2**32).
        checkpoint_every: Steps between checkpoints, >= 1; one more is saved at the end and at an orderly stop.
        keep_checkpoints: How many of the newest checkpoints to keep, >= 1.
        log_every: Steps that one log line averages, >= 1. Losses are also looked at for NaN this often.
        validate_every: Steps between validations, >= 1; None: never.
        steps_per_call: Steps that one compiled call runs, >= 1; it divides all the intervals above.
        ema_decay: Decay of the moving average of the weights, in [0, 1); None: no average.
        num_devices: Devices of each process that share a batch, >= 1, a divisor of ``batch_size``; None: all of them.
        uav_devices: How many of them share the UAVs of a picture, >= 1, a divisor of ``num_devices``.
        shard_params: Spread parameters, moments and averages over the devices that share the batch, instead of a copy
            on each.
        accumulation: Pieces of a batch that are differentiated one after the other, >= 1, to save memory.
    """

    batch_size: int
    total_steps: int
    optimizer: OptimizerConfig = OptimizerConfig()
    seed: int = 0
    checkpoint_every: int = 500
    keep_checkpoints: int = 3
    log_every: int = 50
    validate_every: int | None = None
    steps_per_call: int = 1
    ema_decay: float | None = None
    num_devices: int | None = 1
    uav_devices: int = 1
    shard_params: bool = False
    accumulation: int = 1

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int or (field.type == int | None and value is not None):
                require_count("TrainConfig", field.name, value, least=0 if field.name == "seed" else 1)
        if self.seed >= 2**32:
            raise ValueError(f"TrainConfig.seed must be an int in [0, 2**32), got {self.seed!r}")
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ValueError(f"TrainConfig.ema_decay must be in [0, 1) or None, got {self.ema_decay}")
        for name in ("total_steps", "checkpoint_every", "log_every", "validate_every"):
            value = getattr(self, name)
            if value is not None and value % self.steps_per_call:
                raise ValueError(
                    f"TrainConfig.{name} must be a multiple of steps_per_call = {self.steps_per_call}, got {value}"
                )
        length = self.total_steps if self.optimizer.total_steps is None else self.optimizer.total_steps
        warmup = self.optimizer.warmup_steps
        if length <= warmup:
            raise ValueError(f"TrainConfig.optimizer.warmup_steps must be < total_steps = {length}, got {warmup}")

    def fingerprint(self) -> dict[str, Any]:
        """The fields that a resumed run must not change, flat, ``{"optimizer.learning_rate": 0.001, ...}``."""
        values = {name: value for name, value in to_dict(self).items() if name not in _FREE_FIELDS}
        if self.optimizer.total_steps is None:
            values["optimizer"]["total_steps"] = self.total_steps
        return {
            name: value
            for name, value in flatten(values).items()
            if name not in _LATER_FIELDS or value != _LATER_FIELDS[name]
        }


def flatten(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries to a flat one with dotted names."""
    leaves = jax.tree_util.tree_leaves_with_path(mapping, is_leaf=lambda node: not isinstance(node, dict))
    return {jax.tree_util.keystr(path, simple=True, separator="."): value for path, value in leaves}
