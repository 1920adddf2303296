"""Which of a store's points go into a figure: what varies is asked for, what does not is held at a stated value."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lvm_mtc.config import unknown_name_message
from lvm_mtc.report.figures import CONVENTION_LABELS
from lvm_mtc.report.settings import Settings
from lvm_mtc.results.points import Measured
from lvm_mtc.results.store import ResultStore

AXES = (
    "sweep", "channel", "num_uavs", "scheme", "knowledge_base", "mask_prob", "epsilon", "csi_error_var", "snr_db",
    "seed",
)  # fmt: skip
_NAMES = {
    "num_uavs": "K = {}",
    "mask_prob": "P_r = {}",
    "epsilon": "epsilon = {}",
    "csi_error_var": "CSI error {}",
    "snr_db": "SNR {} dB",
    "seed": "seed {}",
}


_KINDS = {  # by random_pictures of a sweep
    True: "two-way bootstrap over channels and pictures",
    False: "Student, over channel realisations; the pictures are fixed",
}


class Missing(ValueError):
    """A store lacks the points of a figure; the message says which, on one line."""


class Sample(NamedTuple):
    """A stored point.

    Attributes:
        at: Its coordinates, and ``sweep``, the settings in which it differs from others of its scheme and channel.
        convention: What its SNR means.
        config: Configuration of its sweep.
    """

    at: Mapping[str, Any]
    convention: str
    metrics: Mapping[str, Measured]
    config: Mapping[str, Any]

    @property
    def panel(self) -> tuple[str, str]:
        """Points that may share axes: SNR convention and channel."""
        return self.convention, str(self.at.get("channel", ""))

    @property
    def link(self) -> Mapping[str, Any] | None:
        """Fields of its channel's ``LinkConfig``, where the configuration has them under ``links``."""
        links = self.config.get("links")
        return links.get(self.panel[1]) if isinstance(links, Mapping) else None


class Series(NamedTuple):
    """Samples along one axis, ascending; ``label`` names the coordinates in which it differs from its neighbours."""

    label: str
    samples: list[Sample]

    def x(self, axis: str) -> list[float]:
        """Coordinates on an axis."""
        return [sample.at[axis] for sample in self.samples]

    def mean(self, metric: str) -> list[float]:
        """Means of a metric."""
        return [sample.metrics[metric].mean for sample in self.samples]

    def half_width(self, metric: str) -> list[float]:
        """Half widths of a metric's intervals; NaN where there is none."""
        widths = (sample.metrics[metric].half_width for sample in self.samples)
        return [math.nan if value is None else value for value in widths]


def read_samples(store: ResultStore, config_hash: str | None = None) -> list[Sample]:
    """All points of a store, or of a sweep; of those that differ in the number of units alone the one with the most."""
    # A sweep that another process began between the two reads waits for the next figure.
    configs = {sweep.config_hash: sweep.config for sweep in (*store.sweeps(), *store.sweeps(parts=True))}
    settings = Settings(configs)
    points = settings.once([point for point in store.read(config_hash) if point.config_hash in configs])
    samples = []
    for point, label in zip(points, settings.labels(points), strict=True):
        if (name := point.snr_convention) not in CONVENTION_LABELS:
            message = unknown_name_message(f"SNR convention {name!r}", name, CONVENTION_LABELS)
            raise ValueError(f"{store.path}: {message}")
        own = {
            name: value
            for name, value in point.coordinates.items()
            if value is not None and not (name in HELD and isinstance(value, str))
        }
        at = {"snr_db": point.snr_db, "seed": point.seed} | own | {"sweep": label}
        samples.append(Sample(at, point.snr_convention, point.metrics, configs[point.config_hash]))
    return samples


def axes_of(samples: Sequence[Sample]) -> list[str]:
    """Names of coordinates: the known ones, then whatever else some point has."""
    return list(dict.fromkeys((*AXES, *sorted(name for sample in samples for name in sample.at))))


def with_metric(samples: Sequence[Sample], *metrics: str) -> list[Sample]:
    """The samples that have all these metrics; raises ``Missing`` where there is none."""
    complete = [sample for sample in samples if all(name in sample.metrics for name in metrics)]
    if not complete:
        raise Missing(f"no point has {' and '.join(metrics)}")
    return complete


def nearest(wanted: float) -> Callable[[Iterable[float]], float]:
    """Chooses the value that is nearest to a wanted one, of two equally near ones the smaller."""
    return lambda values: min(sorted(values), key=lambda value: abs(value - wanted))


HELD: dict[str, Callable[[Iterable[float]], float]] = {
    "seed": min,
    "num_uavs": max,
    "epsilon": min,
    "mask_prob": nearest(0.25),
    "csi_error_var": min,
    "snr_db": nearest(10.0),
}
"""Where an axis is held that a figure does not vary."""


