"""Points of a sweep as they are stored: plain numbers and texts, equal when their numbers are.

Imports nothing but the standard library.
"""

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
    """A metric of a point.

    Attributes:
        mean: Mean over the units, finite, in the metric's unit.
        half_width: Half the width of its confidence interval, same unit; None where there is none.
        count: Number of independent units, >= 1.
    """

    mean: float
    half_width: float | None
    count: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a sweep. Two are equal when their numbers are, wherever and whenever they were computed.

    Attributes:
        config_hash: The sweep, as ``ResultStore.register`` returns it.
        coordinates: Where in the sweep: name of an axis to number, text, bool or None.
        metrics: Name to ``Measured`` or (mean, half width, count). A metric without a finite value is left out.
        seed: Of masks and channels, in 0 ... 2**63 - 1.
        snr_convention: What ``snr_db`` means.
        snr_db: Nominal SNR, dB.
        realised_snr_db: Measured SNR, dB under the same convention; None where it was not measured.
        ledger: What the point costs: name to number.
        device: What computed it.
        versions: Name of a package to its version.
        created: When it was stored, ISO 8601, UTC; filled in by ``ResultStore.add`` where empty.

    Raises:
        StoreError: naming the field, for a value of another kind or one that is not finite.
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
        for name in ("config_hash", "snr_convention", "device", "created"):
            if not isinstance(getattr(self, name), str):
                raise StoreError(f"Point.{name} must be a text, got {getattr(self, name)!r}")
        for name in ("coordinates", "metrics", "ledger", "versions"):
            if not isinstance(getattr(self, name), Mapping):
                raise StoreError(f"Point.{name} must be a mapping, got {getattr(self, name)!r}")
        if not self.metrics:
            raise StoreError("Point.metrics is empty: a point has one metric or more")
        for name in self.metrics:
            if not isinstance(name, str):
                raise StoreError(f"Point.metrics must have texts for keys, got {name!r}")
        plain = {name: _plain(getattr(self, name), f"Point.{name}") for name in ("coordinates", "ledger", "versions")}
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
    """A sweep of a store.

    Attributes:
        config_hash: Its key.
        config: What was hashed.
        num_points: Points that are stored.
        first: When the first one was stored, ISO 8601, UTC; None without points.
        last: When the last one was.
    """

    config_hash: str
    config: dict[str, Any]
    num_points: int
    first: str | None
    last: str | None


class StoredPicture(NamedTuple):
    """A picture of a store, for looking at.

    Attributes:
        config_hash: Its sweep.
        coordinates: What it depends on: name of an axis to number or text. The original has fewer than what arrived.
        name: What it shows: ``"original"``, ``"kept"``, ``"received"`` or ``"error"``.
        uav: Whose it is, from 0 on.
        data: An encoded picture, PNG, JPEG or WebP.
    """

    config_hash: str
    coordinates: Mapping[str, Any]
    name: str
    uav: int
    data: bytes


def canonical_json(value: Any, name: str = "value") -> str:
    """One text for equal values: keys sorted, no blanks, 10.0 as 10, tuples as lists.

    Args:
        value: Mappings with text keys, lists, tuples, texts, finite numbers (NumPy's scalars too), bools and None.
        name: What to call it in a message.

    Returns:
        JSON.

    Raises:
        StoreError: naming the entry, for anything else.
    """
    return json.dumps(_plain(value, name), sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_hash(config: Mapping[str, Any]) -> str:
    """Key of a sweep, the SHA-256 of its configuration's canonical JSON.

    Args:
        config: All that decides the numbers besides a point's coordinates: scheme, link, system, metrics, hashes of
            weights and pictures.

    Returns:
        64 hexadecimal digits.

    Raises:
        StoreError: as ``canonical_json``.
    """
    return hashlib.sha256(canonical_json(config, "config").encode()).hexdigest()


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, names joined by dots.

    Args:
        value: Names to values; lists and whatever else is no mapping are kept as they are.
        prefix: Put in front of every name.

    Returns:
        Dotted name to value.
    """
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
    raise StoreError(f"{name} must be a number, text, bool, None, list or mapping, got {value!r} "
                     f"({type(value).__name__})")


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
