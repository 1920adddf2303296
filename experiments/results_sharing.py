"""What is measured of token sharing: what it saves over K, and its price."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
from results_masking import LINKS, WEIGHTS_NAME, pairs_by
from token_sharing_pictures import read_groups

from lvm_mtc import System
from lvm_mtc.data.boxes import center_prior
from lvm_mtc.evaluation.paired_sweep import NamedSweep, Pair
from lvm_mtc.evaluation.schemes import DEMO_WEIGHTS, SCHEMES, load_system, make_schemes
from lvm_mtc.evaluation.stopping import StoppingRule
from lvm_mtc.evaluation.sweep_plan import Pictures

GROUPED = ", for some UAVs"
"""Behind the kind where a token may be shared by some of the UAVs only (``SystemConfig.groups``)."""
KINDS = {f"sharing, {kind}": kind for kind in (
    "frames of one survey", "views of one photograph", f"frames of one survey{GROUPED}")}  # fmt: skip
"""Name of the sweep in the store to the kind of groups."""

SHARING = SCHEMES["sharing"]
PRICE = f"{SHARING} minus nothing shared"
NUM_UAVS, EPSILONS, SNR_DB, GROUPS, UNITS = (2, 3, 5, 10), (0.0, 0.05, 0.1, 0.2, 0.4, 0.8), 10.0, 12, 8


def over_uavs(name: str, data: Path) -> tuple[NamedSweep, list[Pair]]:
    """Sharing over K and epsilon (Fig. 11); the first K pictures of each group, whatever K.

    Args:
        name: A key of ``KINDS``.
        data: Folder that holds ``uav_brighton_beach`` and ``voc2012_320``.
    """
    system, params = load_system(DEMO_WEIGHTS)
    size = system.config.image_size
    kind = KINDS[name].removesuffix(GROUPED)
    groups = _read_groups(data, size)[kind]
    if kind != KINDS[name]:
        system = System(dataclasses.replace(system.config, groups=True), system.execution)
    loc = np.broadcast_to(center_prior(size, size), (*groups.shape[:2], 4)).astype(np.float32)
    spec = NamedSweep(
        name=name, schemes=tuple(make_schemes(("sharing",), system, params)), links=LINKS[1:],
        pictures={k: Pictures(groups[:, :k], loc[:, :k]) for k in NUM_UAVS}, snr_db=(SNR_DB,), epsilon=EPSILONS,
        # Frames of one survey are in several groups, so that groups are no sample: intervals speak of the channel.
        random_pictures=kind != "frames of one survey", metrics=("psnr_db", "ssim"), pictures_per_step=40,
        stopping=StoppingRule(target_half_width=None, max_units=UNITS),
        about={"weights": WEIGHTS_NAME, "pictures": KINDS[name], "box": "centre prior"},
    )  # fmt: skip
    return spec, pairs_by(spec, PRICE, (SHARING,), {"epsilon": 0.0})


@functools.cache
def _read_groups(data: Path, size: int) -> dict[str, np.ndarray]:
    return read_groups(data, GROUPS, size)
