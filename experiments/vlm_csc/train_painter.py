r"""Trains the text-to-picture network on CIFAR-10; a run that is stopped goes on when it is started again.

It saves itself every 50 steps, and goes on bit for bit.

    python -m experiments.vlm_csc.pack --data ../shared/data --out build/cifar10_described.npz
    python -m experiments.vlm_csc.train_painter --data build/cifar10_described.npz --run-dir runs/painter

An hour and a half on one core. A run that has ended goes on with more ``--steps``; rates rise and fall again.
"""

import sys
from pathlib import Path

from experiments.script import script
from experiments.vlm_csc.pack import PACKED, load_described
from lvm_mtc.models.flow import FlowConfig
from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.described import train_painter
from lvm_mtc.training.optimizer import OptimizerConfig

BATCH, STEPS = 32, 9600
_MATRICES = ("mix", "qkv", "out/", "up/", "down/", "join", "down1", "down2", "up1", "up2")


@script(data="packed pictures (default: %(default)s)", run_dir="folder of the run",
        steps=f"of {BATCH} pictures, of all runs together")  # fmt: skip
def main(data: Path = PACKED, run_dir: Path = Path("runs/painter"), steps: int = STEPS) -> None:
    """Train the text-to-picture network."""
    optimizer = OptimizerConfig(
        learning_rate=2e-3, warmup_steps=100, end_fraction=0.02, b2=0.98, muon=_MATRICES, muon_learning_rate=5e-3
    )  # fmt: skip
    numbers = TrainConfig(
        batch_size=BATCH, total_steps=steps, ema_decay=0.998, checkpoint_every=50, log_every=50, optimizer=optimizer
    )
    print(train_painter(FlowConfig(), numbers, load_described(data, "train"), run_dir))


if __name__ == "__main__":
    sys.exit(main())
