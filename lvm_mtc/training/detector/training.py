"""Step 1 of the paper's training: FlashSAM on pictures with boxes, in phases of growing resolution.

The batch norms use the batch's statistics while training; their running statistics are not carried along but computed
afterwards, for the very weights that are judged or shipped (the averaged ones), from training pictures.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.config import to_dict
from lvm_mtc.data.detection_packing import DetectionSet
from lvm_mtc.models.detection import Detections, anchor_points
from lvm_mtc.models.fast_gradients import fast_gradients
from lvm_mtc.models.flashsam import FlashSAM
from lvm_mtc.models.weights import load_weights, save_weights
from lvm_mtc.training.detector.batches import make_detector_batch_fn
from lvm_mtc.training.detector.guide import guide_lesson
from lvm_mtc.training.detector.inference import picture_batches, run_detector
from lvm_mtc.training.detector.lessons import Lesson, outputs_of
from lvm_mtc.training.detector.loss import detector_loss
from lvm_mtc.training.detector.mosaic import mosaic_batch_fn
from lvm_mtc.training.detector.recipe import DetectorPhase, DetectorRecipe, describe
from lvm_mtc.training.detector.statistics import batch_statistics
from lvm_mtc.training.detector.teacher import YoloxTeacher, teacher_lesson
from lvm_mtc.training.loop import train
from lvm_mtc.training.provenance import digest
from lvm_mtc.training.state import averaged_params

Judge = Callable[[Detections, int], Mapping[str, float]]

# Keeps a lesson's draws apart from the network's own of the same seed.
_LESSON_STREAM = 1


def init_detector(recipe: DetectorRecipe) -> dict[str, Any]:
    """Variables before training, ``{"params": ..., "batch_stats": ...}``, from the first phase's seed."""
    model = FlashSAM(recipe.variant, recipe.num_classes)
    return jax.jit(model.init)(jax.random.key(recipe.phases[0].train.seed), jnp.zeros((1, 64, 64, 3)))


def make_detector_loss_fn(
    recipe: DetectorRecipe, phase: DetectorPhase, batch_stats: Mapping[str, Any], lesson: Lesson | None = None
) -> Callable:
    """Builds ``loss_fn(params, batch, key) -> (loss, metrics)`` for :func:`lvm_mtc.training.train`.

    ``batch_stats`` may have any value: the training mode only writes them. With a lesson, parameters are ``{"network":
    ..., "lesson": ...}`` and a batch comes from ``lesson.batch_fn``.
    """
    model = FlashSAM(recipe.variant, recipe.num_classes)
    points, strides = anchor_points(phase.size, phase.size)
    modules = () if lesson is None else lesson.modules

    def loss_fn(params, batch, key):
        network, (batch, answers) = (params, (batch, None)) if lesson is None else (params["network"], batch)
        variables = {"params": network, "batch_stats": batch_stats}
        with fast_gradients():
            raw, state = model.apply(
                variables,
                batch.images,
                train=True,
                capture_intermediates=outputs_of(modules),
                mutable=["batch_stats", "intermediates"],
            )
        loss, metrics = detector_loss(raw, batch.targets, points, strides, recipe.loss)
        if lesson is None:
            return loss, metrics
        learned, more = lesson.loss(params["lesson"], raw, state["intermediates"], answers)
        return loss + learned, metrics | more

    return loss_fn


