"""The sweep engine: against single points, after kills, and two at a time."""

import dataclasses

import jax
import numpy as np
import pytest
from small_runs import LINKS

from lvm_mtc.results.points import StoreError
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep import programs
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.sweep.programs import draw_bytes
from lvm_mtc.sweep.rows import make_point
from lvm_mtc.sweep.run import Resources, run_sweep, sample_points
from lvm_mtc.sweep.stopping import StoppingRule

pytestmark = pytest.mark.usefixtures("fast_compile", "users_emitters")


@pytest.fixture(scope="module")
def stored(small_spec, traced, tmp_path_factory):
    path, seen = tmp_path_factory.mktemp("sweep") / "sweep.sqlite", []
    with ResultStore(path) as store:
        key = run_sweep(small_spec, store, progress=seen.append)
        points = store.read(key)
    return path, points, traced(), seen


def rows(path):
    with ResultStore(path, create=False) as store:
        return store.read()


def test_every_point_is_stored_once(small_spec, stored):
    _, points, _, _ = stored
    wanted = list(small_spec.coordinates())
    assert len(wanted) == 2 * 2 * 3 * 2 == len(points)
    assert all(point.coordinates in wanted for point in points)
    assert {point.metrics["psnr_db"].count for point in points} == {6}


def test_schemes_channels_and_points_share_three_programs(small_spec, stored):
    assert stored[2] == {"encode": 1, "draw": 1, "send": 1}


def test_progress_ends_where_everything_is_done(stored):
    seen = stored[3]
    assert seen[-1].points_done == seen[-1].points == 24
    np.testing.assert_allclose([seen[-1].items_done, seen[-1].items], 24 * 6)
    assert np.all(np.diff([one.items_done for one in seen]) >= 0)
    assert abs(seen[-1].seconds_left) < 1e-6


def at(points, **coordinates):
    (found,) = (p for p in points if all(p.coordinates[name] == value for name, value in coordinates.items()))
    return found


def test_psnr_rises_with_snr_and_falls_with_csi_error(stored):
    for scheme in ("object first", "uniform masking"):
        for channel in ("awgn", "rayleigh"):
            psnr = [
                [
                    at(stored[1], scheme=scheme, channel=channel, snr_db=snr, csi_error_var=error).metrics[
                        "psnr_inside_db"
                    ]
                    for snr in (0, 10, 20)
                ]
                for error in (0, 0.05)
            ]
            means = np.array([[measured.mean for measured in row] for row in psnr])
            assert np.all(np.diff(means, axis=1) > 0) and means[1, 2] < means[0, 2]


def check_realised_snr(points, fades, blocks, slots):
    """Within 5 standard errors: fading blocks are sums of 16 exponentials, noise of 4 complex numbers a slot."""
    # At most twice the spread of H: the power pattern of the symbols is seen through it.
    spread = np.sqrt((4 / 16 / blocks if fades else 0) + 1 / (slots * 4))
    measured = 10 ** (np.array([point.realised_snr_db - point.snr_db for point in points]) / 10)
    np.testing.assert_array_less(np.abs(measured - 1), 5 * spread)
    assert np.all(np.abs(measured / 4 - 1) > 5 * spread), "6 dB off would be seen"


