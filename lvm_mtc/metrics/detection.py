"""How good are a detector's boxes? Average precision and recall, class-agnostic, with intervals over pictures.

The numbers come from pycocotools (extra ``detection``) where it is asked for; the plain computation here gives the same
ones, and the intervals, for which it is run a thousand times.
"""

import contextlib
import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

IOU_THRESHOLD = 0.5
RECALL_BOXES = 10
MAX_BOXES = 100
_RECALL_LEVELS = np.linspace(0, 1, 101)
_LEVEL = 0.95


class Matches(NamedTuple):
    """Which detection found an object.

    Attributes:
        scores: ``[M, D]`` float64, descending per picture; -inf where there is no detection.
        hits: ``[M, D]`` bool: the detection took an object that no better one had.
        num_objects: ``[M]`` int.
    """

    scores: np.ndarray
    hits: np.ndarray
    num_objects: np.ndarray


class Estimate(NamedTuple):
    """A number over all pictures, and its bootstrap interval."""

    value: float
    low: float
    high: float


class DetectionScores(NamedTuple):
    """What a detector is worth on a set of pictures.

    Attributes:
        ap50: Average precision at IoU 0.5, at most 100 boxes a picture, 101 recall levels (COCO's).
        recall_at_10: Share of all objects that one of a picture's ten best boxes finds at IoU 0.5.
        top_box: Share of the pictures with objects whose best box has IoU >= 0.5 with one of them.
    """

    ap50: Estimate
    recall_at_10: Estimate
    top_box: Estimate
    num_pictures: int
    num_objects: int


