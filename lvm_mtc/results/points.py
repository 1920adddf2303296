"""Points of a sweep as they are stored: plain numbers and texts, equal when their numbers are."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import operator
from collections.abc import Mapping
from typing import Any, NamedTuple


class StoreError(ValueError):
    """A store cannot be used, or does not take a point; the message is one line."""


class Measured(NamedTuple):
    """A metric of a point: finite mean over one or more independent units, and how many they are.

    ``half_width`` is half the width of its confidence interval, in the same unit; None where there is none.
    """

    mean: float
    half_width: float | None
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]

    def text(self, mean: str, half_width: str, sign: str = "±") -> str:
        """Mean and half width in these formats, such as ".2f"."""
        return f"{self.mean:{mean}}" + ("" if self.half_width is None else f" {sign} {self.half_width:{half_width}}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a sweep. Two are equal when their numbers are, wherever and whenever they were computed.

    Attributes:
        config_hash: The sweep, as ``ResultStore.register`` returns it.
        coordinates: Where in the sweep: name of an axis to number, text, bool or None.
        metrics: Name to ``Measured`` or (mean, half width, count). A metric without a finite value is left out.
        seed: Of masks and channels, in 0 ... 2**63 - 1.
        snr_db: Nominal SNR, dB under ``snr_convention``.
        realised_snr_db: Measured SNR, dB under the same convention; None where it was not measured.
        ledger: What the point costs: name to number.
        device: What computed it.
        versions: Name of a package to its version.
        created: When it was stored, ISO 8601, UTC; filled in by ``ResultStore.add`` where empty.
    """

    config_hash: str
    coordinates: Mapping[str, Any]
    metrics: Mapping[str, Measured]
    seed: int
    snr_convention: str
    snr_db: float
    realised_snr_db: float | None = None
    ledger: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    device: str = dataclasses.field(default="", compare=False)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)
    created: str = dataclasses.field(default="", compare=False)

    def __post_init__(self):
        texts, mappings = ("config_hash", "snr_convention", "device", "created"), ("coordinates", "ledger", "versions")
        for kind, what, names in ((str, "text", texts), (Mapping, "mapping", (*mappings, "metrics"))):
            for name in names:
                if not isinstance(getattr(self, name), kind):
                    raise StoreError(f"Point.{name} must be a {what}, got {getattr(self, name)!r}")
        if not self.metrics:
            raise StoreError("Point.metrics is empty: a point has one metric or more")
        for name in self.metrics:
            if not isinstance(name, str):
                raise StoreError(f"Point.metrics must have texts for keys, got {name!r}")
        plain = {name: _plain(getattr(self, name), f"Point.{name}") for name in mappings}
        plain["metrics"] = {name: _measured(self.metrics[name], name) for name in sorted(self.metrics)}
        plain["seed"] = _whole(self.seed, "Point.seed", 0)
        plain["snr_db"] = _real(self.snr_db, "Point.snr_db")
        if self.realised_snr_db is not None:
            plain["realised_snr_db"] = _real(self.realised_snr_db, "Point.realised_snr_db")
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """The fields as nested dicts of plain values, as JSON takes them."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"metrics": {name: value._asdict() for name, value in self.metrics.items()}}


class Sweep(NamedTuple):
    """A sweep of a store: its key, what was hashed, and its points; when the first and the last one were stored.

    Times are ISO 8601, UTC; None without points.
    """

    config_hash: str
    config: dict[str, Any]
    num_points: int
    first: str | None
    last: str | None


class StoredPicture(NamedTuple):
    """A picture of a store, a frame of a clip or a point cloud, for looking at.

    Attributes:
        coordinates: What it depends on: name of an axis to number or text. The original has fewer than what arrived,
            a frame of a clip its number besides, ``frame``.
        name: What it shows: ``"original"``, ``"kept"``, ``"received"`` or ``"error"``.
        uav: Whose it is, from 0 on.
        data: An encoded picture, PNG, JPEG or WebP, or a cloud of ``report.moving.pack_cloud``.
    """

    config_hash: str
    coordinates: Mapping[str, Any]
    name: str
    uav: int
    data: bytes


class Measurement(NamedTuple):
    """What was measured of a point, beside its row.

    Attributes:
        names: All metrics that were measured, those without a finite value too.
        data: Their values unit by unit, packed; None where they are not kept.
    """

    config_hash: str
    coordinates: Mapping[str, Any]
    names: tuple[str, ...]
    data: bytes | None


def canonical_json(value: Any, name: str = "value") -> str:
    """One text for equal values: keys sorted, no blanks, 10.0 as 10, tuples as lists.

    Args:
        value: Mappings with text keys, lists, tuples, texts, finite numbers (NumPy's scalars too), bools and None.
        name: What to call it in a message.

    Raises:
        StoreError: naming the entry, for anything else.
    """
    return json.dumps(_plain(value, name), sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_hash(config: Mapping[str, Any]) -> str:
    """Key of a sweep, the SHA-256 of its configuration's canonical JSON, 64 hexadecimal digits.

    The configuration is all that decides the numbers besides a point's coordinates: scheme, link, system, metrics,
    hashes of weights and pictures.
    """
    return hashlib.sha256(canonical_json(config, "config").encode()).hexdigest()


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, names joined by dots behind ``prefix``; whatever else is no mapping is kept as it is."""
    flat = {}
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            flat |= flatten(entry, f"{prefix}{name}.")
        else:
            flat[prefix + name] = entry
    return flat


def _plain(value: Any, name: str) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a scalar of NumPy
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise StoreError(f"{name} must be finite, got {value}")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise StoreError(f"{name} must have texts for keys, got {key!r}")
        return {key: _plain(value[key], f"{name}.{key}") for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(entry, f"{name}[{i}]") for i, entry in enumerate(value)]
    got = f"got {value!r} ({type(value).__name__})"
    raise StoreError(f"{name} must be a number, text, bool, None, list or mapping, {got}")


def _measured(value: Any, name: str) -> Measured:
    name = f"Point.metrics.{name}"
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise StoreError(f"{name} must be (mean, half width, count), got {value!r}")
    mean, half_width, count = value
    half_width = None if half_width is None else _real(half_width, f"{name}.half_width")
    return Measured(_real(mean, f"{name}.mean"), half_width, _whole(count, f"{name}.count", 1))


def _real(value: Any, name: str) -> float:
    try:
        number = math.nan if isinstance(value, (str, bool)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise StoreError(f"{name} must be a finite number, got {value!r}")
    return number


def _whole(value: Any, name: str, low: int) -> int:
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if not low <= number < 2**63:  # what SQLite can hold
        raise StoreError(f"{name} must be a whole number in {low} ... 2**63 - 1, got {value!r}")
    return number
