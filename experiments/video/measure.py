r"""Clips over SNR into a store: the video codec, its linear codec alone, intra frames alone, SoftCast; lost frames.

    python -m experiments.video.measure --data ../shared/data --store docs/video/results.sqlite
    python -m experiments.video.digital --data ../shared/data --out docs/video
    python -m experiments.video.page --store docs/video/results.sqlite --out docs/video

Six test clips of 24 frames, the middle 96 x 96 pixels. All contenders take as many channel uses a frame, side
information included, as the video codec does on average; where whole chunks do not fit, the others get more. Ten
minutes.
"""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.script import DATA, script
from experiments.stores import minus_the_others
from lvm_mtc import link as links_room
from lvm_mtc.data.clips import load_clip, middle
from lvm_mtc.link import LinkConfig, OperatingPoint, uav_keys
from lvm_mtc.report.study import CLIP_METRICS
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes import simulate
from lvm_mtc.schemes.loading import CLIP_WEIGHTS, load_scheme
from lvm_mtc.schemes.pvsc.scheme import Pvsc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.softcast.scheme import SoftCast, SoftCastConfig
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.paired import NamedSweep, run_paired_sweep
from lvm_mtc.sweep.stopping import StoppingRule

CLIPS = ("carphone", "foreman", "boat1", "truck4", "person12", "gull1")
FRAMES, SIZE, GOP = 24, (96, 96), 8
SNR_DB = (0.0, 5.0, 10.0, 15.0)
STORE = Path("docs/video/results.sqlite")
FULL, LINEAR, INTRA, SOFT1, SOFT8 = "pvsc", "pvsc, linear", "pvsc, intra", "SoftCast, GOP 1", "SoftCast, GOP 8"
OTHERS = (LINEAR, INTRA, SOFT1, SOFT8)
LOST_FRAME, LOSS_SNR_DB = 11, 10.0


@script(
    data="folder with clips/test (default: %(default)s)", weights="of the video codec (default: the shipped ones)",
    store="result store to add to; what it holds is not measured again", units="channel realisations, 2 or more",
)  # fmt: skip
def main(data: Path = DATA, weights: Path = CLIP_WEIGHTS, store: Path = STORE, units: int = 3) -> None:
    """Measure the video codec, its parts and SoftCast into a store."""
    clips = read_clips(data)
    schemes = contenders(weights, clips)
    store.parent.mkdir(parents=True, exist_ok=True)
    with ResultStore(store) as results:
        for name, clip in clips.items():
            spec = clip_sweep(name, clip, schemes, units)
            run_paired_sweep(
                spec, minus_the_others(spec, FULL), results, resources=Resources(num_devices=1, items_per_device=4)
            )
            print(f"{name}: {len(results.read(spec.key()))} points", flush=True)
    write_csv(store.parent / "losses.csv", losses(schemes[0], clips))


def read_clips(data: Path) -> dict[str, np.ndarray]:
    """The test clips, ``[FRAMES, *SIZE, 3]`` uint8 each."""
    return {name: middle(load_clip(data / "clips" / "test" / name, limit=FRAMES), SIZE) for name in CLIPS}


def source_of(*clips: np.ndarray) -> Source:
    """Clips as a source of one UAV."""
    return Source(np.float32(np.stack(clips))[:, None] / 255)


def contenders(weights: Path, clips: Mapping[str, np.ndarray]) -> tuple[Contender, ...]:
    """All of them, with as many uses a frame as the first one has on average over the clips."""
    scheme, params = load_scheme(weights)
    full = _with(scheme, size=SIZE, num_frames=FRAMES, gop=GOP)
    total = full.config.num_uses + side_bits(full, params, clips)
    intra = _with(full, gop=1, intra_factor=1.0, num_uses=full.config.num_uses)
    step = intra.config.chunk**2
    uses = int(np.ceil((total - side_bits(intra, params, clips)) / step)) * step
    linear = _with(full, network=None)
    without = {name: value for name, value in params.items() if name != "network"}
    soft = [_softcast(gop, total) for gop in (1, GOP)]
    own = () if linear == full else (Contender(name=LINEAR, scheme=linear, params=without, swept=()),)
    return (
        Contender(name=FULL, scheme=full, params=params, swept=()),
        *own,
        Contender(name=INTRA, scheme=_with(intra, num_uses=uses), params=params, swept=()),
        *(Contender(name=n, scheme=s, params=s.init(None)) for n, s in zip((SOFT1, SOFT8), soft, strict=True)),
    )


def _with(scheme: Pvsc, **fields: Any) -> Pvsc:
    return dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, **fields))


def _softcast(gop: int, total: float) -> SoftCast:
    """Of the smallest size that takes ``total`` uses a frame, side information included."""
    config = SoftCastConfig(size=SIZE, num_frames=FRAMES, gop=gop, num_uses=total)
    chunk = config.chunk_size // 2
    sent = int(np.ceil((total * gop - config.every) / (chunk + (config.side_bits - config.every) // config.sent)))
    return SoftCast(dataclasses.replace(config, num_uses=-(-sent * chunk // gop)))


def side_bits(scheme: Pvsc, params: Any, clips: Mapping[str, np.ndarray]) -> int:
    """Bits of side information a frame, mean over the clips, rounded up."""
    source = source_of(*clips.values())
    encoded = simulate.encode(scheme, params, source, jax.random.key(0), {})
    sent = scheme.modulate(params, encoded, OperatingPoint())
    return int(np.ceil(np.mean(sent.side_bits) / scheme.config.num_frames))


def clip_sweep(name: str, clip: np.ndarray, schemes: tuple[Contender, ...], units: int) -> NamedSweep:
    """All contenders on one clip; intervals speak of channel realisations."""
    return NamedSweep(
        name=f"video, {name}",
        about={"clip": name},
        schemes=schemes,
        links=tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh")),
        sources={1: source_of(clip)},
        snr_db=SNR_DB,
        stopping=StoppingRule(target_half_width=None, max_units=units),
        metrics=CLIP_METRICS,
        pictures_per_step=1,
    )


def losses(contender: Contender, clips: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """PSNR of every frame over AWGN where one frame in the middle of a group is lost, and where none is."""
    rows, source, link = [], source_of(*clips.values()), LinkConfig(fading="awgn", convention="rx_per_antenna")
    point, keys = OperatingPoint(snr_db=LOSS_SNR_DB), uav_keys(jax.random.key(1), 1)
    for reference in ("chain", "golden"):
        scheme = _with(contender.scheme, reference=reference)
        encoded = simulate.encode(scheme, contender.params, source, jax.random.key(0), {})
        draws = links_room.draw(link, jax.random.clone(keys), len(clips), *scheme.frames(), point)
        transmit = jax.jit(lambda encoded, s=scheme, d=draws: simulate.transmit(
            s, contender.params, encoded, (link,), (d,), point).estimate.data)  # fmt: skip
        for lost in (None, LOST_FRAME):
            where = encoded.lost if lost is None else encoded.lost.at[:, :, lost].set(True)
            arrived = np.clip(transmit(encoded._replace(lost=where)), 0, 1)
            psnr = -10 * np.log10(np.mean((arrived - source.data) ** 2, axis=(-3, -2, -1)))[:, 0]
            rows += [
                {"reference": reference, "lost": "none" if lost is None else lost, "clip": name, "frame": frame,
                 "snr_db": LOSS_SNR_DB, "psnr_db": float(value)}
                for name, of_clip in zip(clips, psnr, strict=True) for frame, value in enumerate(of_clip)
            ]  # fmt: skip
    return rows


if __name__ == "__main__":
    sys.exit(main())
