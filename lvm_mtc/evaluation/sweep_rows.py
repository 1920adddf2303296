"""From what was measured of a point, unit by unit and picture by picture, to its row in the store."""

import math
import platform
from typing import Any, NamedTuple

import jax
import numpy as np

import lvm_mtc
from lvm_mtc.evaluation.bootstrap import two_way_interval
from lvm_mtc.evaluation.intervals import Interval, student_interval
from lvm_mtc.evaluation.points import Measured, Point
from lvm_mtc.evaluation.sweep_plan import Pictures, SweepSpec
from lvm_mtc.system import Ledger, LinkConfig, SystemConfig

OBJECT_SIZES = {"small": (0.0, 1 / 16), "medium": (1 / 16, 1 / 4), "large": (1 / 4, math.inf)}
"""Share of the view's area that the object's box has: from, below."""


class Samples(NamedTuple):
    """What was measured of a point. U units, B groups of K pictures.

    Attributes:
        metrics: Name to ``[U, B, K]``.
        realised_snr: ``[U]``, linear; NaN where it is not measured.
        ledger: Every entry ``[B]``.
        public_share: ``[B]``.
        keep_rate_inside: ``[B, K]``.
        keep_rate_outside: ``[B, K]``.
    """

    metrics: dict[str, np.ndarray]
    realised_snr: np.ndarray
    ledger: Ledger
    public_share: np.ndarray
    keep_rate_inside: np.ndarray
    keep_rate_outside: np.ndarray


def interval_of(spec: SweepSpec, name: str, values: np.ndarray, counts: np.ndarray) -> Interval | None:
    """Interval of a metric's mean over the pictures that count.

    Args:
        spec: The sweep.
        name: Of the metric, for which "inside" and "background" also leave out what is not a number.
        values: ``[U, B, K]``.
        counts: Pictures that count, ``[B, K]`` bool.

    Returns:
        Scalars; the half width is NaN where there are too few units. None where no picture counts.
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


def stopping_half_width(spec: SweepSpec, pictures: Pictures, values: np.ndarray) -> float:
    """Half width of the metric that decides when a point has enough units; NaN where there is none.

    Args:
        spec: The sweep.
        pictures: Of the point.
        values: Of ``spec.stop_metric``, ``[U, B, K]``.
    """
    found = interval_of(spec, spec.stop_metric, values, _counted(spec.stop_metric, pictures))
    return math.nan if found is None else float(found.half_width)


def make_point(
    spec: SweepSpec, key: str, at: dict[str, Any], link: LinkConfig, pictures: Pictures, samples: Samples
) -> Point:
    """The row of a complete point.

    Args:
        spec: The sweep.
        key: Of the sweep.
        at: Coordinates.
        link: Its channel.
        pictures: Its pictures.
        samples: What was measured.

    Returns:
        The row. ``realised_snr_db`` is the mean over units, taken of linear values.
    """
    snr = float(np.mean(samples.realised_snr))
    return Point(
        config_hash=key, coordinates=at, seed=at["seed"], snr_convention=link.convention, snr_db=at["snr_db"],
        realised_snr_db=10 * math.log10(snr) if snr > 0 else None,
        metrics=_measured(spec, pictures, samples) | _costs(pictures, samples),
        ledger=_ledger(spec, at, link, pictures, samples.ledger),
        device=jax.devices()[0].device_kind, versions=versions(),
    )


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {"lvm_mtc": lvm_mtc.__version__, "jax": jax.__version__, "numpy": np.__version__,
            "python": platform.python_version()}


def _measured(spec: SweepSpec, pictures: Pictures, samples: Samples) -> dict[str, Measured]:
    measured = {}

    def put(name: str, found: Interval | None) -> None:
        if found is not None and math.isfinite(found.mean):
            half_width = float(found.half_width)
            measured[name] = Measured(float(found.mean), half_width if math.isfinite(half_width) else None,
                                      found.num_units)

    sizes = object_sizes(pictures)
    for name, values in samples.metrics.items():
        put(name, interval_of(spec, name, values, _counted(name, pictures)))
        if name.endswith(("inside", "inside_db")):
            for size, counts in sizes.items():
                put(f"{name}_{size}", interval_of(spec, name, values, counts))
    if "mse" in measured and measured["mse"].mean > 0:
        mean, half_width, count = measured["mse"]
        # To first order, as the interval of a function of a mean is.
        width = None if half_width is None else 10 / math.log(10) * half_width / mean
        measured["psnr_of_mean_mse_db"] = Measured(-10 * math.log10(mean), width, count)
    return measured


def object_sizes(pictures: Pictures) -> dict[str, np.ndarray]:
    """Which views hold an object of each of ``OBJECT_SIZES``, ``[B, K]`` bool."""
    height, width = pictures.images.shape[2:4]
    boxes = _boxes(pictures)
    share = boxes[..., 2] * boxes[..., 3] / (height * width)
    return {name: (share > 0) & (share >= low) & (share < high) for name, (low, high) in OBJECT_SIZES.items()}


def _boxes(pictures: Pictures) -> np.ndarray:
    return np.asarray(pictures.loc if pictures.metric_loc is None else pictures.metric_loc)


def _counted(name: str, pictures: Pictures) -> np.ndarray:
    boxes = _boxes(pictures)
    if "inside" in name or "background" in name:
        return np.min(boxes[..., 2:], axis=-1) > 0
    return np.ones(boxes.shape[:2], bool)


def _costs(pictures: Pictures, samples: Samples) -> dict[str, Measured]:
    """What the pictures alone decide: means over pictures, without intervals, counted in groups."""
    groups = len(pictures.images)
    source_samples = math.prod(pictures.images.shape[1:])
    has_object = _counted("inside", pictures)
    means = {
        "cbr": samples.ledger.cbr(source_samples),
        "cbr_with_side_information": samples.ledger.cbr(source_samples, side_information=True),
        "public_share": samples.public_share,
        "keep_rate_inside": samples.keep_rate_inside[has_object],
        "keep_rate_outside": samples.keep_rate_outside,
    }
    finite = {name: values[np.isfinite(values)] for name, values in means.items()}
    return {name: Measured(float(np.float64(values).mean()), None, groups) for name, values in finite.items()
            if values.size}


def _ledger(
    spec: SweepSpec, at: dict[str, Any], link: LinkConfig, pictures: Pictures, ledger: Ledger
) -> dict[str, Any]:
    """Costs of a picture, mean over all; and the sizes that they follow from."""
    num_uavs = at["num_uavs"]
    config = next(scheme for scheme in spec.schemes if scheme.name == at["scheme"]).system.config
    of_picture = {name: float(np.float64(value).mean()) / num_uavs for name, value in ledger._asdict().items()}
    return of_picture | {
        "channel_uses": float(np.float64(ledger.channel_uses()).mean()) / num_uavs,
        "num_pictures": pictures.images.shape[0] * num_uavs,
        "num_groups": pictures.images.shape[0],
        "num_rx_ant": link.num_rx_ant,
        "num_tx_ant": link.num_tx_ant,
        "kept_patches": config.capacity if isinstance(config, SystemConfig) else None,
        "num_patches": config.num_patches if isinstance(config, SystemConfig) else None,
        # The SNR counts the energy of a symbol without its cyclic prefix; this much more is sent.
        "prefix_energy_db": 10 * math.log10(link.ofdm.prefix_factor) if link.uses_ofdm else 0.0,
    }
