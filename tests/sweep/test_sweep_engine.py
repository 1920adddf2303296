"""The sweep engine: against single points, after kills, and two at a time."""

import dataclasses

import jax
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, SingleCarrier
from lvm_mtc.metrics.judges import accuracy_judge
from lvm_mtc.report.shown import show
from lvm_mtc.results.points import StoreError
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep import programs
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.programs import draw_bytes
from lvm_mtc.sweep.rows import make_point
from lvm_mtc.sweep.run import Resources, run_sweep, sample_points
from lvm_mtc.sweep.stopping import StoppingRule

LINKS = tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh"))
METRICS = ("psnr_db", "psnr_inside_db", "mse", "nmse_symbols")
pytestmark = pytest.mark.usefixtures("fast_compile", "users_emitters")


@pytest.fixture(scope="module")
def spec(fast_compile, small_scheme, small_pictures):
    uniform = dataclasses.replace(small_scheme, name="uniform masking", knobs={"mask_prob": 0.5}, swept=())
    return SweepSpec(
        schemes=(small_scheme, uniform),
        links=LINKS,
        sources={2: picture_source(*small_pictures)},
        snr_db=(0.0, 10.0, 20.0),
        csi_error_var=(0.0, 0.05),
        stopping=StoppingRule(target_half_width=None, max_units=6),
        metrics=METRICS,
        pictures_per_step=4,
    )


@pytest.fixture(scope="module")
def stored(spec, traced, tmp_path_factory):
    path, seen = tmp_path_factory.mktemp("sweep") / "sweep.sqlite", []
    with ResultStore(path) as store:
        key = run_sweep(spec, store, progress=seen.append)
        points = store.read(key)
    return path, points, traced(), seen


def rows(path):
    with ResultStore(path, create=False) as store:
        return store.read()


def test_every_point_is_stored_once(spec, stored):
    _, points, _, _ = stored
    wanted = list(spec.coordinates())
    assert len(wanted) == 2 * 2 * 3 * 2 == len(points)
    assert all(point.coordinates in wanted for point in points)
    assert {point.metrics["psnr_db"].count for point in points} == {6}


def test_schemes_channels_and_points_share_three_programs(spec, stored):
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


def test_realised_snr_is_the_nominal_one(spec, stored, small_scheme):
    for channel, fades in (("awgn", False), ("rayleigh", True)):
        points = [point for point in stored[1] if point.coordinates["channel"] == channel]
        check_realised_snr(points, fades, blocks=6 * 6, slots=6 * 6 * 16)
    link = dataclasses.replace(LINKS[1], convention="received_total")
    images = np.random.default_rng(0).uniform(size=(20, 2, 32, 32, 3)).astype(np.float32)
    source = picture_source(images, np.tile(np.float32([16, 16, 16, 16]), (20, 2, 1)))
    total = dataclasses.replace(
        spec, schemes=(small_scheme,), links=(link,), sources={2: source}, csi_error_var=(0.0,), pictures_per_step=40
    )
    places = list(total.coordinates())
    points = [
        make_point(total, "key", place, samples)
        for place, samples in zip(places, sample_points(total, places), strict=True)
    ]
    check_realised_snr(points, True, blocks=6 * 40, slots=6 * 40 * 16)


def test_realised_snr_is_not_claimed_where_streams_are_silent(spec, small_scheme):
    scheme = small_scheme.scheme
    bernoulli = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, masking="bernoulli"))
    for changes in (
        {"links": (LinkConfig(num_tx_ant=3, num_rx_ant=3),)},
        {"links": (LinkConfig(carrier=SingleCarrier(block_length=4)),)},
        {"schemes": (dataclasses.replace(small_scheme, scheme=bernoulli),)},
    ):
        one = dataclasses.replace(spec, snr_db=(10.0,), csi_error_var=(0.0,), **{"links": LINKS[:1]} | changes)
        (samples, *_) = sample_points(one, list(one.coordinates())[:1])
        assert np.isnan(samples.realised_snr).all()


