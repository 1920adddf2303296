"""What training minimises when tokens are shared by some of the UAVs: rate, target and gradient, worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import LinkConfig, OperatingPoint, Source, forward
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.training.examples import Examples, Scenario, find_stage, make_loss_fn

pytestmark = pytest.mark.usefixtures("fast_compile")

B, K = 2, 3
LINK = LinkConfig(fading="awgn", num_rx_ant=2, num_tx_ant=2)
SCHEME = LvmMtc(LvmMtcConfig(
    variant="linear", image_size=32, patch_size=8, num_symbols=4, num_kept=12, comparator="learned",
    sharing_temperature=0.1, groups=True,
))  # fmt: skip
EPSILON = 0.02


def examples(epsilon=EPSILON):
    """The second UAV sees almost the same as the first, the third sees it in some places only."""
    first, other, noise = jax.random.uniform(jax.random.key(0), (3, B, 1, 32, 32, 3))
    third = jnp.where(jnp.arange(32).reshape(1, 1, 32, 1, 1) < 16, first + 0.05 * noise, other)
    images = jnp.concatenate([first, first + 0.05 * noise[..., ::-1], third], axis=1)
    loc = jnp.broadcast_to(jnp.array([16.0, 16.0, 16.0, 16.0]), (B, K, 4))
    knobs = {"mask_prob": jnp.full(B, 0.5), "epsilon": jnp.full(B, epsilon)}
    return Examples(Source(images, {"loc": loc}), OperatingPoint(snr_db=jnp.full(B, 10.0), knobs=knobs))


@pytest.fixture(scope="module")
def params():
    return jax.jit(SCHEME.init)(jax.random.key(1))


def loss_of(stage, **weights):
    scenarios = (Scenario(num_groups=B, num_uavs=K, link=LINK),)
    return make_loss_fn(find_stage(SCHEME, stage), SCHEME, scenarios, weights)


def key_of_the_scenario(key):
    return jax.random.split(key, 1)[0]


@jax.jit
def transmitted(params, key):
    """What the loss of a stage with ``key`` transmits."""
    return forward(SCHEME, params, examples().source, key_of_the_scenario(key), LINK, examples().point)


@pytest.mark.slow
def test_the_rate_is_the_channel_uses_of_the_ledger_and_its_gradient_lives_where_nothing_is_shared(params):
    @jax.jit
    @jax.value_and_grad
    def rate(params, epsilon, key):
        terms = [loss_of("system", rate_weight=w)(params, (examples(epsilon),), jax.random.clone(key))[0]
                 for w in (1.0, 0.0)]  # fmt: skip
        return terms[0] - terms[1]

    key = jax.random.key(2)
    value, gradient = rate(params, EPSILON, jax.random.clone(key))
    out, size = transmitted(params, key), examples().source.data.size
    public = np.asarray(out.sent.signal.public.sent)
    sizes = np.asarray(out.sent.signal.audience.sum(axis=1))[public]
    assert {2, 3} <= set(sizes) and len(sizes) < public.size
    assert out.ledger.channel_uses().sum() == 4 * (B * K * 12 - (sizes - 1).sum())
    np.testing.assert_allclose(value, out.ledger.channel_uses().sum() / size, rtol=1e-3)
    assert np.abs(gradient["comparator"]["projection"]["kernel"]).max() > 0
    value, gradient = rate(params, 0.0, jax.random.clone(key))
    np.testing.assert_allclose(value, 4 * B * K * 12 / size, rtol=1e-3)
    assert np.abs(gradient["comparator"]["projection"]["kernel"]).max() > 0


def test_the_channel_stage_wants_the_mean_of_the_members_and_each_other_uavs_own_token(params):
    key = jax.random.key(3)
    loss, _ = jax.jit(loss_of("channel"))(params, (examples(),), jax.random.clone(key))
    out = jax.device_get(transmitted(params, key))
    own, received, signal = np.float64(out.sent.tells["tokens_own"]), out.estimate.tells["tokens"], out.sent.signal
    want = own.copy()  # slot i holds each UAV's token i
    for b, i in zip(*np.nonzero(signal.public.sent), strict=True):
        members = signal.audience[b, :, i]
        want[b, members, i] = own[b, members, i].mean(axis=0)
    np.testing.assert_allclose(loss, ((received - want) ** 2).mean(), rtol=1e-5)
    everybody = np.where(signal.public.sent[:, None, :, None], own.mean(axis=1, keepdims=True), own)
    assert abs(((received - everybody) ** 2).mean() / loss - 1) > 1e-3
