"""The stereo codec: symmetry, fusion, power and costs, the linear path, Gaussians, losses, metrics, wrong input."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.data.synthetic_stereo import synthetic_stereo
from lvm_mtc.link import LinkConfig, OperatingPoint, Received
from lvm_mtc.metrics import METRICS
from lvm_mtc.rendering.gaussians import project, stereo_camera
from lvm_mtc.schemes import make_scheme, name_of
from lvm_mtc.schemes.gs_scnet.lifting import lift_pair, views_of
from lvm_mtc.schemes.gs_scnet.scheme import GsScnet, GsScnetConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, forward

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fast_compile")]

CONFIG = GsScnetConfig(size=(32, 32), features=16, max_disparity=8, symbols_per_position=3, capacity=400)
SCHEME = GsScnet(CONFIG)
PIXELS = GsScnet(dataclasses.replace(CONFIG, decoder="pixels"))
TIGHT = GsScnet(dataclasses.replace(CONFIG, capacity=8))
NONE = GsScnet(dataclasses.replace(CONFIG, fusion="none"))
PAIRS = synthetic_stereo(8, 32, seed=0, max_disparity=6)
SOURCE = Source(
    np.float32(PAIRS.pictures.reshape(4, 2, 2, 32, 32, 3)) / 255,
    {
        "disparity": PAIRS.disparity.reshape(4, 2, 2, 32, 32),
        "middle": np.float32(PAIRS.middle.reshape(4, 2, 32, 32, 3)) / 255,
    },
)
POINT = OperatingPoint(snr_db=8.0)


def draw():
    params = jax.jit(SCHEME.init)(jax.random.key(0))
    return SCHEME.start(params, {"pictures": PAIRS.pictures, "disparity": PAIRS.disparity}, 0)


START = jax.device_get(draw())
TRAINED = jax.tree.map(
    lambda a: a + np.float32(0.03 * np.random.default_rng(a.size).normal(size=a.shape)),
    {name: branch for name, branch in START.items() if name != "linear"},
) | {"linear": START["linear"]}
TRAINED["lift"]["numbers"]["bias"][2] += 0.7
"""Parameters of which no branch is silent, and no Gaussian so far away that many are equally deep."""


def through(scheme, params, data, noise=0.0):
    """What is encoded, sent and estimated where symbols arrive with noise that is the same in a mirror."""
    encoded = encode(scheme, params, Source(data), jax.random.key(1), {})
    sent = scheme.modulate(params, encoded, POINT)
    symbols = sent.signal.private.symbols
    received = Received(symbols, jnp.full(symbols.shape, noise + 1e-3))
    return encoded, sent, scheme.decode(params, received, sent.side, POINT)


@jax.jit
def all_at_once(data):
    turned = jnp.flip(data, axis=(2, 4))
    return {
        "start": through(SCHEME, START, data),
        "none": through(NONE, START, data),
        "pixels": through(PIXELS, START, data),
        "trained": through(SCHEME, TRAINED, data),
        "mirrored": through(SCHEME, TRAINED, turned),
        "without": through(NONE, TRAINED, data),
        "tight": through(TIGHT, START, data)[2].tells["overflow"],
        "ledger": forward(PIXELS, START, Source(data), jax.random.key(2), LinkConfig(), POINT).ledger,
        "equal": encode(SCHEME, START, Source(data[:, :, :1].repeat(2, 2)), jax.random.key(1), {}),
    }


@pytest.fixture(scope="module")
def made():
    return jax.device_get(all_at_once(SOURCE.data))


def test_a_mirrored_scene_gives_mirrored_views(made):
    """The codec treats both views alike, from pixels to pixels."""
    views, mirrored = made["trained"][2].data, made["mirrored"][2].data
    np.testing.assert_allclose(mirrored[:, :, [1, 0, 2]], views[..., ::-1, :], atol=2e-4)
    ours, theirs = made["trained"][2].tells["disparity"], made["mirrored"][2].tells["disparity"]
    np.testing.assert_allclose(theirs[:, :, ::-1, :, ::-1], ours, atol=1e-4)
    np.testing.assert_allclose(made["mirrored"][0].latents[:, :, ::-1], made["trained"][0].latents, atol=1e-4)
    assert np.abs(views[:, :, 0] - views[:, :, 1]).max() > 0.1


def test_fusion_starts_as_nothing_and_then_is_something(made):
    for one, other in zip(jax.tree.leaves(made["start"]), jax.tree.leaves(made["none"]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(made["trained"][0].latents - made["without"][0].latents).max() > 1e-3


def test_every_stream_has_power_one_and_all_is_booked(made):
    _, sent, _ = made["trained"]
    symbols = sent.signal.private.symbols
    assert symbols.shape == (4, 2, 2, 16 * 3)
    np.testing.assert_allclose(np.mean(np.abs(symbols) ** 2, axis=-1), 1, rtol=1e-5)
    # A camera of five numbers of 32 bits, and a gain of 16 for each of the two streams, for each of two UAVs.
    np.testing.assert_array_equal(sent.side_bits, 2 * (160 + 2 * 16))
    np.testing.assert_array_equal(made["ledger"].private_uses, 2 * 2 * 16 * 3)
    np.testing.assert_array_equal(made["ledger"].side_information_bits, 384)


def test_at_first_the_pictures_are_those_of_principal_components(made):
    linear = jax.tree.map(lambda a: np.asarray(a, np.float64), START["linear"])
    views = np.array(SOURCE.data, np.float64)
    views[:, :, 1] = views[:, :, 1, :, ::-1]
    patches = views.reshape(4, 2, 2, 4, 8, 4, 8, 3).swapaxes(4, 5).reshape(4, 2, 2, 4, 4, 192) - linear["mean"]
    kept = patches @ linear["basis"] @ linear["basis"].T + linear["mean"]
    want = kept.reshape(4, 2, 2, 4, 4, 8, 8, 3).swapaxes(4, 5).reshape(views.shape)
    want[:, :, 1] = want[:, :, 1, :, ::-1]
    got = made["pixels"][2].data
    # Behind the L-MMSE, which shrinks by a part in a thousand and more; the gain is sent in half precision.
    assert np.abs(got - want).mean() < 4e-3 and np.abs(got - SOURCE.data).mean() > 0.02


def test_block_matching_finds_no_disparity_between_equal_views(made):
    assert np.abs(made["equal"].disparity).mean() < 0.05
    found, true = made["start"][1].tells["disparity"], SOURCE.hints["disparity"]
    error = METRICS["stereo"]["epe"]
    tells = {"disparity": jnp.asarray(found)}
    outcome = type("", (), {"estimate": type("", (), {"tells": tells})})
    assert float(error(SOURCE, outcome).mean()) < 0.6 * np.abs(true - true.mean()).mean()


def test_gaussians_lie_where_the_disparity_says():
    """Each is seen d further left from the right camera, and the right view's lie on the left view's of a plane."""
    camera, disparity = jnp.array([32.0, 32.0, 16.0, 16.0, 2.0]), np.full((2, 16, 16), 4.0)
    pictures = jnp.zeros((2, 32, 32, 3))

    @jax.jit
    def seen(disparity):
        scene = lift_pair(jnp.zeros((2, 16, 16, 14)), disparity, pictures, camera)
        return scene, [project(scene, stereo_camera(place, (32, 32), 32.0, 2.0), 0.0) for place in (0.0, 1.0)]

    scene, (left, right) = seen(disparity)
    np.testing.assert_allclose(scene.mean[:, 2], 32 * 2 / 4, rtol=1e-6)
    np.testing.assert_allclose(left.centre[:, 0] - right.centre[:, 0], 4, atol=1e-4)
    grid = np.stack(np.meshgrid(np.arange(1, 32, 2), np.arange(1, 32, 2)), -1).reshape(-1, 2)
    np.testing.assert_allclose(left.centre[:256], grid, atol=1e-4)
    np.testing.assert_allclose(right.centre[256:].reshape(16, 16, 2)[:, ::-1].reshape(-1, 2), grid, atol=1e-4)
    np.testing.assert_allclose(scene.scale, 0.42 * 2 * 16 / 32, rtol=1e-5)  # pixels, depth, focal length


def test_true_disparity_renders_the_view_that_was_not_given():
    pictures, disparity = SOURCE.data[:2, 0], SOURCE.hints["disparity"][:2, 0]
    camera = jnp.array([32.0, 32.0, 16.0, 16.0, 1.0])
    turned = jnp.stack([pictures[:, 0], pictures[:, 1, :, ::-1]], 1)
    depths = jnp.stack([disparity[:, 0], disparity[:, 1, :, ::-1]], 1)

    @jax.jit
    def psnr(scale):
        scene = jax.vmap(lambda p, d: lift_pair(jnp.zeros((2, 32, 32, 14)), d, p, camera))(turned, scale * depths)
        views, lost = jax.vmap(lambda s: views_of(s, jnp.array([0.5]), camera, (32, 32), capacity=500))(scene)
        return -10 * jnp.log10(jnp.mean((views[:, 0] - SOURCE.hints["middle"][:2, 0]) ** 2, axis=(1, 2, 3))), lost

    (right, lost), (wrong, _) = psnr(1.0), psnr(1.6)
    np.testing.assert_array_equal(lost, 0)
    assert (np.asarray(right) > 22).all() and (np.asarray(right) > np.asarray(wrong) + 3).all()


def test_losses_reach_all_that_a_stage_may_change():
    source = jax.tree.map(lambda a: jnp.asarray(a[:2, :1]), SOURCE)

    @jax.jit
    def gradients(params):
        found = {}
        for stage in SCHEME.stages():
            weights = {name: w[0] if isinstance(w, tuple) else w for name, w in stage.weights.items()}
            loss = lambda p, s=stage, w=weights: s.loss(  # noqa: E731
                SCHEME, p, source, jax.random.key(3), LinkConfig(fading="awgn"), POINT, w)  # fmt: skip
            found[stage.name] = jax.value_and_grad(loss, has_aux=True)(params)
        return found

    for stage in SCHEME.stages():
        (loss, told), grads = jax.device_get(gradients(TRAINED)[stage.name])
        assert np.isfinite(loss) and np.isfinite(list(told.values())).all()
        moved = {name: max(np.abs(a).max() for a in jax.tree.leaves(branch)) for name, branch in grads.items()}
        assert np.isfinite(list(moved.values())).all()
        learned = {name for name in moved if stage.trainable(f"{name}/x")}
        assert learned == set(moved) - {"linear"} - ({"lift"} if stage.name == "codec" else set())
        assert all(moved[name] > 0 for name in learned), moved


def test_metrics_are_of_each_view_and_say_what_is_missing(made):
    metrics, outcome = METRICS["stereo"], type("", (), {"estimate": made["trained"][2]})
    views = np.clip(made["trained"][2].data, 0, 1)
    truth = np.concatenate([SOURCE.data, SOURCE.hints["middle"][:, :, None]], 2)
    psnr = -10 * np.log10(np.mean((views - truth) ** 2, axis=(-3, -2, -1)))
    np.testing.assert_allclose(metrics["psnr_middle_db"](SOURCE, outcome), psnr[..., 2], rtol=1e-4)
    np.testing.assert_allclose(metrics["psnr_db"](SOURCE, outcome), psnr[..., :2].mean(-1), rtol=1e-4)
    np.testing.assert_array_equal(metrics["overflow"](SOURCE, outcome), 0)
    assert np.isnan(metrics["psnr_middle_db"](Source(SOURCE.data), outcome)).all()
    assert np.isnan(metrics["epe"](Source(SOURCE.data), outcome)).all()


def test_a_tile_without_room_is_told(made):
    assert (made["tight"] > 0).all()


def test_the_register_makes_it():
    assert name_of(make_scheme("gs_scnet", {"size": [96, 80]})) == "gs_scnet"
    assert make_scheme("gs_scnet", {}).frames() == (2, 384)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(size=(64, 72)), r"GsScnetConfig.size must be .* multiples of 16, got \(64, 72\)"),
        (dict(max_disparity=64), "GsScnetConfig.max_disparity must be a multiple of 4 below the width 64, got 64"),
        (dict(max_disparity=6), "GsScnetConfig.max_disparity .*, got 6"),
        (dict(fusion="sum"), "GsScnetConfig.fusion .*'sum'"),
        (dict(decoder="mesh"), "GsScnetConfig.decoder .*'mesh'"),
        (dict(density=3), "GsScnetConfig.density .*3"),
        (dict(capacity=0), "GsScnetConfig.capacity .*0"),
        (dict(renderer="rays"), "GsScnetConfig.renderer .*'rays'"),
        (dict(dilation=-1.0), "GsScnetConfig.dilation .*-1.0"),
        (dict(symbols_per_position=97), "GsScnetConfig.symbols_per_position must be at most 96, got 97"),
    ],
)
def test_wrong_configurations_name_the_field(fields, words):
    with pytest.raises(ValueError, match=words):
        GsScnetConfig(**fields)


def test_pairs_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"pairs must be \[batch, num_uavs, 2, 32, 32, 3\], got"):
        encode(SCHEME, START, Source(SOURCE.data[..., :16, :]), jax.random.key(0), {})
