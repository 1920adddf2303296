r"""The video codec's network that learned by how frames look against the shipped one, by ST-LPIPS, into a store.

    python -m experiments.video.perceptual --data ../shared/data --store docs/video/results.sqlite \
        --weights runs/pvsc/perceptual/weights.npz --mild runs/pvsc_mild/perceptual/weights.npz \
        --longer runs/pvsc_longer/system/weights.npz
    python -m experiments.video.page --store docs/video/results.sqlite --out docs/video

Beside both stand networks that learned with a tenth of the weight on ST-LPIPS, and by squared error, in as many steps.
The receiver's networks differ alone: symbols and side information are the same bit for bit. Over AWGN the budget is
halved too, and x264 and x265 with LDPC codes take shares of the same uses, with the modulation and code rate of which
all words arrive through the whole chain at that length. Needs the extra ``video``.
"""

import functools
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.psnr import psnr_db
from experiments.script import DATA, script
from experiments.stores import store_values
from experiments.video.digital import MODULATION_CODING, arrivals, blocks_of
from experiments.video.measure import (
    FRAMES,
    FULL,
    GOP,
    SIZE,
    SNR_DB,
    STORE,
    contenders,
    read_clips,
    side_bits,
    source_of,
)
from lvm_mtc import link as links_room
from lvm_mtc.data.video_codecs import CODECS, best_within
from lvm_mtc.interop.perceptual_weights import load_perceptual
from lvm_mtc.link import LinkConfig, OperatingPoint, uav_keys
from lvm_mtc.metrics.perceptual import perceptual_distance
from lvm_mtc.metrics.tables import METRICS
from lvm_mtc.report.study import CLIP_METRICS
from lvm_mtc.results.hashing import params_hash
from lvm_mtc.results.points import Measured
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes import simulate
from lvm_mtc.schemes.loading import CLIP_WEIGHTS, load_scheme
from lvm_mtc.schemes.pvsc.scheme import Pvsc
from lvm_mtc.schemes.scheme import Estimate, Source
from lvm_mtc.schemes.simulate import Outcome
from lvm_mtc.sweep.contender import Contender

NAME, BITS = "video, looks", "video, looks as bits"
PERCEPTUAL, MILD, LONGER = "pvsc, perceptual", "pvsc, mild", "pvsc, longer"
JUDGE = DATA / "weights" / "stlpips_alex_fp16.npz"
RATE, SHARES = 0.5, (0.125, 0.25, 0.5)
"""Part of the codec's budget, beside all of it, and parts of its uses with side information, that x264 and x265 get."""
BUDGET_SNR_DB, FADED_SNR_DB = (5.0, 10.0), (5.0, 15.0)
"""Of both, and over fading."""
CONVENTION = "rx_per_antenna"
PLACES = {name: [("awgn", snr_db, 1.0) for snr_db in SNR_DB] for name in (FULL, PERCEPTUAL, MILD, LONGER)}
"""Where each network is measured: fading, SNR, rate."""
for _name in (FULL, PERCEPTUAL):
    PLACES[_name] += [("rayleigh", snr_db, 1.0) for snr_db in FADED_SNR_DB]
    PLACES[_name] += [("awgn", snr_db, RATE) for snr_db in BUDGET_SNR_DB]
PARTS = ("networks", "bits")
_distance = jax.jit(perceptual_distance)


@script(
    data="folder with clips/test (default: %(default)s)", weights="of the stage perceptual",
    mild="of that stage with a tenth of the weight on ST-LPIPS",
    longer="of as many steps by squared error", judge="weights of ST-LPIPS (default: %(default)s)",
    store="result store to add to; what it holds is not measured again",
    parts={"choices": PARTS, "help": "what is measured (default: both)"},
)  # fmt: skip
def main(
    data: Path = DATA, weights: Path = Path("runs/pvsc/perceptual/weights.npz"),
    mild: Path = Path("runs/pvsc_mild/perceptual/weights.npz"),
    longer: Path = Path("runs/pvsc_longer/system/weights.npz"), judge: Path = JUDGE, store: Path = STORE,
    parts: tuple[str, ...] = PARTS,
) -> None:  # fmt: skip
    """Measure how what the video codec sends looks into a store."""
    clips, params = read_clips(data), load_perceptual(judge)
    full = contenders(CLIP_WEIGHTS, clips)[0]
    with ResultStore(store) as results:
        if "networks" in parts:
            files = {FULL: CLIP_WEIGHTS, PERCEPTUAL: weights, MILD: mild, LONGER: longer}
            networks = {name: network_of(full, path) for name, path in files.items()}
            for name, clip in clips.items():
                measure_networks(name, clip, full, networks, params, results)
        if "bits" in parts:
            uses = full.scheme.config.num_uses + side_bits(full.scheme, full.params, clips)
            for share in SHARES:
                measure_bits(clips, share, round(share * uses), params, results)


