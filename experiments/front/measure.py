"""The store behind the site's front page: all that ships weights for pictures, clips or clouds, on the same links.

    python -m experiments.front.measure --store docs/front/front.sqlite

The demo's seven photographs, its clip and its furniture over AWGN and 4x4 Rayleigh; eight minutes on two busy cores.
Bandwidth ratios differ from scheme to scheme and stand in each point's row: this shows what arrives, and ranks nobody.
``make docs`` makes the report of it.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from experiments.script import script
from lvm_mtc import zoo
from lvm_mtc.cli.clips import load_clip_contender
from lvm_mtc.cli.clouds import load_cloud_contender, read_clouds
from lvm_mtc.data import demo_views
from lvm_mtc.data.demo_sources import write_clip, write_clouds
from lvm_mtc.link import LinkConfig
from lvm_mtc.models.weights import SHIPPED
from lvm_mtc.report.study import CLIP_METRICS, CLOUD_METRICS
from lvm_mtc.report.viewer_pictures import viewer_pictures
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.schemes.softcast.scheme import SoftCast, SoftCastConfig
from lvm_mtc.schemes.tiled import tiled
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.named import make_contenders, plain_contender
from lvm_mtc.sweep.paired import NamedSweep
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.sweep.run import run_sweep
from lvm_mtc.sweep.stopping import StoppingRule

SIDE = 96
OF_DEMO = ("importance", "importance-uniform", "object", "uniform", "all", "pca")
ON_BITS = ("progressive", "context_vq")
CODECS = ("token2_cifar10_cbr_1_3", "deepjscc_cifar10_cbr_1_3", "menu_cbr_1_3")
SNR_DB = (0.0, 10.0, 20.0)
METRICS = ("psnr_db", "psnr_inside_db", "ssim")
FRAMES = 8


def picture_contenders() -> Iterator[Contender]:
    """Codecs for 96 pixels as they are, those for 32 in nine tiles or, where they are convolutional, whole."""
    yield from make_contenders(OF_DEMO, *load_scheme(DEMO_WEIGHTS))
    for name in ON_BITS:
        yield dataclasses.replace(plain_contender(*load_scheme(SHIPPED / f"{name}.npz")), name=name)
    for name in CODECS:
        scheme, params = zoo.load_codec(name)
        yield dataclasses.replace(plain_contender(tiled(scheme, SIDE, SIDE), params), name=name)


def sweeps(units: int) -> Iterator[tuple[NamedSweep, int]]:
    """One of photographs, one of a clip, one of furniture; and how many groups the viewer shows."""
    of_all = dict(
        links=tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh")),
        snr_db=SNR_DB, stopping=StoppingRule(target_half_width=None, max_units=units),
    )  # fmt: skip
    views = demo_views(num_uavs=1, size=SIDE)
    source = picture_source(np.float32(views.views) / 255, views.boxes)
    of_pictures = dict(schemes=tuple(picture_contenders()), sources={1: source}, metrics=METRICS)
    yield NamedSweep(name="photographs", **of_pictures, **of_all), 1
    with tempfile.TemporaryDirectory() as folder:
        learned, clip = load_clip_contender(write_clip(Path(folder)), None, limit=FRAMES, num_uavs=1)
        cloud = load_cloud_contender(None)
        of_clouds = dict(num_points=cloud.scheme.config.num_points, num_uavs=1)
        clouds = read_clouds(write_clouds(Path(folder)), **of_clouds).source
    same = {name: getattr(learned.scheme.config, name) for name in ("size", "num_frames", "num_uses", "gop")}
    linear = SoftCast(SoftCastConfig(**same))
    schemes = (learned, plain_contender(linear, linear.init(jax.random.key(0))))
    yield NamedSweep(name="clip", schemes=schemes, sources={1: clip}, metrics=CLIP_METRICS, **of_all), 1
    yield NamedSweep(name="furniture", schemes=(cloud,), sources={1: clouds}, metrics=CLOUD_METRICS, **of_all), 2


@script(store="result store to add to", units="channel realisations of a point")
def main(store: Path = Path("docs/front/front.sqlite"), units: int = 4) -> None:
    """Measure the front page's sweeps into a store."""
    store.parent.mkdir(parents=True, exist_ok=True)
    with ResultStore(store) as results:
        for spec, groups in sweeps(units):
            run_sweep(spec, results, keep=False)
            viewer_pictures(spec, results, groups=groups)
            print(f"{spec.name}: {len(spec.schemes)} schemes, {len(list(spec.coordinates()))} points")


if __name__ == "__main__":
    sys.exit(main())
