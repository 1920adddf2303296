"""Pictures of points against forward passes: what arrived, what was kept, and that a first group is a part."""

import dataclasses

import jax
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint, draw, uav_keys
from lvm_mtc.metrics import pictures as metrics
from lvm_mtc.report.shown import show
from lvm_mtc.schemes.simulate import encode, transmit
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.run import sample_points
from lvm_mtc.sweep.stopping import StoppingRule

LINK = LinkConfig(fading="rayleigh", convention="rx_per_antenna")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fast_compile", "users_emitters")]


@pytest.fixture(scope="module")
def spec(small_scheme, small_pictures):
    """Two steps, the second one padded."""
    return SweepSpec(
        schemes=(small_scheme,),
        links=(LINK,),
        sources={2: picture_source(*small_pictures)},
        snr_db=(0.0, 20.0),
        csi_error_var=(0.0, 0.05),
        seeds=(1,),
        metrics=("psnr_db", "psnr_inside_db"),
        stopping=StoppingRule(target_half_width=None, max_units=2),
        pictures_per_step=4,
    )


@pytest.fixture(scope="module")
def shown(spec, fast_compile):
    return show(spec, list(spec.coordinates()))


def test_a_point_is_what_forward_passes_give(spec, shown, small_scheme, small_pictures):
    """The oracle: link and scheme without the engine, metrics in float64 NumPy."""
    images, loc = small_pictures
    contender = small_scheme
    samples = sample_points(spec, spec.coordinates())
    inside = np.asarray(metrics.box_mask(loc, 32, 32))
    run = jax.jit(encode, static_argnums=0)
    send = jax.jit(transmit, static_argnums=(0, 3))
    for step, groups in enumerate(([0, 1], [2, 2])):
        mask_key, channel_key = jax.random.split(jax.random.fold_in(jax.random.key(1), step))
        source = picture_source(images[groups], loc[groups])
        encoded = run(contender.scheme, contender.params, source, uav_keys(mask_key, 2), {})
        for unit in range(2):
            keys = uav_keys(jax.random.fold_in(jax.random.clone(channel_key), unit), 2)
            draws = jax.jit(draw, static_argnums=(0, 2, 3, 4))(LINK, keys, 2, *contender.scheme.frames())
            for number, at in enumerate(spec.coordinates()):
                point = OperatingPoint(snr_db=np.float32(at["snr_db"]), csi_error_var=np.float32(at["csi_error_var"]))
                out = send(contender.scheme, contender.params, encoded, (LINK,), (draws,), point)
                received = np.clip(np.asarray(out.estimate.data, np.float64), 0, 1)
                for place, group in enumerate(groups[: 2 - step]):
                    error = ((received[place] - images[group]) ** 2).mean(-1)
                    want = -10 * np.log10(error.mean((-2, -1)))
                    np.testing.assert_allclose(samples[number].metrics["psnr_db"][unit, group], want, rtol=1e-3)
                    box = inside[group]
                    want = -10 * np.log10((error * box).sum((-2, -1)) / box.sum((-2, -1)))
                    np.testing.assert_allclose(samples[number].metrics["psnr_inside_db"][unit, group], want, rtol=1e-3)
                    if unit == 0:
                        # Two programs may round a pixel at the border between two levels differently.
                        assert np.abs(shown.received[number, group] - received[place] * 255).max() <= 0.51
                        kept = np.where(np.asarray(out.sent.tells["removed"])[place, ..., None], 0.5, images[group])
                        np.testing.assert_array_equal(shown.kept[group], np.float32(kept))
    np.testing.assert_array_equal(shown.psnr_db, [of_point.metrics["psnr_db"][0] for of_point in samples])


def test_what_is_not_kept_is_grey_patches(shown, small_pictures):
    images, _ = small_pictures
    np.testing.assert_array_equal(shown.originals, images)
    patches = [a.reshape(3, 2, 4, 8, 4, 8, 3).swapaxes(3, 4).reshape(3, 2, 16, -1) for a in (shown.kept, images)]
    grey, same = np.all(patches[0] == 0.5, axis=-1), np.all(patches[0] == patches[1], axis=-1)
    assert np.all(grey ^ same) and np.all(grey.sum(-1) == 8)


def test_the_first_group_alone_is_the_same(spec, shown):
    judge = dataclasses.replace(spec, metrics=("mse",), stop_metric="mse")
    first = show(judge, list(spec.coordinates())[1:2], groups=1)
    for name in ("originals", "kept"):
        np.testing.assert_array_equal(getattr(first, name), getattr(shown, name)[:1])
    for name in ("received", "psnr_db"):
        np.testing.assert_array_equal(getattr(first, name), getattr(shown, name)[1:2, :1])
