"""From what was measured of a point, unit by unit and picture by picture, to its row in the store."""

import dataclasses
import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import lvm_mtc
from lvm_mtc.link import Ledger, LinkConfig, error_exponent
from lvm_mtc.results import units
from lvm_mtc.results.bootstrap import two_way_interval
from lvm_mtc.results.intervals import Interval, student_interval
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.schemes.scheme import Masking, Source
from lvm_mtc.sweep.plan import SweepSpec, picture_sizes
from lvm_mtc.sweep.programs import Arrived

OBJECT_SIZES = {"small": (0.0, 1 / 16), "medium": (1 / 16, 1 / 4), "large": (1 / 4, math.inf)}
"""Share of the view's area that the object's box has: from, below."""


class Row(NamedTuple):
    """A complete point on its way to the store.

    Attributes:
        point: Under no key yet.
        num_units: Of how many it is made.
        packed: What was measured in each, as :func:`unpacked` reads it; None where that is not kept.
    """

    point: Point
    num_units: int
    packed: bytes | None


def make_row(
    spec: SweepSpec, at: Mapping[str, Any], samples: Arrived, names: Sequence[str], *, keep: bool, device: str = ""
) -> Row:
    """Row of the metrics of these names, measured on a kind of device, by default on that of this process."""
    samples = samples._replace(metrics={name: samples.metrics[name] for name in names})
    point = make_point(spec, "", at, samples)
    if device:
        point = dataclasses.replace(point, device=device)
    return Row(point, len(samples.realised_snr), packed(samples) if keep else None)


def packed(arrived: Arrived) -> bytes:
    """What was measured of a point, without pictures."""
    groups = {"metrics": arrived.metrics, "ledger": arrived.ledger._asdict(), "reports": arrived.reports}
    flat = {f"{group}.{name}": values for group, of in groups.items() for name, values in of.items()}
    return units.pack(flat | {"realised_snr": arrived.realised_snr, "public_share": arrived.public_share})


def unpacked(data: bytes) -> Arrived:
    """The inverse of :func:`packed`."""
    groups: dict[str, dict[str, np.ndarray]] = {"metrics": {}, "ledger": {}, "reports": {}}
    alone = {}
    for name, array in units.unpack(data).items():
        group, _, own = name.partition(".")
        groups.get(group, alone)[own or name] = array
    return Arrived(groups["metrics"], ledger=Ledger(**groups["ledger"]), reports=groups["reports"], **alone)


def both_packed(before: bytes | None, new: bytes | None) -> bytes | None:
    """Two measurements of one point's units, joined; None where one is not kept, or they differ in number."""
    if before is None or new is None:
        return None
    first, second = unpacked(before), unpacked(new)
    if len(first.realised_snr) != len(second.realised_snr):
        return None
    return packed(first._replace(metrics=first.metrics | second.metrics))


def interval_of(spec: SweepSpec, name: str, values: np.ndarray, counts: np.ndarray) -> Interval | None:
    """Interval of a metric's mean over the pictures that count, ``[B, K]`` bool; None where no picture does.

    Values are ``[U, B, K]``: units, groups, UAVs; what is not a number is left out of metrics inside the box and of the
    background. The half width is NaN where there are too few units.
    """
    if "inside" in name or "background" in name:
        counts = counts & ~np.isnan(values[0])
    if not counts.any():
        return None
    options = dict(level=spec.stopping.level, sequential=spec.stopping.target_half_width is not None)
    values = np.float64(values)
    if not spec.random_pictures:
        of_units = values[:, counts].mean(axis=-1)
        if len(of_units) < 2 or not np.isfinite(of_units).all():
            return Interval(of_units.mean(), np.float64(np.nan), len(of_units))
        return student_interval(of_units, **options)
    groups = counts.any(axis=-1)
    cells = np.where(counts, values, 0.0).sum(axis=-1)[:, groups] / counts.sum(axis=-1)[groups][None]
    if min(cells.shape) < 4 or not np.isfinite(cells).all():
        return Interval(cells.mean(), np.float64(np.nan), min(cells.shape))
    return two_way_interval(cells, **options)


def stopping_half_width(spec: SweepSpec, source: Source, values: np.ndarray) -> float:
    """Half width of the metric that decides when a point has enough units; NaN where there is none."""
    interval = interval_of(spec, spec.stop_metric, values, _counted(spec.stop_metric, source))
    return math.nan if interval is None else float(interval.half_width)


