"""The whole chain: independent references, invariances, gradients, compilation, errors."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from observed import observe, point_of, with_noise

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, draw, uav_keys
from lvm_mtc.models.pca import fit_pca
from lvm_mtc.schemes import simulate
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.pca import init_from_pca
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, transmit

CONFIG = LvmMtcConfig(variant="tiny", image_size=32, patch_size=8, num_symbols=6)
LINK = LinkConfig(num_rx_ant=2, num_tx_ant=2)
B = 2
SOME = 0.08  # a threshold below which some slots of the random pictures fall

pytestmark = pytest.mark.usefixtures("fast_compile")


@functools.cache
@jax.ensure_compile_time_eval()  # numbers, even if the first to ask is being traced
def params_of(config, num_uavs=None):
    """Random parameters whose residual branches are not at their zero start."""
    params = LvmMtc(config).init(jax.random.key(0), num_uavs)
    return with_noise(params)


@functools.cache
def forward(config=CONFIG, link=LINK):
    return jax.jit(
        lambda params, images, loc, key, point: observe(LvmMtc(config), params, images, loc, key, link, point)
    )


def pictures(num_uavs, batch=B, seed=3):
    images = jax.random.uniform(jax.random.key(seed), (batch, num_uavs, 32, 32, 3))
    loc = jnp.broadcast_to(jnp.array([14.0, 18.0, 16.0, 12.0]), (batch, num_uavs, 4))
    return images, loc


def point(**numbers):
    numbers = dict(snr_db=10.0, csi_error_var=0.02, mask_prob=0.25, epsilon=0.0) | numbers
    return point_of(**{k: jnp.float32(v) for k, v in numbers.items()})


@pytest.mark.slow
def test_eight_uavs_equal_eight_single_runs():
    images, loc = pictures(8)
    keys = jax.random.split(jax.random.key(5), 8)
    together = forward()(params_of(CONFIG), images, loc, jax.random.clone(keys), point())
    for k in range(8):
        alone = forward()(
            params_of(CONFIG), images[:, k : k + 1], loc[:, k : k + 1], jax.random.clone(keys)[k : k + 1], point()
        )
        np.testing.assert_allclose(together.images_hat[:, k], alone.images_hat[:, 0], atol=2e-5)
        np.testing.assert_array_equal(together.ids_keep[:, k], alone.ids_keep[:, 0])
    assert not np.allclose(together.images_hat[:, 0], together.images_hat[:, 1], atol=1e-2)


@pytest.mark.slow
def test_eight_devices_equal_one():
    images, loc = pictures(2, batch=8)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    one = forward()(params_of(CONFIG), images, loc, jax.random.key(7), point(epsilon=0.2))
    eight = forward()(
        params_of(CONFIG),
        jax.device_put(images, split),
        jax.device_put(loc, split),
        jax.random.key(7),
        point(epsilon=0.2),
    )
    assert len(eight.images_hat.sharding.device_set) == 8
    np.testing.assert_allclose(one.images_hat, eight.images_hat, atol=2e-5)
    np.testing.assert_array_equal(one.public, eight.public)


@pytest.mark.slow
def test_new_operating_points_compile_nothing():
    traces = []
    scheme = LvmMtc(CONFIG)

    @jax.jit
    def run(params, images, loc, key, point):
        traces.append(1)
        return observe(scheme, params, images, loc, key, LINK, point).images_hat

    images, loc = pictures(2)
    outputs = [
        run(params_of(CONFIG), images, loc, jax.random.key(0), point(**change))
        for change in ({}, {"snr_db": 3.0}, {"csi_error_var": 0.0}, {"mask_prob": 0.4}, {"epsilon": 0.5})
    ]
    assert len(traces) == 1
    for changed in outputs[1:]:
        assert not np.allclose(outputs[0], changed)


def test_the_linear_variant_is_the_pca_codec_of_float64_numpy():
    config = LvmMtcConfig(
        variant="linear", image_size=32, patch_size=8, num_symbols=10, num_kept=16, power_allocation=False
    )
    rng = np.random.default_rng(0)
    samples = rng.uniform(size=(3000, 192)) @ rng.normal(size=(192, 192)) * 0.02 + 0.5
    pca = fit_pca(samples)
    params = init_from_pca(LvmMtc(config).init(jax.random.key(0)), pca)
    patches = samples[: B * 16].reshape(B, 1, 16, 192)
    images = patches.reshape(B, 1, 4, 4, 8, 8, 3).transpose(0, 1, 2, 4, 3, 5, 6).reshape(B, 1, 32, 32, 3)
    link = LinkConfig(fading="awgn", num_rx_ant=2, num_tx_ant=2)
    out = forward(config, link)(
        params, jnp.float32(images), pictures(1)[1], jax.random.key(2), point(snr_db=7.0, csi_error_var=0.0)
    )

    no, used = 10**-0.7, 20
    amplitude, power = pca.variances[:used] ** -0.25, pca.variances[:used] ** 0.5
    feature = (patches - pca.mean) @ pca.basis[:, :used] * amplitude
    gain = 1 / np.sqrt(2 * (feature**2).mean((-2, -1), keepdims=True))  # power 1 per symbol, 1/2 per feature
    noise = np.asarray(out.link.y - slots_of(out, link), np.complex128).reshape(B, 1, 16, 5, 2)
    noise = np.asarray(phy.slots_to_tokens(jnp.asarray(noise), 10))
    received = feature * gain + np.stack([noise.real, noise.imag], -1).reshape(B, 1, 16, 20)
    noise_var = no / 2 / gain**2
    want = received / gain * power / (power + noise_var) / amplitude @ pca.basis[:, :used].T + pca.mean
    got = np.asarray(out.images_hat).reshape(B, 1, 4, 8, 4, 8, 3).transpose(0, 1, 2, 4, 3, 5, 6).reshape(B, 1, 16, 192)
    np.testing.assert_allclose(got, want, atol=2e-3)  # the gain travels as 16 bits: 5e-4 relative
    assert not np.allclose(got, received / gain / amplitude @ pca.basis[:, :used].T + pca.mean, atol=2e-3)


def slots_of(out, link):
    """Symbols as sent, [batch, num_uavs, slots, num_tx_ant]."""
    symbols = jnp.where(out.public[:, None, :, None], out.sent.common[:, None], out.sent.own)
    x = phy.tokens_to_slots(symbols, link.num_tx_ant)
    return x.reshape(*x.shape[:2], -1, link.num_tx_ant)


@pytest.mark.slow
def test_power_is_one_per_picture_and_user_over_what_is_sent():
    images, loc = pictures(3)
    images = images * jnp.array([0.1, 1.0]).reshape(2, 1, 1, 1, 1)
    out = forward()(params_of(CONFIG), images, loc, jax.random.key(0), point(epsilon=SOME))
    power = np.abs(out.sent.own) ** 2
    for b in range(B):
        assert 0 < out.public[b].sum() < out.public.shape[1]
        np.testing.assert_allclose((np.abs(out.sent.common[b]) ** 2)[np.asarray(out.public[b])].mean(), 1, rtol=1e-4)
        for k in range(3):
            np.testing.assert_allclose(power[b, k][np.asarray(out.sent.private[b, k])].mean(), 1, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("convention", ["esno", "rx_per_antenna", "received_total"])
@pytest.mark.parametrize("fading", ["awgn", "rayleigh"])
def test_the_snr_on_the_axis_is_the_snr_of_the_signals(convention, fading):
    link = dataclasses.replace(LINK, fading=fading, convention=convention)
    images, loc = pictures(4, batch=32)
    out = forward(CONFIG, link)(params_of(CONFIG), images, loc, jax.random.key(0), point(snr_db=4.0))
    x, h = slots_of(out, link), np.asarray(out.link.h[:, :, 0])
    clean = x * h[:, :, None] if fading == "awgn" else np.einsum("bkrt,bkst->bksr", h, x)
    noise = np.abs(np.asarray(out.link.y) - clean) ** 2
    # 128 independent blocks: the signal's energy over the convention's reference power.
    blocks = (
        {"esno": np.abs(x) ** 2, "rx_per_antenna": np.abs(clean) ** 2, "received_total": 2 * np.abs(clean) ** 2}[
            convention
        ]
        .mean((2, 3))
        .ravel()
    )
    ratio = blocks.mean() / noise.mean() / 10**0.4
    bound = 5 * (blocks.std() / np.sqrt(blocks.size) / blocks.mean() + 1 / np.sqrt(noise.size))
    assert abs(ratio - 1) < bound < 0.4
    assert abs(2 * ratio - 1) > bound  # 3 dB would be seen


@pytest.mark.slow
def test_public_tokens_are_one_transmission_for_all_under_joint():
    link = LinkConfig.of(topology="joint", num_rx_ant=3, num_tx_ant=3)
    images, loc = pictures(3)
    out = forward(CONFIG, link)(params_of(CONFIG), images, loc, jax.random.key(0), point(epsilon=SOME))
    shared = np.asarray(out.public[0])
    assert 0 < shared.sum() < shared.size
    received = np.asarray(out.tokens_received[0])
    # The decoder undoes the public gain, the same for all: equal symbols give equal tokens.
    np.testing.assert_allclose(received[0][shared], received[2][shared], atol=1e-5)
    assert not np.allclose(received[0][~shared], received[2][~shared], atol=1e-2)


@pytest.mark.slow
def test_clean_channel_returns_the_symbols_whatever_the_topology_and_alignment():
    images, loc = pictures(2)
    for link in (LINK, LinkConfig.of(topology="joint", num_rx_ant=2, num_tx_ant=2)):
        for alignment in ("index", "sorted", "position"):
            # Without allocation: at 90 dB a random one drowns some features.
            config = dataclasses.replace(CONFIG, alignment=alignment, power_allocation=False)
            params = params_of(config)
            clean = point(snr_db=90.0, csi_error_var=0.0, epsilon=SOME)
            out = forward(config, link)(params, images, loc, jax.random.key(0), clean)
            assert 0 < out.public.sum() < out.public.size
            scheme = LvmMtc(config)
            own = scheme.networks["channel_encoder"].apply({"params": params["channel_encoder"]}, out.tokens_own)
            tokens, _ = scheme.networks["channel_decoder"].apply(
                {"params": params["channel_decoder"]}, own, jnp.full(own.shape, 1e-9)
            )
            unshared = np.isclose(np.asarray(out.tokens_sent), np.asarray(out.tokens_own), atol=1e-6).all(-1)
            assert 0.1 < unshared.mean() < 1
            np.testing.assert_allclose(out.tokens_received[unshared], tokens[unshared], atol=0.02)


@pytest.mark.slow
def test_sharing_with_threshold_zero_changes_nothing_and_saves_nothing():
    images, loc = pictures(3)
    off = forward()(params_of(CONFIG), images, loc, jax.random.key(0), point(epsilon=0.0))
    on = forward()(params_of(CONFIG), images, loc, jax.random.key(0), point(epsilon=SOME))
    assert not off.public.any() and off.ledger.public_uses.sum() == 0
    np.testing.assert_array_equal(off.ledger.channel_uses(), 3 * 8 * 6)
    assert (on.ledger.channel_uses() < off.ledger.channel_uses()).all()
    np.testing.assert_array_equal(off.ledger.channel_uses() - on.ledger.channel_uses(), 2 * 6 * on.public.sum(-1))


@pytest.mark.slow
def test_bernoulli_with_the_same_draws_sends_the_same_pictures():
    images, loc = pictures(1, batch=1)
    # The noise differs, because the number of slots does: a clean channel, and no random allocation on top.
    base = dataclasses.replace(CONFIG, power_allocation=False)
    params, clean = params_of(base), point(snr_db=90.0, csi_error_var=0.0)
    padded = forward(dataclasses.replace(base, masking="bernoulli"))(params, images, loc, jax.random.key(4), clean)
    count = int(padded.valid.sum())
    assert 1 < count < 16
    exact = forward(dataclasses.replace(base, num_kept=count))(params, images, loc, jax.random.key(4), clean)
    np.testing.assert_array_equal(padded.mask, exact.mask)
    np.testing.assert_allclose(padded.images_hat, exact.images_hat, atol=5e-3)
    assert padded.ledger.channel_uses()[0] == exact.ledger.channel_uses()[0] == count * 6


@pytest.mark.slow
def test_parameters_per_uav_equal_single_systems():
    config = dataclasses.replace(CONFIG, per_uav_params=True)
    params, keys = params_of(config, 2), jax.random.split(jax.random.key(5), 2)
    images, loc = pictures(2)
    together = forward(config)(params, images, loc, jax.random.clone(keys), point())
    for k in range(2):
        own = {
            n: jax.tree.map(lambda a, k=k: a[k], t)
            if n in ("encoder", "decoder", "channel_encoder", "channel_decoder")
            else t
            for n, t in params.items()
        }
        alone = forward()(own, images[:, k : k + 1], loc[:, k : k + 1], jax.random.clone(keys)[k : k + 1], point())
        np.testing.assert_allclose(together.images_hat[:, k], alone.images_hat[:, 0], atol=2e-5)
    with pytest.raises(ValueError, match="per_uav_params needs num_uavs"):
        LvmMtc(config).init(jax.random.key(0))


@pytest.mark.slow
def test_shared_draws_are_the_draws_of_the_key():
    images, loc = pictures(2)
    scheme, keys = LvmMtc(CONFIG), uav_keys(jax.random.key(9), 2)
    source = Source(images, {"loc": loc})

    @jax.jit
    def by_parts(params, source, keys, point):
        encoded = encode(scheme, params, source, jax.random.clone(keys), point.knobs)
        draws = draw(LINK, jax.random.clone(keys), B, *scheme.frames())
        return transmit(scheme, params, encoded, (LINK,), (draws,), point)

    given = by_parts(params_of(CONFIG), source, jax.random.clone(keys), point())
    seen = forward()(params_of(CONFIG), images, loc, jax.random.clone(keys), point())
    np.testing.assert_allclose(given.estimate.data, seen.images_hat, atol=2e-5)
    in_one = jax.jit(functools.partial(simulate.forward, scheme, link=LINK))
    whole = in_one(params_of(CONFIG), source, jax.random.clone(keys), point=point())
    np.testing.assert_allclose(whole.estimate.data, seen.images_hat, atol=2e-5)
    jax.tree.map(np.testing.assert_array_equal, whole.ledger, seen.ledger)


@functools.cache
def loss_and_gradients(config):
    def loss(params, point, images):
        _, loc = pictures(images.shape[1])
        out = observe(LvmMtc(config), params, images, loc, jax.random.key(0), LINK, point)
        return jnp.mean((out.images_hat - images) ** 2)

    return jax.jit(loss), jax.jit(jax.grad(loss, argnums=(0, 1, 2)))


@pytest.mark.slow
def test_gradients_from_pixels_to_pixels_agree_with_differences():
    images, _ = pictures(1)
    # This receiver knows no gain, whose 16 bits would make the loss a staircase.
    config = dataclasses.replace(CONFIG, receiver="shrunk")
    params, (loss, grad) = params_of(config), loss_and_gradients(config)
    by_params, by_point, by_image = grad(params, point(), images)
    # Along the gradient the difference is far above float32's rounding.
    direction = by_image / jnp.sqrt(jnp.mean(by_image**2))
    step = 3e-3
    difference = (
        loss(params, point(), images + step * direction) - loss(params, point(), images - step * direction)
    ) / (2 * step)
    np.testing.assert_allclose((by_image * direction).sum(), difference, rtol=1e-2)
    for name, step in (("snr_db", 0.1), ("csi_error_var", 2e-3)):
        high, low = (
            loss(params, point()._replace(**{name: getattr(point(), name) + s}), images) for s in (step, -step)
        )
        np.testing.assert_allclose(getattr(by_point, name), (high - low) / (2 * step), rtol=5e-2)
    assert all(
        np.isfinite(a).all() and np.abs(a).max() > 0
        for a in (by_params["encoder"]["patch_embed"]["kernel"], by_params["allocation"]["allocation"])
    )


@pytest.mark.slow
def test_gradients_are_finite_at_the_edges():
    _, grad = loss_and_gradients(CONFIG)
    for images in (jnp.zeros_like(pictures(3)[0]), pictures(3)[0]):
        for at in (point(csi_error_var=0.0, epsilon=0.2), point(snr_db=60.0, epsilon=10.0)):
            by_params, by_point, by_images = grad(params_of(CONFIG), at, images)
            if at.csi_error_var == 0:  # no number is the slope there
                assert np.isnan(by_point.csi_error_var)
                by_point = by_point._replace(csi_error_var=0.0)
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((by_params, by_point, by_images)))


@pytest.mark.slow
def test_wrong_shapes_are_refused_with_both():
    images, loc = pictures(2)
    scheme = LvmMtc(CONFIG)
    with pytest.raises(ValueError, match=r"images must be \[batch, num_uavs, 32, 32, 3\].*got \(2, 2, 16, 32, 3\)"):
        observe(scheme, params_of(CONFIG), images[:, :, :16], loc, jax.random.key(0))
    with pytest.raises(ValueError, match=r"loc must be .*\(2, 2, 32, 32, 3\), got \(2, 1, 4\)"):
        observe(scheme, params_of(CONFIG), images, loc[:, :1], jax.random.key(0))
    with pytest.raises(ValueError, match=r"key must be a scalar or have shape \(2,\), got \(3,\)"):
        observe(scheme, params_of(CONFIG), images, loc, jax.random.split(jax.random.key(0), 3))
    with pytest.raises(ValueError, match="num_tx_ant must equal the number of UAVs, 2, under topology 'joint', got 4"):
        observe(scheme, params_of(CONFIG), images, loc, jax.random.key(0), LinkConfig.of(topology="joint"))


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("variant", "giant", "LvmMtcConfig.variant 'giant' is unknown; known: "),
        ("masking", "none", "LvmMtcConfig.masking 'none' is unknown"),
        ("receiver", "x", "LvmMtcConfig.receiver 'x' is unknown"),
        ("comparator", "x", "LvmMtcConfig.comparator 'x' is unknown"),
        ("alignment", "position ", "LvmMtcConfig.alignment 'position ' is unknown"),
        ("statistic", "x", "LvmMtcConfig.statistic 'x' is unknown"),
        ("image_size", 0, "LvmMtcConfig.image_size must be a whole number >= 1, got 0"),
        ("patch_size", 7, "LvmMtcConfig.patch_size 7 does not divide LvmMtcConfig.image_size 96"),
        ("num_symbols", 1.5, "LvmMtcConfig.num_symbols must be a whole number >= 1, got 1.5"),
        ("num_kept", 145, "LvmMtcConfig.num_kept 145 exceeds the picture's 144 patches"),
        ("sharing_temperature", 0.0, "LvmMtcConfig.sharing_temperature must be a finite number > 0, got 0.0"),
    ],
)
def test_wrong_system_configurations(field, value, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        LvmMtcConfig(**{field: value})


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(topology="ring"), "LinkConfig.topology 'ring' is unknown; known: broadcast, joint"),
        (dict(fading="rice"), "LinkConfig.fading 'rice' is unknown"),
        (dict(equalizer="mmse"), "LinkConfig.equalizer 'mmse' is unknown"),
        (dict(convention="snr"), "LinkConfig.convention 'snr' is unknown"),
        (dict(convention="ebno"), "LinkConfig.convention 'ebno' needs bits per symbol"),
        (dict(fading="awgn", num_rx_ant=2), "num_rx_ant must equal num_tx_ant, got 2 and 4"),
        (dict(num_rx_ant=2, equalizer="zf"), "'zf' needs num_rx_ant >= num_tx_ant, got 2 and 4"),
        (dict(num_rx_ant=2, equalizer="none"), "'none' needs num_rx_ant == num_tx_ant, got 2 and 4"),
        (dict(topology="mu_mimo", num_rx_ant=1, equalizer="none"), "'none' does not go with topology 'mu_mimo'"),
        (dict(fading="rayleigh_magnitude", rx_corr=0.5), "Rayleigh and Rician fading, not on 'rayleigh_magnitude'"),
        (dict(fading="rayleigh_magnitude", csi="mmse"), "'mmse' is defined for fading of mean 0, not for"),
        (dict(fading="rayleigh_magnitude", waveform="ofdm"), "rayleigh and rician, not 'rayleigh_magnitude'"),
        (dict(num_tx_ant=0), "LinkConfig.num_tx_ant must be a whole number >= 1, got 0"),
        (dict(block_length=0), "SingleCarrier.block_length must be a whole number >= 1, got 0"),
        (dict(csi="pilots_ls"), "LinkConfig.csi 'pilots_ls' needs SingleCarrier.num_pilots"),
        (dict(csi="pilots_ls", num_pilots=3), "SingleCarrier.num_pilots must be a whole number >= 4, got 3"),
        (dict(csi="pilots_ls", num_pilots=4, block_length=4), "block_length 4 is shorter than num_pilots . 1 = 5"),
        (dict(num_pilots=4), "num_pilots 4 goes with csi"),
        (
            dict(fading="nakagami", nakagami_m=0.4),
            "LinkConfig.nakagami_m must be a finite number >= 0.5, got 0.4",
        ),
        (
            dict(fading="fisher_snedecor", m_s=1.0),
            "LinkConfig.m_s must be a finite number > 1, got 1.0",
        ),
        (
            dict(rx_corr=1.0),
            "LinkConfig.rx_corr must be a finite number >= 0 and <= 0.999999, got 1.0",
        ),
        (dict(tx_corr=0.5, csi="mmse"), "csi 'mmse' is defined for uncorrelated fading"),
        (dict(fading="nakagami", tx_corr=0.5), "acts on flat Rayleigh and Rician fading, not on 'nakagami'"),
    ],
)
def test_wrong_link_configurations(fields, message):
    with pytest.raises(ValueError, match=message):
        LinkConfig.of(**fields)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fading",
    [
        dict(fading="rician"),
        dict(fading="nakagami"),
        dict(fading="fisher_snedecor"),
        dict(fading="rayleigh_magnitude"),
        dict(rx_corr=0.5, tx_corr=0.9),
    ],
    ids=str,
)
def test_every_fading_and_pilots_with_short_blocks_run_in_the_chain(fading):
    link = LinkConfig.of(num_rx_ant=2, num_tx_ant=2, csi="pilots_lmmse", num_pilots=2, block_length=7, **fading)
    images, loc = pictures(2)
    out = forward(CONFIG, link)(params_of(CONFIG), images, loc, jax.random.key(0), point(snr_db=20.0))
    assert np.isfinite(out.images_hat).all()
    # 2 UAVs x 8 tokens x 3 slots in blocks of 7 slots with 2 for pilots: 10 blocks of 2 pilots on 2 antennas.
    np.testing.assert_array_equal(out.ledger.pilot_uses, 10 * 2 * 2)
