"""Goal filters on pictures whose objects have annotated classes: what does the text "a <class>" pick?

A query is one class of one picture. Every filter chooses among the same candidates, as ``KnowledgeBase.locate`` does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from lvm_mtc.data.boxes import center_prior
from lvm_mtc.data.detection_packing import DetectionSet
from lvm_mtc.data.voc import VOC_CLASSES
from lvm_mtc.knowledge import ClassifierWordsFilter, GoalFilter, ScoreFilter
from lvm_mtc.knowledge.crops import clip_boxes
from lvm_mtc.metrics.detection import IOU_THRESHOLD, Estimate, iou_matrix
from lvm_mtc.models.detection import Detections
from lvm_mtc.training.detector.judge import no_detections

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0, 2.0)
"""Powers of the detector's score that are tried on training pictures."""
_PLAIN = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "television"}
TEXTS = tuple(f"{'an' if name == 'aeroplane' else 'a'} {_PLAIN.get(name, name)}" for name in VOC_CLASSES)
"""The task text of each class of VOC."""

_AT_ONCE = 4  # pictures
_STEP = 8  # Places for candidates are a multiple of it: few programs, few empty crops.


class Queries(NamedTuple):
    """Every class, a number in ``VOC_CLASSES``, of every picture, ``[Q]``; ``several``: it shows others too."""

    picture: np.ndarray
    label: np.ndarray
    several: np.ndarray


class Hits(NamedTuple):
    """Whether boxes are the right ones, ``[Q, N]`` bool each.

    Attributes:
        iou: It has IoU >= 0.5 with an object of the class.
        overlap: The annotated object that it overlaps most is of the class.
    """

    iou: np.ndarray
    overlap: np.ndarray

    def at(self, choice: np.ndarray) -> Hits:
        """Those of one box a query, by its number ``[Q]``: ``[Q]`` bool each."""
        return Hits(*(hit[np.arange(len(choice)), choice] for hit in self))


def queries_of(truth: DetectionSet) -> Queries:
    """All classes of all pictures, in the order of the pictures."""
    classes = [np.unique(truth.labels[i, truth.valid[i]]) for i in range(len(truth.pictures))]
    counts = np.array([len(labels) for labels in classes])
    return Queries(np.repeat(np.arange(len(counts)), counts), np.concatenate(classes), np.repeat(counts > 1, counts))


def as_candidates(detections: Detections, extents: np.ndarray, count: int) -> Detections:
    """A detector's boxes as the knowledge base ranks them: inside the picture, best first, at most ``count``.

    A picture without a box gets the centre prior as its only one, which is what the knowledge base answers there; its
    score is 1. NumPy arrays ``[M, D, ...]``, and the pictures' heights and widths ``[M, 2]``, to ``[M, count, ...]``.
    """
    places = no_detections(len(extents), count)
    for i, (height, width) in enumerate(extents.tolist()):
        boxes, valid = (np.asarray(a) for a in clip_boxes(detections.boxes[i], detections.valid[i], height, width))
        order = np.flatnonzero(valid)
        order = order[np.argsort(-detections.scores[i, order], kind="stable")][:count]
        parts = boxes[order], detections.scores[i, order], detections.labels[i, order], valid[order]
        if not len(order):
            parts = center_prior(height, width)[None], np.ones(1), np.full(1, -1), np.ones(1, bool)
        for place, part in zip(places, parts, strict=True):
            place[i, : len(part)] = part
    return places


