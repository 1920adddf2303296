r"""Trains the captioner behind ResNet-20 on CIFAR-10; a run that is stopped goes on when it is started again.

It saves itself every 50 steps, and goes on bit for bit.

    python -m experiments.vlm_csc.pack --data ../shared/data --out build/cifar10_described.npz
    python -m experiments.vlm_csc.train_captioner --packed build/cifar10_described.npz --run-dir runs/captioner
"""

import sys
from pathlib import Path

from experiments.script import DATA, script
from experiments.vlm_csc.pack import PACKED, load_described
from lvm_mtc.data.colours import COLOURS
from lvm_mtc.data.grammar import CLASS_WORDS
from lvm_mtc.interop.classifier_weights import load_cifar_resnet
from lvm_mtc.models.captioner import RESNET_DEPTH, CaptionerConfig
from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.described import train_captioner
from lvm_mtc.training.optimizer import OptimizerConfig

SCHEDULE = 800
WORDS = ("a", "an", "on", "background", *CLASS_WORDS, *COLOURS)


@script(data="folder with weights/ (default: %(default)s)", packed="packed pictures", run_dir="folder of the run",
        steps=f"of 64 pictures; the rates fall as for {SCHEDULE}")  # fmt: skip
def main(
    data: Path = DATA, packed: Path = PACKED, run_dir: Path = Path("runs/captioner"), steps: int = SCHEDULE
) -> None:
    """Train the captioner."""
    numbers = TrainConfig(
        batch_size=64, total_steps=steps, ema_decay=0.98, checkpoint_every=50, log_every=50,
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=50, total_steps=SCHEDULE, end_fraction=0.02, b2=0.98,
                                  muon=("qkv", "proj", "fc1", "fc2"), muon_learning_rate=5e-3),
    )  # fmt: skip
    resnet = load_cifar_resnet(data / "weights" / f"cifar10_resnet{RESNET_DEPTH}.npz", RESNET_DEPTH)
    print(train_captioner(CaptionerConfig(words=WORDS), numbers, load_described(packed, "train"), resnet, run_dir))


if __name__ == "__main__":
    sys.exit(main())
