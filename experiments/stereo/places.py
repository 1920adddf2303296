r"""Views from places on the line of the cameras, also beyond them, at one SNR over AWGN; into places.csv.

    python -m experiments.stereo.places --data ../shared/data --out docs/stereo

The scenes are those of ``experiments.stereo.measure``, looked at from seven places, 0 the left camera and 1 the right
one. One channel realisation a scene; intervals speak of other scenes. Two minutes.
"""

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.script import DATA, script
from experiments.stereo.measure import SCENES, SEED, contenders
from experiments.stereo.pack import MAX_DISPARITY, SIZE, scenes, textures_of
from lvm_mtc.cli.stereo import source_of
from lvm_mtc.data.synthetic_stereo import random_scene
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.pictures import psnr
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes.gs_scnet.lifting import views_of
from lvm_mtc.schemes.gs_scnet.scheme import GsScnet
from lvm_mtc.schemes.loading import STEREO_WEIGHTS
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward
from lvm_mtc.sweep.contender import Contender

LINK = LinkConfig(fading="awgn", convention="rx_per_antenna")
PLACES, SNR_DB = (-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25), 10.0
CLEAN, NEAREST = "clean pictures, predictor", "the nearest view"
_TOGETHER = 10


class Seen(NamedTuple):
    """Views ``[n, m, H, W, 3]`` float in [0, 1], and Gaussians that tiles had no room for, in all."""

    views: np.ndarray
    overflow: int


@script(
    data="folder with voc2012_320 (default: %(default)s)", weights="of the codec (default: the shipped)",
    out="folder for places.csv",
)  # fmt: skip
def main(data: Path = DATA, weights: Path = STEREO_WEIGHTS, out: Path = Path("docs/stereo")) -> None:
    """Measure views from places on the line of the cameras."""
    true = np.float32(views_from(data, PLACES)) / 255
    source = source_of(scenes(data, "val", SCENES, SEED))
    places = np.broadcast_to(np.float32(PLACES), (len(true), len(PLACES)))
    full, decoupled = contenders(weights)
    made = {one.name: through(one, source, places, SNR_DB) for one in (full, decoupled)}
    made[CLEAN] = predicted(decoupled, source.data[:, 0], places)
    made[NEAREST] = Seen(source.data[:, 0][:, [int(place > 0.5) for place in PLACES]], 0)
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "places.csv", list(rows(true, made)))


def views_from(data: Path, places: tuple[float, ...]) -> np.ndarray:
    """What cameras at ``places`` see of the measured scenes, ``[n, m, H, W, 3]`` uint8."""
    textures = textures_of(data, "val", SEED)
    each = (random_scene(np.random.default_rng((SEED, i)), SIZE, textures, MAX_DISPARITY) for i in range(SCENES))
    return np.stack([[scene.view(place)[0] for place in places] for scene in each])


def rows(true: np.ndarray, made: dict[str, Seen]) -> Iterator[dict]:
    """Mean PSNR over the scenes of every view at every place, dB, with its interval; none where it is the truth."""
    for name, seen in made.items():
        for number, place in enumerate(PLACES):
            values = np.asarray(psnr(true[:, number], seen.views[:, number]))
            if np.isfinite(values).all():
                yield {"scheme": name, "place": place, **mean_of(values), "overflow": seen.overflow}


def mean_of(values: np.ndarray) -> dict[str, float]:
    """Mean over scenes, dB, and half of its 95 % interval."""
    interval = student_interval(np.float64(values))
    return {"psnr_db": float(interval.mean), "half_width": float(interval.half_width)}


def through(contender: Contender, source: Source, places: np.ndarray, snr_db: float, unit: int = 0) -> Seen:
    """What cameras at ``places [n, m]`` see of scenes that arrived over AWGN; ``unit`` numbers channel realisations."""
    parts = []
    for first in range(0, len(places), _TOGETHER):
        cut = slice(first, first + _TOGETHER)
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), unit), first)
        some = Source(source.data[cut])
        parts.append(_through(contender.scheme, contender.params, some, places[cut], np.float32(snr_db), key))
    return _joined(parts)


def predicted(contender: Contender, pictures: np.ndarray, places: np.ndarray) -> Seen:
    """The same of scenes that ``Decoupled`` predicts from pictures ``[n, 2, H, W, 3]``, without any channel."""
    cuts = [slice(first, first + _TOGETHER) for first in range(0, len(places), _TOGETHER)]
    return _joined([_predicted(contender.scheme, contender.params, pictures[cut], places[cut]) for cut in cuts])


@functools.partial(jax.jit, static_argnums=0)
def _through(scheme: GsScnet, params: dict, source: Source, places: jax.Array, snr_db: jax.Array, key: jax.Array):
    arrived = forward(scheme, params, source, key, LINK, OperatingPoint(snr_db=snr_db))
    scene, _ = scheme.gaussians(params, arrived.received, arrived.sent.side)
    return scheme.render(scene, places, arrived.sent.side)


@functools.partial(jax.jit, static_argnums=0)
def _predicted(scheme, params: dict, pictures: jax.Array, places: jax.Array):
    (height, width), capacity = pictures.shape[2:4], scheme.config.capacity
    camera = jnp.array([width, width, width / 2, height / 2, 1.0])
    scene, _ = scheme.predict(params, pictures, jnp.broadcast_to(camera, (len(pictures), 5)))
    return jax.vmap(lambda s, at: views_of(s, at, camera, (height, width), capacity=capacity))(scene, places)


def _joined(parts: list) -> Seen:
    views = np.concatenate([np.clip(views, 0, 1) for views, _ in parts])
    return Seen(views, int(sum(np.sum(overflow) for _, overflow in parts)))


if __name__ == "__main__":
    sys.exit(main())
