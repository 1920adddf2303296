"""Goal filters on pictures whose objects have annotated classes: what does the text "a <class>" pick?

A query is one class of one picture. Every filter chooses among the same candidates, as ``KnowledgeBase.locate`` does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from lvm_mtc.data.boxes import center_prior
from lvm_mtc.data.detection_packing import DetectionSet
from lvm_mtc.data.voc import VOC_CLASSES
from lvm_mtc.evaluation.detection import IOU_THRESHOLD, Estimate, iou_matrix
from lvm_mtc.knowledge import ClassifierWordsFilter, GoalFilter, ScoreFilter
from lvm_mtc.knowledge.crops import clip_boxes
from lvm_mtc.models.detection import Detections

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0, 2.0)
"""Powers of the detector's score that are tried on training pictures."""
_PLAIN = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "television"}
TEXTS = tuple(f"{'an' if name == 'aeroplane' else 'a'} {_PLAIN.get(name, name)}" for name in VOC_CLASSES)
"""The task text of each class of VOC."""

_AT_ONCE = 4  # pictures
_STEP = 8  # Places for candidates are a multiple of it: few programs, few empty crops.


class Queries(NamedTuple):
    """Every class of every picture.

    Attributes:
        picture: ``[Q]``, number of the picture.
        label: ``[Q]``, number of the class in ``VOC_CLASSES``.
        several: ``[Q]`` bool, whether the picture shows two or more classes.
    """

    picture: np.ndarray
    label: np.ndarray
    several: np.ndarray


class Source(NamedTuple):
    """Candidates of one origin.

    Attributes:
        name: In tables.
        candidates: NumPy arrays ``[M, N, ...]`` of :func:`as_candidates`.
        filters: The filters that can rank them.
    """

    name: str
    candidates: Detections
    filters: tuple[GoalFilter, ...]


class Hits(NamedTuple):
    """Whether boxes are the right ones, ``[Q, N]`` bool each.

    Attributes:
        iou: It has IoU >= 0.5 with an object of the class.
        overlap: The annotated object that it overlaps most is of the class.
    """

    iou: np.ndarray
    overlap: np.ndarray


def queries_of(truth: DetectionSet) -> Queries:
    """All classes of all pictures, in the order of the pictures."""
    classes = [np.unique(truth.labels[i, truth.valid[i]]) for i in range(len(truth.pictures))]
    counts = np.array([len(some) for some in classes])
    return Queries(np.repeat(np.arange(len(counts)), counts), np.concatenate(classes), np.repeat(counts > 1, counts))


def as_candidates(found: Detections, extents: np.ndarray, count: int) -> Detections:
    """A detector's boxes as the knowledge base ranks them: inside the picture, best first, at most ``count``.

    A picture without a box gets the centre prior as its only one, which is what the knowledge base answers there; its
    score is 1.

    Args:
        found: NumPy arrays ``[M, D, ...]``.
        extents: ``[M, 2]``, height and width of the pictures, pixels.
        count: Places.

    Returns:
        NumPy arrays ``[M, count, ...]``.
    """
    places = Detections(*(np.zeros((len(extents), count, *last), kind) for last, kind in (
        ((4,), np.float32), ((), np.float32), ((), np.int32), ((), bool))))
    for i, (height, width) in enumerate(extents.tolist()):
        boxes, valid = (np.asarray(a) for a in clip_boxes(found.boxes[i], found.valid[i], height, width))
        order = np.flatnonzero(valid)
        order = order[np.argsort(-found.scores[i, order], kind="stable")][:count]
        parts = boxes[order], found.scores[i, order], found.labels[i, order], valid[order]
        if not len(order):
            parts = center_prior(height, width)[None], np.ones(1), np.full(1, -1), np.ones(1, bool)
        for place, part in zip(places, parts, strict=True):
            place[i, : len(part)] = part
    return places