def network_of(full: Contender, weights: Path) -> Any:
    """Parameters of the codec with another network; a ``ValueError`` where more than the network differs."""
    _, params = load_scheme(weights)
    for part in sorted(set(full.params) - {"network"}):
        if not all(jax.tree.leaves(jax.tree.map(np.array_equal, full.params[part], params[part]))):
            raise ValueError(f"{weights}: {part!r} is not that of {CLIP_WEIGHTS.name}")
    return params


def measure_networks(
    name: str, clip: np.ndarray, full: Contender, networks: Mapping[str, Any], judge: Any, store: ResultStore
) -> None:
    """Puts into a store what is seen of a clip with each network at its places, over one realisation for all."""
    source, judged = source_of(clip), params_hash(judge)
    encoded = {rate: encode(full.scheme, full.params, source, rate) for rate in (1.0, RATE)}
    for scheme, params in networks.items():
        about = {"name": f"{NAME}, {scheme}", "weights": params_hash(params), "judge": judged, "frames": FRAMES}
        key = store.register(about)
        for fading, snr_db, rate in PLACES[scheme]:
            at = {"scheme": scheme, "channel": fading, "clip": name, "rate": rate, "snr_db": snr_db}
            if not store.missing(key, [at]):
                continue
            seen, uses = send(full.scheme, fading, params, encoded[rate], np.float32(snr_db))
            values = {metric: float(value) for metric, value in measured(source, seen).items()}
            values |= {"perceptual": float(_distance(judge, source.data, seen).mean()), "uses": float(uses)}
            told = {metric: Measured(value, None, FRAMES) for metric, value in values.items()}
            store_values(store, about, at, told, snr_db=snr_db, convention=CONVENTION)
    print(name, flush=True)


@functools.partial(jax.jit, static_argnums=0)
def encode(scheme: Pvsc, params: Any, source: Source, rate: float) -> Any:
    """What is to be sent of clips at a rate; the networks have no part in it."""
    return simulate.encode(scheme, params, source, jax.random.key(0), {"rate": rate})


@functools.partial(jax.jit, static_argnums=(0, 1))
def send(scheme: Pvsc, fading: str, params: Any, encoded: Any, snr_db: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A clip as it is shown, ``[1, 1, frames, height, width, 3]``, and uses of a frame, side information included."""
    link, point = LinkConfig(fading=fading, convention=CONVENTION), OperatingPoint(snr_db=snr_db)
    draws = links_room.draw(link, uav_keys(jax.random.key(1), 1), 1, *scheme.frames(), point)
    outcome = simulate.transmit(scheme, params, encoded, (link,), (draws,), point)
    symbols = encoded.counts.sum() * scheme.config.chunk**2
    return jnp.clip(outcome.estimate.data, 0, 1), (symbols + outcome.sent.side_bits[0]) / scheme.config.num_frames


@jax.jit
def measured(source: Source, seen: jax.Array) -> dict[str, jax.Array]:
    """The usual metrics of clips, means over frames."""
    outcome = Outcome(Estimate(seen), *[None] * 4)
    return {name: METRICS["clips"][name](source, outcome).mean() for name in CLIP_METRICS}


def measure_bits(clips: Mapping[str, np.ndarray], share: float, uses: int, judge: Any, store: ResultStore) -> None:
    """Puts ST-LPIPS and PSNR of x264 and x265 at ``uses`` of a frame into a store, of each clip and SNR.

    Where no word arrives, or the smallest file does not fit, there is no point.
    """
    found = arrivals(uses * GOP, len(clips) * (FRAMES // GOP))
    about = {"name": f"{BITS}, {share:g}", "uses": uses, "judge": params_hash(judge), "size": list(SIZE)}
    for (name, clip), codec in itertools.product(clips.items(), CODECS):
        made: dict[int, dict[str, float] | None] = {}
        for snr_db in BUDGET_SNR_DB:
            place = found[snr_db][0]
            if place not in made:
                made[place] = None if place < 0 else seen(clip, codec, place, uses, judge)
            if (values := made[place]) is not None:
                bits, rate = MODULATION_CODING[place]
                told = values | {"uses": uses, "bits_per_symbol": bits, "code_rate": rate}
                at = {"scheme": codec, "channel": "awgn", "clip": name, "snr_db": snr_db}
                with_count = {metric: Measured(float(value), None, FRAMES) for metric, value in told.items()}
                store_values(store, about, at, with_count, snr_db=snr_db, convention=CONVENTION)


def seen(clip: np.ndarray, codec: str, place: int, uses: int, judge: Any) -> dict[str, float] | None:
    """ST-LPIPS and PSNR, means over frames, of a clip in groups that all arrive; None where one does not fit."""
    payload = blocks_of(uses * GOP, MODULATION_CODING[place]).payload_bits
    groups = [best_within(clip[first : first + GOP], codec, payload) for first in range(0, FRAMES, GOP)]
    if any(group is None for group in groups):
        return None
    frames = np.concatenate([group.frames for group in groups if group is not None])
    shown, truth = (np.float32(a) / 255 for a in (frames, clip))
    return {"perceptual": float(_distance(judge, truth, shown).mean()), "psnr_db": float(psnr_db(shown, truth).mean())}


if __name__ == "__main__":
    sys.exit(main())
