"""Knowledge bases from weights files: the shipped detector, and the goal filter that the user has weights for."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.config import unknown_name_message
from lvm_mtc.data.word_vectors import read_word_vectors
from lvm_mtc.interop.classifier_weights import load_classifier
from lvm_mtc.interop.clip_weights import load_clip
from lvm_mtc.knowledge import (
    FILTERS,
    ClassifierWordsFilter,
    ClipFilter,
    KnowledgeBase,
    LabelFilter,
    ScoreFilter,
    flashsam_detector,
)
from lvm_mtc.models.flashsam import FLASHSAM_VARIANTS, FlashSAM, fold_batch_norm
from lvm_mtc.models.weights import SHIPPED, WeightsError, check_params, load_weights

DETECTOR_WEIGHTS = SHIPPED / "flashsam_n.npz"


def load_knowledge_base(
    detector: str | os.PathLike = DETECTOR_WEIGHTS,
    *,
    goal_filter: str | None = None,
    clip: str | os.PathLike | None = None,
    clip_activation: str | None = None,
    classifier: str | os.PathLike | None = None,
    words: str | os.PathLike | None = None,
) -> KnowledgeBase:
    """Reads a detector, and the weights of a goal filter.

    Args:
        detector: Weights file of ``experiments/detector/export.py``.
        goal_filter: Key of ``knowledge.FILTERS``; None takes the best that the other files allow: ``"clip"``, then
            ``"classifier-words"``, then ``"label"`` if the detector has classes, then ``"score"``.
        clip: CLIP's weights, as ``interop.clip_weights.load_clip`` reads them.
        clip_activation: As in ``load_clip``: None takes it from the configuration beside the weights.
        classifier: EfficientNet-Lite0's, as ``interop.classifier_weights.load_classifier`` reads them.
        words: Word vectors, as ``data.word_vectors.read_word_vectors`` reads them.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is not what it should be, or the filter's weights are not named.
    """
    variables, model = _load_detector(detector)
    detect = flashsam_detector(model["variant"], model["num_classes"], input_size=model["input_size"])
    params = jax.tree.map(jnp.asarray, fold_batch_norm(variables["params"], variables["batch_stats"]))
    class_names = tuple(model.get("class_names", ()))
    if goal_filter is None and clip is not None:
        goal_filter = "clip"
    elif goal_filter is None and (classifier is not None or words is not None):
        goal_filter = "classifier-words"
    elif goal_filter is None:
        goal_filter = "label" if class_names else "score"
    if goal_filter not in FILTERS:
        raise ValueError(unknown_name_message(f"goal_filter {goal_filter!r}", goal_filter, FILTERS))
    files = {"clip": {"clip": clip}, "classifier-words": {"classifier": classifier, "words": words}}
    missing = [source for source, file in files.get(goal_filter, {}).items() if file is None]
    if missing:
        raise ValueError(f"goal_filter {goal_filter!r} needs weights of {' and '.join(missing)}, which were not given")
    if goal_filter == "clip":
        chosen = ClipFilter.create(*load_clip(clip, activation=clip_activation))
    elif goal_filter == "classifier-words":
        chosen = ClassifierWordsFilter.create(load_classifier(classifier), read_word_vectors(words))
    else:
        chosen = LabelFilter(class_names) if goal_filter == "label" else ScoreFilter()
    return KnowledgeBase(detect=detect, params=params, goal_filter=chosen)


def _load_detector(path: str | os.PathLike) -> tuple[dict[str, Any], Mapping[str, Any]]:
    variables, metadata = load_weights(path)
    model = metadata.get("model")
    fields = {"variant": str, "num_classes": int, "input_size": int}
    if not isinstance(model, dict) or any(not isinstance(model.get(name), kind) for name, kind in fields.items()):
        wanted = f"metadata 'model' with {', '.join(fields)}"
        raise WeightsError(f"{path} does not say which detector its weights are for ({wanted})")
    if model["variant"] not in FLASHSAM_VARIANTS:
        raise WeightsError(f"{path}: variant {model['variant']!r} is none of {', '.join(FLASHSAM_VARIANTS)}")
    network = FlashSAM(model["variant"], model["num_classes"])
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    check_params(variables, jax.eval_shape(network.init, jax.random.key(0), image), name=str(path))
    return variables, model
