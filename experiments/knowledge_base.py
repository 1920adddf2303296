r"""The knowledge base measured: detector, ``loc``, goal filters, and PSNR inside the object at the end of the chain.

    python experiments/knowledge_base.py --data ../shared/data --out docs/knowledge_base

Needs the extra ``detection``; about six minutes on two idle cores. Writes ``results.json`` and ``figure.png`` into
the folder ``--out``, and the tables into the page beside it, ``--out``.md, between its markers; docs/knowledge_base.md
says what is measured and how. ``--pictures 20`` is a quick look at the first pictures, most of which show several
classes; ``--page-only`` writes figure and tables again from ``results.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from goal_filters import TEXTS, Source, as_candidates, measure_filters, measure_powers, share, similarities
from judge_detectors import LARGE_PRIOR, as_json, center_boxes, detect_yolox, judge_flashsam, score
from knowledge_base_page import draw, fill_page, tables
from knowledge_base_store import store_results
from object_psnr import aim_at, cut_squares, measure_chain
from tqdm import tqdm
from yolox import COCO_CLASSES

from lvm_mtc.data.boxes import CENTER_PRIOR_FRACTION, center_prior, enlarge_box
from lvm_mtc.data.detection_packing import DetectionSet, LabelledSource, pack_labelled
from lvm_mtc.data.voc import VOC_CLASSES, VocAnnotation, load_voc, voc_boxes
from lvm_mtc.evaluation.detection import IOU_THRESHOLD, iou_matrix
from lvm_mtc.evaluation.files import atomic_file
from lvm_mtc.evaluation.knowledge_bases import DETECTOR_WEIGHTS, load_knowledge_base
from lvm_mtc.evaluation.schemes import DEMO_WEIGHTS, load_system, make_schemes
from lvm_mtc.knowledge import ClassifierWordsFilter, GoalFilter, KnowledgeBase, LabelFilter, ScoreFilter
from lvm_mtc.models.detection import Detections
from lvm_mtc.models.weights import load_weights

SIDE = 320  # the longer side of these pictures, which are not resized
MAX_OBJECTS = 16
MIN_SCORE = 0.05  # of YOLOX-nano's candidates; the shipped detector's own threshold
TRAINING_PICTURES = 120
MARGINS = (0.0, 0.05, 0.1, 0.15, 0.2)
SIZE_POWERS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
SIZE_POWER_PICTURES = 400
bar = functools.partial(tqdm, mininterval=2.0, unit="picture")


@dataclasses.dataclass(frozen=True)
class Measured:
    """What is measured, and with what.

    Attributes:
        name: Of the detector.
        input_size: Of the detector, pixels.
        weights: Its file.
        base: Knowledge base with the score filter.
        words: The filter classifier-words.
        clip: The filter of that name where its weights are given.
        yolox: File of YOLOX-nano's weights.
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


def read_pictures(
    data: Path, split: str, count: int | None, keep: Callable[[VocAnnotation], bool] = lambda annotation: True
) -> DetectionSet:
    """Pictures of a VOC list at their own size in squares of :data:`SIDE`, all objects with their classes.

    Args:
        data: Folder that holds ``voc2012_320``.
        split: Name of the list.
        count: Only the first so many; None for all.
        keep: Only those for whose annotation it is true.

    Raises:
        ValueError: if a picture would have to be resized, or has more objects than there are places.
    """
    examples = [one for one in load_voc(data / "voc2012_320", split) if keep(one.annotation)]
    sources = []
    for one in examples[:count]:
        labels = np.array([VOC_CLASSES.index(item.name) for item in one.annotation.objects])
        if max(one.annotation.height, one.annotation.width) != SIDE or not 0 < len(labels) <= MAX_OBJECTS:
            raise ValueError(f"{one.image_path}: needs a longer side of {SIDE} pixels and 1 to {MAX_OBJECTS} objects")
        sources.append(LabelledSource(one.name, one.image_path, voc_boxes(one.annotation), labels))
    return pack_labelled(sources, SIDE, MAX_OBJECTS)


def for_choosing(annotation: VocAnnotation) -> bool:
    """Two or more classes, and the most common size of picture, for which a program is there already."""
    return len({item.name for item in annotation.objects}) > 1 and (annotation.height, annotation.width) == (240, 320)


