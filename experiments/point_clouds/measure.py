r"""D1 PSNR, Chamfer distance, accuracy of point clouds over SNR: the shipped codec against four others, into a store.

Test clouds of ModelNet10 in 320 symbols over the same channels and noise: learned, its moments as they are, uncoded
points, an octree and Draco as bits. Modulation and code rate of bits are at each point the best of all that were tried,
chosen with the result at hand, which favours them.

    python -m experiments.point_clouds.judge
    python -m experiments.point_clouds.measure --clouds ../shared/data/clouds/modelnet10_1024.npz \
        --store docs/point_clouds/results.sqlite
    python -m experiments.point_clouds.page --store docs/point_clouds/results.sqlite --out docs/point_clouds
"""

import dataclasses
import functools
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from experiments.point_clouds.equal import measure_clean, measure_equal
from experiments.point_clouds.judge import CLOUDS, JUDGE, Labelled, classify, load_judge, load_labelled
from experiments.point_clouds.names import (
    BITS,
    CSI_ERROR,
    CSI_ERROR_VAR,
    DRACO,
    DRACO_MODES,
    LEARNED,
    LINEAR,
    LOW_SNR_DB,
    MODULATORS,
    MOMENTS,
    NAME,
    OFDM,
    POINTS,
    SNR_DB,
    TURNED,
    VARIED,
    Coded,
    is_below_capacity,
)
from experiments.script import script
from experiments.stores import minus_the_others
from lvm_mtc.cli.clouds import load_cloud_contender
from lvm_mtc.data.draco import DracoCode
from lvm_mtc.data.octree import OctreeCode
from lvm_mtc.link import LinkConfig
from lvm_mtc.metrics.judges import cloud_accuracy_judge
from lvm_mtc.metrics.points import chamfer_distance
from lvm_mtc.report.study import CLOUD_METRICS
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.loading import CLOUD_WEIGHTS
from lvm_mtc.schemes.point_clouds.linear import LinearClouds, LinearCloudsConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.separation.clouds import CloudBits
from lvm_mtc.sweep.as_bits import measure_bits
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.named import plain_contender
from lvm_mtc.sweep.paired import PREFIX, NamedSweep, differences_name, run_paired_sweep
from lvm_mtc.sweep.programs import Arrived
from lvm_mtc.sweep.rows import make_point
from lvm_mtc.sweep.run import run_sweep, sample_points
from lvm_mtc.sweep.stopping import StoppingRule

VARIANTS = {
    "analogue": dict(modulator="analog"),
    "values alone": dict(modulator="soft"),
    "importance": dict(allocation="importance"),
}
STORE = Path("docs/point_clouds/results.sqlite")
LOGITS = "logits alone"
_RESOURCES = Resources(num_devices=1, items_per_device=12)
_SAMPLE, _LEAST_UNITS = 64, 4


@script(
    clouds="packed clouds (default: %(default)s)", weights="of the codec (default: the shipped ones)",
    judge="weights of experiments.point_clouds.judge (default: %(default)s)",
    store="result store to add to; what it holds of this study is not measured again",
    count="test clouds, evenly spread over all", units="channel realisations of each",
    few="test clouds of the codec's variants and of OFDM, likewise", few_units="of those, 4 or more",
)  # fmt: skip
def main(
    clouds: Path = CLOUDS, weights: Path = CLOUD_WEIGHTS, judge: Path = JUDGE, store: Path = STORE, count: int = 500,
    units: int = 2, few: int = 24, few_units: int = 4,
) -> None:  # fmt: skip
    """Measure point clouds into a store."""
    train, test, params = load_labelled(clouds, "train").clouds, load_labelled(clouds, "test"), load_judge(judge)
    spec = cloud_sweep(spread(test, count), params, train, weights, units)
    varied = varied_sweep(spec, spread(test, few).clouds, few_units)
    octree, lost = OctreeCode(train), typical_cloud(train)
    coded = Coded(BITS, octree, lost, "octree, arithmetic code"), Coded(DRACO, DracoCode(), lost, "Draco", DRACO_MODES)
    store.parent.mkdir(parents=True, exist_ok=True)
    with ResultStore(store) as results:
        for code, one in itertools.product(coded, (spec, csi_error_sweep(spec), ofdm_sweep(spec, varied))):
            measure(one, code, results)
        measure_schemes(varied, results)
        of_each = modulators_sweep(varied)
        run_paired_sweep(of_each, minus_the_others(of_each, LEARNED), results, resources=_RESOURCES)
        measure_turned(spec, varied, results)
        measure_equal(varied, coded, results)
        measure_clean(test, params, results)
        print(f"{store}: {len(results.read())} points")


def spread(test: Labelled, count: int) -> Labelled:
    """Some clouds, evenly spread over all."""
    take = np.linspace(0, len(test.clouds) - 1, count).round().astype(int)
    return Labelled(test.clouds[take], test.labels[take])


