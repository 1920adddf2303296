"""What points differ in, in words, and which of several of one place is drawn."""

import pytest

from lvm_mtc.report.select import Sample, read_samples
from lvm_mtc.results.parts import parts_of
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore


def config(num_rx_ant=4, weights="a", units=8, name=None, num_uavs=(2,)):
    about = {"name": name} if name else {}
    return about | {
        "schemes": {"object first": {"weights": weights * 64}},
        "links": {"rayleigh": {"num_rx_ant": num_rx_ant}},
        "pictures": {str(k): {"groups": 3, "hash": str(k) * 64} for k in num_uavs},
        "stopping": {"max_units": units, "level": 0.95},
        "random_pictures": False,
        "metrics": ["psnr_db"],
    }


def point(key, num_uavs=2, units=8, mean=20.0):
    at = {"num_uavs": num_uavs, "seed": 0, "scheme": "object first", "channel": "rayleigh", "snr_db": 0.0}
    metrics = {"psnr_db": (mean, 0.1, units)}
    return Point(config_hash=key, coordinates=at, metrics=metrics, seed=0, snr_convention="esno", snr_db=0.0)


@pytest.fixture
def store(tmp_path):
    with ResultStore(tmp_path / "s.sqlite") as store:
        yield store


def labels(store, *configs) -> list[str]:
    for one in configs:
        for part in parts_of(one):
            num_uavs = int(next(iter(part["pictures"])))
            units = one["stopping"]["max_units"]
            store.add([point(store.register(part), num_uavs, units, mean=20.0 + units)])
    samples: list[Sample] = read_samples(store)
    return sorted(sample.at["sweep"] for sample in samples)


def test_legends_name_the_field_and_never_a_hash(store):
    assert labels(store, config(4), config(8)) == ["num_rx_ant 4", "num_rx_ant 8"]


def test_digests_are_counted(store):
    assert labels(store, config(weights="a"), config(weights="b")) == ["weights 1", "weights 2"]


def test_what_coordinates_tell_is_no_difference(store):
    assert labels(store, config(num_uavs=(2, 3))) == ["", ""]


def test_the_point_with_the_most_units_is_drawn(store):
    assert labels(store, config(units=8), config(units=16)) == [""]
    (sample,) = read_samples(store)
    assert sample.metrics["psnr_db"].count == 16


def test_a_row_that_two_sweeps_hold_is_drawn_once(store):
    """One under its own sweep's key, as in older stores, and its copy under the part's."""
    whole = store.register(config(name="study"))
    store.add([point(whole)])
    assert labels(store, config()) == [""] and len(store.read()) == 2
