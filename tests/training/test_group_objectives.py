"""What training minimises when tokens are shared by some of the UAVs: rate, target and gradient, worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import LinkConfig, OperatingPoint, System, SystemConfig
from lvm_mtc.system import uav_keys
from lvm_mtc.training.objectives import Examples, ObjectiveConfig, Scenario, make_loss_fn

pytestmark = pytest.mark.usefixtures("fast_compile")

B, K = 2, 3
LINK = LinkConfig(fading="awgn", num_rx_ant=2, num_tx_ant=2)
CONFIG = SystemConfig(
    variant="linear", image_size=32, patch_size=8, num_symbols=4, num_kept=12, comparator="learned",
    sharing_temperature=0.1, groups=True,
)  # fmt: skip
SYSTEM = System(CONFIG)
EPSILON = 0.02


def examples(epsilon=EPSILON):
    """The second UAV sees almost the same as the first, the third sees it in some places only."""
    first, other, noise = jax.random.uniform(jax.random.key(0), (3, B, 1, 32, 32, 3))
    third = jnp.where(jnp.arange(32).reshape(1, 1, 32, 1, 1) < 16, first + 0.05 * noise, other)
    images = jnp.concatenate([first, first + 0.05 * noise[..., ::-1], third], axis=1)
    point = OperatingPoint(snr_db=jnp.full(B, 10.0), mask_prob=jnp.full(B, 0.5), epsilon=jnp.full(B, epsilon))
    return Examples(images, jnp.broadcast_to(jnp.array([16.0, 16.0, 16.0, 16.0]), (B, K, 4)), point)


@pytest.fixture(scope="module")
def params():
    return jax.jit(SYSTEM.init)(jax.random.key(1))


def loss_of(stage, **weights):
    return make_loss_fn(stage, CONFIG, (Scenario(num_groups=B, num_uavs=K, link=LINK),), ObjectiveConfig(**weights))


def key_of_the_scenario(key):
    return jax.random.split(key, 1)[0]


def test_the_rate_is_the_channel_uses_of_the_ledger_and_its_gradient_lives_where_nothing_is_shared(params):
    @jax.jit
    @jax.value_and_grad
    def rate(params, epsilon, key):
        terms = [loss_of("system", rate_weight=w)(params, (examples(epsilon),), jax.random.clone(key))[0]
                 for w in (1.0, 0.0)]  # fmt: skip
        return terms[0] - terms[1]

    key = jax.random.key(2)
    value, gradient = rate(params, EPSILON, jax.random.clone(key))
    images, loc, point = examples()
    out = jax.jit(SYSTEM.forward, static_argnums=4)(params, images, loc, key_of_the_scenario(key), LINK, point)
    sizes = np.asarray(out.sent.members.sum(axis=1))[np.asarray(out.public)]
    assert {2, 3} <= set(sizes) and len(sizes) < out.public.size
    assert out.ledger.channel_uses().sum() == 4 * (B * K * 12 - (sizes - 1).sum())
    np.testing.assert_allclose(value, out.ledger.channel_uses().sum() / images.size, rtol=1e-3)
    assert np.abs(gradient["comparator"]["projection"]["kernel"]).max() > 0
    value, gradient = rate(params, 0.0, jax.random.clone(key))
    np.testing.assert_allclose(value, 4 * B * K * 12 / images.size, rtol=1e-3)
    assert np.abs(gradient["comparator"]["projection"]["kernel"]).max() > 0


def test_the_channel_stage_wants_the_mean_of_the_members_and_each_other_uavs_own_token(params):
    key = jax.random.key(3)
    images, loc, point = examples()

    @jax.jit
    def run(params, keys):
        encoded = SYSTEM.encode(params, images, loc, jax.random.clone(keys), point)
        sharing = SYSTEM.share(encoded, point)
        sent = SYSTEM.send(params, encoded, sharing, point)
        return encoded.tokens, sharing, SYSTEM.receive(params, sent, keys, LINK, point)[0]

    loss, _ = jax.jit(loss_of("channel"))(params, (examples(),), jax.random.clone(key))
    tokens, sharing, received = jax.device_get(run(params, uav_keys(key_of_the_scenario(key), K)))
    aligned = np.take_along_axis(np.float64(tokens), sharing.order[..., None], axis=2)
    want = aligned.copy()
    for b, i in zip(*np.nonzero(sharing.public), strict=True):
        members = sharing.members[b, :, i]
        want[b, members, i] = aligned[b, members, i].mean(axis=0)
    np.testing.assert_allclose(loss, ((received - want) ** 2).mean(), rtol=1e-5)
    everybody = np.where(sharing.public[:, None, :, None], aligned.mean(axis=1, keepdims=True), aligned)
    assert abs(((received - everybody) ** 2).mean() / loss - 1) > 1e-3
