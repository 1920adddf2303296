"""PSNR inside an annotated object at the end of the chain, with masks that follow one box or another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from experiments.knowledge_base.goal_filters import share
from lvm_mtc import LinkConfig
from lvm_mtc.data.squares import Squares
from lvm_mtc.metrics.detection import IOU_THRESHOLD, iou_matrix
from lvm_mtc.results.intervals import Interval, paired_difference, student_interval
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.run import sample_points
from lvm_mtc.sweep.stopping import StoppingRule

CONVENTION = "rx_per_antenna"
ANNOTATED = "annotated box"


def aim_at(squares: Squares, loc: np.ndarray) -> Squares:
    """Measures in each picture the annotated object that a box overlaps most; where it overlaps none, the largest.

    The boxes are ``[M, 4]``, ``(x, y, w, h)``, centre, pixels of the views; ``label`` is left as it is.
    """
    overlap = [iou_matrix(box[None], objects)[0] for box, objects in zip(loc, squares.objects, strict=True)]
    boxes = [objects[iou.argmax()] if iou.max() > 0 else largest
             for iou, objects, largest in zip(overlap, squares.objects, squares.boxes, strict=True)]  # fmt: skip
    return squares._replace(boxes=np.stack(boxes))


def measure_chain(
    object_first: Contender, uniform: Contender, squares: Squares, locs: dict[str, np.ndarray], *, seed: int = 0,
    fading: Sequence[str] = ("awgn", "rayleigh"), snr_db: Sequence[float] = (10.0, 20.0), num_realisations: int = 2,
) -> list[dict[str, Any]]:  # fmt: skip
    """PSNR inside the squares' objects, and its difference to that with the annotated boxes.

    The unit of the intervals is the picture, which has a channel of its own in each realisation; all kinds of masks
    share channels, noise and the random part of the masks, so that their differences are paired.

    Args:
        object_first: Masks follow a box.
        uniform: They do not; at the same channel uses.
        squares: What is sent, and the object in it.
        locs: Boxes ``[M, 4]`` by name, pixels of the views; :data:`ANNOTATED` is added.
        seed: Of masks and channels.
        fading: Channels.
        snr_db: SNRs, dB per receive antenna.
        num_realisations: Of the channel; averaged picture by picture.

    Returns:
        One row a channel, SNR and kind of masks: means and half widths of 95 % Student intervals, over all pictures,
        over those with one annotated object ("alone"), and over those whose box has IoU >= 0.5 with the object ("on").
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
        link, psnr = LinkConfig(fading=channel, convention=CONVENTION), {}
        for name, (scheme, loc) in tqdm(kinds.items(), desc=f"chain, {channel}"):
            spec = SweepSpec(
                schemes=(scheme,), links=(link,), sources={1: picture_source(images, loc, target)},
                snr_db=tuple(snr_db), seeds=(seed,), metrics=("psnr_inside_db",), stop_metric="psnr_inside_db",
                stopping=StoppingRule(target_half_width=None, max_units=num_realisations), pictures_per_step=32,
            )  # fmt: skip
            points = sample_points(spec, spec.coordinates())
            psnr[name] = np.stack([np.float64(of.metrics["psnr_inside_db"]).mean(axis=0)[:, 0] for of in points])
            uses |= {use for of in points for use in of.ledger.channel_uses().tolist()}
        for point, snr in enumerate(snr_db):
            for name, values in psnr.items():
                row = {"fading": channel, "snr_db": snr, "masks": name}
                if name != "uniform":
                    row["on_object"] = share(on[name], np.arange(len(images)))
                for group, of in (("all", np.ones(len(images), bool)), ("alone", squares.alone), ("on", on[name])):
                    if of.sum() > 1:
                        value, reference = values[point, of], psnr[ANNOTATED][point, of]
                        row[group] = {"pictures": int(of.sum()), "psnr_inside_db": _pair(student_interval(value)),
                                      "minus_annotated_db": _pair(paired_difference(value, reference))}  # fmt: skip
                rows.append(row)
    if len(uses) != 1:
        raise ValueError(f"the kinds of masks cost different numbers of channel uses: {sorted(uses)}")
    return [row | {"channel_uses": min(uses)} for row in rows]


def _pair(interval: Interval) -> tuple[float, float]:
    return float(interval.mean), float(interval.half_width)