def run_detector_training(
    recipe: DetectorRecipe,
    packs: Sequence[DetectionSet],
    run_dir: str | Path,
    *,
    held_out: DetectionSet | None = None,
    judge: Judge | None = None,
    guide: Mapping[str, Any] | None = None,
    teacher: YoloxTeacher | None = None,
    start: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> Path:
    """Trains through all phases, or goes on where the same command stopped.

    Args:
        recipe: The recipe.
        packs: What to train on, packed at one size or several: each phase takes the one that :func:`pack_for` names.
        run_dir: Folder with a subfolder per phase; each validation leaves its weights there, ``latest.npz``.
        held_out: Pictures to validate on, never trained on; None validates nothing.
        judge: ``(detections of held_out at the phase's size, size) -> numbers``, which are logged.
        guide: Parameters of ``EfficientNetLite0``, where a phase has a ``guide_weight``.
        teacher: The detector that teaches, where a phase has a ``teacher_weight``.
        start: Weights file to begin with, of the same network; None draws weights.
        about: JSON that goes into the weights' description, such as where the boxes come from.
        progress: As in :func:`lvm_mtc.training.train`.

    Returns:
        The last phase's weights, ``<run_dir>/<phase>/weights.npz``: ``params`` and ``batch_stats``, float32.
    """
    for packed in packs:
        largest = int(packed.labels[packed.valid].max(initial=0))
        if largest >= recipe.num_classes:
            raise ValueError(f"packed labels reach {largest}, but DetectorRecipe.num_classes is {recipe.num_classes}")
    if guide is None and any(phase.guide_weight for phase in recipe.phases):
        raise ValueError("guide must hold the classifier's parameters: a phase of the recipe has a guide_weight")
    if teacher is None and any(phase.teacher_weight for phase in recipe.phases):
        raise ValueError("teacher must be a detector: a phase of the recipe has a teacher_weight")
    variables, origin = init_detector(recipe), None
    if start is not None:
        variables, described = load_weights(start, variables)
        origin = digest(variables)
        about = dict(about or {}) | {"start": described | {"sha256": origin}}
    for number, phase in enumerate(recipe.phases):
        packed, folder = pack_for(phase, packs), Path(run_dir) / f"phase{number}_{phase.size}"
        validate = None
        if judge is not None and held_out is not None:
            validate = _validation(recipe, number, packs, held_out, judge, folder, about)
        lesson = _lesson(recipe, phase, variables, guide, teacher)
        params = _run_phase(recipe, number, packed, variables, folder, origin, lesson, validate, progress)
        variables, path = finish(recipe, params, packed, phase.size), folder / "weights.npz"
        save_weights(path, variables, describe(recipe, number, packs, about), dtype="float32")
    return path


def pack_for(phase: DetectorPhase, packs: Sequence[DetectionSet]) -> DetectionSet:
    """Of sets packed at several sizes, the smallest that a phase need not enlarge; else the largest."""
    if not packs:
        raise ValueError("packs must hold at least one set, got none")
    sizes = [packed.pictures.shape[1] for packed in packs]
    enough = [size for size in sizes if size >= phase.size]
    return packs[sizes.index(min(enough) if enough else max(sizes))]


def _lesson(recipe, phase, variables, guide, teacher) -> Lesson | None:
    """What a phase teaches beside the boxes."""
    model = FlashSAM(recipe.variant, recipe.num_classes)
    key = jax.random.fold_in(jax.random.key(phase.train.seed), _LESSON_STREAM)
    if phase.guide_weight:
        return guide_lesson(key, model, variables, phase, guide)
    if phase.teacher_weight:
        return teacher_lesson(key, model, variables, phase, teacher, recipe.loss)
    return None


def _run_phase(recipe, number, packed, variables, folder, origin, lesson, validate, progress) -> dict[str, Any]:
    """Trains one phase and returns the network's averaged parameters."""
    phase, params = recipe.phases[number], variables["params"]
    chosen = np.char.startswith(packed.source, phase.source)
    if not chosen.any():
        raise ValueError(f"packed has no picture whose name begins with DetectorPhase.source {phase.source!r}")
    data = {name: getattr(packed, name)[chosen] for name in ("pictures", "extents", "boxes", "labels", "valid")}
    batch_fn = make_detector_batch_fn(phase.size, phase.train.batch_size, phase.augmentation)
    identity = {
        "phase": number,
        "size": phase.size,
        "pictures": len(data["pictures"]),
        "sum": int(data["pictures"].sum(dtype=np.uint64)),
        "variant": recipe.variant,
        "num_classes": recipe.num_classes,
        "loss": to_dict(recipe.loss),
        "augmentation": to_dict(phase.augmentation),
    }
    later = {name: getattr(phase, name) for name in ("source", "mosaic", "guide_weight", "teacher_weight")}
    identity |= {name: value for name, value in ({"start": origin} | later).items() if value}
    if phase.mosaic:
        batch_fn = mosaic_batch_fn(batch_fn, phase.mosaic, phase.augmentation.min_side)
    if lesson is not None:
        data, batch_fn = data | lesson.data, lesson.batch_fn(batch_fn)
        params = {"network": params, "lesson": lesson.params}

    def network_of(params):
        return params if lesson is None else params["network"]

    state = train(
        phase.train,
        loss_fn=make_detector_loss_fn(recipe, phase, variables["batch_stats"], lesson),
        batch_fn=batch_fn,
        data=data,
        init_params=params,
        run_dir=folder,
        fingerprint=identity,
        validate=validate and (lambda params, step: validate(network_of(params), step)),
        progress=progress,
    )
    return network_of(averaged_params(state))


def finish(recipe: DetectorRecipe, params: Mapping[str, Any], packed: DetectionSet, size: int) -> dict[str, Any]:
    """Adds to parameters the running statistics that belong to them, from evenly spaced pictures, not augmented.

    ``size`` is the side of the network's input, pixels. ``{"params": ..., "batch_stats": ...}``, numpy arrays.
    """
    count = min(recipe.statistics_pictures, len(packed.pictures))
    ids = np.linspace(0, len(packed.pictures) - 1, count).astype(int)
    batches = (images for images, _ in picture_batches(packed.pictures[ids], size))
    stats = batch_statistics(FlashSAM(recipe.variant, recipe.num_classes), params, batches)
    return jax.tree.map(np.asarray, {"params": dict(params), "batch_stats": stats})


def _validation(recipe, number, packs, held_out, judge, folder, about) -> Callable:
    """Judges the averaged weights, and leaves them in ``latest.npz``."""
    size, packed = recipe.phases[number].size, pack_for(recipe.phases[number], packs)

    def validate(params, step):
        variables = finish(recipe, params, packed, size)
        found = run_detector(variables, held_out.pictures, size, variant=recipe.variant, num_classes=recipe.num_classes)
        description = describe(recipe, number, packs, about) | {"unfinished": f"step {step}"}
        save_weights(folder / "latest.npz", variables, description, dtype="float32")
        return judge(found, size)

    return validate


def export_detector(
    source: str | Path,
    target: str | Path,
    input_size: int,
    scores: Mapping[str, Any] | None = None,
    *,
    batch_stats: Mapping[str, Any] | None = None,
) -> None:
    """Writes a run's weights as they ship: float16, with the input size to use them at and what they scored there.

    ``batch_stats`` are those of :func:`finish` at ``input_size`` (pixels); None keeps those of the run.
    """
    variables, metadata = load_weights(source)
    if batch_stats is not None:
        variables = {**variables, "batch_stats": batch_stats}
    metadata["model"]["input_size"] = input_size
    save_weights(target, variables, metadata | ({"scores": dict(scores)} if scores else {}), dtype="float16")