@pytest.mark.slow
def test_realised_snr_is_the_nominal_one(small_spec, stored, small_scheme):
    for channel, fades in (("awgn", False), ("rayleigh", True)):
        points = [point for point in stored[1] if point.coordinates["channel"] == channel]
        check_realised_snr(points, fades, blocks=6 * 6, slots=6 * 6 * 16)
    link = dataclasses.replace(LINKS[1], convention="received_total")
    images = np.random.default_rng(0).uniform(size=(20, 2, 32, 32, 3)).astype(np.float32)
    source = picture_source(images, np.tile(np.float32([16, 16, 16, 16]), (20, 2, 1)))
    total = dataclasses.replace(
        small_spec,
        schemes=(small_scheme,),
        links=(link,),
        sources={2: source},
        csi_error_var=(0.0,),
        pictures_per_step=40,
    )
    places = list(total.coordinates())
    points = [
        make_point(total, "key", place, samples)
        for place, samples in zip(places, sample_points(total, places), strict=True)
    ]
    check_realised_snr(points, True, blocks=6 * 40, slots=6 * 40 * 16)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_any_point_alone_has_the_same_bits(small_spec, stored, devices):
    wanted = [
        {"scheme": "object first", "channel": "rayleigh", "snr_db": 10, "csi_error_var": 0.05},
        {"scheme": "uniform masking", "channel": "awgn", "snr_db": 20, "csi_error_var": 0},
    ]
    resources = Resources(num_devices=devices)
    for place in wanted:
        coordinates = {name: (value,) for name, value in place.items() if name in ("snr_db", "csi_error_var")}
        alone = dataclasses.replace(small_spec, **coordinates)
        (chosen,) = (one for one in alone.coordinates() if place.items() <= one.items())
        (samples,) = sample_points(alone, [chosen], resources=resources)
        (together,) = sample_points(small_spec, [chosen], resources=resources)
        np.testing.assert_array_equal(samples.metrics["psnr_db"], together.metrics["psnr_db"])
        # Another number of devices is another program, whose sums may differ in the eighth digit.
        of_units = np.float64(samples.metrics["psnr_db"]).reshape(6, -1).mean(axis=-1)
        mean = at(stored[1], **place).metrics["psnr_db"].mean
        assert of_units.mean() == mean if devices > 1 else of_units.mean() == pytest.approx(mean, rel=1e-8)


@pytest.mark.slow
def test_memory_budget_changes_no_number(small_spec, stored, tmp_path):
    one = draw_bytes(small_spec.draw_shape(2, "object first"))
    assert Resources(memory_budget=one).units_per_draw(small_spec.draw_shape(2, "object first")) == 1
    assert Resources(memory_budget=5 * one - 1).units_per_draw(small_spec.draw_shape(2, "object first")) == 4
    with pytest.raises(ValueError, match=f"memory_budget {one - 1} bytes .* takes, {one}"):
        Resources(memory_budget=one - 1).units_per_draw(small_spec.draw_shape(2, "object first"))
    with ResultStore(tmp_path / "small.sqlite") as store:
        key = run_sweep(small_spec, store, resources=Resources(memory_budget=4 * one))
        assert store.read(key) == stored[1]


def test_draws_are_counted_in_bytes(small_spec):
    shape = small_spec.draw_shape(2, "object first")
    drawn = programs.draw(shape, jax.random.key(0), np.arange(3, dtype=np.uint32))
    assert draw_bytes(shape) * 3 == sum(leaf.nbytes for leaf in jax.tree.leaves(drawn))


def test_only_what_is_missing_is_computed(small_spec, stored, tmp_path):
    path = tmp_path / "part.sqlite"
    part = dataclasses.replace(small_spec, snr_db=(10.0,), schemes=small_spec.schemes)
    seen = []
    with ResultStore(path) as store:
        run_sweep(part, store)
        key = run_sweep(small_spec, store, progress=seen.append)
        assert store.read(key) == stored[1]
        before = sum(programs.TRACES.values())
        run_sweep(small_spec, store, progress=seen.append)
    assert seen[0].points_done == 8 and seen[-1].points_done == 24
    assert sum(programs.TRACES.values()) == before


def test_a_store_with_other_numbers_is_refused(small_spec, stored, tmp_path):
    changed = [dataclasses.replace(p, snr_db=p.snr_db + 1) for p in stored[1][:1]]
    with ResultStore(tmp_path / "other.sqlite") as store:
        store.register(small_spec.config())
        store.add(changed)
        with pytest.raises(StoreError, match="other numbers"):
            store.add(stored[1])


@pytest.mark.slow
def test_points_stop_when_their_interval_is_narrow(small_spec, small_scheme):
    rule = StoppingRule(target_half_width=0.15, max_units=48, min_units=8, check_every=8)
    adaptive = dataclasses.replace(small_spec, stopping=rule, schemes=(small_scheme,), csi_error_var=(0.0,))
    points = list(adaptive.coordinates())
    found = sample_points(adaptive, points)
    counts = [len(samples.realised_snr) for samples in found]
    assert min(counts) == 8 and max(counts) > 8
    assert all(count in range(8, 49, 8) for count in counts)
    # Alone it stops where it stops among others, with the same numbers.
    longest = int(np.argmax(counts))
    (alone,) = sample_points(adaptive, [points[longest]])
    np.testing.assert_array_equal(alone.metrics["psnr_db"], found[longest].metrics["psnr_db"])
