"""Training: a generic, resumable loop around any pure loss, with checkpoints, log, and one path for 1 and N devices."""

from lvm_mtc.training.checkpoint import CheckpointError, CheckpointStore
from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.log import JsonLog, read_log
from lvm_mtc.training.loop import train
from lvm_mtc.training.mesh import make_mesh, replicated, shard_batch, state_shardings
from lvm_mtc.training.monitor import NonFiniteLoss, RunBusy, TrainingStopped
from lvm_mtc.training.optimizer import OptimizerConfig, make_optimizer, warmup_cosine
from lvm_mtc.training.pmap import pmap_step
from lvm_mtc.training.state import TrainState, averaged_params, init_state, merge_params, split_params
from lvm_mtc.training.step import make_train_step

__all__ = [
    "CheckpointError", "CheckpointStore", "JsonLog", "NonFiniteLoss", "OptimizerConfig", "RunBusy", "TrainConfig",
    "TrainState", "TrainingStopped", "averaged_params", "init_state", "make_mesh", "make_optimizer",
    "make_train_step", "merge_params", "pmap_step", "read_log", "replicated", "shard_batch", "split_params",
    "state_shardings", "train", "warmup_cosine",
]  # fmt: skip
