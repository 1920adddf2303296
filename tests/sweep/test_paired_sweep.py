"""Differences of a sweep's points as rows: against the engine's rows and samples, after a kill, under another name."""

import copy
import dataclasses

import numpy as np
import pytest

from lvm_mtc.link.config import LinkConfig
from lvm_mtc.results.bootstrap import two_way_interval
from lvm_mtc.results.intervals import paired_difference
from lvm_mtc.results.points import StoreError
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.sweep import paired as paired_sweep
from lvm_mtc.sweep.paired import PREFIX, NamedSweep, Pair, differences_name, find_sweep, run_paired_sweep
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.sweep.run import Resources, run_sweep, sample_points
from lvm_mtc.sweep.stopping import StoppingRule

LINKS = tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh"))
ONE = Resources(num_devices=1)
GAIN = "object first minus uniform masking"
pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(scope="module")
def spec(fast_compile, small_scheme, small_pictures):
    uniform = dataclasses.replace(small_scheme, name="uniform masking", knobs={"mask_prob": 0.5}, swept=())
    images, loc = (np.concatenate([a, a[:, ::-1]]) for a in small_pictures)
    return NamedSweep(
        name="small",
        about={"weights": "none"},
        schemes=(small_scheme, uniform),
        links=LINKS,
        random_pictures=True,
        sources={2: picture_source(images, loc)},
        seeds=(4,),
        snr_db=(0.0, 10.0),
        metrics=("psnr_db", "psnr_inside_db"),
        stopping=StoppingRule(target_half_width=None, max_units=5),
        pictures_per_step=4,
    )


@pytest.fixture(scope="module")
def pairs(spec):
    return [
        Pair(GAIN, at, {**at, "scheme": "uniform masking", "mask_prob": 0.5})
        for at in spec.coordinates()
        if at["scheme"] == "object first"
    ]


@pytest.fixture(scope="module")
def stored(spec, pairs, tmp_path_factory):
    path, seen = tmp_path_factory.mktemp("paired") / "paired.sqlite", []
    with ResultStore(path) as store:
        run_paired_sweep(spec, pairs, store, resources=ONE, progress=lambda *done: seen.append(done))
        found = [store.read(find_sweep(store, name).config_hash) for name in ("small", differences_name("small"))]
    assert seen == [(4, 8), (8, 8)]
    return found


def test_points_are_the_sweeps(spec, stored, tmp_path):
    with ResultStore(tmp_path / "plain.sqlite") as store:
        plain = store.read(run_sweep(spec, store, resources=ONE))
    assert stored[0] == plain and len(plain) == 8


@pytest.mark.parametrize("number", [0, 3])
def test_differences_are_those_of_the_units(spec, pairs, stored, number):
    samples = sample_points(spec, pairs[number][1:], resources=ONE)
    first, second = (np.float64(one.metrics["psnr_inside_db"]) for one in samples)
    want = two_way_interval((first - second).mean(axis=-1))
    (row,) = (point for point in stored[1] if point.coordinates == pairs[number].coordinates)
    found = row.metrics[f"{PREFIX}psnr_inside_db"]
    np.testing.assert_allclose(found[:2], [want.mean, want.half_width], rtol=1e-5)
    # Unpaired, the pictures' spread would be in it: this comparison can fail.
    alone = [two_way_interval(one.mean(axis=-1)).half_width for one in (first, second)]
    assert found.half_width < 0.9 * np.hypot(*alone)
    assert set(row.metrics) >= {f"{PREFIX}psnr_db"} and all(name.startswith(PREFIX) for name in row.metrics)
    assert row.coordinates["scheme"] == GAIN and not row.ledger


def test_fixed_pictures_have_students_interval(spec, pairs, tmp_path):
    fixed = dataclasses.replace(spec, random_pictures=False, snr_db=(10.0,), links=LINKS[1:])
    at = [pair for pair in pairs if pair.first in list(fixed.coordinates())]
    with ResultStore(tmp_path / "fixed.sqlite") as store:
        run_paired_sweep(fixed, at, store, resources=ONE)
        (row,) = store.read(find_sweep(store, differences_name("small")).config_hash)
    first, second = (one.metrics["psnr_db"].mean(axis=(1, 2)) for one in sample_points(fixed, at[0][1:], resources=ONE))
    want = paired_difference(first, second)
    np.testing.assert_allclose(row.metrics[f"{PREFIX}psnr_db"], [want.mean, want.half_width, 5], rtol=1e-4)


