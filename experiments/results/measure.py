r"""Measures what ``docs/results.md`` shows, with the shipped weights, into a result store.

    python -m experiments.results.measure --data ../shared/data --store docs/results/results.sqlite
    python -m experiments.results.page --store docs/results/results.sqlite --out docs

What the store holds already is not computed again, so a run that was broken off goes on; ``--only`` measures some of
the sweeps.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.results import codecs
from experiments.results.sweeps import LINKS, make_sweep, pairs_by, store_sweep
from experiments.script import DATA, STORE, script
from lvm_mtc.data.boxes import center_prior
from lvm_mtc.data.packing import VOC_FOLDER
from lvm_mtc.data.squares import cut_squares, pack_voc
from lvm_mtc.data.uav_groups import read_groups
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.named import MASKINGS, make_contenders
from lvm_mtc.sweep.paired import NamedSweep, Pair
from lvm_mtc.sweep.plan import picture_source

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

METRICS = ("psnr_db", "psnr_inside_db", "psnr_background_db", "ssim", "ssim_inside")
WEIGHTS_NAME = "lvm_mtc/weights/demo.npz"

GROUPED = ", for some UAVs"
"""Behind the kind where a token may be shared by some of the UAVs only (``LvmMtcConfig.groups``)."""
KINDS = {f"sharing, {kind}": kind for kind in (
    "frames of one survey", "views of one photograph", f"frames of one survey{GROUPED}")}  # fmt: skip
"""Name of the sweep in the store to the kind of groups."""

SHARING = MASKINGS["sharing"]
PRICE = f"{SHARING} minus nothing shared"
NUM_UAVS, EPSILONS, SHARING_SNR_DB, GROUPS, SHARING_UNITS = (2, 3, 5, 10), (0.0, 0.05, 0.1, 0.2, 0.4, 0.8), 10.0, 12, 8


def over_snr(data: Path) -> tuple[NamedSweep, list[Pair]]:
    """Object first and uniform masking over SNR, at equal channel uses (Fig. 9); ``data`` holds ``voc2012_320``."""
    spec = _sweep(data, SNR, _schemes(), snr_db=SNR_DB, units=SNR_UNITS)
    return spec, pairs_by(spec, GAIN, (OBJECT,), {"scheme": UNIFORM, "mask_prob": 0.5})


def over_mask_prob(data: Path) -> tuple[NamedSweep, list[Pair]]:
    """P_r, constant and scale-aware, at equal channel uses (Fig. 10)."""
    constant = _schemes()[0]
    aware = dataclasses.replace(
        constant, name=SCALE_AWARE, scheme=dataclasses.replace(constant.scheme, scale_aware=True)
    )
    spec = _sweep(data, MASK_PROB, (constant, aware), knobs={"mask_prob": MASK_PROBS}, units=MASK_PROB_UNITS)
    pairs = pairs_by(spec, OVER_CONSTANT, (SCALE_AWARE,), {"scheme": OBJECT})
    for end in ENDS:
        for scheme in (OBJECT, SCALE_AWARE):
            pairs += pairs_by(spec, minus_end(scheme, end), (scheme,), {"mask_prob": end})
    return spec, pairs


def over_mask_prob_drawn(data: Path) -> tuple[NamedSweep, list[Pair]]:
    """P_r where every patch is drawn by itself, so that the number of channel uses follows."""
    constant = _schemes()[0]
    config = dataclasses.replace(constant.scheme.config, masking="bernoulli", num_kept=None)
    drawn = dataclasses.replace(constant, name=DRAWN, scheme=dataclasses.replace(constant.scheme, config=config))
    return _sweep(data, BERNOULLI, (drawn,), knobs={"mask_prob": FEWER_MASK_PROBS}, units=MASK_PROB_UNITS), []


def minus_end(scheme: str, end: float) -> str:
    """Name of the difference between a scheme at some P_r and at one of ``ENDS``."""
    return f"{scheme} minus itself at P_r {end:g}"


def _schemes() -> list[Contender]:
    return make_contenders(("object", "uniform"), *load_scheme(DEMO_WEIGHTS))


def _sweep(data: Path, name: str, schemes: Sequence[Contender], *, units: int, **axes: Any) -> NamedSweep:
    squares = cut_squares(pack_voc(data / VOC_FOLDER, "val"), schemes[0].scheme.config.image_size)
    sources = {1: picture_source(np.float32(squares.views)[:, None] / 255, squares.boxes[:, None])}
    about = {"weights": WEIGHTS_NAME, "pictures": "PASCAL VOC2012, list val, largest centred square of each",
             "box": "largest annotated object in the square"}  # fmt: skip
    return make_sweep(name, schemes, sources, about, units, metrics=METRICS, **{"snr_db": (MASK_PROB_SNR_DB,)} | axes)


def over_uavs(name: str, data: Path) -> tuple[NamedSweep, list[Pair]]:
    """Sharing over K and epsilon (Fig. 11) by groups of a kind, their first K pictures, whatever K."""
    scheme, params = load_scheme(DEMO_WEIGHTS)
    size = scheme.config.image_size
    kind = KINDS[name].removesuffix(GROUPED)
    groups = _read_groups(data, size)[kind]
    if kind != KINDS[name]:
        scheme = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, groups=True))
    loc = np.broadcast_to(center_prior(size, size), (*groups.shape[:2], 4)).astype(np.float32)
    about = {"weights": WEIGHTS_NAME, "pictures": KINDS[name], "box": "centre prior"}
    spec = make_sweep(
        name, make_contenders(("sharing",), scheme, params),
        {num_uavs: picture_source(groups[:, :num_uavs], loc[:, :num_uavs]) for num_uavs in NUM_UAVS}, about,
        SHARING_UNITS, links=LINKS[1:], snr_db=(SHARING_SNR_DB,), knobs={"epsilon": EPSILONS},
        # Frames of one survey are in several groups, so that groups are no sample: intervals speak of the channel.
        random_pictures=kind != "frames of one survey", metrics=("psnr_db", "ssim"),
    )  # fmt: skip
    return spec, pairs_by(spec, PRICE, (SHARING,), {"epsilon": 0.0})


@functools.cache
def _read_groups(data: Path, size: int) -> dict[str, np.ndarray]:
    return read_groups(data, GROUPS, size)


def _into_store(
    make: Callable[[Path], tuple[NamedSweep, list[Pair]]], items: int, data: Path, store: ResultStore
) -> None:
    store_sweep(*make(data), store, items)


MASKING = {
    SNR: over_snr,
    MASK_PROB: over_mask_prob,
    BERNOULLI: over_mask_prob_drawn,
    **{name: functools.partial(over_uavs, name) for name in KINDS},
}
CODECS = {codecs.ACCURACY: codecs.over_snr, codecs.CSI: codecs.over_csi_error}
MEASUREMENTS: dict[str, Callable[[Path, ResultStore], None]] = {
    # Points of several P_r don't go together: a call holds those of one, on one channel.
    **{name: functools.partial(_into_store, make, MASK_PROB_UNITS) for name, make in MASKING.items()},
    **{name: functools.partial(_into_store, make, len(codecs.SNR_DB) * codecs.UNITS) for name, make in CODECS.items()},
    codecs.CLEAN_NAME: codecs.store_ceiling,
    **{codecs.separation_name(scheme): functools.partial(codecs.store_separation, scheme) for scheme in codecs.DIGITAL},
}
"""Name of a sweep in the store to what measures, from the folder of data, what a store lacks of it."""


@script(
    data="pictures and the classifiers' weights", store="the result store",
    only={"choices": MEASUREMENTS, "metavar": "NAME", "help": f"of {', '.join(map(repr, MEASUREMENTS))}"},
)  # fmt: skip
def main(data: Path = DATA, store: Path = STORE, only: tuple[str, ...] = tuple(MEASUREMENTS)) -> None:
    """Measure what docs/results.md shows."""
    store.parent.mkdir(parents=True, exist_ok=True)
    for name in only:
        with ResultStore(store) as results:
            MEASUREMENTS[name](data, results)


if __name__ == "__main__":
    sys.exit(main())
