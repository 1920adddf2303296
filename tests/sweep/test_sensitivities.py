"""Gradients of the chain against central differences on the same draws, and of P_r against the sum over all masks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint, SingleCarrier, draw, uav_keys
from lvm_mtc.metrics import pictures as metrics
from lvm_mtc.models.patches import unpatchify
from lvm_mtc.models.pca import PatchPca
from lvm_mtc.results.intervals import student_interval, t_quantile
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.pca import init_from_pca
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, transmit
from lvm_mtc.sweep.mask_likelihood import mask_log_likelihood
from lvm_mtc.sweep.sensitivities import mask_sensitivity, path_sensitivities

pytestmark = pytest.mark.usefixtures("fast_compile")

UNITS = 6
POINT = OperatingPoint(snr_db=8.0, csi_error_var=0.04)
TINY = LvmMtcConfig(variant="linear", image_size=16, patch_size=8, num_symbols=4)


BASIS, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(192, 192)))
VARIANCES = np.where(np.arange(192) < 8, 0.5 / 2.0 ** np.arange(192), 1e-6)


def pictures(batch, num_uavs):
    """Of two by two patches with eight components each; the left half is the box."""
    components = np.sqrt(VARIANCES) * np.random.default_rng(2).normal(size=(batch, num_uavs, 4, 192))
    images = unpatchify(jnp.float32(0.5 + components @ BASIS.T), 8, (16, 16))
    loc = jnp.tile(jnp.float32([4, 8, 8, 16]), (batch, num_uavs, 1))
    return Source(jnp.clip(images, 0, 1), {"loc": loc})


@functools.cache
@jax.ensure_compile_time_eval()  # numbers, even if the first to ask is being traced
def tiny(**options):
    """The linear codec of these pictures; where the transmitter allocates power, it does so by the SNR."""
    scheme = LvmMtc(dataclasses.replace(TINY, **options))
    shapes = jax.eval_shape(scheme.init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    params = init_from_pca(zeros, PatchPca(np.full(192, 0.5), BASIS, VARIANCES))
    if "allocation" in params:
        rng = np.random.default_rng(3)
        params["allocation"] = jax.tree.map(lambda a: a + jnp.float32(0.1 * rng.normal(size=a.shape)),
                                            params["allocation"])  # fmt: skip
    return scheme, params


def values(scheme, params, source, key, link, metric):
    """The metric of each unit, ``[UNITS]``, as a function of a user's SNR and the CSI error's standard deviation."""
    mask_key, channel_key = jax.random.split(key)
    batch, num_uavs = source.lead()
    encoded = jax.jit(encode, static_argnums=0)(scheme, params, source, mask_key, {})
    keys = [uav_keys(unit, num_uavs) for unit in jax.random.split(channel_key, UNITS)]

    @jax.jit
    def of_unit(keys, snr_db, std):
        point = OperatingPoint(snr_db=snr_db, csi_error_var=std**2)
        draws = draw(link, keys, batch, *scheme.frames())
        out = transmit(scheme, params, encoded, (link,), (draws,), point)
        return metric(source.data, jnp.clip(out.estimate.data, 0, 1))

    def of_all(snr_db, std):
        return np.array([np.float64(of_unit(jax.random.clone(k), snr_db, jnp.float32(std))).mean() for k in keys])

    return of_all


@pytest.mark.slow
@pytest.mark.parametrize(("name", "metric", "options", "link"), [
    ("psnr_db", metrics.psnr, {"num_kept": 4}, LinkConfig()),
    pytest.param("mse", metrics.mse, {"receiver": "shrunk", "power_allocation": False},
                 LinkConfig(equalizer="robust", csi="mmse"), marks=pytest.mark.slow),
])  # fmt: skip
def test_path_gradients_are_central_differences(name, metric, options, link):
    scheme, params = tiny(**options)
    source = pictures(2, 2)
    key = jax.random.key(5)
    found = path_sensitivities(scheme, params, source, key, link, POINT, metric=name, num_units=UNITS)
    f = values(scheme, params, source, jax.random.clone(key), link, metric)
    snr_db, std = jnp.full((2, 2), 8.0), 0.2

    def check(interval, above, below, step):
        want = student_interval((above - below) / (2 * step))
        scale = abs(float(want.mean))
        np.testing.assert_allclose(interval.mean, want.mean, rtol=0.01)
        np.testing.assert_allclose(interval.half_width, want.half_width, rtol=0.02, atol=0.005 * scale)
        assert interval.num_units == UNITS and scale > 0

    check(found["snr_db"], f(snr_db + 0.2, std), f(snr_db - 0.2, std), 0.2)
    check(found["csi_error_std"], f(snr_db, std + 0.005), f(snr_db, std - 0.005), 0.005)
    better = 1 if name == "psnr_db" else -1
    assert found["snr_db"].mean * better > 0 > found["csi_error_std"].mean * better
    for user in range(2):
        step = 0.2 * jax.nn.one_hot(user, 2)[None]
        mine = type(found["power_db"])(*(a[user] for a in found["power_db"][:2]), UNITS)
        check(mine, f(snr_db + step, std), f(snr_db - step, std), 0.2)
    # The two users are two pictures over two channels: their shares differ.
    assert abs(np.diff(found["power_db"].mean)[0]) > 0.01 * abs(found["snr_db"].mean)


@pytest.mark.slow
def test_without_csi_error_its_derivative_is_zero_and_joint_detection_has_one_snr():
    scheme, params = tiny()
    source = pictures(1, 2)
    link = LinkConfig(carrier=SingleCarrier(topology="joint"), num_tx_ant=2, num_rx_ant=2)
    found = path_sensitivities(scheme, params, source, jax.random.key(0), link, OperatingPoint(snr_db=5.0),
                               num_units=3)  # fmt: skip
    assert set(found) == {"snr_db", "csi_error_std"} and found["snr_db"].mean > 0
    assert found["csi_error_std"][:2] == (0, 0)


ONE_ANTENNA = LinkConfig(num_tx_ant=1, num_rx_ant=1)
MASKED = OperatingPoint(snr_db=12.0, knobs={"mask_prob": 0.3})


def over_masks_and_channels(scheme, params, source, link, point=MASKED):
    """The mean PSNR in the box, of each group for pairs of mask key and channel key, at some P_r."""
    batch, num_uavs = source.lead()

    @jax.jit
    def of_pairs(mask_keys, channel_keys, mask_prob):
        def of_pair(pair):
            mask_key, channel_key = pair
            here = point._replace(knobs={**point.knobs, "mask_prob": mask_prob})
            encoded = encode(scheme, params, source, mask_key, here.knobs)
            draws = draw(link, uav_keys(channel_key, num_uavs), batch, *scheme.frames())
            out = transmit(scheme, params, encoded, (link,), (draws,), here)
            inside = metrics.box_mask(source.hints["loc"], 16, 16)
            return metrics.psnr(source.data, jnp.clip(out.estimate.data, 0, 1), inside).mean(axis=1)

        return jax.lax.map(of_pair, (mask_keys, channel_keys))

    return of_pairs


def estimate_and_difference(scheme, params, source, link, num_units, of_pairs, num_pairs, num_masks=4, point=MASKED):
    """The score function's interval, and that of the central difference on the same noise of the masks."""
    found = mask_sensitivity(scheme, params, source, jax.random.key(4), link, point, metric_loc=source.hints["loc"],
                             num_units=num_units, num_masks=num_masks)  # fmt: skip
    pairs = [jax.random.split(jax.random.key(seed), num_pairs) for seed in (7, 8)]
    above, below = (np.float64(of_pairs(*map(jax.random.clone, pairs), jnp.float32(p))).mean(axis=1)
                    for p in (0.4, 0.2))  # fmt: skip
    difference = student_interval((above - below) / 0.2)
    both = 2.5 * np.hypot(found.half_width, difference.half_width)  # 5 standard errors
    assert abs(found.mean - difference.mean) < both < abs(difference.mean)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("masking", "num_masks"), [
    ("budget", 2), pytest.param("bernoulli", 4, marks=pytest.mark.slow),
])  # fmt: skip
def test_the_gradient_of_the_odds_is_a_difference_and_the_sum_over_all_masks(masking, num_masks):
    """Four patches, the left two in the box: every mask over every channel of the estimate."""
    scheme, params = tiny(masking=masking)
    source = pictures(1, 1)

    @jax.jit
    def masks_of(keys):
        return jax.vmap(lambda k: encode(scheme, params, source, k, MASKED.knobs).kept.mask[0, 0])(keys)

    some = jax.random.split(jax.random.key(5), 2000)
    masks, first = np.unique(np.asarray(masks_of(jax.random.clone(some))), axis=0, return_index=True)
    assert len(masks) == {"budget": 6, "bernoulli": 15}[masking]
    num_units = 200
    of_pairs = over_masks_and_channels(scheme, params, source, ONE_ANTENNA)
    found = estimate_and_difference(scheme, params, source, ONE_ANTENNA, num_units, of_pairs,
                                    num_units * len(masks), num_masks)  # fmt: skip

    channels = jax.random.split(jax.random.split(jax.random.key(4))[1], num_units)
    pairs = jnp.repeat(some[first], num_units), jnp.tile(channels, len(masks))
    value = of_pairs(*map(jax.random.clone, pairs), jnp.float32(0.3))
    value = np.float64(value).reshape(len(masks), num_units)

    def probabilities(mask_prob):
        inside = jnp.tile(jnp.array([True, False]), (len(masks), 2))
        return np.exp(np.float64(mask_log_likelihood(jnp.asarray(masks), inside, jnp.float32(mask_prob),
                                                     masking=masking, capacity=scheme.config.capacity)))  # fmt: skip

    exact = np.mean((probabilities(0.31) - probabilities(0.29)) / 0.02 @ value)
    standard_error = found.half_width / t_quantile(0.975, num_units - 1)
    assert abs(found.mean - exact) < 5 * standard_error < 0.8 * abs(exact)


