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
from lvm_mtc.training.detector_batches import make_detector_batch_fn
from lvm_mtc.training.detector_inference import picture_batches, run_detector
from lvm_mtc.training.detector_lessons import Lesson, guide_lesson, teacher_lesson
from lvm_mtc.training.detector_loss import detector_loss
from lvm_mtc.training.detector_mosaic import mosaic_batch_fn
from lvm_mtc.training.detector_recipe import DetectorPhase, DetectorRecipe, describe, digest
from lvm_mtc.training.detector_statistics import batch_statistics
from lvm_mtc.training.detector_teacher import YoloxTeacher
from lvm_mtc.training.loop import train
from lvm_mtc.training.state import averaged_params

Judge = Callable[[Detections, int], Mapping[str, float]]

# Keeps a lesson's draws apart from the network's own of the same seed.
_LESSON_STREAM = 1


def init_detector(recipe: DetectorRecipe) -> dict[str, Any]:
    """Variables before training, ``{"params": ..., "batch_stats": ...}``, from the first phase's seed."""
    model = FlashSAM(recipe.variant, recipe.num_classes)
    images = jnp.zeros((1, 64, 64, 3))
    return jax.jit(model.init)(jax.random.key(recipe.phases[0].train.seed), images)


def make_detector_loss_fn(
    recipe: DetectorRecipe, phase: DetectorPhase, batch_stats: Mapping[str, Any], lesson: Lesson | None = None
) -> Callable:
    """Builds ``loss_fn(params, batch, key) -> (loss, metrics)`` for :func:`lvm_mtc.training.train`.

    Args:
        recipe: The recipe.
        phase: Its phase.
        batch_stats: Running statistics of any value: the training mode only writes them.
        lesson: What the network learns beside the boxes. With one, parameters are ``{"network": ..., "lesson": ...}``
            and a batch comes from the lesson's ``batch_fn``.
    """
    model = FlashSAM(recipe.variant, recipe.num_classes)
    points, strides = anchor_points(phase.size, phase.size)

    def plain_loss(params, batch, key):
        variables = {"params": params, "batch_stats": batch_stats}
        with fast_gradients():
            raw, _ = model.apply(variables, batch.images, train=True, mutable=["batch_stats"])
        return detector_loss(raw, batch.targets, points, strides, recipe.loss)

    def loss_with_lesson(params, batch, key):
        batch, answers = batch
        variables = {"params": params["network"], "batch_stats": batch_stats}
        with fast_gradients():
            raw, state = model.apply(
                variables,
                batch.images,
                train=True,
                capture_intermediates=lesson.is_captured,
                mutable=["batch_stats", "intermediates"],
            )
        loss, metrics = detector_loss(raw, batch.targets, points, strides, recipe.loss)
        learned, more = lesson.loss(params["lesson"], raw, state["intermediates"], answers)
        return loss + learned, metrics | more

    return plain_loss if lesson is None else loss_with_lesson


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

    Raises:
        ValueError: if a label is not below ``num_classes``, or a phase wants a guide or a teacher and there is none.
        WeightsError: if ``start`` cannot be read or holds another network.
        Exception: as :func:`lvm_mtc.training.train`.
    """
    for packed in packs:
        _check_labels(recipe, packed)
    if guide is None and any(phase.guide_weight for phase in recipe.phases):
        raise ValueError("guide must hold the classifier's parameters: a phase of the recipe has a guide_weight")
    if teacher is None and any(phase.teacher_weight for phase in recipe.phases):
        raise ValueError("teacher must be a detector: a phase of the recipe has a teacher_weight")
    variables, path = init_detector(recipe), None
    if start is not None:
        variables, origin = load_weights(start, variables)
        about = dict(about or {}) | {"start": origin | {"sha256": digest(variables)}}
    for number, phase in enumerate(recipe.phases):
        packed = pack_for(phase, packs)
        folder = Path(run_dir) / f"phase{number}_{phase.size}"
        validates = judge is not None and held_out is not None
        params = _run_phase(
            recipe,
            number,
            packed,
            variables,
            folder,
            origin=about["start"]["sha256"] if start is not None else None,
            lesson=_lesson(recipe, phase, variables, guide, teacher),
            validate=_validation(recipe, number, packs, held_out, judge, folder, about) if validates else None,
            progress=progress,
        )
        variables = finish(recipe, params, packed, phase.size)
        path = folder / "weights.npz"
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
    if not phase.guide_weight and not phase.teacher_weight:
        return None
    model = FlashSAM(recipe.variant, recipe.num_classes)
    key = jax.random.fold_in(jax.random.key(phase.train.seed), _LESSON_STREAM)
    if phase.guide_weight:
        return guide_lesson(key, model, variables, guide, phase.size, phase.guide_weight)
    return teacher_lesson(key, model, variables, teacher, phase.size, phase.teacher_weight, recipe.loss)


def _run_phase(recipe, number, packed, variables, folder, *, origin, lesson, validate, progress) -> dict[str, Any]:
    """Trains one phase and returns the network's averaged parameters."""
    phase, params = recipe.phases[number], variables["params"]
    packed = _from_source(packed, phase.source)
    data = {name: getattr(packed, name) for name in ("pictures", "extents", "boxes", "labels", "valid")}
    batch_fn = make_detector_batch_fn(phase.size, phase.train.batch_size, phase.augmentation)
    identity = {
        "phase": number,
        "size": phase.size,
        "pictures": len(packed.pictures),
        "sum": int(packed.pictures.sum(dtype=np.uint64)),
        "variant": recipe.variant,
        "num_classes": recipe.num_classes,
        "loss": to_dict(recipe.loss),
        "augmentation": to_dict(phase.augmentation),
    }
    network_of = _itself
    if origin:
        identity["start"] = origin
    if phase.source:
        identity["source"] = phase.source
    if phase.mosaic:
        identity["mosaic"] = phase.mosaic
        batch_fn = mosaic_batch_fn(batch_fn, phase.mosaic, phase.augmentation.min_side)
    for name in ("guide_weight", "teacher_weight"):
        if getattr(phase, name):
            identity[name] = getattr(phase, name)
    if lesson is not None:
        data, batch_fn, network_of = data | lesson.data, lesson.batch_fn(batch_fn), _network
        params = {"network": params, "lesson": lesson.params}
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