def locate_each(base: KnowledgeBase, pictures: np.ndarray, extents: np.ndarray, label: str) -> Detections:
    """``base.locate`` picture by picture, each at its own size without a border: the candidates, best first."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)  # each size of picture is a program, run a few times
    try:
        found = [
            base.locate(picture[:height, :width], "").candidates
            for picture, (height, width) in bar(list(zip(pictures, extents.tolist(), strict=True)), desc=label)
        ]
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
    boxes, scores, labels, _, valid = (np.stack(column) for column in zip(*found, strict=True))
    return as_candidates(Detections(boxes, scores, labels, valid), extents, base.max_candidates)


def yolox_candidates(found: Detections, truth: DetectionSet, count: int) -> Detections:
    """Its boxes as a knowledge base would rank them."""
    return as_candidates(found._replace(valid=found.valid & (found.scores >= MIN_SCORE)), truth.extents, count)


def measure_loc(locs: dict[str, np.ndarray], truth: DetectionSet) -> list[dict[str, Any]]:
    """Share of the pictures whose box ``[M, 4]`` has IoU >= 0.5 with an object of any class."""
    rows = []
    for name, boxes in locs.items():
        best = [iou_matrix(box[None], truth.boxes[i, truth.valid[i]]).max() for i, box in enumerate(boxes)]
        rows.append({"loc": name, "share": share(np.array(best) >= IOU_THRESHOLD, np.arange(len(best)))})
    return rows


def measure(used: Measured, data: Path, count: int | None, seed: int) -> dict[str, Any]:
    """Measures everything.

    Args:
        used: What is measured.
        data: Folder that holds ``voc2012_320``.
        count: Validation pictures; None for all.
        seed: Of masks and channels.

    Returns:
        Plain values for JSON.
    """
    truth, places = read_pictures(data, "val", count), used.base.max_candidates
    training = read_pictures(data, "train", min(count or TRAINING_PICTURES, TRAINING_PICTURES), for_choosing)
    yolox = detect_yolox(used.yolox, truth, functools.partial(bar, desc="YOLOX-nano"))
    detectors = [
        {"detector": name, "input_size": size} | as_json(scores)
        for name, size, scores in (
            (used.name, used.input_size, judge_flashsam(used.weights, truth, used.input_size)[0]),
            ("YOLOX-nano", 416, score(yolox, truth)),
            ("fixed centre box", None, score(center_boxes(truth, LARGE_PRIOR), truth)),
        )
    ]
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
        Source(used.name, own, (ScoreFilter(), *networks)),
        Source("YOLOX-nano", yolox, (ScoreFilter(), LabelFilter(COCO_CLASSES), *networks)),
        Source("annotated boxes", as_candidates(exact, truth.extents, places),
               (ScoreFilter(), LabelFilter(VOC_CLASSES), *networks)),
    )  # fmt: skip
    on_training = {
        used.name: locate_each(used.base, training.pictures, training.extents, f"{used.name}, training pictures"),
        "YOLOX-nano": yolox_candidates(
            detect_yolox(used.yolox, training, functools.partial(bar, desc="YOLOX-nano, training pictures")),
            training, places,
        ),
    }  # fmt: skip
    return {
        "pictures": len(truth.pictures), "objects": int(truth.valid.sum()), "training_pictures": len(training.pictures),
        "detector": used.name, "input_size": used.input_size, "score_power": used.words.score_power,
        "margin": used.base.margin, "size_power": used.base.goal_filter.size_power, "seed": seed,
        "detectors": detectors,
        "loc": measure_loc(locs, truth),
        "filters": [row for source in sources for row in measure_filters(source, truth)],
        "powers": measure_powers(used.words, on_training, training),
        "size_powers": measure_size_powers(used, data, count),
        "margins": measure_margins(used, read_pictures(data, "train", len(training.pictures)), seed),
        **measure_masks(used, truth, seed),
    }  # fmt: skip


def best_boxes(candidates: Detections, size_power: float | None = None) -> np.ndarray:
    """The boxes ``[M, 4]`` that the score filter takes; None stands for its own power of the size."""
    by_score = ScoreFilter() if size_power is None else ScoreFilter(size_power)
    # Within a picture the order is the same whatever area the boxes are compared with.
    similarity = by_score.score(None, None, np.zeros((1, SIDE, SIDE, 3), np.float32), candidates)
    choice = np.where(candidates.valid, similarity, -np.inf).argmax(axis=1)
    return candidates.boxes[np.arange(len(choice)), choice]


def measure_size_powers(used: Measured, data: Path, count: int | None) -> list[dict[str, Any]]:
    """Hits of the score filter's box by its power of the size, on training pictures.

    Returns:
        Rows with ``size_power``, and the shares of pictures whose box has IoU >= 0.5 with ``any`` object, and with the
        ``largest``.
    """
    few = min(count or SIZE_POWER_PICTURES, SIZE_POWER_PICTURES)
    training = read_pictures(data, "train", few, lambda annotation: 0 < len(annotation.objects) <= MAX_OBJECTS)
    candidates = locate_each(used.base, training.pictures, training.extents, f"{used.name}, training pictures, size")
    areas, pictures = np.where(training.valid, training.boxes[..., 2:].prod(axis=-1), 0), np.arange(len(training.boxes))
    rows = []
    for power in SIZE_POWERS:
        found = best_boxes(candidates, power)
        pairs = zip(found, training.boxes, strict=True)
        overlap = np.where(training.valid, [iou_matrix(box[None], objects)[0] for box, objects in pairs], 0)
        hits = {"any": overlap.max(axis=1), "largest": overlap[pictures, areas.argmax(axis=1)]}
        shares = {name: share(best >= IOU_THRESHOLD, pictures) for name, best in hits.items()}
        rows.append({"size_power": power, "pictures": len(pictures)} | shares)
    return rows


def measure_margins(used: Measured, training: DetectionSet, seed: int) -> list[dict[str, Any]]:
    """The chain with margins of several widths about the score filter's box, on training pictures.

    Returns:
        Rows of :func:`measure_chain`, each with ``margin``; the object is the one that the box overlaps most.
    """
    system, params = load_system(DEMO_WEIGHTS)
    size, squares = system.config.image_size, cut_squares(training, system.config.image_size)
    extents = np.full((len(squares.whole), 2), SIDE)
    boxes = best_boxes(locate_each(used.base, squares.whole, extents, f"{used.name}, training squares"))
    locs = {f"{margin:g}": to_views(boxes, margin, size) for margin in MARGINS}
    schemes = make_schemes(("object", "uniform"), system, params)
    rows = measure_chain(*schemes, aim_at(squares, to_views(boxes, 0.0, size)), locs, seed=seed)
    return [{"margin": float(row["masks"])} | row for row in rows if row["masks"] in locs]


def to_views(boxes: np.ndarray, margin: float, size: int) -> np.ndarray:
    """Boxes ``[M, 4]`` on squares of :data:`SIDE` pixels, with their margin, on views of ``size`` pixels."""
    return np.float32(enlarge_box(boxes, margin, SIDE, SIDE) * (size / SIDE))


def measure_masks(used: Measured, truth: DetectionSet, seed: int) -> dict[str, list[dict[str, Any]]]:
    """The chain with masks that follow the knowledge base's boxes, found on the square at :data:`SIDE` pixels.

    Returns:
        ``chain``: rows of :func:`measure_chain` for the largest object. ``chain_any``: likewise, where the score
        filter's box says which object is measured, for without a text every object is a right answer.
    """
    system, params = load_system(DEMO_WEIGHTS)
    size = system.config.image_size
    squares = cut_squares(truth, size)
    extents = np.full((len(squares.whole), 2), SIDE)
    candidates = locate_each(used.base, squares.whole, extents, f"{used.name}, squares")
    progress = functools.partial(tqdm, desc=f"squares: {used.words.name}", mininterval=2.0)
    values, _ = similarities(used.words, TEXTS, squares.whole, extents, candidates, progress)
    choice = values[np.arange(len(extents)), squares.label].argmax(axis=1)
    chosen = {"score filter": best_boxes(candidates),
              f"{used.words.name} for its class": candidates.boxes[np.arange(len(extents)), choice]}  # fmt: skip
    locs = {f"{used.name}, {name}": to_views(boxes, used.base.margin, size) for name, boxes in chosen.items()}
    by_score = f"{used.name}, score filter"
    schemes = make_schemes(("object", "uniform"), system, params)
    chosen_by_score = measure_chain(*schemes, aim_at(squares, locs[by_score]), {by_score: locs[by_score]}, seed=seed)
    locs["centre prior"] = np.tile(np.float32(center_prior(size, size)), (len(extents), 1))
    return {"chain": measure_chain(*schemes, squares, locs, seed=seed), "chain_any": chosen_by_score}


def main(arguments: list[str] | None = None) -> int:
    """Measures, writes and prints; returns the exit status: 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(description="Measure the knowledge base.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="pictures and weights")
    parser.add_argument("--weights", type=Path, default=DETECTOR_WEIGHTS, help="the detector's")
    parser.add_argument("--clip", type=Path, help="CLIP's weights: measures that filter too")
    parser.add_argument("--out", type=Path, default=Path("docs/knowledge_base"), help="folder; the page is beside it")
    parser.add_argument("--pictures", type=int, help="only the first so many validation pictures")
    parser.add_argument("--seed", type=int, default=0, help="of masks and channels")
    parser.add_argument("--page-only", action="store_true", help="figure and tables from the old results.json")
    parser.add_argument("--store", type=Path, help="also put the chain's rows into this result store")
    options = parser.parse_args(arguments)
    file, page = options.out / "results.json", options.out.with_suffix(".md")
    try:
        if not options.page_only:
            used = Measured.load(options.weights, options.data, options.clip)
            results = measure(used, options.data, options.pictures, options.seed)
            options.out.mkdir(parents=True, exist_ok=True)
            with atomic_file(file) as temporary:
                temporary.write_text(json.dumps(results, indent=1) + "\n")
        results = json.loads(file.read_text())
        draw(results, options.out / "figure.png")
        if options.store:
            store_results(results, options.store)
        found = tables(results)
        if page.exists():
            filled = fill_page(page.read_text(), found)
            with atomic_file(page) as temporary:
                temporary.write_text(filled)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"knowledge_base: {error}", file=sys.stderr)
        return 2
    print("\n\n".join(found.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