def test_metrics_are_measured_in_a_box_of_their_own(spec, small_scheme, small_pictures):
    images, loc = small_pictures
    elsewhere = np.tile(np.float32([24, 8, 12, 10]), (3, 2, 1))
    elsewhere[2, 1, 2:] = 0  # a view without the object
    one = dataclasses.replace(
        spec, schemes=(small_scheme,), links=LINKS[1:], snr_db=(10.0,), csi_error_var=(0.0,), pictures_per_step=16
    )
    other = dataclasses.replace(one, sources={2: picture_source(images, loc, elsewhere)})
    (place,) = one.coordinates()
    shown, same = show(other, [place]), show(one, [place])
    # What is sent depends on loc alone.
    np.testing.assert_array_equal(shown.kept, same.kept)
    np.testing.assert_array_equal(shown.received, same.received)
    (samples,), (at_home,) = sample_points(other, [place]), sample_points(one, [place])
    inside = np.zeros((32, 32), bool)
    inside[3:13, 18:30] = True
    error = (shown.received[0] / 255.0 - images).astype(np.float64) ** 2
    want = -10 * np.log10(error[:, :, inside].mean((-2, -1)))
    counts = np.array([[True, True], [True, True], [True, False]])
    # The pictures are rounded to 8 bits.
    np.testing.assert_allclose(samples.metrics["psnr_inside_db"][0][counts], want[counts], atol=0.05)
    assert np.abs(at_home.metrics["psnr_inside_db"][0][counts] - want[counts]).min() > 0.05
    measured = make_point(other, "key", place, samples).metrics["psnr_inside_db"]
    np.testing.assert_allclose(measured.mean, np.float64(samples.metrics["psnr_inside_db"][:, counts]).mean())


def test_seeds_and_units_differ_and_names_do_not_matter(spec, small_scheme):
    renamed = dataclasses.replace(small_scheme, name="same by another name")
    one = dataclasses.replace(
        spec, schemes=(small_scheme, renamed), links=LINKS[1:], snr_db=(10.0,), csi_error_var=(0.0,), seeds=(0, 1)
    )
    first, same, moved, _ = (samples.metrics["psnr_db"] for samples in sample_points(one, one.coordinates()))
    np.testing.assert_array_equal(first, same)
    assert np.all(first[0] != first[1]) and np.all(first != moved)


def test_sharing_saves_channel_uses(spec, small_scheme, small_pictures):
    images, loc = small_pictures
    alike = picture_source(np.repeat(images[:, :1], 2, axis=1), loc)
    one = dataclasses.replace(
        spec,
        schemes=(small_scheme,),
        links=LINKS[:1],
        sources={2: alike},
        snr_db=(10.0,),
        csi_error_var=(0.0,),
        knobs={"epsilon": (0.0, 10.0)},
    )
    nothing, all_shared = sample_points(one, one.coordinates())
    assert np.all(all_shared.public_share == 1) and np.all(nothing.public_share == 0)
    np.testing.assert_allclose(all_shared.ledger.channel_uses(), nothing.ledger.channel_uses() / 2)
    assert np.all(all_shared.ledger.side_information_bits > nothing.ledger.side_information_bits)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_any_point_alone_has_the_same_bits(spec, stored, devices):
    wanted = [
        {"scheme": "object first", "channel": "rayleigh", "snr_db": 10, "csi_error_var": 0.05},
        {"scheme": "uniform masking", "channel": "awgn", "snr_db": 20, "csi_error_var": 0},
    ]
    for place in wanted:
        coordinates = {name: (value,) for name, value in place.items() if name in ("snr_db", "csi_error_var")}
        alone = dataclasses.replace(spec, **coordinates)
        point = at(stored[1], **place)
        chosen = [
            one
            for one in alone.coordinates()
            if one["scheme"] == place["scheme"] and one["channel"] == place["channel"]
        ]
        (samples,) = sample_points(alone, chosen, resources=Resources(num_devices=devices))
        of_units = np.float64(samples.metrics["psnr_db"]).reshape(6, -1).mean(axis=-1)
        assert of_units.mean() == point.metrics["psnr_db"].mean


