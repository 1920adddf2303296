"""Points of a sweep: what they measure, where, and what they refuse."""

import dataclasses

import numpy as np
import pytest
from small_runs import LINKS

from lvm_mtc.link import LinkConfig, SingleCarrier
from lvm_mtc.metrics.judges import accuracy_judge
from lvm_mtc.report.shown import show
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.sweep.rows import make_point
from lvm_mtc.sweep.run import Resources, sample_points
from lvm_mtc.sweep.stopping import StoppingRule

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.mark.slow
def test_realised_snr_is_not_claimed_where_streams_are_silent(small_spec, small_scheme):
    scheme = small_scheme.scheme
    bernoulli = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, masking="bernoulli"))
    for changes in (
        {"links": (LinkConfig(num_tx_ant=3, num_rx_ant=3),)},
        {"links": (LinkConfig(carrier=SingleCarrier(block_length=4)),)},
        {"schemes": (dataclasses.replace(small_scheme, scheme=bernoulli),)},
    ):
        one = dataclasses.replace(small_spec, snr_db=(10.0,), csi_error_var=(0.0,), **{"links": LINKS[:1]} | changes)
        (samples, *_) = sample_points(one, list(one.coordinates())[:1])
        assert np.isnan(samples.realised_snr).all()


@pytest.mark.slow
def test_metrics_are_measured_in_a_box_of_their_own(small_spec, small_scheme, small_pictures):
    images, loc = small_pictures
    elsewhere = np.tile(np.float32([24, 8, 12, 10]), (3, 2, 1))
    elsewhere[2, 1, 2:] = 0  # a view without the object
    one = dataclasses.replace(
        small_spec, schemes=(small_scheme,), links=LINKS[1:], snr_db=(10.0,), csi_error_var=(0.0,), pictures_per_step=16
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


@pytest.mark.slow
def test_seeds_and_units_differ_and_names_do_not_matter(small_spec, small_scheme):
    renamed = dataclasses.replace(small_scheme, name="same by another name")
    one = dataclasses.replace(
        small_spec, schemes=(small_scheme, renamed), links=LINKS[1:], snr_db=(10.0,), csi_error_var=(0.0,), seeds=(0, 1)
    )
    first, same, moved, _ = (samples.metrics["psnr_db"] for samples in sample_points(one, one.coordinates()))
    np.testing.assert_array_equal(first, same)
    assert np.all(first[0] != first[1]) and np.all(first != moved)


def test_sharing_saves_channel_uses(small_spec, small_scheme, small_pictures):
    images, loc = small_pictures
    alike = picture_source(np.repeat(images[:, :1], 2, axis=1), loc)
    one = dataclasses.replace(
        small_spec,
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


def test_common_draws_narrow_the_interval_of_a_difference(small_spec, small_scheme):
    """Neighbouring SNRs of one scheme; the pairs are the same channels."""
    near = dataclasses.replace(
        small_spec,
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


def test_judges_measure_what_arrives(small_spec, small_scheme, small_pictures):
    images, loc = small_pictures
    thresholds = np.float32([0.4, 0.5, 0.6])
    labels = np.argmin((images.mean(axis=(2, 3, 4))[..., None] - thresholds) ** 2, axis=-1)
    labels[0, 0] = (labels[0, 0] + 1) % 3  # wrong on purpose
    judged = dataclasses.replace(
        small_spec,
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
    assert judged.config()["judges"].keys() == {"accuracy"} and "judges" not in small_spec.config()
    with pytest.raises(ValueError, match=r"SweepSpec.sources\[2\].labels are missing: judge 'accuracy' needs them"):
        dataclasses.replace(judged, sources={2: picture_source(images, loc)})


def test_wrong_sweeps_name_the_field(small_spec, small_scheme):
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
        ("sources", {3: small_spec.sources[2]}, r"SweepSpec.sources\[3\].data must be \[B, 3,"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(small_spec, **{field: value})
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
