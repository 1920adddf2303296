"""Step 1 of the paper's training: FlashSAM on pictures with boxes, in phases of growing resolution.

The batch norms use the batch's statistics while training; their running statistics are not carried along but computed
afterwards, for the very weights that are judged or shipped (the averaged ones), from training pictures.
"""

import dataclasses
import importlib.metadata
import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lvm_mtc
from lvm_mtc.config import to_dict
from lvm_mtc.data.detection_packing import DetectionSet
from lvm_mtc.models.detection import Detections, anchor_points, check_image_size, detect
from lvm_mtc.models.fast_gradients import fast_gradients
from lvm_mtc.models.flashsam import FLASHSAM_VARIANTS, FlashSAM
from lvm_mtc.models.weights import load_weights, save_weights
from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.detector_batches import AugmentationConfig, make_detector_batch_fn
from lvm_mtc.training.detector_loss import DetectorLossConfig, detector_loss
from lvm_mtc.training.detector_statistics import batch_statistics
from lvm_mtc.training.loop import train
from lvm_mtc.training.state import averaged_params

Judge = Callable[[Detections, int], Mapping[str, float]]

_EVALUATION_BATCH = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorPhase:
    """One part of the training at one resolution.

    Attributes:
        size: Side of the network's input, pixels, a multiple of 32.
        train: Numbers of the loop.
        augmentation: Ranges.
    """

    size: int
    train: TrainConfig
    augmentation: AugmentationConfig = AugmentationConfig()

    def __post_init__(self):
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


def init_detector(recipe: DetectorRecipe) -> dict[str, Any]:
    """Variables before training, ``{"params": ..., "batch_stats": ...}``, from the first phase's seed."""
    model = FlashSAM(recipe.variant, recipe.num_classes)
    images = jnp.zeros((1, 64, 64, 3))
    return jax.jit(model.init)(jax.random.key(recipe.phases[0].train.seed), images)


def make_detector_loss_fn(recipe: DetectorRecipe, size: int, batch_stats: Mapping[str, Any]) -> Callable:
    """Builds ``loss_fn(params, batch, key) -> (loss, metrics)`` for :func:`lvm_mtc.training.train`.

    Args:
        recipe: The recipe.
        size: Side of the network's input, pixels.
        batch_stats: Running statistics of any value: the training mode only writes them.
    """
    model = FlashSAM(recipe.variant, recipe.num_classes)
    points, strides = anchor_points(size, size)

    def loss_fn(params, batch, key):
        variables = {"params": params, "batch_stats": batch_stats}
        with fast_gradients():
            raw, _ = model.apply(variables, batch.images, train=True, mutable=["batch_stats"])
        return detector_loss(raw, batch.targets, points, strides, recipe.loss)

    return loss_fn