def _from_source(packed: DetectionSet, source: str) -> DetectionSet:
    chosen = np.char.startswith(packed.source, source)
    if not chosen.any():
        raise ValueError(f"packed has no picture whose name begins with DetectorPhase.source {source!r}")
    return DetectionSet(*(column[chosen] for column in packed))


def _itself(params):
    return params


def _network(params):
    return params["network"]


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
    batches = (images for images, _ in picture_batches(packed.pictures[ids], size))
    stats = batch_statistics(model, params, batches)
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


def _check_labels(recipe: DetectorRecipe, packed: DetectionSet) -> None:
    largest = int(packed.labels[packed.valid].max(initial=0))
    if largest >= recipe.num_classes:
        raise ValueError(f"packed labels reach {largest}, but DetectorRecipe.num_classes is {recipe.num_classes}")


def export_detector(
    source: str | Path,
    target: str | Path,
    input_size: int,
    scores: Mapping[str, Any] | None = None,
    *,
    batch_stats: Mapping[str, Any] | None = None,
) -> None:
    """Writes a run's weights as they ship: float16, with the input size to use them at and what they scored there.

    Args:
        source: The run's weights file.
        target: The file to write.
        input_size: Side of the network's input, pixels.
        scores: JSON that goes into the description.
        batch_stats: Running statistics of :func:`finish` at ``input_size``; None keeps those of the run.
    """
    variables, metadata = load_weights(source)
    if batch_stats is not None:
        variables = {**variables, "batch_stats": batch_stats}
    metadata["model"]["input_size"] = input_size
    save_weights(target, variables, metadata | ({"scores": dict(scores)} if scores else {}), dtype="float16")