def cloud_sweep(test: Labelled, judge: Any, train: np.ndarray, weights: Path, units: int) -> NamedSweep:
    """The sweep of all schemes with one frame a cloud, each over channels of its own; a judge says what arrives."""
    learned = dataclasses.replace(load_cloud_contender(weights), name=LEARNED)
    return NamedSweep(
        name=NAME,
        about={"weights": Path(weights).name, "clouds": "ModelNet10, test"},
        schemes=(learned, *linear_contenders(train)),
        links=tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh")),
        sources={1: Source(test.clouds[:, None], {"labels": test.labels[:, None]})},
        snr_db=SNR_DB,
        stopping=StoppingRule(target_half_width=None, max_units=units),
        random_pictures=True,
        metrics=CLOUD_METRICS,
        judges=(cloud_accuracy_judge(classify, judge),),
        pictures_per_step=24,
    )


def varied_sweep(spec: NamedSweep, test: np.ndarray, units: int) -> NamedSweep:
    """The codec and what it is with a part changed, over fewer clouds; intervals speak of channels and clouds."""
    learned = spec.schemes[0]
    return dataclasses.replace(
        spec,
        name=VARIED,
        schemes=(learned, *variants(learned)),
        sources={1: Source(test[:, None])},
        stopping=StoppingRule(target_half_width=None, max_units=units),
        judges=(),
    )


def csi_error_sweep(spec: NamedSweep) -> NamedSweep:
    """Over fading channels of which the receiver has an estimate with an error."""
    errors = dict(csi_error_var=(CSI_ERROR_VAR,), snr_db=LOW_SNR_DB, metrics=CLOUD_METRICS[:1], judges=())
    return dataclasses.replace(spec, name=CSI_ERROR, links=spec.links[1:], **errors)


def ofdm_sweep(spec: NamedSweep, varied: NamedSweep) -> NamedSweep:
    """Over a frequency-selective channel on a grid of OFDM that the receiver estimates from pilots, fewer clouds."""
    link = LinkConfig(fading="tdl_c", csi="pilots_lmmse", convention="rx_per_antenna")
    plain = dict(snr_db=LOW_SNR_DB, metrics=CLOUD_METRICS[:1])
    return dataclasses.replace(varied, name=OFDM, schemes=spec.schemes, links=(link,), **plain)


def modulators_sweep(varied: NamedSweep) -> NamedSweep:
    """The codec with both encoders and with either alone, with the same weights."""
    learned, soft = (next(one for one in varied.schemes if one.name == name) for name in (LEARNED, "values alone"))
    config = dataclasses.replace(soft.scheme.config, modulator="gumbel")
    alone = dataclasses.replace(soft, name=LOGITS, scheme=dataclasses.replace(soft.scheme, config=config))
    return dataclasses.replace(varied, name=MODULATORS, schemes=(learned, soft, alone), metrics=CLOUD_METRICS[:1])


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


def measure(spec: NamedSweep, coded: Coded, store: ResultStore) -> None:
    """Puts a code's points and the learned scheme's differences to it into a store, unless all are there.

    With the octree go the points of the other schemes, and the differences to those.
    """
    config, others = spec.config(), (*(LINEAR if coded.name == BITS else ()), coded.name)
    told = {"modes": [list(mode) for mode in coded.modes], "crc": "CRC16", "source": coded.source}
    of_bits = config | {"name": f"{spec.name}, {coded.name}", "schemes": {coded.name: told}}
    pairs = {f"minus {name}": name for name in others}
    about = {"name": pairs_name(spec.name, coded.name), "differences_of": spec.key(), "random_pictures": True}
    keys = [store.register(part) for part in (config, of_bits, about | {"code": told})]
    points = list(spec.coordinates())
    of_each = {name: [at for at in points if at["scheme"] == name] for name in (LEARNED, *LINEAR)}
    first = of_each[MOMENTS]  # without a knob
    of_each[coded.name] = [at | {"scheme": coded.name} for at in first]
    of_each |= {name: [at | {"scheme": f"{LEARNED} {name}"} for at in first] for name in pairs}
    keys_of = {LEARNED: keys[0], **dict.fromkeys(LINEAR, keys[0]), coded.name: keys[1], **dict.fromkeys(pairs, keys[2])}

    @functools.cache
    def arrived(name: str) -> list[Arrived]:
        if name in pairs:
            return list(map(difference, arrived(LEARNED), arrived(pairs[name])))
        return coded_points(spec, coded, of_each[POINTS]) if name == coded.name else samples_of(spec, name)

    for name in (LEARNED, *others[:-1], *list(pairs)[:-1], coded.name, *list(pairs)[-1:]):
        if store.missing(keys_of[name], of_each[name]):
            rows = [_row(spec, keys_of[name], *one) for one in zip(first, arrived(name), strict=True)]
            store.add(_kept(row, at, name in pairs) for row, at in zip(rows, of_each[name], strict=True))
            print(spec.name, name, flush=True)