def similarities(
    goal_filter: GoalFilter, texts: Sequence[str], pictures: np.ndarray, extents: np.ndarray, candidates: Detections,
    label: str | None = None,
) -> np.ndarray:  # fmt: skip
    """What a filter says of every candidate, for all texts at once: the crops of a picture are looked at once.

    Args:
        goal_filter: Ranks the candidates.
        texts: What the task is about.
        pictures: ``[M, S, S, 3]`` uint8, the content in the upper left corner.
        extents: ``[M, 2]``, height and width of the content, pixels.
        candidates: ``[M, N, ...]`` of :func:`as_candidates`.
        label: Of a progress bar; None for none.

    Returns:
        ``[M, num_texts, N]`` float32, minus infinity where not valid; the score filter's where a text is of no use.
    """
    arrays = [goal_filter.prepare(text).array for text in texts]
    usable = np.array([array is not None for array in arrays])
    similarity = np.repeat(_by_score(candidates, extents)[:, None], len(texts), axis=1)
    if usable.any():
        stacked = np.stack([np.asarray(array) for array in arrays if array is not None])
        counts = candidates.valid.sum(axis=1)
        order = np.argsort(counts, kind="stable")
        for start in tqdm(range(0, len(order), _AT_ONCE), desc=label, mininterval=2.0, disable=label is None):
            rows = order[start : start + _AT_ONCE]
            ids = np.concatenate([rows, np.repeat(rows[-1:], _AT_ONCE - len(rows))])
            places = min(-(-counts[rows[-1]] // _STEP) * _STEP, candidates.valid.shape[1])
            images = np.stack([_without_border(pictures[i], *extents[i]) for i in ids]).astype(np.float32) / 255
            of_rows = Detections(*(a[ids, :places] for a in candidates))
            ranked = _rank(goal_filter.score, goal_filter.params, stacked, images, of_rows)
            similarity[rows[:, None], np.flatnonzero(usable), :places] = np.swapaxes(ranked, 0, 1)[: len(rows)]
    return np.where(candidates.valid[:, None], similarity, -np.inf)


def _by_score(candidates: Detections, extents: np.ndarray) -> np.ndarray:
    """Similarities ``[M, N]`` of the score filter, which looks at the pictures' sizes alone."""
    blank = (np.broadcast_to(np.float32(0), (1, *extent, 3)) for extent in extents.tolist())
    parts = (Detections(*(a[i : i + 1] for a in candidates)) for i in range(len(extents)))
    return np.concatenate([ScoreFilter().score(None, None, *both) for both in zip(blank, parts, strict=True)])


@functools.partial(jax.jit, static_argnums=0)
def _rank(score: Callable, params: Any, queries: jax.Array, images: jax.Array, candidates: Detections) -> jax.Array:
    return jax.vmap(score, in_axes=(None, 0, None, None))(params, queries, images, candidates)


def _without_border(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The content's last row and column in place of the grey, so that crops at the edge see none of it."""
    size = len(picture)
    return np.pad(picture[:height, :width], ((0, size - height), (0, size - width), (0, 0)), mode="edge")


def judge_boxes(boxes: np.ndarray, queries: Queries, truth: DetectionSet) -> Hits:
    """Whether boxes ``[Q, N, 4]``, N a query, ``(x, y, w, h)``, centre, pixels of ``truth``, are the right ones."""
    iou, overlap = (np.zeros(boxes.shape[:2], bool) for _ in range(2))
    for q, (picture, label, _) in enumerate(zip(*queries, strict=True)):
        valid = truth.valid[picture]
        shared, right = iou_matrix(boxes[q], truth.boxes[picture, valid]), truth.labels[picture, valid] == label
        iou[q] = shared[:, right].max(axis=1) >= IOU_THRESHOLD
        overlap[q] = (shared.max(axis=1) > 0) & right[shared.argmax(axis=1)]
    return Hits(iou, overlap)


def share(hits: np.ndarray, picture: np.ndarray, *, draws: int = 1000, seed: int = 0) -> Estimate:
    """Share of hits ``[Q]``, bool or probabilities, with a 95 % percentile interval over resampled pictures.

    Queries of one ``picture``, a number each, go together, and equal seeds draw the same pictures.
    """
    _, group = np.unique(picture, return_inverse=True)
    sums, counts = np.bincount(group, np.float64(hits)), np.bincount(group)
    if len(counts) < 2:
        raise ValueError(f"share needs hits of two or more pictures, got {len(counts)}")
    ids = np.random.default_rng(seed).integers(0, len(counts), size=(draws, len(counts)))
    low, high = np.quantile(sums[ids].sum(axis=1) / counts[ids].sum(axis=1), [0.025, 0.975])
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))


def measure_filters(
    name: str, candidates: Detections, filters: Sequence[GoalFilter], truth: DetectionSet
) -> list[dict[str, Any]]:
    """Every filter's choice for every class of every picture, beside a random choice and the best possible one.

    The candidates are those of ``name``. One row a filter: shares of hits over all queries and, where there is more
    than one such picture, over those of pictures with several classes.
    """
    queries = queries_of(truth)
    valid = candidates.valid[queries.picture]
    hits = judge_boxes(candidates.boxes[queries.picture], queries, truth)
    choices = {"random candidate": Hits(*((hit & valid).sum(axis=1) / valid.sum(axis=1) for hit in hits))}
    for goal_filter in filters:
        label = f"{name}: {goal_filter.name}"
        values = similarities(goal_filter, TEXTS, truth.pictures, truth.extents, candidates, label)
        kinds = {goal_filter.name: values[queries.picture, queries.label]}
        if isinstance(goal_filter, ClassifierWordsFilter):
            alone = kinds[goal_filter.name] * score_factor(candidates, -goal_filter.score_power)[queries.picture]
            kinds = {f"{goal_filter.name}, without the score": alone, **kinds}
        for kind, value in kinds.items():
            choices[kind] = hits.at(value.argmax(axis=1))
    choices["best candidate"] = Hits(*((hit & valid).any(axis=1) for hit in hits))
    groups = {"all": np.ones(len(valid), bool)}
    if len(set(queries.picture[queries.several])) > 1:
        groups["several"] = queries.several
    return [
        {"candidates": name, "filter": kind} | {group: shares_of(chosen, queries, of) for group, of in groups.items()}
        for kind, chosen in choices.items()
    ]


def measure_powers(
    words: ClassifierWordsFilter, candidates_by_name: dict[str, Detections], truth: DetectionSet
) -> list[dict[str, Any]]:
    """Hits of classifier-words for several powers of the detector's score on training pictures, one row each."""
    queries, rows = queries_of(truth), []
    for name, candidates in candidates_by_name.items():
        values = similarities(words, TEXTS, truth.pictures, truth.extents, candidates, f"{name}: training pictures")
        hits = judge_boxes(candidates.boxes[queries.picture], queries, truth)
        for power in POWERS:
            factor = score_factor(candidates, power - words.score_power)[queries.picture]
            choice = (values[queries.picture, queries.label] * factor).argmax(axis=1)
            everywhere = np.ones(len(choice), bool)
            rows.append({"candidates": name, "power": power} | shares_of(hits.at(choice), queries, everywhere))
    return rows


def score_factor(candidates: Detections, power: float) -> np.ndarray:
    """The detector's scores to a power, ``[M, N]``; 1 where there is no candidate."""
    return np.where(candidates.valid, candidates.scores, 1) ** power


def shares_of(hits: Hits, queries: Queries, of: np.ndarray) -> dict[str, Any]:
    """Shares with intervals of some of the queries, and how many they are."""
    shares = {part: share(hit[of], queries.picture[of]) for part, hit in hits._asdict().items()}
    return shares | {"queries": int(of.sum())}
