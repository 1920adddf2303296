"""The learned comparator: what it measures, that it is trained by the soft decision, and what training buys."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from observed import point_of

from lvm_mtc.link import LinkConfig
from lvm_mtc.models.pca import PatchPca
from lvm_mtc.schemes.lvm_mtc.comparator import compare_tokens
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.masking import KeptPatches
from lvm_mtc.schemes.lvm_mtc.pca import init_from_pca
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode
from lvm_mtc.training.examples import Examples, Scenario, find_stage, make_loss_fn

pytestmark = pytest.mark.usefixtures("fast_compile")

SENT = 8  # features a token has on the air
CONFIG = LvmMtcConfig(
    variant="linear",
    image_size=32,
    patch_size=8,
    num_symbols=SENT // 2,
    num_kept=16,
    power_allocation=False,
    comparator="learned",
    statistic="sent",
    sharing_temperature=0.1,
)
LINK = LinkConfig(fading="awgn", num_rx_ant=2, num_tx_ant=2)
POINT = point_of(snr_db=20.0, epsilon=0.5)


@functools.cache
@jax.ensure_compile_time_eval()  # numbers, even if the first to ask is being traced
def pca():
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(192, 192)))[0]
    return PatchPca(np.full(192, 0.5), basis, np.geomspace(1.0, 0.5, 192))


def every_patch(num_uavs, count):
    mask, ids = jnp.zeros((num_uavs, count)), jnp.tile(jnp.arange(count), (num_uavs, 1))
    return KeptPatches(ids, mask == 0, mask, jnp.zeros(num_uavs, int))


def init(config=CONFIG):
    return init_from_pca(LvmMtc(config).init(jax.random.key(0)), pca())


def pairs(seed, count=16):
    """Pictures of two UAVs that differ in one component: in every second patch one that is sent, else one that isn't.

    Returns:
        Pictures ``[count, 2, 32, 32, 3]``, and where the difference is one that the UAVs would see, ``[16]``.
    """
    rng = np.random.default_rng(seed)
    coefficients = np.zeros((count, 2, 16, 192))
    coefficients[..., : 2 * SENT] = rng.normal(size=(count, 1, 16, 2 * SENT)) * np.repeat([0.4, 0.1], SENT)
    seen = np.arange(16) % 2 == 0
    which = np.where(seen, rng.integers(0, SENT, (count, 16)), rng.integers(SENT, 2 * SENT, (count, 16)))
    change = rng.choice([-1.0, 1.0], (count, 16)) * rng.uniform(2.0, 3.0, (count, 16))
    np.put_along_axis(coefficients[:, 1], which[..., None], change[..., None], axis=-1)
    patches = (coefficients @ pca().basis.T + 0.5).reshape(count, 2, 4, 4, 8, 8, 3)
    return jnp.float32(patches.transpose(0, 1, 2, 4, 3, 5, 6).reshape(count, 2, 32, 32, 3)), seen


def examples(seed):
    images, seen = pairs(seed)
    loc = jnp.broadcast_to(jnp.array([16.0, 16.0, 16.0, 16.0]), (*images.shape[:2], 4))
    ones = jnp.ones(images.shape[0])
    point = point_of(snr_db=20.0 * ones, csi_error_var=0 * ones, mask_prob=0.25 * ones, epsilon=0.5 * ones)
    return (Examples(Source(images, {"loc": loc}), point),), seen


def test_the_score_is_the_relative_distance_of_float64_numpy():
    x = np.random.default_rng(1).normal(size=(3, 7, 5))
    power = (x**2).sum(-1)
    pairs = ((0, 1), (0, 2), (1, 2))
    want = np.mean([((x[k] - x[m]) ** 2).sum(-1) / (power[k] + power[m]) for k, m in pairs], axis=0)
    x = jnp.float32(x)
    got = compare_tokens(x + 1, x, every_patch(3, 7), 0.9, comparator="learned")
    np.testing.assert_allclose(got.score, want, rtol=1e-5)
    np.testing.assert_array_equal(got.public, want < 0.9)
    cosine = compare_tokens(x, x, every_patch(3, 7), 0.9, comparator="cosine")
    assert not np.allclose(cosine.score, want, rtol=0.01)


def test_equal_tokens_score_zero_and_gradients_of_zero_tokens_are_finite():
    kept = every_patch(2, 4)
    x = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (1, 4, 5)), (2, 4, 5))
    assert compare_tokens(x, x, kept, 1e-3, comparator="learned").public.all()

    def weight(x):
        return compare_tokens(x, x, kept, 0.1, comparator="learned").weight.sum()

    assert np.isfinite(jax.grad(weight)(jnp.zeros((2, 4, 5)))).all()


def test_other_comparators_have_the_same_parameters_and_no_new_ones():
    learned, cosine = (
        LvmMtc(dataclasses.replace(CONFIG, comparator=name)).init(jax.random.key(0)) for name in ("learned", "cosine")
    )
    assert set(learned) == {*cosine, "comparator"}
    for name, tree in cosine.items():
        for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(learned[name]), strict=True):
            np.testing.assert_array_equal(a, b)


def test_one_projection_serves_all_uavs_that_have_parameters_of_their_own():
    config = dataclasses.replace(CONFIG, per_uav_params=True)
    params = jax.eval_shape(lambda key: LvmMtc(config).init(key, 3), jax.random.key(0))
    assert params["comparator"]["projection"]["kernel"].shape == (192, 16)
    assert params["channel_encoder"]["linear"]["kernel"].shape == (3, 192, SENT)


@pytest.mark.slow
def test_training_merges_what_the_uavs_would_not_see_before_what_they_would():
    scheme, weights = LvmMtc(CONFIG), {"token_weight": 0.0, "rate_weight": 0.1}
    scenario = Scenario(num_groups=16, num_uavs=2, link=LINK)
    loss_fn = make_loss_fn(find_stage(scheme, "system"), scheme, (scenario,), weights)
    params, optimizer = init(), optax.adam(1e-2)
    fixed = {name: tree for name, tree in params.items() if name != "comparator"}

    @jax.jit
    def gradient(comparator, batch, key):
        return jax.value_and_grad(lambda c: loss_fn(fixed | {"comparator": c}, batch, key)[0])(comparator)

    @jax.jit
    def scores(comparator, batch):
        (one,) = batch
        encoded = encode(scheme, fixed | {"comparator": comparator}, one.source, jax.random.key(0), POINT.knobs)
        return scheme.share(encoded, one.point.knobs["epsilon"]).score

    def judge(comparator):
        """Loss on pictures never seen, and how many of the half of the slots that score lowest are wrong to merge."""
        batch, seen = examples(1000)
        loss, _ = gradient(comparator, batch, jax.random.key(7))
        score = np.asarray(scores(comparator, batch))
        return float(loss), (score < np.median(score))[:, seen].mean()

    before, comparator = judge(params["comparator"]), params["comparator"]
    state = optimizer.init(comparator)
    for step in range(30):
        batch, _ = examples(step)
        _, grad = gradient(comparator, batch, jax.random.key(step))
        assert np.abs(grad["projection"]["kernel"]).max() > 0
        update, state = optimizer.update(grad, state)
        comparator = optax.apply_updates(comparator, update)
    after = judge(comparator)
    assert 0.4 < before[1] < 0.6  # the random map cannot tell the two kinds apart
    assert after[1] < 0.02
    assert after[0] < 0.98 * before[0]  # nearly all of the loss is what is not sent at all