@functools.lru_cache(maxsize=16)
def samples_of(spec: NamedSweep, name: str) -> list[Arrived]:
    """What arrives of a scheme at its points, unit by unit."""
    return sample_points(spec, [at for at in spec.coordinates() if at["scheme"] == name], resources=_RESOURCES)


def _row(spec: NamedSweep, key: str, at: Mapping[str, Any], arrived: Arrived) -> Point:
    """A point's row; of fewer than four realisations no bootstrap tells, and its intervals are those over clouds."""
    row = make_point(spec, key, at, arrived)
    if len(arrived.realised_snr) >= _LEAST_UNITS:
        return row
    return dataclasses.replace(row, metrics=row.metrics | {k: over_clouds(v) for k, v in arrived.metrics.items()})


def over_clouds(values: np.ndarray) -> Measured:
    """Mean of ``[num_units, num_clouds, 1]`` with Student's interval over the clouds, each over channels of its own."""
    interval = student_interval(values.mean(axis=(0, 2)))
    return Measured(float(interval.mean), float(interval.half_width), interval.num_units)


def _kept(row: Point, at: Mapping[str, Any], is_difference: bool) -> Point:
    """A row with what was measured; costs stand in its ledger, and are none of a difference."""
    measured = (*CLOUD_METRICS, "accuracy")
    metrics = {name: value for name, value in row.metrics.items() if name.removeprefix(PREFIX) in measured}
    row = dataclasses.replace(row, coordinates=dict(at), metrics=metrics)
    return dataclasses.replace(row, ledger={}, realised_snr_db=None) if is_difference else row


def pairs_name(name: str, code: str) -> str:
    """Name of the sweep that holds the differences of the learned scheme to a code."""
    return differences_name(name if code == BITS else f"{name}, {code}")


def measure_schemes(spec: NamedSweep, store: ResultStore) -> None:
    """Puts the points of a sweep's schemes into a store, unless they are there."""
    key = store.register(spec.config())
    for name in (scheme.name for scheme in spec.schemes):
        points = [at for at in spec.coordinates() if at["scheme"] == name]
        if store.missing(key, points):
            rows = (_row(spec, key, *one) for one in zip(points, samples_of(spec, name), strict=True))
            store.add(_kept(row, at, False) for row, at in zip(rows, points, strict=True))


def coded_points(spec: NamedSweep, coded: Coded, points: Sequence[dict]) -> list[Arrived]:
    """Of each point the best mode, of those that do not ask for more than the channel could carry without fading."""
    tried: list[list[Arrived]] = [[] for _ in points]
    with tqdm(total=len(coded.modes), disable=not sys.stderr.isatty()) as bar:
        for bits_per_symbol, rate in coded.modes:
            sender = CloudBits(coded.code, coded.lost, bits_per_symbol=bits_per_symbol, rate=rate)
            can = [i for i, at in enumerate(points) if is_below_capacity((bits_per_symbol, rate), at["snr_db"])]
            if can:
                for i, arrived in zip(can, measure_bits(spec, sender, [points[i] for i in can]), strict=True):
                    tried[i].append(arrived)
            bar.update()
    return [best(of_point, spec.stop_metric) for of_point in tried]


def measure_turned(spec: NamedSweep, varied: NamedSweep, store: ResultStore) -> None:
    """Puts what arrives of the fewer clouds, each turned at random, into a store, of learned and moments over AWGN."""
    source = varied.sources[1].data
    turns = np.linalg.qr(np.random.default_rng(0).normal(size=(len(source), 3, 3)))[0]
    turns *= np.sign(np.linalg.det(turns))[:, None, None]
    turned = dataclasses.replace(
        varied,
        name=TURNED,
        schemes=spec.schemes[:2],
        links=varied.links[:1],
        sources={1: Source(np.float32(np.einsum("bkpd,bde->bkpe", source, turns)))},
        snr_db=(5.0, 10.0),
    )
    run_sweep(turned, store, resources=_RESOURCES, keep=False)


def best(of_point: Sequence[Arrived], metric: str) -> Arrived:
    """What arrived of the mode with the largest mean of a metric."""
    return max(of_point, key=lambda arrived: np.mean(arrived.metrics[metric]))


def difference(first: Arrived, second: Arrived) -> Arrived:
    """First minus second, unit by unit and cloud by cloud."""
    return first._replace(metrics={PREFIX + name: first.metrics[name] - second.metrics[name] for name in first.metrics})


if __name__ == "__main__":
    sys.exit(main())
