r"""The knowledge base measured: detector, ``loc``, goal filters, and PSNR inside the object at the end of the chain.

    python -m experiments.knowledge_base.measure --data ../shared/data --out docs/knowledge_base

Needs the extra ``detection``; about six minutes on two idle cores. Writes ``results.json`` and ``figure.png`` into
the folder ``--out``, and the tables into the page beside it, ``--out``.md, between its markers; docs/knowledge_base.md
says what is measured and how. ``--pictures 20`` is a quick look at the first pictures, most of which show several
classes; ``--page-only`` writes figure and tables again from ``results.json``.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from experiments.knowledge_base import goal_filters
from experiments.knowledge_base.goal_filters import TEXTS, as_candidates, share, similarities
from experiments.knowledge_base.object_psnr import aim_at, measure_chain
from experiments.knowledge_base.page import draw, store_results, tables
from experiments.script import DATA, PAGE_ONLY, script, study
from lvm_mtc.data.boxes import CENTER_PRIOR_FRACTION, center_prior, enlarge_box
from lvm_mtc.data.detection_packing import DetectionSet
from lvm_mtc.data.packing import VOC_FOLDER
from lvm_mtc.data.squares import Squares, cut_squares, pack_voc
from lvm_mtc.data.voc import VOC_CLASSES, VocAnnotation
from lvm_mtc.knowledge import ClassifierWordsFilter, GoalFilter, KnowledgeBase, LabelFilter, ScoreFilter
from lvm_mtc.knowledge.loading import DETECTOR_WEIGHTS, load_knowledge_base
from lvm_mtc.metrics.detection import IOU_THRESHOLD, iou_matrix
from lvm_mtc.models.detection import Detections
from lvm_mtc.models.weights import load_weights
from lvm_mtc.models.yolox import COCO_CLASSES
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.named import make_contenders
from lvm_mtc.training.detector.judge import LARGE_PRIOR, as_json, center_boxes, detect_yolox, judge_flashsam, score

SIDE = 320  # the longer side of these pictures, which are not resized
MAX_OBJECTS = 16
MIN_SCORE = 0.05  # of YOLOX-nano's candidates; the shipped detector's own threshold
TRAINING_PICTURES = 120
MARGINS = (0.0, 0.05, 0.1, 0.15, 0.2)
SIZE_POWERS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
SIZE_POWER_PICTURES = 400


@dataclasses.dataclass(frozen=True)
class Measured:
    """What is measured: a detector with its input size in pixels and file, and the filters that there are.

    ``base`` has the score filter; ``yolox`` is the file of YOLOX-nano.
    """

    name: str
    input_size: int
    weights: Path
    base: KnowledgeBase
    words: ClassifierWordsFilter
    clip: GoalFilter | None
    yolox: Path

    @classmethod
    def load(cls, weights: Path, data: Path, clip: Path | None) -> Measured:
        """Reads all weights."""
        model, folder = load_weights(weights)[1]["model"], data / "weights"
        words = load_knowledge_base(
            weights, goal_filter="classifier-words", classifier=folder / "efficientnet_lite0_fp16.npz",
            words=folder / "glove50_top20k_fp16.npz",
        )  # fmt: skip
        with_clip = load_knowledge_base(weights, goal_filter="clip", clip=clip).goal_filter if clip else None
        base = load_knowledge_base(weights, goal_filter="score")
        name = f"FlashSAM-{model['variant']}"
        return cls(name, model["input_size"], weights, base, words.goal_filter, with_clip, folder / "yolox_nano.onnx")


def for_choosing(annotation: VocAnnotation) -> bool:
    """Two or more classes, and the most common size of picture, for which a program is there already."""
    return len({item.name for item in annotation.objects}) > 1 and (annotation.height, annotation.width) == (240, 320)


def locate_each(base: KnowledgeBase, pictures: np.ndarray, extents: np.ndarray, label: str) -> Detections:
    """``base.locate`` picture by picture, each at its own size without a border: the candidates, best first."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)  # each size of picture is a program, run a few times
    try:
        numbers = tqdm(range(len(pictures)), desc=label, mininterval=2.0, unit="picture")
        contents = (pictures[i, : extents[i, 0], : extents[i, 1]] for i in numbers)
        located = [base.locate(picture, "").candidates for picture in contents]
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
    boxes, scores, labels, _, valid = (np.stack(column) for column in zip(*located, strict=True))
    return as_candidates(Detections(boxes, scores, labels, valid), extents, base.max_candidates)


def yolox_candidates(boxes: Detections, truth: DetectionSet, count: int) -> Detections:
    """Its boxes as a knowledge base would rank them."""
    return as_candidates(boxes._replace(valid=boxes.valid & (boxes.scores >= MIN_SCORE)), truth.extents, count)