@pytest.mark.slow
def test_groups_of_uavs_that_share_tokens_have_one_gradient():
    scheme, params = tiny(num_kept=3)
    source = pictures(2, 2)
    point = MASKED._replace(knobs={"mask_prob": 0.3, "epsilon": 0.3})
    of_pairs = over_masks_and_channels(scheme, params, source, LinkConfig(), point)
    estimate_and_difference(scheme, params, source, LinkConfig(), 1000, of_pairs, 3000, point=point)


def test_messages():
    scheme, params = tiny(num_kept=4)
    source = pictures(2, 2)
    arguments = scheme, params, source, jax.random.key(0), LinkConfig(), POINT
    for function in (path_sensitivities, mask_sensitivity):
        with pytest.raises(ValueError, match="metric 'psnr'.*did you mean 'psnr_db'"):
            function(*arguments, metric="psnr")
        with pytest.raises(ValueError, match="num_units >= 2, got 1"):
            function(*arguments, num_units=1)
    with pytest.raises(ValueError, match="num_masks >= 2, .* got 1"):
        mask_sensitivity(*arguments, num_masks=1)
    with pytest.raises(ValueError, match=r"one mask_prob for all pictures, got shape \(2,\)"):
        mask_sensitivity(*arguments[:-1], POINT._replace(knobs={"mask_prob": jnp.full(2, 0.3)}))
    with pytest.raises(ValueError, match="gradient of psnr_db is not finite: pictures or parameters are not"):
        path_sensitivities(scheme, params, source._replace(data=source.data * jnp.nan), *arguments[3:], num_units=UNITS)