def test_memory_budget_changes_no_number(spec, stored, tmp_path):
    one = draw_bytes(spec.draw_shape(2))
    assert Resources(memory_budget=one).units_per_draw(spec.draw_shape(2)) == 1
    assert Resources(memory_budget=5 * one - 1).units_per_draw(spec.draw_shape(2)) == 4
    with pytest.raises(ValueError, match=f"memory_budget {one - 1} bytes .* takes, {one}"):
        Resources(memory_budget=one - 1).units_per_draw(spec.draw_shape(2))
    with ResultStore(tmp_path / "small.sqlite") as store:
        key = run_sweep(spec, store, resources=Resources(memory_budget=4 * one))
        assert store.read(key) == stored[1]


def test_draws_are_counted_in_bytes(spec):
    shape = spec.draw_shape(2)
    drawn = programs.draw(shape, jax.random.key(0), np.arange(3, dtype=np.uint32))
    assert draw_bytes(shape) * 3 == sum(leaf.nbytes for leaf in jax.tree.leaves(drawn))


def test_only_what_is_missing_is_computed(spec, stored, tmp_path):
    path = tmp_path / "part.sqlite"
    part = dataclasses.replace(spec, snr_db=(10.0,), schemes=spec.schemes)
    seen = []
    with ResultStore(path) as store:
        run_sweep(part, store)
        key = run_sweep(spec, store, progress=seen.append)
        assert store.read(key) == stored[1]
        before = sum(programs.TRACES.values())
        run_sweep(spec, store, progress=seen.append)
    assert seen[0].points_done == 8 and seen[-1].points_done == 24
    assert sum(programs.TRACES.values()) == before


def test_a_store_with_other_numbers_is_refused(spec, stored, tmp_path):
    changed = [dataclasses.replace(p, snr_db=p.snr_db + 1) for p in stored[1][:1]]
    with ResultStore(tmp_path / "other.sqlite") as store:
        store.register(spec.config())
        store.add(changed)
        with pytest.raises(StoreError, match="other numbers"):
            store.add(stored[1])


def test_points_stop_when_their_interval_is_narrow(spec, small_scheme):
    rule = StoppingRule(target_half_width=0.15, max_units=48, min_units=8, check_every=8)
    adaptive = dataclasses.replace(spec, stopping=rule, schemes=(small_scheme,), csi_error_var=(0.0,))
    points = list(adaptive.coordinates())
    found = sample_points(adaptive, points)
    counts = [len(samples.realised_snr) for samples in found]
    assert min(counts) == 8 and max(counts) > 8
    assert all(count in range(8, 49, 8) for count in counts)
    # Alone it stops where it stops among others, with the same numbers.
    longest = int(np.argmax(counts))
    (alone,) = sample_points(adaptive, [points[longest]])
    np.testing.assert_array_equal(alone.metrics["psnr_db"], found[longest].metrics["psnr_db"])


def test_common_draws_narrow_the_interval_of_a_difference(spec, small_scheme):
    """Neighbouring SNRs of one scheme; the pairs are the same channels."""
    near = dataclasses.replace(
        spec,
        snr_db=(10.0, 12.0),
        csi_error_var=(0.0,),
        links=LINKS[1:],
        schemes=(small_scheme,),
        stopping=StoppingRule(target_half_width=None, max_units=32),
    )
    low, high = (
        np.float64(samples.metrics["psnr_db"]).mean(axis=(1, 2)) for samples in sample_points(near, near.coordinates())
    )
    independent = np.sqrt(low.var(ddof=1) + high.var(ddof=1))
    assert (high - low).std(ddof=1) < independent / 3