def measure_loc(locs: dict[str, np.ndarray], truth: DetectionSet) -> list[dict[str, Any]]:
    """Share of the pictures whose box ``[M, 4]`` has IoU >= 0.5 with an object of any class."""
    rows = []
    for name, boxes in locs.items():
        best = [iou_matrix(box[None], truth.boxes[i, truth.valid[i]]).max() for i, box in enumerate(boxes)]
        rows.append({"loc": name, "share": share(np.array(best) >= IOU_THRESHOLD, np.arange(len(best)))})
    return rows


def measure(used: Measured, data: Path, count: int | None, seed: int) -> dict[str, Any]:
    """Measures everything, on ``count`` validation pictures or, None, all, into plain values for JSON."""
    voc, places = data / VOC_FOLDER, used.base.max_candidates
    truth = pack_voc(voc, "val", count)
    training = pack_voc(voc, "train", min(count or TRAINING_PICTURES, TRAINING_PICTURES), for_choosing)
    yolox = detect_yolox(used.yolox, truth)
    scores = {
        (used.name, used.input_size): judge_flashsam(used.weights, truth, used.input_size),
        ("YOLOX-nano", 416): score(yolox, truth),
        ("fixed centre box", None): score(center_boxes(truth, LARGE_PRIOR), truth),
    }
    own = locate_each(used.base, truth.pictures, truth.extents, used.name)
    own_locs = np.stack([enlarge_box(box, used.base.margin, *extent)
                         for box, extent in zip(best_boxes(own), truth.extents, strict=True)])  # fmt: skip
    yolox = yolox_candidates(yolox, truth, places)
    locs = {f"{used.name}, score filter": own_locs, "YOLOX-nano, best box": yolox.boxes[:, 0]}
    for area in (CENTER_PRIOR_FRACTION, LARGE_PRIOR):
        locs[f"centre box, {area:.0%} of the area"] = center_boxes(truth, area).boxes[:, 0]
    exact = Detections(truth.boxes, np.float32(truth.valid), truth.labels, truth.valid)
    networks = (used.words, used.clip) if used.clip else (used.words,)
    sources = (
        (used.name, own, (ScoreFilter(), *networks)),
        ("YOLOX-nano", yolox, (ScoreFilter(), LabelFilter(COCO_CLASSES), *networks)),
        ("annotated boxes", as_candidates(exact, truth.extents, places),
         (ScoreFilter(), LabelFilter(VOC_CLASSES), *networks)),
    )  # fmt: skip
    on_training = {
        used.name: locate_each(used.base, training.pictures, training.extents, f"{used.name}, training pictures"),
        "YOLOX-nano": yolox_candidates(
            detect_yolox(used.yolox, training, "YOLOX-nano, training pictures"), training, places
        ),
    }
    return {
        "pictures": len(truth.pictures), "objects": int(truth.valid.sum()), "training_pictures": len(training.pictures),
        "detector": used.name, "input_size": used.input_size, "score_power": used.words.score_power,
        "margin": used.base.margin, "size_power": used.base.goal_filter.size_power, "seed": seed,
        "detectors": [{"detector": name, "input_size": size} | as_json(of) for (name, size), of in scores.items()],
        "loc": measure_loc(locs, truth),
        "filters": [row for source in sources for row in goal_filters.measure_filters(*source, truth)],
        "powers": goal_filters.measure_powers(used.words, on_training, training),
        "size_powers": measure_size_powers(used, voc, count),
        "margins": measure_margins(used, pack_voc(voc, "train", len(training.pictures)), seed),
        **measure_masks(used, truth, seed),
    }  # fmt: skip


def best_boxes(candidates: Detections, size_power: float | None = None) -> np.ndarray:
    """The boxes ``[M, 4]`` that the score filter takes; None stands for its own power of the size."""
    by_score = ScoreFilter() if size_power is None else ScoreFilter(size_power)
    # Within a picture the order is the same whatever area the boxes are compared with.
    similarity = by_score.score(None, None, np.zeros((1, SIDE, SIDE, 3), np.float32), candidates)
    choice = np.where(candidates.valid, similarity, -np.inf).argmax(axis=1)
    return candidates.boxes[np.arange(len(choice)), choice]