def run_detector_training(
    recipe: DetectorRecipe,
    packed: DetectionSet,
    run_dir: str | Path,
    *,
    held_out: DetectionSet | None = None,
    judge: Judge | None = None,
    about: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> Path:
    """Trains through all phases, or goes on where the same command stopped.

    Args:
        recipe: The recipe.
        packed: What to train on, packed at any size.
        run_dir: Folder with a subfolder per phase; each validation leaves its weights there, ``latest.npz``.
        held_out: Pictures to validate on, never trained on; None validates nothing.
        judge: ``(detections of held_out at the phase's size, size) -> numbers``, which are logged.
        about: JSON that goes into the weights' description, such as where the boxes come from.
        progress: As in :func:`lvm_mtc.training.train`.

    Returns:
        The last phase's weights, ``<run_dir>/<phase>/weights.npz``: ``params`` and ``batch_stats``, float32.

    Raises:
        ValueError: if a label is not below ``num_classes``.
        Exception: as :func:`lvm_mtc.training.train`.
    """
    _check_labels(recipe, packed)
    variables, path, validates = init_detector(recipe), None, judge is not None and held_out is not None
    data = {name: getattr(packed, name) for name in ("pictures", "extents", "boxes", "labels", "valid")}
    for number, phase in enumerate(recipe.phases):
        folder = Path(run_dir) / f"phase{number}_{phase.size}"
        state = train(
            phase.train,
            loss_fn=make_detector_loss_fn(recipe, phase.size, variables["batch_stats"]),
            batch_fn=make_detector_batch_fn(phase.size, phase.train.batch_size, phase.augmentation),
            data=data,
            init_params=variables["params"],
            run_dir=folder,
            fingerprint={
                "phase": number,
                "size": phase.size,
                "pictures": len(packed.pictures),
                "sum": int(packed.pictures.sum(dtype=np.uint64)),
                "variant": recipe.variant,
                "num_classes": recipe.num_classes,
                "loss": to_dict(recipe.loss),
                "augmentation": to_dict(phase.augmentation),
            },
            validate=_validation(recipe, number, packed, held_out, judge, folder, about) if validates else None,
            progress=progress,
        )
        variables = finish(recipe, averaged_params(state), packed, phase.size)
        path = folder / "weights.npz"
        save_weights(path, variables, describe(recipe, number, packed, about), dtype="float32")
    return path


def finish(recipe: DetectorRecipe, params: Mapping[str, Any], packed: DetectionSet, size: int) -> dict[str, Any]:
    """Adds to parameters the running statistics that belong to them.

    Args:
        recipe: Network and number of pictures.
        params: Parameters.
        packed: Training pictures, of which evenly spaced ones are taken, not augmented.
        size: Side of the network's input, pixels.

    Returns:
        ``{"params": ..., "batch_stats": ...}``, numpy arrays.
    """
    count = min(recipe.statistics_pictures, len(packed.pictures))
    ids = np.linspace(0, len(packed.pictures) - 1, count).astype(int)
    model = FlashSAM(recipe.variant, recipe.num_classes)
    batches = (images for images, _ in _batches(packed.pictures[ids], size))
    stats = batch_statistics(model, params, batches)
    return jax.tree.map(np.asarray, {"params": dict(params), "batch_stats": stats})


def run_detector(
    variables: Mapping[str, Any],
    pictures: np.ndarray,
    size: int,
    *,
    variant: str = "n",
    num_classes: int = 1,
    max_boxes: int = 100,
    iou_threshold: float = 0.7,
    score_threshold: float = 0.001,
) -> Detections:
    """Detects on many pictures, batch by batch.

    Args:
        variables: ``params`` and ``batch_stats``.
        pictures: ``[M, S, S, 3]`` uint8.
        size: Side of the network's input, pixels, a multiple of 32.
        variant: Size of the network.
        num_classes: Its classes.
        max_boxes: Boxes per picture.
        iou_threshold: Of the non-maximum suppression.
        score_threshold: Likewise.

    Returns:
        Detections of numpy arrays ``[M, max_boxes, ...]``, boxes in pixels of ``pictures``.
    """
    thresholds = max_boxes, iou_threshold, score_threshold
    forward = _forward(variant, num_classes, size, *thresholds)
    parts = []
    for images, count in _batches(pictures, size):
        parts.append(jax.tree.map(lambda leaf: np.asarray(leaf)[:count], forward(variables, images)))  # noqa: B023
    found = Detections(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return found._replace(boxes=found.boxes * (pictures.shape[1] / size))


_compiled: dict[tuple, Callable] = {}


def _forward(variant, num_classes, size, max_boxes, iou_threshold, score_threshold) -> Callable:
    """The compiled forward pass; one per configuration, however often a run validates."""
    name = variant, num_classes, size, max_boxes, iou_threshold, score_threshold
    if name not in _compiled:
        model, (points, strides) = FlashSAM(variant, num_classes), anchor_points(size, size)

        def forward(variables, images):
            raw = model.apply(variables, images, train=False)
            return detect(raw, points, strides, max_boxes, iou_threshold, score_threshold)

        _compiled[name] = jax.jit(forward)
    return _compiled[name]


def _batches(pictures: np.ndarray, size: int) -> Iterable[tuple[jax.Array, int]]:
    """Batches of one shape ``[20, size, size, 3]`` in [0, 1], the last one padded, and how many of each are real."""
    for start in range(0, len(pictures), _EVALUATION_BATCH):
        part = pictures[start : start + _EVALUATION_BATCH]
        count = len(part)
        if count < _EVALUATION_BATCH:
            part = np.concatenate([part, np.repeat(part[-1:], _EVALUATION_BATCH - count, axis=0)])
        yield _resize(part, size), count


def _resize(pictures: np.ndarray, size: int) -> jax.Array:
    images = jnp.asarray(pictures, jnp.float32) / 255
    if pictures.shape[1] == size:
        return images
    return jax.image.resize(images, (len(pictures), size, size, 3), method="linear")


def _validation(recipe, number, packed, held_out, judge, folder, about) -> Callable:
    """Judges the averaged weights, and leaves them in ``latest.npz``."""
    size = recipe.phases[number].size

    def validate(params, step):
        variables = finish(recipe, params, packed, size)
        found = run_detector(variables, held_out.pictures, size, variant=recipe.variant, num_classes=recipe.num_classes)
        description = describe(recipe, number, packed, about) | {"unfinished": f"step {step}"}
        save_weights(folder / "latest.npz", variables, description, dtype="float32")
        return judge(found, size)

    return validate


def _check_labels(recipe: DetectorRecipe, packed: DetectionSet) -> None:
    largest = int(packed.labels[packed.valid].max(initial=0))
    if largest >= recipe.num_classes:
        raise ValueError(f"packed labels reach {largest}, but DetectorRecipe.num_classes is {recipe.num_classes}")


def describe(recipe: DetectorRecipe, phase: int, packed: DetectionSet, about: Mapping[str, Any] | None) -> dict:
    """Where weights come from: recipe, data, seed and versions, as JSON."""
    packages = ("jax", "flax", "optax", "numpy")
    return {
        "model": {"name": "FlashSAM", "variant": recipe.variant, "num_classes": recipe.num_classes},
        "recipe": to_dict(recipe),
        "phase": phase,
        "size": recipe.phases[phase].size,
        "seed": recipe.phases[0].train.seed,
        "data": {
            "pictures": len(packed.pictures),
            "sum": int(packed.pictures.sum(dtype=np.uint64)),
            "boxes": int(packed.valid.sum()),
            **dict(about or {}),
        },
        "versions": {
            "lvm_mtc": lvm_mtc.__version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "device": jax.devices()[0].device_kind,
    }


def export_detector(source: str | Path, target: str | Path, scores: Mapping[str, Any] | None = None) -> None:
    """Writes a run's weights as they ship: float16, with what they scored."""
    variables, metadata = load_weights(source)
    save_weights(target, variables, metadata | ({"scores": dict(scores)} if scores else {}), dtype="float16")