def hold(samples: Sequence[Sample], *, free: Sequence[str]) -> list[Sample]:
    """Holds every numeric axis but the free ones at one value, for each sweep, channel and scheme by itself."""
    groups: dict[tuple, list[Sample]] = {}
    for sample in samples:
        groups.setdefault((*sample.panel, sample.at["sweep"], sample.at.get("scheme")), []).append(sample)
    kept = []
    for group in groups.values():
        for axis, choose in HELD.items():
            values = {sample.at[axis] for sample in group if axis in sample.at}
            if axis not in free and values:
                value = choose(values)
                group = [sample for sample in group if sample.at.get(axis) == value]
        kept += group
    return kept


def notes_of(drawn: Sequence[Sample], free: Sequence[str]) -> list[str]:
    """Where the axes that a figure does not vary are held, what came of P_r, and what its intervals are."""
    return [_held_note(drawn, free), _interval_note(drawn)]


def _held_note(drawn: Sequence[Sample], free: Sequence[str]) -> str:
    held = {axis: {sample.at[axis] for sample in drawn if axis in sample.at} for axis in HELD if axis not in free}
    named = [" or ".join(describe(axis, value) for value in sorted(values)) for axis, values in held.items()]
    text = ", ".join(filter(None, named))
    rates: dict[str, set[tuple[str, ...]]] = {}
    for sample in drawn:
        kept = [sample.metrics.get(name) for name in ("keep_rate_inside", "keep_rate_outside")]
        if None not in kept and "mask_prob" not in free:
            rates.setdefault(str(sample.at.get("scheme", "")), set()).add(tuple(f"{rate.mean:.2f}" for rate in kept))
    realised = ", ".join(f"{scheme} {'/'.join(kept.pop())}" for scheme, kept in rates.items() if len(kept) == 1)
    parts = {"Held": text, "Share of the patches kept inside/outside the box": realised}
    return " ".join(f"{name}: {part}." for name, part in parts.items() if part)


def _interval_note(samples: Sequence[Sample]) -> str:
    """As far as the configurations of the samples' sweeps tell."""
    levels, kinds = set(), set()
    for sample in samples:
        stopping = sample.config.get("stopping")
        levels.add(stopping.get("level") if isinstance(stopping, Mapping) else None)
        kinds.add(_KINDS.get(sample.config.get("random_pictures")))
    level = levels.pop() if len(levels) == 1 else None
    kind = kinds.pop() if len(kinds) == 1 else None
    of = f" at {100 * level:g} %" if isinstance(level, float) else ""
    return f"Intervals{of} as stored" + (f": {kind}." if kind else ".")


def describe(axis: str, value: Any) -> str:
    """A coordinate as a legend names it."""
    text = value if isinstance(value, str) else f"{value:g}"
    return _NAMES.get(axis, "{}" if isinstance(value, str) else axis + " = {}").format(text)


def panels_of(samples: Sequence[Sample]) -> dict[tuple[str, str], list[Sample]]:
    """Samples by SNR convention and channel, AWGN first."""
    panels: dict[tuple[str, str], list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: (sample.convention, sample.at.get("channel", "") != "awgn")):
        panels.setdefault(sample.panel, []).append(sample)
    return panels


def series_of(samples: Sequence[Sample], axis: str, *, at_least: int = 2) -> list[Series]:
    """Samples of a figure that differ in one axis only, as series; labels name what differs among them.

    Those with fewer than ``at_least`` samples are left out.
    """
    names = [name for name in axes_of(samples) if name not in (axis, "channel")]
    groups: dict[tuple, list[Sample]] = {}
    for sample in samples:
        if axis in sample.at:
            groups.setdefault((*sample.panel, *(sample.at.get(name) for name in names)), []).append(sample)
    long_enough = [group for group in groups.values() if len(group) >= at_least]
    drawn = [sample for group in long_enough for sample in group]
    differing = [name for name in names if len({sample.at.get(name) for sample in drawn}) > 1]
    # A scheme's own P_r and epsilon are part of its name.
    differing = [name for name in differing if not _is_told_by_scheme(name, drawn)]
    series = []
    for group in long_enough:
        at = group[0].at
        named = (describe(name, at[name]) for name in differing if name in at)
        label = ", ".join(filter(None, named)) or str(at.get("scheme", ""))
        series.append(Series(label, sorted(group, key=lambda sample: sample.at[axis])))
    return series


def _is_told_by_scheme(name: str, samples: Sequence[Sample]) -> bool:
    if name not in ("mask_prob", "epsilon"):
        return False
    values: dict[Any, set] = {}
    for sample in samples:
        values.setdefault(sample.at.get("scheme"), set()).add(sample.at.get(name))
    return all(len(of_scheme) == 1 for of_scheme in values.values())
