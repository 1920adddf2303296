"""The trainings that matter, in the order in which they are served, with their budgets.

Codecs of one ratio and round see the same number of pictures, drawn with the same key, three quarters of them over AWGN
and a quarter over 4x4 block Rayleigh. The second round goes on from the first one's weights with a schedule of its own,
so that there is something to show after the first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.optimizer import OptimizerConfig

BATCH = 64
SHARES = {"awgn": 48, "rayleigh": 16}
FIRST_ROUND, SECOND_ROUND = 400_000, 2_600_000
LOG_EVERY = 50
RATIOS = {"1_3": 16, "1_6": 8, "1_12": 4}
"""Bandwidth ratio to complex symbols for each 4 x 4 pixels."""

TOKEN2_MATRICES = ("/qkv/", "/out/", "/up/", "/down/", "/mix")
WITT_MATRICES = ("/qkv/", "/proj/", "/fc1/", "/fc2/")
DEEPJSCC_KERNELS = tuple(f"down{i}/kernel" for i in range(1, 5)) + tuple(f"up{i}/kernel" for i in range(4))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """How a codec is trained.

    Attributes:
        optimizer: But for the warm-up, which is the same for all.
        checkpoint_every: Steps of two to five minutes on one core.
        validate_every: Steps.
    """

    optimizer: OptimizerConfig
    checkpoint_every: int
    validate_every: int


def _optimizer(**numbers) -> OptimizerConfig:
    return OptimizerConfig(warmup_steps=50, end_fraction=0.02, b2=0.98, **numbers)


KINDS: Mapping[str, Kind] = {
    "token2": Kind(
        optimizer=_optimizer(learning_rate=2e-3, muon=TOKEN2_MATRICES, muon_learning_rate=1e-2),
        checkpoint_every=200,
        validate_every=500,
    ),
    "deepjscc": Kind(
        optimizer=_optimizer(learning_rate=1e-3, muon=DEEPJSCC_KERNELS, muon_learning_rate=1e-2),
        checkpoint_every=2500,
        validate_every=2500,
    ),
    "witt": Kind(
        optimizer=_optimizer(learning_rate=3e-4, muon=WITT_MATRICES, muon_learning_rate=5e-3),
        checkpoint_every=50,
        validate_every=500,
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One training.

    Attributes:
        codec: In ``KINDS``.
        config: Of the scheme that ``codec`` names in ``SCHEMES``.
        pictures: Budget.
        start: Entry whose weights it begins with; None: they are drawn.
        seed: Of everything random.
    """

    codec: str
    config: Mapping[str, Any]
    pictures: int = FIRST_ROUND
    start: str | None = None
    seed: int = 0

    @property
    def training(self) -> TrainConfig:
        """Numbers of the training."""
        kind = KINDS[self.codec]
        return TrainConfig(
            batch_size=BATCH,
            total_steps=self.pictures // BATCH,
            optimizer=kind.optimizer,
            seed=self.seed,
            checkpoint_every=kind.checkpoint_every,
            keep_checkpoints=2,
            log_every=LOG_EVERY,
            validate_every=kind.validate_every,
            ema_decay=0.999,
        )


def _round(codec: str, ratio: str) -> dict[str, Entry]:
    return {f"{codec}_{ratio}": Entry(codec=codec, config=dict(image_size=32, num_symbols=RATIOS[ratio]))}


def _longer(codec: str, ratio: str) -> dict[str, Entry]:
    ((start, first),) = _round(codec, ratio).items()
    return {f"{start}_long": dataclasses.replace(first, pictures=SECOND_ROUND, start=start, seed=1)}


ENTRIES: Mapping[str, Entry] = {
    **_round("token2", "1_3"),
    **_round("deepjscc", "1_3"),
    **_round("token2", "1_6"),
    **_round("token2", "1_12"),
    **_round("deepjscc", "1_6"),
    **_round("deepjscc", "1_12"),
    **_round("witt", "1_3"),
    **_longer("token2", "1_3"),
    **_longer("deepjscc", "1_3"),
    **_round("witt", "1_6"),
    **_round("witt", "1_12"),
    **_longer("token2", "1_6"),
    **_longer("token2", "1_12"),
    **_longer("deepjscc", "1_6"),
    **_longer("deepjscc", "1_12"),
}
"""Name, which is also that of the run's folder, to what is trained there."""

FIRST_ENTRIES = {
    f"{codec}_cifar10_cbr_{ratio}": f"{codec}_{ratio}" for ratio in RATIOS for codec in ("token2", "deepjscc", "witt")
}
"""Name on the page about the zoo to the entry that is measured there, once it is through."""
SHIPPED_ENTRIES = {
    name: FIRST_ENTRIES[name]
    for name in ("token2_cifar10_cbr_1_3", "deepjscc_cifar10_cbr_1_3", "token2_cifar10_cbr_1_6")
}
"""Those whose weights ship; for the others the package has no room."""
