"""The viewer's pictures: what is stored at which coordinates, that they are the sweep's; the store's table."""

import dataclasses
import io
import sqlite3

import numpy as np
import pytest
from PIL import Image

from lvm_mtc.link import LinkConfig
from lvm_mtc.metrics.judges import Judge
from lvm_mtc.report.html_viewer import viewer_sets
from lvm_mtc.report.shown import show
from lvm_mtc.report.viewer_pictures import ERROR_GAIN, _spread, viewer_pictures
from lvm_mtc.results.points import StoredPicture, StoreError, canonical_json
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.stopping import StoppingRule

SNR_DB, CSI_ERROR = (0.0, 20.0), (0.0, 0.1)


def never(params, source, outcome):
    """A measure that is not asked for."""
    raise ZeroDivisionError


@pytest.fixture(scope="module")
def spec(small_scheme, small_pictures):
    images, loc = small_pictures
    links = tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh"))
    uniform = dataclasses.replace(small_scheme, name="uniform", knobs={"mask_prob": 0.5}, swept=())
    unasked = Judge(name="unasked", measure=never, params={})
    return SweepSpec(
        schemes=(small_scheme, uniform),
        links=links,
        sources={2: picture_source(images, loc)},
        snr_db=SNR_DB,
        csi_error_var=CSI_ERROR,
        knobs={"mask_prob": (0.25, 0.4)},
        pictures_per_step=4,
        judges=(unasked,),
        stopping=StoppingRule(target_half_width=None, max_units=2),
    )


@pytest.fixture(scope="module")
def filled(spec, tmp_path_factory, fast_compile):
    path = tmp_path_factory.mktemp("viewer") / "store.sqlite"
    with ResultStore(path) as store:
        assert viewer_pictures(spec, store) == 2 * (1 + 2 + 2 * 2 * len(SNR_DB) * len(CSI_ERROR) * 2)
        assert viewer_pictures(spec, store) == 0
        return path, store.pictures(spec.key())


def decode(one):
    return np.asarray(Image.open(io.BytesIO(one.data)).convert("RGB")) / 255


def find(pictures, name, uav=0, **at):
    (one,) = [p for p in pictures if p.name == name and p.uav == uav and at.items() <= p.coordinates.items()]
    return decode(one)


@pytest.mark.slow
def test_each_point_has_its_pictures(filled, spec):
    _, pictures = filled
    shown = [at for at in spec.coordinates() if at["mask_prob"] != 0.4]
    for name in ("received", "error"):
        found = [canonical_json(p.coordinates) for p in pictures if p.name == name and p.uav == 1]
        assert sorted(found) == sorted(map(canonical_json, shown))
    kept = {canonical_json(p.coordinates) for p in pictures if p.name == "kept"}
    assert kept == {
        canonical_json({"mask_prob": p, "num_uavs": 2, "scheme": scheme, "seed": 0})
        for scheme, p in (("object first", 0.25), ("uniform", 0.5))
    }
    assert [p.coordinates for p in pictures if p.name == "original"] == [{"num_uavs": 2}] * 2


def test_pictures_are_those_of_the_sweep(filled, spec, fast_compile):
    """JPEG costs a little."""
    _, pictures = filled
    at = dict(channel="rayleigh", scheme="object first", snr_db=0, csi_error_var=0.1)
    place = next(c for c in spec.coordinates() if at.items() <= c.items())
    shown = show(spec, [place])
    for uav in range(2):
        original, received = shown.originals[0, uav], shown.received[0, 0, uav] / 255
        want = {
            "original": original,
            "received": received,
            "kept": shown.kept[0, uav],
            "error": np.clip(ERROR_GAIN * np.abs(received - original), 0, 1),
        }
        stored = {
            "original": find(pictures, "original", uav),
            "kept": find(pictures, "kept", uav, scheme="object first"),
            "received": find(pictures, "received", uav, **at),
            "error": find(pictures, "error", uav, **at),
        }
        for name, picture in want.items():
            miss = {other: np.abs(stored[other] - picture).mean() for other in want}
            assert miss[name] < 0.02 and min(miss, key=miss.get) == name
            assert sorted(miss.values())[1] > 0.025, "pictures that look the same show nothing"


