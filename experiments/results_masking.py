"""What is measured of masking: object first against uniform over SNR, and P_r, constant and from the object's size."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from knowledge_base import read_pictures
from object_psnr import CONVENTION, cut_squares

from lvm_mtc import LinkConfig, System
from lvm_mtc.evaluation.grid import Scheme
from lvm_mtc.evaluation.paired_sweep import NamedSweep, Pair
from lvm_mtc.evaluation.schemes import DEMO_WEIGHTS, load_system, make_schemes
from lvm_mtc.evaluation.stopping import StoppingRule
from lvm_mtc.evaluation.sweep_plan import Pictures
from lvm_mtc.system import ScaleAware

SNR, MASK_PROB, BERNOULLI = "masking over SNR", "P_r at equal channel uses", "P_r, every patch drawn"
"""Names of the sweeps in the store."""

OBJECT, UNIFORM, SCALE_AWARE, DRAWN = (
    "object first", "uniform masking", "object first, scale-aware", "object first, every patch drawn")  # fmt: skip
GAIN, OVER_CONSTANT = f"{OBJECT} minus {UNIFORM}", f"{SCALE_AWARE} minus constant"

SNR_DB = (-2.0, 2.0, 6.0, 10.0, 14.0, 18.0, 22.0)
MASK_PROBS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
FEWER_MASK_PROBS = MASK_PROBS[::2]
MASK_PROB_SNR_DB = 10.0
ENDS = MASK_PROBS[0], MASK_PROBS[-1]
SNR_UNITS, MASK_PROB_UNITS = 8, 4

LINKS = tuple(LinkConfig(fading=fading, convention=CONVENTION) for fading in ("awgn", "rayleigh"))
METRICS = ("psnr_db", "psnr_inside_db", "psnr_background_db", "ssim", "ssim_inside")
WEIGHTS_NAME = "lvm_mtc/weights/demo.npz"


def over_snr(data: Path) -> tuple[NamedSweep, list[Pair]]:
    """Object first and uniform masking over SNR, at equal channel uses (Fig. 9).

    Args:
        data: Folder that holds ``voc2012_320``.
    """
    spec = _sweep(data, SNR, _schemes(), snr_db=SNR_DB, units=SNR_UNITS)
    return spec, pairs_by(spec, GAIN, (OBJECT,), {"scheme": UNIFORM, "mask_prob": 0.5})


def over_mask_prob(data: Path) -> tuple[NamedSweep, list[Pair]]:
    """P_r, constant and scale-aware, at equal channel uses (Fig. 10).

    Args:
        data: Folder that holds ``voc2012_320``.
    """
    constant = _schemes()[0]
    aware = dataclasses.replace(constant, name=SCALE_AWARE, system=ScaleAware(constant.system.config))
    spec = _sweep(data, MASK_PROB, (constant, aware), mask_prob=MASK_PROBS, units=MASK_PROB_UNITS)
    pairs = pairs_by(spec, OVER_CONSTANT, (SCALE_AWARE,), {"scheme": OBJECT})
    for end in ENDS:
        for scheme in (OBJECT, SCALE_AWARE):
            pairs += pairs_by(spec, minus_end(scheme, end), (scheme,), {"mask_prob": end})
    return spec, pairs


def over_mask_prob_drawn(data: Path) -> tuple[NamedSweep, list[Pair]]:
    """P_r where every patch is drawn by itself, so that the number of channel uses follows.

    Args:
        data: Folder that holds ``voc2012_320``.
    """
    constant = _schemes()[0]
    config = dataclasses.replace(constant.system.config, masking="bernoulli", num_kept=None)
    drawn = dataclasses.replace(constant, name=DRAWN, system=System(config))
    return _sweep(data, BERNOULLI, (drawn,), mask_prob=FEWER_MASK_PROBS, units=MASK_PROB_UNITS), []


def minus_end(scheme: str, end: float) -> str:
    """Name of the difference between a scheme at some P_r and at one of ``ENDS``."""
    return f"{scheme} minus itself at P_r {end:g}"


def pairs_by(spec: NamedSweep, name: str, schemes: Iterable[str], second: dict[str, Any]) -> list[Pair]:
    """Every point of some schemes beside the point that differs from it by some coordinates only.

    Args:
        spec: The sweep.
        name: Of the pairs.
        schemes: Of the first points.
        second: Coordinates of the second ones. A pair of a point with itself is left out.
    """
    wanted = set(schemes)
    pairs = (Pair(name, at, {**at, **second}) for at in spec.coordinates() if at["scheme"] in wanted)
    return [pair for pair in pairs if pair.first != pair.second]


def _schemes() -> list[Scheme]:
    return make_schemes(("object", "uniform"), *load_system(DEMO_WEIGHTS))


def _sweep(data: Path, name: str, schemes: Sequence[Scheme], *, units: int, **axes: tuple[float, ...]) -> NamedSweep:
    squares = cut_squares(read_pictures(data, "val", None), schemes[0].system.config.image_size)
    pictures = Pictures(np.float32(squares.views)[:, None] / 255, squares.boxes[:, None])
    axes = {"snr_db": (MASK_PROB_SNR_DB,)} | axes
    return NamedSweep(
        name=name, schemes=tuple(schemes), links=LINKS, pictures={1: pictures}, random_pictures=True, metrics=METRICS,
        stopping=StoppingRule(target_half_width=None, max_units=units), pictures_per_step=40, **axes,
        about={"weights": WEIGHTS_NAME, "pictures": "PASCAL VOC2012, list val, largest centred square of each",
               "box": "largest annotated object in the square"},
    )  # fmt: skip