def make_point(spec: SweepSpec, key: str, at: Mapping[str, Any], samples: Arrived) -> Point:
    """The row of a complete point under the sweep's key; its realised SNR is the mean of linear values."""
    snr = float(np.mean(samples.realised_snr))
    source = spec.sources[at["num_uavs"]]
    link = next(link for link in spec.links if link.label == at["channel"])
    return Point(
        config_hash=key,
        coordinates=dict(at),
        seed=at["seed"],
        snr_convention=spec.links[0].convention,
        snr_db=at["snr_db"],
        realised_snr_db=10 * math.log10(snr) if snr > 0 else None,
        metrics=_measured(spec, source, samples, link) | _costs(source, samples),
        ledger=_ledger(spec, at, samples.ledger, link),
        device=jax.devices()[0].device_kind,
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Versions of what computes."""
    modules = {"lvm_mtc": lvm_mtc, "jax": jax, "numpy": np}
    return {name: module.__version__ for name, module in modules.items()} | {"python": platform.python_version()}


def _measured(spec: SweepSpec, source: Source, samples: Arrived, link: LinkConfig) -> dict[str, Measured]:
    measured = {}

    def put(name: str, interval: Interval | None) -> None:
        if interval is not None and math.isfinite(interval.mean):
            width = float(interval.half_width) if math.isfinite(interval.half_width) else None
            measured[name] = Measured(float(interval.mean), width, interval.num_units)

    sizes = object_sizes(source)
    for name, values in samples.metrics.items():
        put(name, interval_of(spec, name, values, _counted(name, source)))
        if name.endswith(("inside", "inside_db")):
            for size, counts in sizes.items():
                put(f"{name}_{size}", interval_of(spec, name, values, counts))
    if "nmse_symbols" in measured and error_exponent(link) <= 2:  # its variance is infinite
        measured["nmse_symbols"] = measured["nmse_symbols"]._replace(half_width=None)
    if "mse" in measured and measured["mse"].mean > 0:
        mean, half_width, count = measured["mse"]
        # To first order, as the interval of a function of a mean is.
        width = None if half_width is None else 10 / math.log(10) * half_width / mean
        measured["psnr_of_mean_mse_db"] = Measured(-10 * math.log10(mean), width, count)
    return measured


def object_sizes(source: Source) -> dict[str, np.ndarray]:
    """Which views hold an object of each of ``OBJECT_SIZES``, ``[B, K]`` bool; nothing without boxes."""
    if "loc" not in source.hints:
        return {}
    share = _boxes(source)[..., 2:].prod(axis=-1) / picture_sizes(source).prod(axis=-1)
    return {name: (share > 0) & (share >= low) & (share < high) for name, (low, high) in OBJECT_SIZES.items()}


def _boxes(source: Source) -> np.ndarray:
    return np.asarray(source.hints.get("metric_loc", source.hints["loc"]))


def _counted(name: str, source: Source) -> np.ndarray:
    if "loc" in source.hints and ("inside" in name or "background" in name):
        return np.min(_boxes(source)[..., 2:], axis=-1) > 0
    return np.ones(source.lead(), bool)


def _costs(source: Source, samples: Arrived) -> dict[str, Measured]:
    """What the source alone decides: means over groups, without intervals, counted in groups."""
    groups = source.lead()[0]
    source_samples = sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(source.data))
    if "extent" in source.hints:
        source_samples = source.data.shape[-1] * picture_sizes(source).prod(axis=-1).sum(axis=-1)
    means = {
        "cbr": samples.ledger.cbr(source_samples),
        "cbr_with_side_information": samples.ledger.cbr(source_samples, side_information=True),
        "public_share": samples.public_share,
    }
    means |= {name: values[_counted(name, source)] for name, values in samples.reports.items()}
    finite = {name: np.float64(values[np.isfinite(values)]) for name, values in means.items()}
    return {name: Measured(float(values.mean()), None, groups) for name, values in finite.items() if values.size}


def _ledger(spec: SweepSpec, at: Mapping[str, Any], ledger: Ledger, link: LinkConfig) -> dict[str, Any]:
    """Costs of an item, mean over all; and the sizes that they follow from."""
    num_uavs, groups = at["num_uavs"], spec.sources[at["num_uavs"]].lead()[0]
    scheme = spec.contender(at["scheme"]).scheme
    kept_patches, num_patches = scheme.patches() if isinstance(scheme, Masking) else (None, None)
    costs = ledger._asdict() | {"channel_uses": ledger.channel_uses()}
    return {name: float(np.float64(value).mean()) / num_uavs for name, value in costs.items()} | {
        "num_pictures": groups * num_uavs,
        "num_groups": groups,
        "num_rx_ant": link.num_rx_ant,
        "num_tx_ant": link.num_tx_ant,
        "kept_patches": kept_patches,
        "num_patches": num_patches,
        # The SNR counts the energy of a symbol without its cyclic prefix; this much more is sent.
        "prefix_energy_db": 10 * math.log10(link.grid.prefix_factor) if link.grid is not None else 0.0,
    }
