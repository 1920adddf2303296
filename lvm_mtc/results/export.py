"""A result store's points, or single values, as a file for other programs: CSV, JSON, Parquet, NetCDF."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Sequence
from typing import Any

from lvm_mtc.config import unknown_name_message
from lvm_mtc.results.files import atomic_file
from lvm_mtc.results.points import Point, Sweep, flatten
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import write_table

FORMATS = ("csv", "json", "parquet")
EACH_FORMATS = (*FORMATS, "netcdf")
"""Of single values."""
_LONG = {
    "snr_db": "SNR",
    "csi_error_var": "variance of the CSI error, linear",
    "num_uavs": "K, number of UAVs",
    "mask_prob": "P_r, probability of masking a patch of the object",
    "epsilon": "threshold of sharing, linear",
    "unit": "independent channel realisation",
    "group": "group of pictures",
}


def export_store(
    store: ResultStore, path: str | os.PathLike, file_format: str, *, config_hash: str | None = None
) -> int:
    """Writes the points of a store, in full precision, and returns how many; the file appears only when it is complete.

    CSV and Parquet have a row a point and a column an entry, named by its dotted path: ``config_hash``,
    ``coordinates.snr_db``, ``metrics.psnr_db.mean``, ``config.link.fading``. What a point lacks is empty; a list, or an
    entry that is a number in one row and a text in another, is written as JSON. JSON holds the sweeps, or
    of all points the parts of sweeps under which they stand, each with its configuration, and the points as
    ``Point.as_dict`` gives them. Pictures stay in the store.

    Args:
        path: The file; an older one is replaced.
        file_format: One of ``FORMATS``; "parquet" needs the package pyarrow.
        config_hash: Of this sweep only; None for all.
    """
    if file_format not in FORMATS:
        raise ValueError(unknown_name_message(f"format {file_format!r}", file_format, FORMATS))
    if file_format == "parquet":
        _pyarrow()
    sweeps = store.sweeps(parts=True) if config_hash is None else store.sweeps()
    sweeps = [sweep for sweep in sweeps if config_hash in (None, sweep.config_hash)]
    known = {sweep.config_hash for sweep in sweeps}
    # A sweep that another process began between the two reads waits for the next export.
    points = [point for point in store.read(config_hash) if point.config_hash in known]
    if not points:
        raise ValueError(f"{store.path}: holds no points to export")
    with atomic_file(path) as temporary:
        if file_format == "json":
            content = {"sweeps": [sweep._asdict() for sweep in sweeps], "points": [point.as_dict() for point in points]}
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        elif file_format == "csv":
            write_table(temporary, _columns(sweeps, points), _cell)
        else:
            pyarrow, parquet = _pyarrow()
            parquet.write_table(pyarrow.table(_columns(sweeps, points)), temporary)
    return len(points)


def export_each(
    store: ResultStore, path: str | os.PathLike, file_format: str, *, config_hash: str | None = None
) -> int:
    """Writes what was measured in every unit, picture group and UAV of every point, a row each; returns how many.

    Arguments as of :func:`export_store`; JSON holds the columns by name, "netcdf" is :func:`as_xarray` and needs the
    packages xarray and scipy.
    """
    if file_format not in EACH_FORMATS:
        raise ValueError(unknown_name_message(f"format {file_format!r}", file_format, EACH_FORMATS))
    if file_format == "netcdf":
        data = as_xarray(store, config_hash)
        with atomic_file(path) as temporary:
            data.to_netcdf(temporary, engine="scipy")
        return int(max(data[name].count() for name in data.data_vars))
    writer = _pyarrow() if file_format == "parquet" else None
    from lvm_mtc.results.units import each_value  # the rest of this file needs no NumPy

    columns = each_value(store, config_hash)
    with atomic_file(path) as temporary:
        if file_format == "json":
            temporary.write_text(json.dumps(columns, allow_nan=False) + "\n", encoding="utf-8")
        elif writer is None:
            write_table(temporary, columns, _cell)
        else:
            writer[1].write_table(writer[0].table(columns), temporary)
    return len(next(iter(columns.values())))


def as_xarray(store: ResultStore, config_hash: str | None = None) -> Any:
    """What was measured in every unit as an ``xarray.Dataset``: a variable a metric over the grid of coordinates.

    Dimensions are the coordinates that vary, ``unit``, ``group`` and ``uav``; what the scheme decides stands along
    ``scheme``, what all share is a coordinate without a dimension. Units are attributes, "1" where there is none; NaN
    stands where nothing was measured.

    Raises:
        ValueError: without the package xarray, and as ``units.each_cube``.
    """
    try:
        xarray = importlib.import_module("xarray")
        importlib.import_module("scipy.io")
    except ImportError as error:
        raise ValueError("format 'netcdf' needs xarray and scipy: pip install 'lvm-mtc[netcdf]'") from error
    from lvm_mtc.results.units import each_cube  # the rest of this file needs no NumPy

    cube = each_cube(store, config_hash)
    points = store.read(config_hash)
    conventions = ", ".join(sorted({point.snr_convention for point in points}))
    sweeps = [sweep.config_hash for sweep in store.sweeps() if config_hash in (None, sweep.config_hash)]

    def named(name: str) -> dict[str, str]:
        more = {"convention": conventions} if name == "snr_db" else {}
        return {"units": "dB" if name.endswith("_db") else "1", "long_name": _LONG.get(name, name)} | more

    nothing = float("nan")
    along = {name: ((name,), values) for name, values in cube.axes.items()}
    along |= {name: (("scheme",), values) for name, values in cube.of_scheme.items()}
    along |= {name: ((), value) for name, value in cube.constant.items()}
    coordinates = {}
    for name, (dims, values) in along.items():
        listed = [nothing if value is None else value for value in values] if dims else values
        coordinates[name] = (dims, listed, {} if _is_text(values) else named(name))
    variables = {name: (tuple(cube.axes), values, named(name)) for name, values in cube.values.items()}
    about = {"title": store.path.name, "sweeps": ", ".join(sweeps), "snr_convention": conventions}
    return xarray.Dataset(variables, coordinates, about)


def _is_text(values: Any) -> bool:
    return any(isinstance(value, str) for value in (values if isinstance(values, list) else [values]))


def _pyarrow():
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        advice = "pip install 'lvm-mtc[parquet]'; csv and json need nothing"
        raise ValueError(f"format 'parquet' needs the package pyarrow: {advice}") from error


def _columns(sweeps: Sequence[Sweep], points: Sequence[Point]) -> dict[str, list[Any]]:
    """Dotted name to one value a point; every column holds values of one kind and None."""
    configs = {sweep.config_hash: flatten(sweep.config, "config.") for sweep in sweeps}
    rows = [flatten(point.as_dict()) | configs[point.config_hash] for point in points]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _of_one_kind([row.get(name) for row in rows]) for name in names}


def _of_one_kind(values: list[Any]) -> list[Any]:
    kinds = {"number" if type(value) in (int, float) else type(value) for value in values if value is not None}
    if kinds == {"number"} and any(type(value) is float for value in values):
        return [None if value is None else float(value) for value in values]
    if len(kinds) > 1 or kinds & {list}:
        return [None if value is None else json.dumps(value) for value in values]
    return values


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
