r"""The video codec's network that learned by how frames look against the shipped one, by ST-LPIPS, into a store.

    python -m experiments.video.perceptual --data ../shared/data --weights runs/pvsc/perceptual/weights.npz \
        --longer runs/pvsc_longer/system/weights.npz --store docs/video/results.sqlite
    python -m experiments.video.page --store docs/video/results.sqlite --out docs/video

Beside both stands the network that went on learning by squared error in as many steps. The receiver's networks differ
alone: symbols and side information are the same bit for bit. Over AWGN the budget is varied too, and x264 and x265 with
LDPC codes take shares of the same uses, with the modulation and code rate of which all words arrive through the whole
chain at that length. Needs the extra ``video``.
"""

import dataclasses
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.script import DATA, script
from experiments.stores import minus_the_others, store_values
from experiments.video.digital import MODULATION_CODING, arrivals, blocks_of
from experiments.video.measure import FRAMES, FULL, GOP, SIZE, STORE, clip_sweep, contenders, read_clips, side_bits
from lvm_mtc.data.video_codecs import CODECS, best_within
from lvm_mtc.interop.perceptual_weights import load_perceptual
from lvm_mtc.metrics.judges import clip_distance_judge
from lvm_mtc.metrics.perceptual import perceptual_distance
from lvm_mtc.results.hashing import params_hash
from lvm_mtc.results.points import Measured
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.loading import CLIP_WEIGHTS, load_scheme
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.paired import NamedSweep, run_paired_sweep

NAME, FADED, BUDGETS = "video, looks", "video, looks over fading", "video, looks over budgets"
BITS = "video, looks as bits"
PERCEPTUAL, LONGER = "pvsc, perceptual", "pvsc, longer"
JUDGE = DATA / "weights" / "stlpips_alex_fp16.npz"
RATES, SHARES = (0.25, 0.5), (0.125, 0.25, 0.5, 1.0)
"""Parts of the codec's budget, beside all of it, and of its uses with side information, that x264 and x265 get."""
SNR_DB = (5.0, 10.0)
"""Of both."""
_RESOURCES = Resources(num_devices=1, items_per_device=2)
_distance = jax.jit(perceptual_distance)


@script(
    data="folder with clips/test (default: %(default)s)", weights="of the stage perceptual",
    longer="of as many steps by squared error", judge="weights of ST-LPIPS (default: %(default)s)",
    store="result store to add to; what it holds is not measured again", units="channel realisations, 2 or more",
)  # fmt: skip
def main(
    data: Path = DATA, weights: Path = Path("runs/pvsc/perceptual/weights.npz"),
    longer: Path = Path("runs/pvsc_longer/system/weights.npz"), judge: Path = JUDGE, store: Path = STORE,
    units: int = 2,
) -> None:  # fmt: skip
    """Measure how what the video codec sends looks into a store."""
    clips, params = read_clips(data), load_perceptual(judge)
    full = contenders(CLIP_WEIGHTS, clips)[0]
    networks = {PERCEPTUAL: weights, FULL: CLIP_WEIGHTS, LONGER: longer}
    rivals = tuple(rival(full, name, path) for name, path in networks.items())
    with ResultStore(store) as results:
        for name, clip in clips.items():
            for spec in looks_sweeps(name, clip, rivals, units, params):
                run_paired_sweep(spec, minus_the_others(spec, PERCEPTUAL), results, resources=_RESOURCES)
            print(name, flush=True)
        uses = full.scheme.config.num_uses + side_bits(full.scheme, full.params, clips)
        for share in SHARES:
            measure_bits(clips, share, round(share * uses), params, results)


def rival(full: Contender, name: str, weights: Path) -> Contender:
    """The video codec of the study with another network; a ``ValueError`` where more than the network differs."""
    _, params = load_scheme(weights)
    for part in sorted(set(full.params) - {"network"}):
        if not all(jax.tree.leaves(jax.tree.map(np.array_equal, full.params[part], params[part]))):
            raise ValueError(f"{weights}: {part!r} is not that of {CLIP_WEIGHTS.name}")
    return Contender(
        name=name, scheme=full.scheme, params=full.params | {"network": params["network"]}, swept=("rate",)
    )


def looks_sweeps(
    name: str, clip: np.ndarray, rivals: tuple[Contender, ...], units: int, judge: Any
) -> tuple[NamedSweep, ...]:
    """Networks on one clip with ST-LPIPS among what is measured: all over AWGN, the first two elsewhere.

    The latter over Rayleigh fading, and with parts of the budget.
    """
    spec = clip_sweep(name, clip, rivals, units)
    awgn = dataclasses.replace(spec, name=f"{NAME}, {name}", links=spec.links[:1], judges=(clip_distance_judge(judge),))
    two = dataclasses.replace(awgn, schemes=rivals[:2])
    faded = dataclasses.replace(two, name=f"{FADED}, {name}", links=spec.links[1:])
    return awgn, faded, dataclasses.replace(two, name=f"{BUDGETS}, {name}", snr_db=SNR_DB, knobs={"rate": RATES})


def measure_bits(clips: Mapping[str, np.ndarray], share: float, uses: int, judge: Any, store: ResultStore) -> None:
    """Puts ST-LPIPS and PSNR of x264 and x265 at ``uses`` of a frame into a store, of each clip and SNR.

    Where no word arrives, or the smallest file does not fit, there is no point.
    """
    found = arrivals(uses * GOP, len(clips) * (FRAMES // GOP))
    about = {"name": f"{BITS}, {share:g}", "uses": uses, "judge": params_hash(judge), "size": list(SIZE)}
    for (name, clip), codec in itertools.product(clips.items(), CODECS):
        made: dict[int, dict[str, float] | None] = {}
        for snr_db in SNR_DB:
            place = found[snr_db][0]
            if place not in made:
                made[place] = None if place < 0 else seen(clip, codec, place, uses, judge)
            if (values := made[place]) is not None:
                bits, rate = MODULATION_CODING[place]
                told = values | {"uses": uses, "bits_per_symbol": bits, "code_rate": rate}
                at = {"scheme": codec, "channel": "awgn", "clip": name, "snr_db": snr_db}
                measured = {key: Measured(float(value), None, FRAMES) for key, value in told.items()}
                store_values(store, about, at, measured, snr_db=snr_db, convention="rx_per_antenna")


def seen(clip: np.ndarray, codec: str, place: int, uses: int, judge: Any) -> dict[str, float] | None:
    """ST-LPIPS and PSNR, means over frames, of a clip in groups that all arrive; None where one does not fit."""
    payload = blocks_of(uses * GOP, MODULATION_CODING[place]).payload_bits
    groups = [best_within(clip[first : first + GOP], codec, payload) for first in range(0, FRAMES, GOP)]
    if any(group is None for group in groups):
        return None
    frames = np.concatenate([group.frames for group in groups if group is not None])
    shown, truth = (np.float32(a) / 255 for a in (frames, clip))
    mse = np.mean((shown - truth) ** 2, axis=(1, 2, 3))
    return {"perceptual": float(_distance(judge, truth, shown).mean()), "psnr_db": float(np.mean(-10 * np.log10(mse)))}


if __name__ == "__main__":
    sys.exit(main())
