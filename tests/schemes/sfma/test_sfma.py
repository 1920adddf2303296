"""Superposed users: the signal, the separation against plain L-MMSE, and the exchange that similarity switches on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.patches import unpatchify
from lvm_mtc.models.pca import PatchPca
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.sfma.scheme import Sfma, SfmaConfig, mirrored, placed, separate, similarity
from lvm_mtc.schemes.simulate import forward

pytestmark = pytest.mark.usefixtures("fast_compile")

SMALL = dict(image_size=16, patch_size=4, num_symbols=8, width=16)
SCHEME = Sfma(SfmaConfig(**SMALL))
LINK = LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)
PAIRS = 6
run = jax.jit(forward, static_argnums=(0, 4))


@functools.cache
def made():
    """Parameters of a random orthonormal basis with open gates, and pairs of pictures, the last three alike."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(48, 48)))[0]
    params = SCHEME.init(jax.random.key(0))
    params = params | SCHEME.from_pca(PatchPca(np.full(48, 0.5), basis, 0.02 * 0.8 ** np.arange(48.0)))
    opened = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(jax.random.key(a.size), a.shape), params)
    opened["linear"] = params["linear"]
    images = np.clip(0.5 + 0.2 * rng.normal(size=(PAIRS, 2, 16, 16, 3)), 0, 1)
    images[3:, 1] = images[3:, 0]
    return params, opened, Source(jnp.float32(images))


def sent(params, source, share=0.5, gate=1.0, snr_db=10.0):
    point = OperatingPoint(snr_db=jnp.float32(snr_db), knobs={"share": jnp.float32(share), "gate": jnp.float32(gate)})
    return run(SCHEME, params, source, jax.random.key(1), LINK, point)


@pytest.mark.slow
def test_the_sum_has_power_one_for_alike_pictures_too_and_is_booked_once():
    _, params, source = made()
    out = sent(params, source, share=0.3)
    power = np.mean(np.abs(np.complex128(out.sent.signal.public.symbols)) ** 2, axis=(1, 2))
    np.testing.assert_allclose(power, 1.0, rtol=1e-6)
    np.testing.assert_array_equal(out.ledger.public_uses, 16 * 8)
    np.testing.assert_array_equal(out.ledger.private_uses, 0)
    np.testing.assert_array_equal(out.ledger.side_information_bits, 40)


@pytest.mark.slow
def test_without_similarity_it_is_the_plain_network_bit_for_bit():
    fresh, opened, source = made()
    plain = opened | {end: opened[end] | {"exchange": fresh[end]["exchange"]} for end in ("before", "behind")}
    closed, other = sent(opened, source, gate=0.0), sent(opened, source)
    np.testing.assert_array_equal(closed.estimate.data, sent(plain, source).estimate.data)
    assert jnp.abs(closed.estimate.data - sent(fresh, source).estimate.data).max() > 1e-3  # the users' own networks
    assert jnp.abs(other.estimate.data - closed.estimate.data)[3:].max() > 1e-3
    patch = jnp.tile(source.data[:, 0, :4, :4], (1, 4, 4, 1))
    apart = Source(jnp.stack([patch, 1 - patch], 1))  # cosine -1 wherever one lies over the other
    np.testing.assert_array_equal(sent(opened, apart).sent.side.similarity, 0.0)
    np.testing.assert_array_equal(sent(opened, apart).estimate.data, sent(plain, apart).estimate.data)


@pytest.mark.slow
def test_networks_of_a_users_own_know_nothing_of_the_partner():
    _, opened, source = made()
    other = Source(source.data.at[:, 1].set(source.data[::-1, 1]))
    sums, shown = zip(*((out.sent.signal.public.symbols, out.estimate.data[:, 0]) for out in (
        sent(opened, pair, share=1.0, gate=0.0, snr_db=60.0) for pair in (source, other))), strict=True)  # fmt: skip
    np.testing.assert_allclose(*sums, atol=1e-5)
    np.testing.assert_allclose(*shown, atol=1e-4)


def test_a_fresh_network_is_plain_superposition():
    plain, _, source = made()
    found = sent(plain, source)
    np.testing.assert_array_equal(found.estimate.data, sent(plain, source, gate=0.0).estimate.data)
    features = SCHEME.encode(plain, source, None, {}).features
    shape = phy.symbols_to_features(found.sent.signal.public.symbols)
    total = (placed(features) * found.sent.side.amplitude[..., None, None]).sum(1)
    np.testing.assert_allclose(shape, total, atol=2e-3)  # amplitudes are told in 16 bits