def measure_size_powers(used: Measured, voc: Path, count: int | None) -> list[dict[str, Any]]:
    """Shares of training pictures whose score filter's box has IoU >= 0.5 with ``any`` object, and the ``largest``.

    One row a power of the size.
    """
    few = min(count or SIZE_POWER_PICTURES, SIZE_POWER_PICTURES)
    training = pack_voc(voc, "train", few, lambda annotation: 0 < len(annotation.objects) <= MAX_OBJECTS)
    candidates = locate_each(used.base, training.pictures, training.extents, f"{used.name}, training pictures, size")
    areas, pictures = np.where(training.valid, training.boxes[..., 2:].prod(axis=-1), 0), np.arange(len(training.boxes))
    rows = []
    for power in SIZE_POWERS:
        pairs = zip(best_boxes(candidates, power), training.boxes, strict=True)
        overlap = np.where(training.valid, [iou_matrix(box[None], objects)[0] for box, objects in pairs], 0)
        hits = {"any": overlap.max(axis=1), "largest": overlap[pictures, areas.argmax(axis=1)]}
        shares = {name: share(best >= IOU_THRESHOLD, pictures) for name, best in hits.items()}
        rows.append({"size_power": power, "pictures": len(pictures)} | shares)
    return rows


def measure_margins(used: Measured, training: DetectionSet, seed: int) -> list[dict[str, Any]]:
    """The chain with margins of several widths about the score filter's box, on training pictures.

    Rows of :func:`measure_chain`, each with ``margin``; the object is the one that the box overlaps most.
    """
    contenders, squares, candidates = _locate_squares(used, training, "training squares")
    boxes, size = best_boxes(candidates), squares.views.shape[1]
    locs = {f"{margin:g}": to_views(boxes, margin, size) for margin in MARGINS}
    rows = measure_chain(*contenders, aim_at(squares, to_views(boxes, 0.0, size)), locs, seed=seed)
    return [{"margin": float(row["masks"])} | row for row in rows if row["masks"] in locs]


def _locate_squares(used: Measured, truth: DetectionSet, label: str) -> tuple[list[Contender], Squares, Detections]:
    """The demo's schemes, the squares that they send, and the candidates on those at :data:`SIDE` pixels."""
    scheme, params = load_scheme(DEMO_WEIGHTS)
    squares = cut_squares(truth, scheme.config.image_size)
    extents = np.full((len(squares.whole), 2), SIDE)
    candidates = locate_each(used.base, squares.whole, extents, f"{used.name}, {label}")
    return make_contenders(("object", "uniform"), scheme, params), squares, candidates


def to_views(boxes: np.ndarray, margin: float, size: int) -> np.ndarray:
    """Boxes ``[M, 4]`` on squares of :data:`SIDE` pixels, with their margin, on views of ``size`` pixels."""
    return np.float32(enlarge_box(boxes, margin, SIDE, SIDE) * (size / SIDE))


def measure_masks(used: Measured, truth: DetectionSet, seed: int) -> dict[str, list[dict[str, Any]]]:
    """The chain with masks that follow the knowledge base's boxes, found on the square at :data:`SIDE` pixels.

    Rows of :func:`measure_chain`: ``chain`` for the largest object, ``chain_any`` where the score filter's box says
    which object is measured, for without a text every object is a right answer.
    """
    contenders, squares, candidates = _locate_squares(used, truth, "squares")
    numbers, size = np.arange(len(squares.whole)), squares.views.shape[1]
    extents, label = np.full((len(numbers), 2), SIDE), f"squares: {used.words.name}"
    values = similarities(used.words, TEXTS, squares.whole, extents, candidates, label)
    choice = values[numbers, squares.label].argmax(axis=1)
    chosen = {"score filter": best_boxes(candidates),
              f"{used.words.name} for its class": candidates.boxes[numbers, choice]}  # fmt: skip
    locs = {f"{used.name}, {name}": to_views(boxes, used.base.margin, size) for name, boxes in chosen.items()}
    by_score = f"{used.name}, score filter"
    by_filter = measure_chain(*contenders, aim_at(squares, locs[by_score]), {by_score: locs[by_score]}, seed=seed)
    locs["centre prior"] = np.tile(np.float32(center_prior(size, size)), (len(numbers), 1))
    return {"chain": measure_chain(*contenders, squares, locs, seed=seed), "chain_any": by_filter}


@script(
    data="pictures and weights", weights="the detector's", clip="CLIP's weights: measures that filter too",
    out="folder; the page is beside it", pictures="only the first so many validation pictures",
    seed="of masks and channels", store="also put the chain's rows into this result store", page_only=PAGE_ONLY,
)  # fmt: skip
def main(
    data: Path = DATA, weights: Path = DETECTOR_WEIGHTS, clip: Path | None = None,
    out: Path = Path("docs/knowledge_base"), pictures: int | None = None, seed: int = 0, store: Path | None = None,
    page_only: bool = False,
) -> None:  # fmt: skip
    """Measure the knowledge base."""

    def show(results: dict[str, Any], out: Path) -> None:
        draw(results, out / "figure.png")
        if store:
            store_results(results, store)

    study(out, page_only, lambda: measure(Measured.load(weights, data, clip), data, pictures, seed), tables, show)


if __name__ == "__main__":
    sys.exit(main())
