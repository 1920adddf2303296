"""Single values over the grid of their coordinates, and as NetCDF."""

import itertools

import numpy as np
import pytest
from synthetic_store import make_point

from lvm_mtc.results.export import export_each
from lvm_mtc.results.points import Measured, Measurement
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.units import each_cube, each_value, pack

SCHEMES = {"object first": 0.25, "uniform masking": 0.5}


def at(scheme, snr_db, num_uavs):
    return {"num_uavs": num_uavs, "seed": 0, "scheme": scheme, "mask_prob": SCHEMES[scheme], "snr_db": snr_db}


def value(place, shape):
    """A number that tells where it was measured."""
    unit, group, uav = np.indices(shape)
    base = 1000 * place["snr_db"] + 10_000 * place["num_uavs"] + 50_000 * place["mask_prob"]
    return np.float32(base + 100 * unit + 10 * group + uav)


@pytest.fixture
def store(tmp_path):
    with ResultStore(tmp_path / "units.sqlite") as store:
        key = store.register({"metrics": ["psnr_db", "ssim"]})
        for place in itertools.starmap(at, itertools.product(SCHEMES, (10.0, 0.0), (1, 2))):
            # Fewer units at K = 2, and one value that is not a number.
            values = value(place, (3 if place["num_uavs"] == 1 else 2, 4, place["num_uavs"]))
            values[0, 3, 0] = np.nan
            point = make_point(key, place, {"psnr_db": Measured(float(np.nanmean(values)), None, len(values))})
            kept = pack({"metrics.psnr_db": values, "metrics.ssim": values / 1e6, "realised_snr": np.ones(len(values))})
            store.add([point], [Measurement(key, place, ("psnr_db", "ssim"), kept)])
        yield store


def test_every_value_stands_at_its_coordinates(store):
    cube = each_cube(store)
    assert {name: len(values) for name, values in cube.axes.items()} == {
        "num_uavs": 2, "scheme": 2, "snr_db": 2, "unit": 3, "group": 4, "uav": 2,
    }  # fmt: skip
    assert cube.axes["snr_db"] == [0.0, 10.0] and cube.constant == {"seed": 0}
    assert cube.of_scheme == {"mask_prob": [0.25, 0.5]}
    rows = each_value(store)
    assert np.isfinite(cube.values["psnr_db"]).sum() == sum(value is not None for value in rows["psnr_db"]) == 104
    for i, psnr_db in enumerate(rows["psnr_db"]):
        place = tuple(values.index(rows[name][i]) for name, values in cube.axes.items())
        found = cube.values["psnr_db"][place]
        assert np.isnan(found) if psnr_db is None else found == psnr_db


def test_netcdf_reads_back(store, tmp_path):
    xarray = pytest.importorskip("xarray")
    assert export_each(store, tmp_path / "units.nc", "netcdf") == 104
    with xarray.open_dataset(tmp_path / "units.nc") as data:
        assert data.psnr_db.dims == ("num_uavs", "scheme", "snr_db", "unit", "group", "uav")
        assert data.psnr_db.units == "dB" and data.ssim.units == "1" and data.snr_db.convention == "rx_per_antenna"
        assert list(data.scheme.values) == list(SCHEMES) and data.mask_prob.dims == ("scheme",)
        one = data.sel(scheme="uniform masking", snr_db=10.0, num_uavs=2)
        want = value(at("uniform masking", 10.0, 2), (2, 4, 2))
        want[0, 3, 0] = np.nan
        np.testing.assert_array_equal(one.psnr_db[:2], want)
        assert np.isnan(one.psnr_db[2]).all()
        np.testing.assert_allclose(one.ssim[:2], want / 1e6, rtol=1e-6)
        assert float(one.mask_prob) == 0.5 and int(data.seed) == 0


def test_what_is_no_grid_is_refused(store, tmp_path, monkeypatch):
    key = store.register({"metrics": ["psnr_db"], "other": 1})
    place = at("object first", 0.0, 1)
    kept = pack({"metrics.psnr_db": np.ones((3, 4, 1), np.float32)})
    store.add([make_point(key, place, {"psnr_db": Measured(1.0, None, 3)})], [Measurement(key, place, (), kept)])
    with pytest.raises(ValueError, match="several rows stand at .*object first.*: give --sweep"):
        each_cube(store)
    monkeypatch.setattr("lvm_mtc.results.units.math.prod", lambda shape: 10**9)
    with pytest.raises(ValueError, match="a grid of 2 x 2 x 2 x 3 x 4 x 2 would be nearly empty"):
        each_cube(store)
    with pytest.raises(ValueError, match="'xls' is unknown|format 'xls'"):
        export_each(store, tmp_path / "a.xls", "xls")


def test_netcdf_says_what_it_needs(store, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xarray", None)
    with pytest.raises(ValueError, match=r"needs xarray and scipy: pip install 'lvm-mtc\[netcdf\]'"):
        export_each(store, tmp_path / "a.nc", "netcdf")
    assert not (tmp_path / "a.nc").exists()