def by_brightness(threshold, images):
    """A classifier of three classes by mean brightness."""
    mean = images.mean(axis=(1, 2, 3))
    return -((mean[:, None] - threshold[None]) ** 2)


def test_judges_measure_what_arrives(spec, small_scheme, small_pictures):
    images, loc = small_pictures
    thresholds = np.float32([0.4, 0.5, 0.6])
    labels = np.argmin((images.mean(axis=(2, 3, 4))[..., None] - thresholds) ** 2, axis=-1)
    labels[0, 0] = (labels[0, 0] + 1) % 3  # wrong on purpose
    judged = dataclasses.replace(
        spec,
        schemes=(small_scheme,),
        links=LINKS[:1],
        snr_db=(40.0,),
        csi_error_var=(0.0,),
        metrics=("psnr_db",),
        sources={2: picture_source(images, loc, labels=labels)},
        judges=(accuracy_judge(by_brightness, thresholds),),
    )
    (samples,) = sample_points(judged, judged.coordinates())
    want = np.ones((6, 3, 2))
    want[:, 0, 0] = 0
    np.testing.assert_array_equal(samples.metrics["accuracy"], want)
    assert judged.config()["judges"].keys() == {"accuracy"} and "judges" not in spec.config()
    with pytest.raises(ValueError, match=r"SweepSpec.sources\[2\].labels are missing: judge 'accuracy' needs them"):
        dataclasses.replace(judged, sources={2: picture_source(images, loc)})


def test_wrong_sweeps_name_the_field(spec, small_scheme):
    for field, value, message in (
        ("snr_db", (), "SweepSpec.snr_db is empty"),
        ("snr_db", (1.0, 1.0), "SweepSpec.snr_db holds a value twice: 1.0, 1.0"),
        ("snr_db", (float("nan"),), "SweepSpec.snr_db must be finite, got nan"),
        ("csi_error_var", (-0.1,), "SweepSpec.csi_error_var must be finite and >= 0, got -0.1"),
        ("knobs", {"epsilon": (-1.0,)}, r"SweepSpec.epsilon must lie in \[0, inf\], got -1.0"),
        ("knobs", {"mask_prob": (1.0,)}, r"SweepSpec.mask_prob must lie in \(0, 1\), got 1.0"),
        ("knobs", {"mask_prb": (0.2,)}, "SweepSpec.knobs.mask_prb is not known .did you mean 'mask_prob'"),
        ("seeds", (-1,), "SweepSpec.seeds must be whole numbers"),
        ("metrics", ("psnr",), "metric 'psnr'"),
        ("stop_metric", "ssim", "SweepSpec.stop_metric 'ssim' must be one of"),
        ("pictures_per_step", 0, "SweepSpec.pictures_per_step must be >= 1, got 0"),
        ("random_pictures", True, "SweepSpec.random_pictures needs four groups of pictures or more, got 3"),
        ("schemes", (small_scheme, small_scheme), "SweepSpec.schemes holds a value twice: object first, object first"),
        ("links", (LINKS[0], dataclasses.replace(LINKS[1], convention="esno")), "SweepSpec.links must share"),
        ("sources", {3: spec.sources[2]}, r"SweepSpec.sources\[3\].data must be \[B, 3,"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(spec, **{field: value})
    with pytest.raises(ValueError, match=r"Contender.mask_prob must lie in \(0, 1\), got 1.0"):
        dataclasses.replace(small_scheme, knobs={"mask_prob": 1.0})
    with pytest.raises(ValueError, match=r"Contender.epsilon must lie in .*got -0.1"):
        dataclasses.replace(small_scheme, knobs={"epsilon": -0.1})
    for options, message in (
        ({"memory_budget": 0}, "memory_budget must be >= 1 byte, got 0"),
        ({"items_per_device": 0}, "items_per_device must be >= 1, got 0"),
        ({"num_devices": 9}, "num_devices must lie in 1 ... 8, .* got 9"),
        ({"num_devices": 0}, "num_devices must lie in 1 ... 8, .* got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            Resources(**options)
