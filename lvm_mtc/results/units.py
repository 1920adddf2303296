"""What was measured of a point in every unit, as bytes in a store and as a table for other programs."""

import io
import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lvm_mtc.results.store import ResultStore

METRIC = "metrics."
"""In front of the names of metrics among the arrays of a measurement, ``[units, groups, num_uavs]`` each."""

PLACES = ("unit", "group", "uav")
"""Where in a point a value was measured: channel realisation, group of pictures, UAV."""
_EMPTIEST = 20


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name, compressed."""
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """The inverse of :func:`pack`."""
    with np.load(io.BytesIO(data)) as arrays:
        return {name: arrays[name] for name in arrays.files}


def each_value(store: ResultStore, config_hash: str | None = None) -> dict[str, list[Any]]:
    """Columns with a row for every point, unit, group of pictures and UAV: where it is, and what was measured there.

    Args:
        config_hash: Of this sweep only; None for all rows of the store.

    Raises:
        ValueError: where the store keeps no such values.
    """
    rows: list[dict[str, Any]] = []
    for key, coordinates, arrays in _kept(store, config_hash):
        at = {"config_hash": key} | dict(coordinates)
        for place in np.ndindex(next(iter(arrays.values())).shape):
            values = {name: float(array[place]) for name, array in arrays.items()}
            finite = {name: value if np.isfinite(value) else None for name, value in values.items()}
            rows.append(at | dict(zip(PLACES, place, strict=True)) | finite)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


class Cube(NamedTuple):
    """What was measured in every unit, as arrays.

    Attributes:
        axes: Name to values of each dimension, ascending, the coordinates that vary and then ``PLACES``.
        of_scheme: Coordinates that the scheme decides, such as its own P_r, a value for each on the axis ``scheme``.
        constant: Coordinates that all points share.
        values: Metric to ``[*axes]`` float32; NaN where nothing was measured.
    """

    axes: dict[str, list[Any]]
    of_scheme: dict[str, list[Any]]
    constant: dict[str, Any]
    values: dict[str, np.ndarray]


def each_cube(store: ResultStore, config_hash: str | None = None) -> Cube:
    """All that :func:`each_value` gives, over the grid of the points' coordinates.

    Raises:
        ValueError: as :func:`each_value`; where two rows have one place; where the grid is nearly empty.
    """
    kept = _kept(store, config_hash)
    names = dict.fromkeys(name for _, at, _ in kept for name in at)
    known = {name: sorted({at.get(name) for _, at, _ in kept}, key=_order) for name in names}
    constant = {name: values[0] for name, values in known.items() if len(values) == 1 and name != "scheme"}
    by_scheme = {name: {(at.get("scheme"), at.get(name)) for _, at, _ in kept} for name in names}
    schemes = known.get("scheme", [None])
    decided = {name for name in by_scheme if name not in constant and len(by_scheme[name]) == len(schemes)} - {"scheme"}
    of_scheme = {name: [dict(by_scheme[name])[scheme] for scheme in schemes] for name in names if name in decided}
    axes = {name: values for name, values in known.items() if name not in constant and name not in decided}
    sizes = np.max([next(iter(arrays.values())).shape for _, _, arrays in kept], axis=0)
    axes |= {name: list(range(size)) for name, size in zip(PLACES, sizes.tolist(), strict=True)}
    shape = tuple(len(values) for values in axes.values())
    metrics = dict.fromkeys(name for _, _, arrays in kept for name in arrays)
    filled = sum(next(iter(arrays.values())).size for _, _, arrays in kept)
    if math.prod(shape) > max(_EMPTIEST * filled, 10_000_000):
        size = " x ".join(map(str, shape))
        raise ValueError(f"{os.fspath(store.path)}: a grid of {size} would be nearly empty: give --sweep, or csv")
    values = {name: np.full(shape, np.nan, np.float32) for name in metrics}
    taken: set[tuple[int, ...]] = set()
    for _, at, arrays in kept:
        place = tuple(known[name].index(at.get(name)) for name in axes if name not in PLACES)
        if place in taken:
            raise ValueError(f"{os.fspath(store.path)}: several rows stand at {dict(at)}: give --sweep")
        taken.add(place)
        for name, array in arrays.items():
            values[name][(*place, *map(slice, array.shape))] = array
    return Cube(axes, of_scheme, constant, values)


def _order(value: Any) -> tuple:
    """Numbers before texts, what is missing last."""
    return (value is None, isinstance(value, str), value if value is not None else 0)


def _kept(store: ResultStore, config_hash: str | None) -> list[tuple[str, Mapping[str, Any], dict[str, np.ndarray]]]:
    """Key, coordinates and metrics, ``[units, groups, num_uavs]`` each, of all points of which they are kept."""
    found = []
    wanted = None if config_hash is None else {str(point.coordinates) for point in store.read(config_hash)}
    keys = store.keys_of(config_hash) if config_hash else [sweep.config_hash for sweep in store.sweeps(parts=True)]
    for key in keys:
        for one in store.measurements(key):
            if one.data is not None and (wanted is None or str(one.coordinates) in wanted):
                arrays = {name: values for name, values in unpack(one.data).items() if name.startswith(METRIC)}
                found.append((key, one.coordinates, {name.removeprefix(METRIC): a for name, a in arrays.items()}))
    if not found:
        raise ValueError(f"{os.fspath(store.path)}: keeps no values of single units; they are kept by 'lvm-mtc sweep'")
    return found
