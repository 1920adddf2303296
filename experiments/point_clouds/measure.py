r"""D1 PSNR and Chamfer distance of point clouds over SNR: the shipped codec against four others, into a store.

Test clouds of ModelNet10 in 320 symbols over the same channels and noise: learned, its moments as they are, uncoded
points, and an octree as bits. The octree's modulation and code rate are at each point the best of all that were tried,
chosen with the result at hand, which favours it.

    python -m experiments.point_clouds.measure --clouds ../shared/data/clouds/modelnet10_1024.npz \
        --store docs/point_clouds/results.sqlite
    python -m experiments.point_clouds.page --store docs/point_clouds/results.sqlite --out docs/point_clouds
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from experiments.script import DATA, script
from lvm_mtc.cli.clouds import load_cloud_contender
from lvm_mtc.data.clouds import load_packed_clouds
from lvm_mtc.data.octree import OctreeCode
from lvm_mtc.link import LinkConfig
from lvm_mtc.metrics.points import chamfer_distance
from lvm_mtc.report.study import CLOUD_METRICS
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.loading import CLOUD_WEIGHTS
from lvm_mtc.schemes.point_clouds.linear import LinearClouds, LinearCloudsConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.separation.clouds import CloudBits
from lvm_mtc.sweep.as_bits import measure_bits
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.named import plain_contender
from lvm_mtc.sweep.paired import PREFIX, NamedSweep, differences_name
from lvm_mtc.sweep.programs import Arrived
from lvm_mtc.sweep.rows import make_point
from lvm_mtc.sweep.run import run_sweep, sample_points
from lvm_mtc.sweep.stopping import StoppingRule

NAME, BITS, TURNED = "point clouds", "octree as bits", "point clouds, turned"
LEARNED, MOMENTS, POINTS = "learned", "moments", "uncoded points"
OTHERS = (MOMENTS, POINTS, BITS)
PAIRS = {f"minus {name}": name for name in OTHERS}
VARIANTS = {
    "analogue": dict(modulator="analog"),
    "values alone": dict(modulator="soft"),
    "importance": dict(allocation="importance"),
}
CLOUDS, STORE = DATA / "clouds" / "modelnet10_1024.npz", Path("docs/point_clouds/results.sqlite")
SNR_DB = (0.0, 5.0, 10.0, 20.0)
MODES = ((2, 1 / 5), (2, 1 / 3), (2, 1 / 2), (2, 2 / 3), (4, 1 / 3), (4, 1 / 2), (4, 2 / 3), (4, 5 / 6), (6, 1 / 2),
         (6, 2 / 3), (6, 5 / 6), (8, 2 / 3))  # fmt: skip
_RESOURCES = Resources(num_devices=1, items_per_device=12)
_SAMPLE = 64


@script(
    clouds="packed clouds (default: %(default)s)", weights="of the codec (default: the shipped ones)",
    store="result store to add to; what it holds of this study is not measured again",
    count="test clouds, evenly spread over all", units="channel realisations, 4 or more",
)  # fmt: skip
def main(
    clouds: Path = CLOUDS, weights: Path = CLOUD_WEIGHTS, store: Path = STORE, count: int = 24, units: int = 4
) -> None:
    """Measure point clouds into a store."""
    train = np.float32(load_packed_clouds(clouds, "train"))
    spec = cloud_sweep(load_packed_clouds(clouds, "test"), train, weights, count, units)
    store.parent.mkdir(parents=True, exist_ok=True)
    with ResultStore(store) as results:
        measure(spec, OctreeCode(train), typical_cloud(train), results)
        measure_turned(spec, results)
        print(f"{store}: {len(results.read())} points")


def cloud_sweep(test: np.ndarray, train: np.ndarray, weights: Path, count: int, units: int) -> NamedSweep:
    """The sweep of all schemes with one frame a cloud; intervals speak of other clouds, too."""
    learned = dataclasses.replace(load_cloud_contender(weights), name=LEARNED)
    take = np.linspace(0, len(test) - 1, count).round().astype(int)
    return NamedSweep(
        name=NAME,
        about={"weights": Path(weights).name, "clouds": "ModelNet10, test"},
        schemes=(learned, *linear_contenders(train), *variants(learned)),
        links=tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh")),
        sources={1: Source(np.float32(test[take])[:, None])},
        snr_db=SNR_DB,
        stopping=StoppingRule(target_half_width=None, max_units=units),
        random_pictures=True,
        metrics=CLOUD_METRICS,
        pictures_per_step=24,
    )


def linear_contenders(train: np.ndarray) -> list[Contender]:
    """Moments and uncoded points, with what training clouds say of their means and variances."""
    contenders = []
    for name, features in ((MOMENTS, "moments"), (POINTS, "points")):
        scheme = LinearClouds(LinearCloudsConfig(features=features))
        params = scheme.start(scheme.init(jax.random.key(0)), train[:: len(train) // _SAMPLE], 0)
        contenders.append(dataclasses.replace(plain_contender(scheme, params), name=name))
    return contenders


def variants(learned: Contender) -> list[Contender]:
    """The codec with parts of it changed after training."""
    configs = {name: dataclasses.replace(learned.scheme.config, **fields) for name, fields in VARIANTS.items()}
    return [
        dataclasses.replace(learned, name=name, scheme=dataclasses.replace(learned.scheme, config=config))
        for name, config in configs.items()
    ]


def typical_cloud(train: np.ndarray) -> np.ndarray:
    """Of some training clouds the one that is nearest to the others."""
    some = train[:: len(train) // _SAMPLE]
    distances = jax.jit(jax.vmap(chamfer_distance, (None, 0)))
    return some[int(np.argmin([float(distances(one, some).mean()) for one in some]))]


def measure(spec: NamedSweep, code: OctreeCode, lost: np.ndarray, store: ResultStore) -> None:
    """Puts all schemes' points and the learned one's differences to others into a store, unless all are there."""
    config = spec.config()
    told = {"modes": [list(mode) for mode in MODES], "crc": "CRC16", "source": "octree, arithmetic code"}
    of_bits = config | {"name": f"{spec.name}, {BITS}", "schemes": {BITS: told}}
    about = {"name": differences_name(spec.name), "differences_of": spec.key(), "random_pictures": True}
    keys = [store.register(part) for part in (config, of_bits, about | {"code": told})]
    points = list(spec.coordinates())
    names = [contender.name for contender in spec.schemes]
    of_each = {name: [at for at in points if at["scheme"] == name] for name in names}
    first = of_each[MOMENTS]  # without a knob
    of_each[BITS] = [at | {"scheme": BITS} for at in first]
    of_each |= {name: [at | {"scheme": f"{LEARNED} {name}"} for at in first] for name in PAIRS}

    def lacks(key: str, *some: str) -> bool:
        return bool(store.missing(key, [at for name in some for at in of_each[name]]))

    def keep(key: str, name: str, arrived: Sequence[Arrived]) -> None:
        rows = (make_point(spec, key, at, one) for at, one in zip(first, arrived, strict=True))
        store.add(dataclasses.replace(row, coordinates=at) for row, at in zip(rows, of_each[name], strict=True))

    compared = (LEARNED, MOMENTS, POINTS)
    if lacks(keys[0], *compared) or lacks(keys[1], BITS) or lacks(keys[2], *PAIRS):
        arrived = {name: sample_points(spec, of_each[name], resources=_RESOURCES) for name in compared}
        arrived[BITS] = octree_points(spec, code, lost, of_each[LEARNED])
        for name, samples in arrived.items():
            keep(keys[name == BITS], name, samples)
        for name, other in PAIRS.items():
            keep(keys[2], name, list(map(difference, arrived[LEARNED], arrived[other])))
    for name in VARIANTS:
        if lacks(keys[0], name):
            keep(keys[0], name, sample_points(spec, of_each[name], resources=_RESOURCES))


def octree_points(spec: NamedSweep, code: OctreeCode, lost: np.ndarray, points: Sequence[dict]) -> list[Arrived]:
    """Of each point the best mode, of those that do not ask for more than the channel could carry without fading."""
    tried: list[list[Arrived]] = [[] for _ in points]
    with tqdm(total=len(MODES), disable=not sys.stderr.isatty()) as bar:
        for bits_per_symbol, rate in MODES:
            sender = CloudBits(code, lost, bits_per_symbol=bits_per_symbol, rate=rate)
            can = [i for i, at in enumerate(points) if bits_per_symbol * rate < np.log2(1 + 10 ** (at["snr_db"] / 10))]
            if can:
                for i, arrived in zip(can, measure_bits(spec, sender, [points[i] for i in can]), strict=True):
                    tried[i].append(arrived)
            bar.update()
    return [best(of_point) for of_point in tried]


def measure_turned(spec: NamedSweep, store: ResultStore) -> None:
    """Puts what arrives of the same clouds, each turned at random, into a store, of learned and moments over AWGN."""
    source = spec.sources[1].data
    turns = np.linalg.qr(np.random.default_rng(0).normal(size=(len(source), 3, 3)))[0]
    turns *= np.sign(np.linalg.det(turns))[:, None, None]
    turned = dataclasses.replace(
        spec,
        name=TURNED,
        schemes=spec.schemes[:2],
        links=spec.links[:1],
        sources={1: Source(np.float32(np.einsum("bkpd,bde->bkpe", source, turns)))},
        snr_db=(5.0, 10.0),
    )
    run_sweep(turned, store, resources=_RESOURCES, keep=False)


def best(of_point: Sequence[Arrived]) -> Arrived:
    """What arrived of the mode with the largest mean D1 PSNR."""
    return max(of_point, key=lambda arrived: np.mean(arrived.metrics["d1_psnr_db"]))


def difference(first: Arrived, second: Arrived) -> Arrived:
    """First minus second, unit by unit and cloud by cloud."""
    return first._replace(metrics={PREFIX + name: first.metrics[name] - second.metrics[name] for name in first.metrics})


if __name__ == "__main__":
    sys.exit(main())
