"""A store that grows: another K, link, scheme or metric, more units; what is there is found, and what is not is new."""

import dataclasses

import numpy as np
import pytest

from lvm_mtc.link import LinkConfig
from lvm_mtc.results.points import StoreError
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep import run as engine
from lvm_mtc.sweep.group import Group
from lvm_mtc.sweep.paired import NamedSweep
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.run import Resources, run_sweep
from lvm_mtc.sweep.stopping import StoppingRule

AWGN, RAYLEIGH = (LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh"))
ONE = Resources(num_devices=1, items_per_device=4)
pytestmark = pytest.mark.usefixtures("fast_compile", "users_emitters")


@pytest.fixture(scope="module")
def spec(fast_compile, small_scheme, small_pictures):
    images, loc = small_pictures
    return SweepSpec(
        schemes=(small_scheme,),
        links=(AWGN,),
        sources={2: picture_source(images, loc), 1: picture_source(images[:, :1], loc[:, :1])},
        snr_db=(0.0, 10.0),
        stopping=StoppingRule(target_half_width=None, max_units=4),
        metrics=("psnr_db",),
        pictures_per_step=4,
    )


def only(spec, *num_uavs):
    return dataclasses.replace(spec, sources={k: spec.sources[k] for k in num_uavs})


@pytest.fixture
def sent(monkeypatch):
    """How many items are sent: points times channel realisations."""
    counted = []
    send = Group.send

    def counting(self, points, units, advance=lambda _: None):
        counted.append(len(points) * len(units))
        return send(self, points, units, advance)

    monkeypatch.setattr(Group, "send", counting)

    def of(spec, store, **options):
        counted.clear()
        key = run_sweep(spec, store, resources=ONE, **options)
        return key, sum(counted)

    return of


def numbers(points):
    return [(point.coordinates, point.metrics, point.ledger, point.realised_snr_db) for point in points]


def fresh(spec, path):
    with ResultStore(path) as store:
        return numbers(store.read(run_sweep(spec, store, resources=ONE)))


@pytest.fixture
def store(tmp_path):
    with ResultStore(tmp_path / "grows.sqlite") as store:
        yield store


@pytest.mark.slow
def test_another_k_and_back(spec, store, sent, tmp_path):
    _, first = sent(only(spec, 2), store)
    both, second = sent(spec, store)
    assert (first, second) == (2 * 4, 2 * 4)
    assert numbers(store.read(both)) == fresh(spec, tmp_path / "fresh.sqlite")
    for narrow in (only(spec, 1), dataclasses.replace(only(spec, 2), snr_db=(10.0,))):
        key, none = sent(narrow, store)
        assert none == 0 and {point.coordinates["num_uavs"] for point in store.read(key)} == {*narrow.sources}
    # The first sweep lies within the second one, of which it was the beginning.
    assert len(store.read()) == 4 and sorted(sweep.num_points for sweep in store.sweeps()) == [2, 2, 4]


@pytest.mark.slow
def test_another_link_scheme_and_metric(spec, store, sent, small_scheme, tmp_path):
    one = only(spec, 2)
    sent(one, store)
    wider = dataclasses.replace(one, links=(AWGN, RAYLEIGH))
    assert sent(wider, store)[1] == 2 * 4
    uniform = dataclasses.replace(small_scheme, name="uniform masking", knobs={"mask_prob": 0.5}, swept=())
    every = dataclasses.replace(uniform, name="all", scheme=small_scheme.scheme.with_budget(16, scale_aware=False))
    wider = dataclasses.replace(wider, schemes=(small_scheme, uniform, every))
    key, new = sent(wider, store)
    assert every.scheme.frames() != uniform.scheme.frames() and new == 2 * 4 * 4
    before = {str(point.coordinates): point for point in store.read(key)}
    more = dataclasses.replace(wider, metrics=("psnr_db", "mse", "psnr_inside_db"), schemes=(small_scheme, uniform))
    key, again = sent(more, store)
    assert again == 2 * 4 * 4  # what arrives is needed once more
    for point in store.read(key):
        old = before[str(point.coordinates)]
        assert point.metrics["psnr_db"] == old.metrics["psnr_db"] and point.ledger == old.ledger
        assert {"mse", "psnr_of_mean_mse_db", "psnr_inside_db"} <= point.metrics.keys() - old.metrics.keys()
    assert sent(more, store)[1] == 0
    want, found = fresh(more, tmp_path / "fresh.sqlite"), numbers(store.read(key))
    for (_, one, *_), (_, other, *_) in zip(want, found, strict=True):
        np.testing.assert_allclose(
            [one[name][0] for name in sorted(one)], [other[name][0] for name in sorted(one)], 1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize("random_pictures", [False, True])
def test_more_units(spec, store, sent, random_pictures, small_pictures, tmp_path):
    images, loc = (np.concatenate([a, a[:, ::-1]]) for a in small_pictures)
    one = dataclasses.replace(spec, sources={2: picture_source(images, loc)}, random_pictures=random_pictures)
    sent(one, store)
    more = dataclasses.replace(one, stopping=StoppingRule(target_half_width=None, max_units=7))
    key, new = sent(more, store)
    assert new == 2 * 3
    assert numbers(store.read(key)) == fresh(more, tmp_path / "fresh.sqlite")
    aimed = StoppingRule(target_half_width=100.0, max_units=9, min_units=5, check_every=2)
    aimed = dataclasses.replace(one, stopping=aimed)
    key, new = sent(aimed, store)
    assert new == 0 and numbers(store.read(key)) == fresh(aimed, tmp_path / "aimed.sqlite")
    assert {point.metrics["psnr_db"].count for point in store.read(key)} == {5}


@pytest.mark.slow
def test_without_what_is_kept_units_are_measured_again(spec, store, sent):
    one = only(spec, 1)
    sent(one, store, keep=False)
    more = dataclasses.replace(one, stopping=StoppingRule(target_half_width=None, max_units=6))
    assert sent(more, store)[1] == 2 * 6 and sent(one, store)[1] == 0


def test_names(spec, store, sent):
    def named(name, *num_uavs):
        one = only(spec, *num_uavs)
        fields = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
        return NamedSweep(name=name, **fields)

    first, _ = sent(named("flight", 2), store)
    second, _ = sent(named("flight", 2, 1), store)
    other, none = sent(named("other", 1), store)
    assert none == 0 and first != second
    assert {sweep.config["name"]: sweep.config_hash for sweep in store.sweeps()} == {"flight": second, "other": other}
    plain = only(spec, 1).config() | {"name": "study"}
    key = store.register(plain)
    store.add(dataclasses.replace(point, config_hash=key) for point in store.read(other))
    with pytest.raises(StoreError, match="holds a sweep 'study' with other settings"):
        sent(named("study", 2), store)
    assert len(store.sweeps()) == 3


@pytest.mark.slow
def test_rows_of_an_older_store_are_found(spec, store, sent):
    """There a row stands under the key of its whole sweep."""
    with ResultStore(store.path.with_name("new.sqlite")) as new:
        points = new.read(run_sweep(spec, new, resources=ONE))
    key = store.register(spec.config())
    store.add(points)
    assert store.read(key) == points
    assert sent(spec, store) == (key, 0) and store.read(key) == points
    assert len(store.read()) == 4
    narrow, none = sent(only(spec, 1), store)
    assert none == 0 and numbers(store.read(narrow)) == numbers(points[:2])
    wider, new = sent(dataclasses.replace(spec, links=(AWGN, RAYLEIGH)), store)
    assert new == 4 * 4 and len(store.read(wider)) == 8
    assert store.read(key) == points


def test_deleted_points_are_computed_again(spec, store, sent):
    key, _ = sent(spec, store)
    before = store.read(key)
    assert store.delete(key, {"snr_db": 10, "num_uavs": 2}) == 1 and len(store.read(key)) == 3
    assert sent(spec, store) == (key, 4)
    assert store.read(key) == before


def test_a_budget_that_is_too_small_leaves_no_sweep(spec, store):
    with pytest.raises(ValueError, match="memory_budget 1 bytes"):
        run_sweep(spec, store, resources=engine.Resources(memory_budget=1))
    assert store.sweeps() == []