def test_only_what_is_missing_is_measured(spec, pairs, stored, tmp_path, monkeypatch):
    measured = []

    def counted(spec, points, **options):
        measured.append(len(points))
        return sample_points(spec, points, **options)

    monkeypatch.setattr(paired_sweep, "sample_points", counted)
    with ResultStore(tmp_path / "part.sqlite") as store:
        run_paired_sweep(dataclasses.replace(spec, snr_db=(10.0,)), [], store, resources=ONE)
        run_paired_sweep(spec, pairs[:1], store, resources=ONE)
        # Of each channel the two points at 0 dB were missing, and one pair of them is wanted.
        assert measured == [2, 2, 2, 2]
        run_paired_sweep(spec, pairs, store, resources=ONE)
        assert measured[4:] == [2, 4]
        run_paired_sweep(spec, pairs, store, resources=ONE)
        assert measured[6:] == [0, 0]
        for name, want in zip(("small", differences_name("small")), stored, strict=True):
            assert store.read(find_sweep(store, name).config_hash) == want


def test_what_is_measured_for_a_pair_across_channels_is_kept(spec, stored, tmp_path, monkeypatch):
    measured = []

    def counted(spec, points, **options):
        measured.append(len(points))
        return sample_points(spec, points, **options)

    monkeypatch.setattr(paired_sweep, "sample_points", counted)
    across = [Pair("AWGN minus Rayleigh", at, at | {"channel": "rayleigh"}) for at in list(spec.coordinates())[:2]]
    with ResultStore(tmp_path / "across.sqlite") as store:
        run_paired_sweep(spec, across, store, resources=ONE)
        assert measured == [6, 2] and len(store.read(find_sweep(store, differences_name("small")).config_hash)) == 2
        assert store.read(find_sweep(store, "small").config_hash) == stored[0]


def test_other_settings_need_another_name(spec, tmp_path):
    with ResultStore(tmp_path / "names.sqlite") as store:
        assert find_sweep(store, "small") is None
        store.register(spec.config())
        assert find_sweep(store, "small").config["about"] == {"weights": "none"}
        other = dataclasses.replace(spec, metrics=("psnr_db",))
        with pytest.raises(StoreError, match="holds a sweep 'small' with other settings"):
            run_paired_sweep(other, [], store, resources=ONE)
        store.register(other.config())
        with pytest.raises(StoreError, match="2 sweeps are called 'small'"):
            find_sweep(store, "small")


def test_fields_that_came_later_make_no_other_sweep(spec, tmp_path):
    def without(config):
        earlier = copy.deepcopy(config)
        del earlier["schemes"]["object first"]["system"]["alignment"], earlier["links"]["awgn"]["nakagami_m"]
        return earlier

    scheme = spec.schemes[0].scheme
    sorted_first = dataclasses.replace(
        spec.schemes[0], scheme=LvmMtc(dataclasses.replace(scheme.config, alignment="sorted"))
    )
    other = dataclasses.replace(spec, schemes=(sorted_first, spec.schemes[1]))
    with ResultStore(tmp_path / "earlier.sqlite") as store:
        key = store.register(without(spec.config()))
        assert paired_sweep._key(spec, store) == key
        with pytest.raises(StoreError, match="with other settings"):
            paired_sweep._key(other, store)


def test_pairs_that_share_no_draws_are_refused(spec, pairs, tmp_path):
    with ResultStore(tmp_path / "wrong.sqlite") as store:
        elsewhere = pairs[0]._replace(second={**pairs[0].second, "snr_db": 3.0})
        with pytest.raises(ValueError, match="'object first minus uniform masking': .*\"snr_db\":3.* is no point"):
            run_paired_sweep(spec, [elsewhere], store, resources=ONE)
        two = dataclasses.replace(spec, seeds=(4, 1))
        with pytest.raises(ValueError, match="points of different num_uavs or seed share no draws"):
            run_paired_sweep(two, [pairs[0]._replace(second={**pairs[0].second, "seed": 1})], store, resources=ONE)
