"""The video codec: both ends' buffers, budgets, leak, lost frames, causality, costs, the network, wrong input."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint, Received
from lvm_mtc.schemes import make_scheme, name_of
from lvm_mtc.schemes.pvsc import fitting
from lvm_mtc.schemes.pvsc.receiver import Heard, follow, shrink
from lvm_mtc.schemes.pvsc.scheme import Pvsc, PvscConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, forward

pytestmark = pytest.mark.usefixtures("fast_compile")

CONFIG = PvscConfig(size=(32, 32), num_frames=16, gop=4, num_uses=40, features=24, chunk=2, intra_factor=2.0)
SCHEME = Pvsc(CONFIG)
LINK = LinkConfig(fading="awgn")
NAMES = ("chain", "golden")


def moving(seed, num=1, frames=16):
    """Clips of smooth pictures that move, ``[num, 1, frames, 32, 32, 3]``."""
    rng = np.random.default_rng(seed)
    scene = rng.normal(size=(num, 64, 64, 3)).cumsum(1).cumsum(2)
    scene = 0.5 + 0.4 * scene / np.abs(scene).max()
    return np.float32([[[one[t : t + 32, 2 * t : 2 * t + 32] for t in range(frames)]] for one in scene])


def params_of(scheme):
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(192, 192)))
    basis[:, 0] = 192**-0.5  # most of a patch is its mean
    basis, _ = np.linalg.qr(basis)
    params = scheme.init(jax.random.key(0))
    params["linear"]["basis"] = jnp.float32(basis)
    params["energy"] = jnp.broadcast_to(-jnp.log2(jnp.arange(1.0, 25.0)), (2, 24))
    return params


PARAMS = params_of(SCHEME)
TRACED = []


@jax.jit
def through(clips, rate, noise):
    """A clip through both kinds of reference: what was encoded and sent, and what arrives with noise of a variance."""
    TRACED.append(rate)
    made = []
    for name in NAMES:
        scheme = Pvsc(dataclasses.replace(CONFIG, reference=name))
        encoded = encode(scheme, PARAMS, Source(clips), jax.random.key(0), {"rate": rate})
        point = OperatingPoint(snr_db=7.0)
        sent = scheme.modulate(PARAMS, encoded, point)
        symbols = sent.signal.private.symbols
        error = jnp.sqrt(noise / 2) * (jax.random.normal(jax.random.key(1), symbols.shape) * (1 + 1j))
        received = Received(symbols + error, jnp.full(symbols.shape, noise))
        alone = scheme.decode(PARAMS, received, sent.side, point)
        # Of frames that are lost nothing arrives, the places of their chunks neither.
        lost = sent.side._replace(
            lost=jnp.zeros_like(sent.side.lost).at[..., (5, 8)].set(True),
            mask=sent.side.mask.at[:, :, (5, 8)].set(sent.side.mask[:, :, (8, 5), ::-1]),
        )
        made.append((encoded, sent, alone, scheme.decode(PARAMS, received, lost, point)))
    return dict(zip(NAMES, made, strict=True))


@pytest.fixture(scope="module")
def quiet():
    return jax.device_get(through(moving(0), 1.0, 0.0))


@pytest.fixture(scope="module")
def noisy():
    return jax.device_get(through(moving(0), 0.5, 0.2))


@pytest.mark.parametrize("name", NAMES)
def test_without_noise_both_ends_have_the_same_buffers_bit_for_bit(quiet, noisy, name):
    encoded, _, alone, _ = quiet[name]
    kept = np.where(encoded.mask[..., None], encoded.features, encoded.reference)
    np.testing.assert_array_equal(alone.tells["buffer"], kept)
    assert not encoded.reference[0, 0, ::4].any() and encoded.reference[0, 0, 1:4].any()
    age = {"chain": (3, 2), "golden": (3, 0)}[name]
    np.testing.assert_array_equal(encoded.reference[0, 0, age[0]], kept[0, 0, age[1]])
    encoded, _, alone, _ = noisy[name]
    assert (
        np.abs(alone.tells["buffer"] - np.where(encoded.mask[..., None], encoded.features, encoded.reference)).max()
        > 0.1
    )


@pytest.mark.parametrize(("rate", "pairs"), [(1.0, 40), (0.5, 20)])
def test_budgets_are_exact_and_frames_have_power_one(quiet, noisy, rate, pairs):
    encoded, sent, *_ = (quiet if rate == 1 else noisy)["chain"]
    symbols, on_air = sent.signal.private
    np.testing.assert_array_equal(on_air.reshape(4, 40).sum(1), pairs)
    np.testing.assert_array_equal(encoded.mask.sum((-2, -1)), 2 * encoded.counts)
    np.testing.assert_array_equal(encoded.counts.reshape(4, 4).sum(1), pairs)
    frame = np.repeat(np.arange(16), encoded.counts[0, 0])
    power = np.mean(np.abs(symbols[0, 0][on_air[0, 0]]) ** 2, axis=-1)
    np.testing.assert_allclose([power[frame == t].mean() for t in range(16)], 1, rtol=1e-5)
    assert SCHEME.frames() == (160, 4) and on_air.shape == (1, 1, 160)


def test_any_budget_is_one_program():
    through(moving(0), 0.25, 0.1)
    count = len(TRACED)
    through(moving(1), 0.75, 0.1)
    assert len(TRACED) == count >= 1


def test_what_is_to_come_changes_no_symbol(quiet):
    clips = moving(0)
    clips[0, 0, 6:] = moving(3)[0, 0, 6:]
    encoded, sent, *_ = jax.device_get(through(clips, 1.0, 0.0))["chain"]
    before, sent_before, *_ = quiet["chain"]
    np.testing.assert_array_equal(encoded.mask[:, :, :6], before.mask[:, :, :6])
    assert (encoded.mask[:, :, 6:] != before.mask[:, :, 6:]).any()
    first = 40 + before.counts[0, 0, 4:6].sum()
    a, b = (s.signal.private.symbols[0, 0] for s in (sent, sent_before))
    np.testing.assert_array_equal(a[:first], b[:first])
    assert np.abs(a[first:] - b[first:]).max() > 0.1


def test_a_lost_frame_shows_the_one_before_and_is_forgotten(noisy):
    for name in NAMES:
        _, _, alone, lost = noisy[name]
        all_of, clip = lost.data[0, 0], alone.data[0, 0]
        np.testing.assert_array_equal(all_of[:5], clip[:5])
        np.testing.assert_array_equal(all_of[5], clip[4])
        # Frame 8 begins a group: what follows refers to what there was, and from frame 12 on all is well.
        np.testing.assert_array_equal(all_of[8], all_of[7])
        np.testing.assert_array_equal(all_of[12:], clip[12:])
        assert np.abs(all_of[9:12] - clip[9:12]).max() > 1e-3
        # With the group's first frame as reference a loss costs no other frame.
        assert (np.abs(all_of[6:8] - clip[6:8]).max() == 0) == (name == "golden")


def test_errors_fade_with_the_leak():
    leak, e = 0.5, np.float32(1.0)
    frames, intra = 5, np.arange(5) == 0
    rng = np.random.default_rng(0)
    new = rng.normal(size=(frames, 4, 4)).astype(np.float32)
    places = np.tile(np.arange(4), (frames, 1))
    mask, prior = np.ones((frames, 2, 2), bool), np.ones((2, 2), np.float32)
    mask[3, 0, 0] = False  # keeps its reference

    @jax.jit
    def run(new):
        heard = Heard(new, jnp.zeros((frames, 4)), places)
        both = (follow(heard, mask, jnp.zeros(frames, bool), intra, leak, prior, golden=g)[0] for g in (False, True))
        return tuple(both)

    wrong = new.copy()
    wrong[0] += e
    for right, other, powers in zip(run(new), run(wrong), ([0, 1, 2, 3, 4], [0, 1, 1, 1, 1]), strict=True):
        errors = np.asarray(other - right)[:, 1, 1]
        np.testing.assert_allclose(errors, np.tile(leak ** np.array(powers)[:, None], 4), atol=2 * 2.0**-10)
        at_rest = np.asarray(other - right)[3, 0, 0]
        np.testing.assert_allclose(at_rest, leak**2 if powers[2] == 2 else 1.0, atol=2 * 2.0**-10)


def test_shrinking_is_nearly_the_best_there_is():
    rng = np.random.default_rng(1)
    energy, noise = 0.5, 0.3
    truth = rng.normal(size=(4000, 36)) * np.sqrt(energy)
    heard = np.float32(truth + rng.normal(size=truth.shape) * np.sqrt(noise))
    found, error = shrink(jnp.asarray(heard), jnp.full(4000, noise))
    best = energy * noise / (energy + noise)
    errors = np.mean((found - truth) ** 2, axis=-1)
    # James and Stein's estimate of 36 numbers loses 2 / 36 of what there is to gain, at most.
    assert 0.99 * best < errors.mean() < best + 2 / 36 * (noise - best) * 1.5
    assert float(error.mean()) == pytest.approx(best, rel=2 / 36)


def test_side_information_is_counted(noisy):
    encoded, sent, *_ = noisy["chain"]
    assert sent.side_bits == encoded.bits.sum() + 16 * 16
    assert (sent.tells["bitmap_bits"] == encoded.bits / 16).all() and 0 < encoded.bits < 16 * (96 + 2)


def test_groups_of_uavs_are_clips_by_themselves():
    clips = moving(5, num=4).reshape(2, 2, 16, 32, 32, 3)
    run = jax.jit(lambda c, key: forward(SCHEME, PARAMS, Source(c), key, LINK, OperatingPoint(snr_db=60.0)))
    together = run(clips, jax.random.key(0)).estimate.data
    for i, k in np.ndindex(2, 2):
        alone = run(clips[i : i + 1, k : k + 1].repeat(2, 0).repeat(2, 1), jax.random.key(1)).estimate.data
        np.testing.assert_allclose(together[i, k], alone[0, 0], atol=0.02)


def test_frames_are_lost_as_often_as_asked():
    clips = jnp.broadcast_to(moving(0), (40, 1, 16, 32, 32, 3))
    lost = jax.jit(lambda loss: encode(SCHEME, PARAMS, Source(clips), jax.random.key(3), {"loss": loss}).lost)
    assert not lost(0.0).any() and lost(1.0).all()
    assert abs(lost(0.3).mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 640)


def test_texture_takes_less_where_it_is_asked_to():
    clips = moving(0)
    clips[..., :16, :, :] = 0.5 + 0.5 * (clips[..., :16, :, :] - 0.5)
    masks = [
        encode(SCHEME, PARAMS, Source(clips), jax.random.key(0), {"masking": m, "rate": 0.5}).mask for m in (0.0, 1.0)
    ]
    top = [np.asarray(mask)[0, 0, ::4, :, :2].sum() for mask in masks]
    assert top[1] > top[0]


@pytest.mark.slow
def test_the_network_starts_as_the_identity_and_learns_alone():
    scheme = Pvsc(dataclasses.replace(CONFIG, num_frames=4, network="tiny"))
    params = params_of(scheme)
    source, point = Source(moving(0, frames=4)), OperatingPoint(snr_db=10.0)

    @jax.jit
    def run(params):
        linear = dataclasses.replace(scheme, config=scheme.linear_config)
        start = forward(linear, params, source, jax.random.key(0), LINK, point).estimate.data
        (stage,) = scheme.stages()
        loss = lambda p: stage.loss(scheme, p, source, jax.random.key(0), LINK, point, {"image_loss": "mse"})[0]  # noqa: E731
        return start, *jax.value_and_grad(loss)(params)

    linear, loss, _ = run(params)
    start = float(np.mean((linear - source.data) ** 2))
    assert float(loss) == pytest.approx(start, rel=1e-4)
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(lambda a: jnp.float32(0.3 * rng.normal(size=a.shape)), params["network"])
    _, loss, gradient = run(params | {"network": drawn})
    assert abs(float(loss) - start) > 1e-3 * start
    (stage,) = scheme.stages()
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        assert np.isfinite(leaf).all() and bool(np.abs(leaf).max() > 0) == stage.trainable(name), name


@pytest.mark.slow
def test_fitting_finds_components_energies_and_leak():
    clips = np.uint8(moving(7, num=4)[:, 0] * 255)
    scheme = Pvsc(dataclasses.replace(CONFIG, num_frames=4))
    params = scheme.start(scheme.init(jax.random.key(0)), clips, 0)
    basis = np.float64(params["linear"]["basis"])
    np.testing.assert_allclose(basis.T @ basis, np.eye(192), atol=1e-4)
    assert set(np.round(np.asarray(params["leak"]), 4)) <= set(np.round(np.float32(fitting.LEAKS), 4))
    assert params["energy"][0, 0] > params["energy"][0, 12]  # as principal components are sorted
    out = forward(scheme, params, Source(moving(8, frames=4)), jax.random.key(0), LINK, OperatingPoint(snr_db=20.0))
    plain = forward(scheme, scheme.init(jax.random.key(0)), Source(moving(8, frames=4)), jax.random.key(0), LINK,
                    OperatingPoint(snr_db=20.0))  # fmt: skip
    errors = [np.mean((o.estimate.data - moving(8, frames=4)) ** 2) for o in (out, plain)]
    assert errors[0] < errors[1] / 4


def test_register_knows_it():
    assert name_of(make_scheme("pvsc", {"size": [48, 96]})) == "pvsc"
    assert make_scheme("pvsc", {}).frames() == (192, 36)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(size=(96, 100)), r"PvscConfig.size must be a height and a width, multiples of 48, got \(96, 100\)"),
        (dict(chunk=5), "PvscConfig.chunk must be even .*, got 5"),
        (dict(num_frames=12), "PvscConfig.num_frames 12 is no multiple of PvscConfig.gop 8"),
        (dict(intra_factor=8.0), r"PvscConfig.intra_factor must lie in \[1, 8\), .*, got 8.0"),
        (dict(num_uses=4), r"PvscConfig.num_uses must lie in \[5, 6912\], got 4"),
        (dict(num_uses=7000), r"PvscConfig.num_uses must lie in \[5, 6912\], got 7000"),
        (dict(features=193), "PvscConfig.features must be at most 192, got 193"),
        (dict(reference="last"), "PvscConfig.reference .*'last'"),
        (dict(network="huge"), "PvscConfig.network .*'huge'"),
        (dict(gop=0), "PvscConfig.gop .*0"),
    ],
)
def test_wrong_shapes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        PvscConfig(**fields)


def test_wrong_clips_are_refused():
    for clips, message in (
        (jnp.zeros((1, 1, 8, 32, 32, 3)), r"clips must be \[batch, num_uavs, 16, 32, 32, 3\], got \(1, 1, 8"),
        (np.full((1, 1, 16, 32, 32, 3), np.nan, np.float32), "Source.data must be pictures .* in .0, 1., got nan"),
        (np.zeros((1, 1, 16, 32, 32, 3), np.uint8), "uint8: divide by 255"),
    ):
        with pytest.raises(ValueError, match=message):
            encode(SCHEME, PARAMS, Source(clips), jax.random.key(0), {})
