"""PSNR inside an annotated object at the end of the chain, with masks that follow one box or another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from goal_filters import share
from tqdm import tqdm

from lvm_mtc import LinkConfig
from lvm_mtc.data.boxes import box_in_window
from lvm_mtc.data.detection_packing import DetectionSet
from lvm_mtc.data.resizing import fit_image, fit_window
from lvm_mtc.evaluation.detection import IOU_THRESHOLD, iou_matrix
from lvm_mtc.evaluation.grid import Scheme, run_grid
from lvm_mtc.evaluation.intervals import Interval, paired_difference, student_interval

CONVENTION = "rx_per_antenna"
ANNOTATED = "annotated box"


class Squares(NamedTuple):
    """Pictures as the chain sends them: the largest centred square of each.

    Attributes:
        whole: ``[M, S, S, 3]`` uint8, what the detector sees; S is the side of the packed pictures.
        views: ``[M, size, size, 3]`` uint8, what is sent.
        boxes: ``[M, 4]`` float32, the object that is measured: the one with the largest part in the square; ``(x, y, w,
            h)``, centre, pixels of ``views``.
        objects: ``[M, T, 4]`` float32, all annotated objects, likewise; 0 where there is none.
        label: ``[M]`` int, class of the object that is measured.
        alone: ``[M]`` bool, whether it is the picture's only annotated object.
    """

    whole: np.ndarray
    views: np.ndarray
    boxes: np.ndarray
    objects: np.ndarray
    label: np.ndarray
    alone: np.ndarray


def cut_squares(truth: DetectionSet, size: int) -> Squares:
    """Cuts the squares and chooses the objects.

    Args:
        truth: Pictures with one object or more each.
        size: Side of the views, pixels.
    """
    rows = []
    for i, (height, width) in enumerate(truth.extents.tolist()):
        picture, window = truth.pictures[i, :height, :width], fit_window(height, width, size)
        boxes = np.stack([box_in_window(box, window, (size, size))[0] for box in truth.boxes[i, truth.valid[i]]])
        largest = int(np.argmax(boxes[:, 2] * boxes[:, 3]))
        objects = np.zeros((truth.boxes.shape[1], 4), np.float32)
        objects[: len(boxes)] = boxes
        rows.append((fit_image(picture, truth.pictures.shape[1]), fit_image(picture, size), np.float32(boxes[largest]),
                     objects, truth.labels[i, largest], len(boxes) == 1))  # fmt: skip
    return Squares(*(np.stack(column) for column in zip(*rows, strict=True)))


def aim_at(squares: Squares, loc: np.ndarray) -> Squares:
    """Measures in each picture the annotated object that a box overlaps most; where it overlaps none, the largest.

    Args:
        squares: Pictures and objects; ``label`` is left as it is.
        loc: ``[M, 4]``, ``(x, y, w, h)``, centre, pixels of the views.
    """
    overlap = [iou_matrix(box[None], objects)[0] for box, objects in zip(loc, squares.objects, strict=True)]
    boxes = [objects[iou.argmax()] if iou.max() > 0 else largest
             for iou, objects, largest in zip(overlap, squares.objects, squares.boxes, strict=True)]  # fmt: skip
    return squares._replace(boxes=np.stack(boxes))


def measure_chain(
    object_first: Scheme,
    uniform: Scheme,
    squares: Squares,
    locs: dict[str, np.ndarray],
    *,
    fading: Sequence[str] = ("awgn", "rayleigh"),
    snr_db: Sequence[float] = (10.0, 20.0),
    num_realisations: int = 2,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """PSNR inside the squares' objects, and its difference to that with the annotated boxes.

    The unit of the intervals is the picture, which has a channel of its own in each realisation; all kinds of masks
    share channels, noise and the random part of the masks, so that their differences are paired.

    Args:
        object_first: Masks follow a box.
        uniform: They do not; at the same channel uses.
        squares: The pictures.
        locs: Boxes ``[M, 4]`` by name, pixels of the views; :data:`ANNOTATED` is added.
        fading: Channels, with ``rx_per_antenna`` as the convention of the SNR.
        snr_db: SNRs, dB.
        num_realisations: Of the channel; averaged picture by picture.
        seed: Of masks and channels.

    Returns:
        One row a channel, SNR and kind of masks: means and half widths of 95 % Student intervals, over all pictures,
        over those with one annotated object ("alone"), and over those whose box has IoU >= 0.5 with the object ("on").

    Raises:
        ValueError: if the kinds of masks cost different numbers of channel uses.
    """
    images, target = np.float32(squares.views)[:, None] / 255, squares.boxes[:, None]
    boxes = {name: loc[:, None] for name, loc in {ANNOTATED: squares.boxes, **locs}.items()}
    kinds = {name: (object_first, loc) for name, loc in boxes.items()} | {"uniform": (uniform, target)}
    on = {
        name: np.array([iou_matrix(*pair).item() >= IOU_THRESHOLD for pair in zip(loc, target, strict=True)])
        for name, (_, loc) in kinds.items()
    }
    rows, uses = [], set()
    for channel in fading:
        link, found = LinkConfig(fading=channel, convention=CONVENTION), {}
        for name, (scheme, loc) in tqdm(kinds.items(), desc=f"chain, {channel}"):
            result = run_grid(scheme, images, loc, jax.random.key(seed), link, snr_db=snr_db, csi_error_var=(0.0,),
                              num_realisations=num_realisations, metric_loc=target)  # fmt: skip
            found[name] = result.metrics["psnr_inside_db"].mean(axis=0)[:, :, 0]
            uses |= set(result.ledger.channel_uses().tolist())
        for point, snr in enumerate(snr_db):
            for name, values in found.items():
                row = {"fading": channel, "snr_db": snr, "masks": name}
                if name != "uniform":
                    row["on_object"] = share(on[name], np.arange(len(images)))
                for group, of in (("all", np.ones(len(images), bool)), ("alone", squares.alone), ("on", on[name])):
                    if of.sum() > 1:
                        value, reference = values[point, of], found[ANNOTATED][point, of]
                        row[group] = {"pictures": int(of.sum()), "psnr_inside_db": _pair(student_interval(value)),
                                      "minus_annotated_db": _pair(paired_difference(value, reference))}  # fmt: skip
                rows.append(row)
    if len(uses) != 1:
        raise ValueError(f"the kinds of masks cost different numbers of channel uses: {sorted(uses)}")
    return [row | {"channel_uses": min(uses)} for row in rows]


def _pair(interval: Interval) -> tuple[float, float]:
    return float(interval.mean), float(interval.half_width)
