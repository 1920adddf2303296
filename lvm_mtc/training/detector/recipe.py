"""What a detector's weights depend on: its recipe, and the description that goes into the weights file."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lvm_mtc.config import require_count, require_number, require_one_of, to_dict
from lvm_mtc.data.detection_packing import DetectionSet
from lvm_mtc.models.detection import check_image_size
from lvm_mtc.models.flashsam import FLASHSAM_VARIANTS
from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.detector.batches import AugmentationConfig
from lvm_mtc.training.detector.loss import DetectorLossConfig
from lvm_mtc.training.provenance import made_with


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorPhase:
    """One part of the training at one resolution.

    Attributes:
        size: Side of the network's input, pixels, a multiple of 32.
        guide_weight: Weight of ``guide_loss``, >= 0; 0 trains without a guide.
        teacher_weight: Weight of ``teacher_loss``, >= 0; 0 trains without a teacher. A phase has
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
            require_number("DetectorPhase", name, getattr(self, name), 0)
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
        num_classes: 1 is class-agnostic.
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
        require_one_of("DetectorRecipe", "variant", self.variant, tuple(FLASHSAM_VARIANTS))
        for name in ("num_classes", "statistics_pictures"):
            require_count("DetectorRecipe", name, getattr(self, name))
        if self.num_classes > 1 and any(phase.teacher_weight for phase in self.phases):
            raise ValueError(f"DetectorRecipe.num_classes must be 1 with a teacher, got {self.num_classes}")


def describe(
    recipe: DetectorRecipe, phase: int, packs: Sequence[DetectionSet], about: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Where weights come from: recipe, data, seed and versions, as JSON."""
    summaries = [
        {
            "size": packed.pictures.shape[1],
            "pictures": len(packed.pictures),
            "sum": int(packed.pictures.sum(dtype=np.uint64)),
            "boxes": int(packed.valid.sum()),
        }
        for packed in packs
    ]
    return {
        "model": {"name": "FlashSAM", "variant": recipe.variant, "num_classes": recipe.num_classes},
        "recipe": to_dict(recipe),
        "phase": phase,
        "size": recipe.phases[phase].size,
        "seed": recipe.phases[0].train.seed,
        "data": {"packs": summaries, **dict(about or {})},
        **made_with(),
    }
