"""What was measured of a point in every unit, as bytes in a store and as a table for other programs."""

import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from lvm_mtc.results.store import ResultStore

METRIC = "metrics."
"""In front of the names of metrics among the arrays of a measurement, ``[units, groups, num_uavs]`` each."""


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
    wanted = None if config_hash is None else {str(point.coordinates) for point in store.read(config_hash)}
    keys = store.keys_of(config_hash) if config_hash else [sweep.config_hash for sweep in store.sweeps(parts=True)]
    for key in keys:
        for one in store.measurements(key):
            if one.data is None or (wanted is not None and str(one.coordinates) not in wanted):
                continue
            arrays = {name: values for name, values in unpack(one.data).items() if name.startswith(METRIC)}
            at = {"config_hash": key} | dict(one.coordinates)
            for place in np.ndindex(next(iter(arrays.values())).shape):
                values = {name.removeprefix(METRIC): float(array[place]) for name, array in arrays.items()}
                finite = {name: value if np.isfinite(value) else None for name, value in values.items()}
                rows.append(at | dict(zip(("unit", "group", "uav"), place, strict=True)) | finite)
    if not rows:
        raise ValueError(f"{os.fspath(store.path)}: keeps no values of single units; they are kept by 'lvm-mtc sweep'")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}