def similarities(
    goal_filter: GoalFilter,
    texts: Sequence[str],
    pictures: np.ndarray,
    extents: np.ndarray,
    candidates: Detections,
    progress: Callable[[Iterable], Iterable] = iter,
) -> tuple[np.ndarray, np.ndarray]:
    """What a filter says of every candidate, for all texts at once: the crops of a picture are looked at once.

    Args:
        goal_filter: The filter.
        texts: Task texts.
        pictures: ``[M, S, S, 3]`` uint8, the content in the upper left corner.
        extents: ``[M, 2]``, height and width of the content, pixels.
        candidates: NumPy arrays ``[M, N, ...]`` of :func:`as_candidates`.
        progress: Wraps the iterable over parts of the pictures.

    Returns:
        similarity: ``[M, num_texts, N]`` float32, minus infinity where not valid; the score filter's where the
            filter cannot use the text.
        usable: ``[num_texts]`` bool, whether it can.
    """
    arrays = [goal_filter.prepare(text).array for text in texts]
    usable = np.array([array is not None for array in arrays])
    similarity = np.repeat(_by_score(candidates, extents)[:, None], len(texts), axis=1)
    if usable.any():
        stacked = np.stack([np.asarray(array) for array in arrays if array is not None])
        counts = candidates.valid.sum(axis=1)
        order = np.argsort(counts, kind="stable")
        for start in progress(range(0, len(order), _AT_ONCE)):
            rows = order[start : start + _AT_ONCE]
            ids = np.concatenate([rows, np.repeat(rows[-1:], _AT_ONCE - len(rows))])
            places = min(-(-counts[rows[-1]] // _STEP) * _STEP, candidates.valid.shape[1])
            images = np.stack([_without_border(pictures[i], *extents[i]) for i in ids]).astype(np.float32) / 255
            some = Detections(*(a[ids, :places] for a in candidates))
            part = _rank(goal_filter.score, goal_filter.params, stacked, images, some)
            found = np.swapaxes(part, 0, 1)[: len(rows)]
            similarity[rows[:, None], np.flatnonzero(usable), :places] = found
    return np.where(candidates.valid[:, None], similarity, -np.inf), usable


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
    """Whether boxes are the right ones for queries.

    Args:
        boxes: ``[Q, N, 4]``, ``(x, y, w, h)``, centre, pixels of ``truth``; N boxes for each query.
        queries: Q of them.
        truth: Annotated objects.

    Returns:
        Arrays ``[Q, N]``.
    """
    iou, overlap = (np.zeros(boxes.shape[:2], bool) for _ in range(2))
    for q, (picture, label, _) in enumerate(zip(*queries, strict=True)):
        valid = truth.valid[picture]
        shared, right = iou_matrix(boxes[q], truth.boxes[picture, valid]), truth.labels[picture, valid] == label
        iou[q] = shared[:, right].max(axis=1) >= IOU_THRESHOLD
        overlap[q] = (shared.max(axis=1) > 0) & right[shared.argmax(axis=1)]
    return Hits(iou, overlap)


def share(hits: np.ndarray, picture: np.ndarray, *, draws: int = 1000, seed: int = 0) -> Estimate:
    """Share of hits with a 95 % percentile interval over resampled pictures: queries of one picture go together.

    Args:
        hits: ``[Q]`` bool, or probabilities.
        picture: ``[Q]``, number of the picture of each.
        draws: Resamplings.
        seed: Of the resamplings; equal seeds draw the same pictures.

    Returns:
        The share and its interval.

    Raises:
        ValueError: if there are fewer than two pictures.
    """
    _, group = np.unique(picture, return_inverse=True)
    sums, counts = np.bincount(group, np.float64(hits)), np.bincount(group)
    if len(counts) < 2:
        raise ValueError(f"share needs hits of two or more pictures, got {len(counts)}")
    ids = np.random.default_rng(seed).integers(0, len(counts), size=(draws, len(counts)))
    low, high = np.quantile(sums[ids].sum(axis=1) / counts[ids].sum(axis=1), [0.025, 0.975])
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))


def measure_filters(source: Source, truth: DetectionSet) -> list[dict[str, Any]]:
    """Every filter's choice for every class of every picture, beside a random choice and the best possible one.

    Args:
        source: Candidates and filters.
        truth: Pictures and objects.

    Returns:
        One row a filter: shares of hits over all queries and, where there is more than one such picture, over those of
        pictures with several classes.
    """
    queries, candidates = queries_of(truth), source.candidates
    at, valid = np.arange(len(queries.picture)), candidates.valid[queries.picture]
    hits = judge_boxes(candidates.boxes[queries.picture], queries, truth)
    found = {"random candidate": Hits(*((hit & valid).sum(axis=1) / valid.sum(axis=1) for hit in hits))}
    for goal_filter in source.filters:
        values, _ = similarities(
            goal_filter, TEXTS, truth.pictures, truth.extents, candidates,
            functools.partial(tqdm, desc=f"{source.name}: {goal_filter.name}", mininterval=2.0),
        )  # fmt: skip
        kinds = {goal_filter.name: values[queries.picture, queries.label]}
        if isinstance(goal_filter, ClassifierWordsFilter):
            alone = kinds[goal_filter.name] * score_factor(candidates, -goal_filter.score_power)[queries.picture]
            kinds = {f"{goal_filter.name}, without the score": alone, **kinds}
        for name, value in kinds.items():
            found[name] = Hits(*(hit[at, value.argmax(axis=1)] for hit in hits))
    found["best candidate"] = Hits(*((hit & valid).any(axis=1) for hit in hits))
    groups = {"all": np.ones(len(at), bool)}
    if len(set(queries.picture[queries.several])) > 1:
        groups["several"] = queries.several
    return [
        {"candidates": source.name, "filter": name}
        | {group: shares_of(some, queries, of) for group, of in groups.items()}
        for name, some in found.items()
    ]


def measure_powers(
    words: ClassifierWordsFilter, candidates_by_name: dict[str, Detections], truth: DetectionSet
) -> list[dict[str, Any]]:
    """Hits of classifier-words for several powers of the detector's score.

    Args:
        words: The filter.
        candidates_by_name: NumPy arrays ``[M, N, ...]`` of :func:`as_candidates`.
        truth: Training pictures and their objects.

    Returns:
        One row a detector and power.
    """
    queries, rows = queries_of(truth), []
    for name, candidates in candidates_by_name.items():
        values, _ = similarities(
            words, TEXTS, truth.pictures, truth.extents, candidates,
            functools.partial(tqdm, desc=f"{name}: training pictures", mininterval=2.0),
        )  # fmt: skip
        hits = judge_boxes(candidates.boxes[queries.picture], queries, truth)
        for power in POWERS:
            factor = score_factor(candidates, power - words.score_power)[queries.picture]
            choice = (values[queries.picture, queries.label] * factor).argmax(axis=1)
            some = Hits(*(hit[np.arange(len(choice)), choice] for hit in hits))
            rows.append({"candidates": name, "power": power} | shares_of(some, queries, np.ones(len(choice), bool)))
    return rows


def score_factor(candidates: Detections, power: float) -> np.ndarray:
    """The detector's scores to a power, ``[M, N]``; 1 where there is no candidate."""
    return np.where(candidates.valid, candidates.scores, 1) ** power


def shares_of(hits: Hits, queries: Queries, of: np.ndarray) -> dict[str, Any]:
    """Shares with intervals of some of the queries, and how many they are."""
    shares = {part: share(hit[of], queries.picture[of]) for part, hit in hits._asdict().items()}
    return shares | {"queries": int(of.sum())}