def test_what_is_missing_is_computed_alone(filled, spec, tmp_path):
    _, pictures = filled
    with ResultStore(tmp_path / "store.sqlite") as store:
        store.register(spec.config())
        store.add_pictures([p for p in pictures if p.coordinates.get("scheme") != "uniform"])
        added = viewer_pictures(spec, store)
        assert added == sum(p.coordinates.get("scheme") == "uniform" for p in pictures)
        assert store.pictures(spec.key()) == pictures


def test_the_viewer_chooses_group_and_realisation(spec, tmp_path):
    one = dataclasses.replace(spec, snr_db=(20.0,), csi_error_var=(0.1,), schemes=spec.schemes[:1], knobs={})
    at = next(at for at in one.coordinates() if at["channel"] == "rayleigh")
    with ResultStore(tmp_path / "store.sqlite") as store:
        assert viewer_pictures(one, store) == 2 * (1 + 1 + 2 * 2)
        assert viewer_pictures(one, store, groups=3, realisations=2) == (3 * 2 - 1) * 2 * (1 + 1 + 2 * 2)
        assert viewer_pictures(one, store, groups=3, realisations=2) == 0
        pictures, sets = store.pictures(one.key()), viewer_sets(store)
    shown = [show(one, [at], unit=unit).received[0] / 255 for unit in (0, 1)]
    assert np.abs(shown[0] - shown[1]).mean() > 0.01
    for group, unit in ((1, 0), (0, 1), (2, 1)):
        place = {name: number for name, number in (("group", group), ("realisation", unit)) if number}
        stored = next(p for p in pictures if p.name == "received" and p.uav == 1 and p.coordinates == at | place)
        miss = [np.abs(decode(stored) - of_unit[group, 1]).mean() for of_unit in shown]
        assert miss[unit] < 0.02 and miss[unit] < miss[1 - unit]
    names = [f"group {group}, realisation {unit}" for group in (1, 2, 3) for unit in (1, 2)]
    assert [one["name"].partition(", ")[2] for one in sets] == names
    assert len({one["original"][0] for one in sets}) == 3
    assert len({point["received"][0] for one in sets for point in one["points"].values()}) == 2 * 6


def test_many_values_are_thinned():
    assert _spread((3, 1, 2), 9) == [1, 2, 3]
    assert _spread(range(11), 3) == [0, 5, 10]
    assert _spread((5,), 4) == [5]


@pytest.fixture
def old(tmp_path):
    """A store of schema version 1 with a sweep."""
    path = tmp_path / "old.sqlite"
    with ResultStore(path) as store:
        store.register({"a": 1})
    with sqlite3.connect(path) as connection:
        for table in ("picture", "measurement", "command"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    return path


def version(path):
    connection = sqlite3.connect(path)
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return found


def test_the_first_picture_migrates_an_old_store(old):
    with ResultStore(old, create=False) as store:
        (sweep,) = store.sweeps()
        assert store.pictures(sweep.config_hash) == [] and version(old) == 1
        one = StoredPicture(sweep.config_hash, {"num_uavs": 2}, "original", 0, b"\x89PNG")
        assert store.add_pictures([one, one._replace(uav=1), one]) == 2
        assert version(old) == 3
        assert store.pictures(sweep.config_hash) == [one, one._replace(uav=1)]
        assert store.pictures("other") == [] and store.sweeps() == [sweep]
        assert store.add_pictures([one._replace(data=b"other")]) == 0
        assert store.pictures(sweep.config_hash)[0] == one


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config_hash": "0" * 64}, "sweep of a point or picture is not registered"),
        ({"data": "text"}, "StoredPicture.data of 'original' must be bytes"),
        ({"data": b""}, "StoredPicture.data"),
        ({"coordinates": {"snr_db": float("nan")}}, "coordinates.snr_db must be finite"),
    ],
)
def test_wrong_pictures_leave_the_store_as_it_was(old, change, words):
    with ResultStore(old) as store:
        good = StoredPicture(store.register({"a": 1}), {}, "original", 0, b"x")
        with pytest.raises(StoreError, match=words):
            store.add_pictures([good, good._replace(**{"uav": 1} | change)])
        assert version(old) == 1
        assert store.pictures(good.config_hash) == []