def iou_matrix(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union, ``[m, 4]`` and ``[n, 4]`` (``(x, y, w, h)``, centre) to ``[m, n]``, float64."""
    first, second = np.asarray(first, np.float64)[:, None], np.asarray(second, np.float64)[None]
    low = np.maximum(first[..., :2] - first[..., 2:] / 2, second[..., :2] - second[..., 2:] / 2)
    high = np.minimum(first[..., :2] + first[..., 2:] / 2, second[..., :2] + second[..., 2:] / 2)
    intersection = np.prod(np.maximum(high - low, 0), axis=-1)
    union = np.prod(first[..., 2:], axis=-1) + np.prod(second[..., 2:], axis=-1) - intersection
    return intersection / np.where(union > 0, union, 1)


def match_detections(
    boxes: np.ndarray,
    scores: np.ndarray,
    valid: np.ndarray,
    object_boxes: np.ndarray,
    object_valid: np.ndarray,
    *,
    iou_threshold: float = IOU_THRESHOLD,
    max_boxes: int = MAX_BOXES,
) -> Matches:
    """Greedy matching, COCO's rule: best detection first, each takes the free object that it overlaps most.

    Of equal scores the first detection goes first, of equal overlaps the last object is taken.

    Args:
        boxes: ``[M, D, 4]``, ``(x, y, w, h)``, centre, pixels.
        scores: ``[M, D]``, no NaN where valid.
        valid: ``[M, D]`` bool.
        object_boxes: ``[M, T, 4]``, as ``boxes``.
        object_valid: ``[M, T]`` bool.
        iou_threshold: Smallest overlap that counts, in (0, 1].
        max_boxes: How many of a picture's best detections count, >= 1.
    """
    boxes, scores, valid = np.asarray(boxes), np.asarray(scores, np.float64), np.asarray(valid, bool)
    object_boxes, object_valid = np.asarray(object_boxes), np.asarray(object_valid, bool)
    if valid.ndim != 2 or scores.shape != valid.shape or boxes.shape != (*valid.shape, 4):
        raise ValueError(f"boxes {boxes.shape}, scores {scores.shape} and valid {valid.shape} do not fit")
    if object_valid.ndim != 2 or len(object_valid) != len(valid) or object_boxes.shape != (*object_valid.shape, 4):
        raise ValueError(
            f"object_boxes {object_boxes.shape} and object_valid {object_valid.shape} do not fit the "
            f"{len(valid)} pictures of boxes {boxes.shape}"
        )
    if np.isnan(scores[valid]).any():
        raise ValueError("scores holds NaN")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold must lie in (0, 1], got {iou_threshold}")
    if max_boxes < 1:
        raise ValueError(f"max_boxes must be at least 1, got {max_boxes}")
    ranked, hits = np.full(valid.shape, -np.inf), np.zeros(valid.shape, bool)
    for i in range(len(valid)):
        order = np.flatnonzero(valid[i])
        order = order[np.argsort(-scores[i, order], kind="stable")][:max_boxes]
        overlaps = iou_matrix(boxes[i, order], object_boxes[i, object_valid[i]])
        ranked[i, : len(order)] = scores[i, order]
        hits[i, : len(order)] = _match_picture(overlaps, min(iou_threshold, 1 - 1e-10))
    return Matches(ranked, hits, object_valid.sum(axis=1))


def _match_picture(overlaps: np.ndarray, threshold: float) -> np.ndarray:
    hits, free = np.zeros(len(overlaps), bool), np.ones(overlaps.shape[1], bool)
    for d, row in enumerate(overlaps):
        if free.any():
            row = np.where(free, row, -1)
            taken = len(row) - 1 - int(np.argmax(row[::-1]))
            if row[taken] >= threshold:
                hits[d], free[taken] = True, False
    return hits


def average_precision(matches: Matches) -> float:
    """COCO's average precision: mean over 101 recall levels of the best precision at that recall or above.

    In [0, 1]; NaN without a single object.
    """
    num_objects = int(matches.num_objects.sum())
    if not num_objects:
        return float("nan")
    present = np.isfinite(matches.scores)
    scores, hits = matches.scores[present], matches.hits[present]
    hits = hits[np.argsort(-scores, kind="stable")]
    if not len(hits):
        return 0.0
    found = np.cumsum(hits)
    recall, precision = found / num_objects, found / np.arange(1, len(hits) + 1)
    best_above = np.maximum.accumulate(precision[::-1])[::-1]
    ids = np.searchsorted(recall, _RECALL_LEVELS, side="left")
    return float(np.where(ids < len(hits), best_above[np.minimum(ids, len(hits) - 1)], 0).mean())


def recall_at(matches: Matches, num_boxes: int = RECALL_BOXES) -> float:
    """Share of all objects that the ``num_boxes`` best boxes of their picture find; NaN without an object."""
    num_objects = int(matches.num_objects.sum())
    return float(matches.hits[:, :num_boxes].sum() / num_objects) if num_objects else float("nan")


def top_box_share(matches: Matches) -> float:
    """Share of the pictures with objects whose best box finds one; NaN if there is no such picture."""
    with_objects = matches.num_objects > 0
    return float(matches.hits[with_objects, 0].mean()) if with_objects.any() else float("nan")


def bootstrap(statistic: Callable[[Matches], float], matches: Matches, *, draws: int = 1000, seed: int = 0) -> Estimate:
    """95 % percentile interval of a statistic over resampled pictures.

    The interval says how the number would vary over other pictures of the same kind; it says nothing about another
    training of the detector.

    Args:
        matches: One entry per picture, at least two.
        draws: Resamplings, each of as many pictures, with replacement.
        seed: Of the draws; equal seeds draw the same pictures, so two detectors' intervals are paired.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), Sec. 13.3.
    """
    count = len(matches.num_objects)
    if count < 2 or draws < 1:
        raise ValueError(f"bootstrap needs two or more pictures and draws >= 1, got {count}, {draws}")
    resampled = np.random.default_rng(seed).integers(0, count, size=(draws, count))
    values = [statistic(Matches(*(part[ids] for part in matches))) for ids in resampled]
    low, high = np.nanquantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Estimate(statistic(matches), float(low), float(high))


def detection_scores(matches: Matches, *, draws: int = 1000, seed: int = 0) -> DetectionScores:
    """The three numbers with the intervals of ``bootstrap``."""
    statistics = average_precision, recall_at, top_box_share
    estimates = (bootstrap(statistic, matches, draws=draws, seed=seed) for statistic in statistics)
    return DetectionScores(*estimates, len(matches.num_objects), int(matches.num_objects.sum()))


def coco_scores(
    boxes: np.ndarray, scores: np.ndarray, valid: np.ndarray, object_boxes: np.ndarray, object_valid: np.ndarray
) -> tuple[float, float]:
    """``ap50`` and ``recall_at_10`` computed by pycocotools (extra ``detection``), of :func:`match_detections`' input.

    Raises:
        ModuleNotFoundError: without the extra.
        ValueError: if there is no object.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("coco_scores needs pycocotools: pip install 'lvm-mtc[detection]'") from error
    if not np.any(object_valid):
        raise ValueError("object_valid names no object, so there is no precision")
    truth, found = COCO(), COCO()
    images = [{"id": i + 1} for i in range(len(valid))]
    truth.dataset = {"annotations": _coco_entries(object_boxes, object_valid, None)}
    found.dataset = {"annotations": _coco_entries(boxes, valid, scores)}
    with contextlib.redirect_stdout(io.StringIO()):
        for target in (truth, found):
            target.dataset |= {"images": images, "categories": [{"id": 1}]}
            target.createIndex()
        judge = COCOeval(truth, found, "bbox")
        judge.params.useCats = 0
        judge.params.iouThrs = np.array([IOU_THRESHOLD])
        judge.params.maxDets = [RECALL_BOXES, MAX_BOXES]
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    precision, recall = judge.eval["precision"], judge.eval["recall"]
    return float(precision[0, :, 0, 0, 1].mean()), float(recall[0, 0, 0, 0])


def _coco_entries(boxes: np.ndarray, valid: np.ndarray, scores: np.ndarray | None) -> list[dict]:
    entries = []
    for picture, place in np.argwhere(valid):
        x, y, w, h = np.asarray(boxes[picture, place], np.float64).tolist()
        entry = {"id": len(entries) + 1, "image_id": int(picture) + 1, "category_id": 1, "iscrowd": 0}
        entry |= {"bbox": [x - w / 2, y - h / 2, w, h], "area": w * h}
        if scores is not None:
            entry["score"] = float(scores[picture, place])
        entries.append(entry)
    return entries
