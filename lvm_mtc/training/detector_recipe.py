"""What a detector's weights depend on: its recipe, and the description that goes into the weights file."""

import dataclasses
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import lvm_mtc
from lvm_mtc.config import to_dict
from lvm_mtc.data.detection_packing import DetectionSet
from lvm_mtc.models.detection import check_image_size
from lvm_mtc.models.flashsam import FLASHSAM_VARIANTS
from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.detector_batches import AugmentationConfig
from lvm_mtc.training.detector_loss import DetectorLossConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorPhase:
    """One part of the training at one resolution.

    Attributes:
        size: Side of the network's input, pixels, a multiple of 32.
        train: Numbers of the loop.
        augmentation: Ranges.
        guide_weight: Weight of :func:`detector_guide.guide_loss`, >= 0; 0 trains without a guide.
        teacher_weight: Weight of :func:`detector_teacher.teacher_loss`, >= 0; 0 trains without a teacher. A phase has
            a guide or a teacher, not both.
        mosaic: Probability that a view becomes a mosaic of four, in [0, 1].
        source: Beginning of the names of the pictures to train on; the empty one takes all.
    """

    size: int
    train: TrainConfig
    augmentation: AugmentationConfig = AugmentationConfig()
    guide_weight: float = 0.0
    teacher_weight: float = 0.0
    mosaic: float = 0.0
    source: str = ""

    def __post_init__(self):
        for name in ("guide_weight", "teacher_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"DetectorPhase.{name} must be >= 0, got {getattr(self, name)}")
        if self.guide_weight and self.teacher_weight:
            raise ValueError(
                f"DetectorPhase.guide_weight {self.guide_weight} and teacher_weight {self.teacher_weight}: a phase has "
                "a guide or a teacher, not both"
            )
        if not 0 <= self.mosaic <= 1:
            raise ValueError(f"DetectorPhase.mosaic must lie in [0, 1], got {self.mosaic}")
        try:
            check_image_size(self.size, self.size)
        except ValueError as error:
            raise ValueError(f"DetectorPhase.size {self.size}: {error}") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorRecipe:
    """Everything that a detector's weights depend on, but the pictures.

    Attributes:
        phases: One after the other; each starts from the weights of the one before.
        variant: Size of the network.
        num_classes: 1 is class-agnostic.
        loss: Weights of the loss.
        statistics_pictures: Training pictures from which the running statistics are computed, >= 1.
    """

    phases: tuple[DetectorPhase, ...]
    variant: str = "n"
    num_classes: int = 1
    loss: DetectorLossConfig = DetectorLossConfig()
    statistics_pictures: int = 200

    def __post_init__(self):
        if not self.phases:
            raise ValueError("DetectorRecipe.phases must name at least one phase, got ()")
        if self.variant not in FLASHSAM_VARIANTS:
            known = ", ".join(FLASHSAM_VARIANTS)
            raise ValueError(f"DetectorRecipe.variant must be one of {known}, got {self.variant!r}")
        for name in ("num_classes", "statistics_pictures"):
            if getattr(self, name) < 1:
                raise ValueError(f"DetectorRecipe.{name} must be >= 1, got {getattr(self, name)}")
        if self.num_classes > 1 and any(phase.teacher_weight for phase in self.phases):
            raise ValueError(f"DetectorRecipe.num_classes must be 1 with a teacher, got {self.num_classes}")


def describe(
    recipe: DetectorRecipe, phase: int, packs: Sequence[DetectionSet], about: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Where weights come from: recipe, data, seed and versions, as JSON."""
    packages = ("jax", "flax", "optax", "numpy")
    return {
        "model": {"name": "FlashSAM", "variant": recipe.variant, "num_classes": recipe.num_classes},
        "recipe": to_dict(recipe),
        "phase": phase,
        "size": recipe.phases[phase].size,
        "seed": recipe.phases[0].train.seed,
        "data": {"packs": [_summary(packed) for packed in packs], **dict(about or {})},
        "versions": {
            "lvm_mtc": lvm_mtc.__version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "device": jax.devices()[0].device_kind,
    }


def _summary(packed: DetectionSet) -> dict[str, int]:
    return {
        "size": packed.pictures.shape[1],
        "pictures": len(packed.pictures),
        "sum": int(packed.pictures.sum(dtype=np.uint64)),
        "boxes": int(packed.valid.sum()),
    }


def digest(variables: Mapping[str, Any]) -> str:
    """SHA-256 of names, types, shapes and values: tells weights from others."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        found.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()