def test_similarity_is_the_cosine_in_eight_bits():
    plain, _, source = made()
    features = np.float64(SCHEME.encode(plain, source, None, {}).features)
    first, second = features[:, 0].reshape(PAIRS, -1), features[:, 1].reshape(PAIRS, -1)
    cosine = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    found = np.float64(sent(plain, source).sent.side.similarity)
    np.testing.assert_allclose(found, np.maximum(cosine, 0), atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(found * 255, np.round(found * 255), atol=1e-4)
    assert (found[3:] == 1).all() and found[:3].max() < 0.5
    np.testing.assert_allclose(similarity(jnp.float32(features)), np.maximum(cosine, 0), atol=1e-6)


def test_similarity_is_symmetric_of_the_angle_alone_and_between_0_and_1():
    first, other = jax.random.normal(jax.random.key(0), (2, 8, 16, 16))

    def alike(a, b):
        return similarity(jnp.stack([a, b], 1))

    np.testing.assert_allclose(alike(first, 3 * first), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(alike(first, -first), 0.0)
    np.testing.assert_array_equal(alike(0 * first, first), 0.0)
    mixed = alike(first + other, first)
    np.testing.assert_array_equal(mixed, alike(first, first + other))
    assert ((mixed > 0.5) & (mixed < 0.9)).all() and alike(first, other).max() < 0.2


@pytest.mark.parametrize("user", [0, 1])
def test_all_the_power_to_one_user_is_that_user_alone(user):
    plain, _, source = made()
    out = sent(plain, source, share=1.0 - user, gate=0.0, snr_db=60.0)
    encoded = SCHEME.encode(plain, source, None, {}).features[:, user]
    alone = encoded @ plain["linear"]["decoder"] + plain["linear"]["mean"].reshape(1, 1, -1)
    np.testing.assert_allclose(out.estimate.data[:, user], unpatchify(alone, 4, (16, 16)), atol=2e-2)
    np.testing.assert_allclose(out.estimate.data[:, 1 - user], 0.5, atol=1e-5)  # of the other nothing is known


def test_users_that_change_places_change_outputs():
    """Users swapped with their shares, one picture's features negated, as the mirror twice is a change of sign."""
    plain, _, source = made()
    swapped = Source(jnp.stack([1 - source.data[:, 1], source.data[:, 0]], 1))
    found, other = (sent(plain, *of, snr_db=80.0).estimate.data for of in ((source, 0.3), (swapped, 0.7)))
    np.testing.assert_allclose(other[:, 1], found[:, 0], atol=3e-3)
    np.testing.assert_allclose(1 - other[:, 0], found[:, 1], atol=3e-3)
    assert jnp.abs(found[:, 0] - found[:, 1]).max() > 0.1
    equal = Source(jnp.stack([source.data[:, 0]] * 2, 1))
    assert (sent(plain, equal).sent.side.similarity == 1).all()


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_error_of_correlated_users_has_its_closed_form(correlation):
    """Of a receiver that takes them for independent it is the same for all correlations, as components meet others of
    the partner; of one that knows the correlation it falls to that of one user alone."""
    rng, width, no = np.random.default_rng(1), 6, 0.3
    power, amplitude = 0.7 ** np.arange(width), np.array([0.8, 0.6])
    own, new = rng.normal(size=(2, 20_000, width)) * np.sqrt(power)
    f = np.stack([own, correlation * own + np.sqrt(1 - correlation**2) * new], 1)
    total = np.float64((placed(jnp.float32(f)[:, :, None]) * amplitude.reshape(1, 2, 1, 1)).sum(1))[:, 0]
    y = jnp.float32((total + rng.normal(size=total.shape) * np.sqrt(no))[None, None])
    found = separate(y, jnp.full_like(y, no), jnp.float32(amplitude[None]), jnp.float32(power))[0, 0]
    error = (np.swapaxes(np.float64(found), 0, 1) - f) ** 2
    placed_power = np.stack([power, power[::-1]]) * amplitude[:, None] ** 2
    share = placed_power / (placed_power.sum(0) + no)
    expected = np.stack([power * (1 - share[0]), power * (1 - share[1][::-1])])
    assert (np.abs(error.mean(0) - expected) < 5 * error.std(0) / np.sqrt(len(f))).all()
    mix = np.hstack([amplitude[0] * np.eye(width), amplitude[1] * np.float64(mirrored(jnp.eye(width))).T])
    prior = np.kron([[1, correlation], [correlation, 1]], np.diag(power))
    seen = prior @ mix.T
    least = np.diag(prior - seen @ np.linalg.solve(mix @ prior @ mix.T + no * np.eye(width), seen.T)).reshape(2, width)
    if correlation == 0:
        np.testing.assert_allclose(least, expected, rtol=1e-9)
    elif correlation == 1:
        np.testing.assert_allclose(least, np.tile(power * no / (power + no), (2, 1)), rtol=1e-9)
    else:
        assert (least < expected).all()


def test_mirrored_features_are_orthogonal_to_themselves_and_come_back():
    x = jax.random.normal(jax.random.key(0), (5, 16))
    np.testing.assert_array_equal(-mirrored(mirrored(x)), x)
    np.testing.assert_allclose((x * mirrored(x)).sum(-1), 0, atol=1e-5)


def test_separation_is_the_lmmse_of_the_covariances():
    """Against the matrix formula in float64, and its error against the posterior's over draws."""
    rng = np.random.default_rng(0)
    width, no = 6, 0.3
    power, amplitude = 0.7 ** np.arange(width), np.array([0.9, 0.6])
    sign = np.where(np.arange(width) < width // 2, 1.0, -1.0)
    mirror = sign[:, None] * np.eye(width)[::-1]
    mix = np.hstack([amplitude[0] * np.eye(width), amplitude[1] * mirror])
    prior = np.diag(np.tile(power, 2))
    weights = prior @ mix.T @ np.linalg.inv(mix @ prior @ mix.T + no * np.eye(width))
    f = rng.normal(size=(20_000, 2 * width)) * np.sqrt(np.diag(prior))
    y = f @ mix.T + rng.normal(size=(20_000, width)) * np.sqrt(no)
    both = jnp.float32(np.stack([y, y])[None])
    noise, gains = jnp.full_like(both, no), jnp.float32(amplitude[None])
    found = np.float64(separate(both, noise, gains, jnp.float32(power)))[0, 0]
    expected = y @ weights.T
    np.testing.assert_allclose(found[0], expected[:, :width], atol=1e-5)
    np.testing.assert_allclose(found[1], expected[:, width:], atol=1e-5)
    error = ((expected - f) ** 2).mean(0)
    posterior = np.diag(prior - weights @ mix @ prior)
    assert (np.abs(error - posterior) < 5 * posterior * np.sqrt(2 / 20_000)).all()


def test_gradients_reach_the_gates_and_are_finite():
    plain, _, source = made()

    def loss(params):
        return jnp.mean((sent(params, source).estimate.data - source.data) ** 2)

    gradient = jax.jit(jax.grad(loss))(plain)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    for name in ("before", "behind"):
        assert jnp.abs(gradient[name]["exchange"]["gates"]["kernel"]).max() > 0
        assert jnp.abs(gradient[name]["alone"]["change"]["kernel"]).max() > 0


def test_a_stage_trains_its_networks_alone():
    plain, _, _ = made()
    names = [jax.tree_util.keystr(path, simple=True, separator="/")
             for path, _ in jax.tree_util.tree_leaves_with_path(plain)]  # fmt: skip
    trained = [{name for name in names if stage.trainable(name)} for stage in SCHEME.stages()]
    assert [{name.split("/")[1] for name in of} for of in trained] == [{"alone"}, {"further"}, {"further", "exchange"}]
    assert set(names) - set().union(*trained) == {f"linear/{name}" for name in plain["linear"]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_heads": 3}, "num_symbols 32 does not go with 3"),
        ({"image_size": 90}, "image_size 90 does not go with 8"),
        ({"width": 66}, "width 66 does not go with 4"),
    ],
)
def test_wrong_shapes(config, message):
    with pytest.raises(ValueError, match=message):
        SfmaConfig(**config)


def test_it_is_for_two_users_whose_shares_add_up():
    plain, _, source = made()
    with pytest.raises(ValueError, match="knob 'share' must lie in .*1.4"):
        forward(SCHEME, plain, source, jax.random.key(1), LINK, OperatingPoint(snr_db=10.0, knobs={"share": 1.4}))
    with pytest.raises(ValueError, match=r"must be \[batch, 2, 16, 16, 3\], got \(6, 1, 16, 16, 3\)"):
        SCHEME.encode(plain, Source(source.data[:, :1]), None, {})
