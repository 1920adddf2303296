"""What training sees and minimises: draws within their ranges, losses in NumPy, scenarios weighed by their pictures."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import LinkConfig, from_dict
from lvm_mtc.schemes.deepjscc.scheme import DeepJscc, DeepJsccConfig
from lvm_mtc.schemes.losses import image_loss, masked_mse
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Knob
from lvm_mtc.schemes.simulate import forward
from lvm_mtc.training.examples import Ranges, Scenario, find_stage, make_batch_fn, make_loss_fn

pytestmark = pytest.mark.usefixtures("fast_compile")

TOKENS = LvmMtc(LvmMtcConfig(variant="linear", image_size=16, patch_size=8, num_symbols=4))
LINK = LinkConfig(fading="awgn", num_rx_ant=2, num_tx_ant=2)


@dataclasses.dataclass(frozen=True)
class ManyKnobs(DeepJscc):
    knobs = {"a": Knob(0.5, 0.0, 1.0), "b": Knob(1.0, 1.0, 9.0), "c": Knob(0.0, 0.0, 1.0), "d": Knob(0.0, 0.0, 1.0)}


def pictures(count=4):
    return {"pictures": jax.random.randint(jax.random.key(1), (count, 20, 20, 3), 0, 256, jnp.uint8)}


def test_examples_are_drawn_within_their_ranges():
    ranges = Ranges(
        snr_db=(3.0, 9.0), csi_error_var=(0.01, 0.2), knobs={"epsilon": (0.1, 0.4), "mask_prob": (0.2, 0.3)},
        box_area=(0.2, 0.3),
    )  # fmt: skip
    ramp = jnp.arange(24 * 20, dtype=jnp.uint8).reshape(1, 24, 20, 1)
    data = {"pictures": jnp.broadcast_to(ramp, (3, 24, 20, 3))}
    scenarios = (Scenario(num_groups=400, num_uavs=2),)
    ((source, point),) = jax.jit(make_batch_fn(TOKENS, scenarios, ranges))(data, jax.random.key(0))
    mask_prob, epsilon, loc = point.knobs["mask_prob"], point.knobs["epsilon"], source.hints["loc"]
    for values, low, high in ((point.snr_db, 3, 9), (mask_prob, 0.2, 0.3)):
        assert values.min() >= low and values.max() <= high and values.std() > 0.2 * (high - low)
    assert set(np.unique(epsilon == 0)) == {True, False} and epsilon.max() <= 0.4
    assert epsilon[epsilon > 0].min() >= 0.1
    assert (point.csi_error_var == 0.01).mean() == pytest.approx(0.5, abs=5 * 0.5 / 20)
    area = loc[..., 2] * loc[..., 3] / 256
    assert area.min() >= 0.2 - 1e-5 and area.max() <= 0.3 + 1e-5
    corners = np.stack([loc[..., :2] - loc[..., 2:] / 2, loc[..., :2] + loc[..., 2:] / 2])
    assert corners.min() >= -1e-4 and corners.max() <= 16 + 1e-4
    # Every view is a crop, mirrored or not: steps of 1 along a row and of 20 along a column.
    images = np.round(np.float64(source.data) * 255)
    assert set(np.unique((images[..., 1:, 0] - images[..., :-1, 0]) % 256)) == {1, 255}
    assert set(np.unique((images[..., 1:, :, 0] - images[..., :-1, :, 0]) % 256)) == {20}


def test_any_number_of_knobs_is_drawn_and_those_that_are_off_by_default_are_off_in_half_of_the_groups():
    scheme, scenarios = ManyKnobs(DeepJsccConfig(image_size=8, num_symbols=2)), (Scenario(num_groups=400),)
    ranges = Ranges(csi_error_var=(0.1, 0.2), knobs={"a": (0.2, 0.4), "b": (2.0, 3.0), "d": (0.5, 0.5)})
    ((_, point),) = jax.jit(make_batch_fn(scheme, scenarios, ranges))(pictures(), jax.random.key(0))
    assert set(point.knobs) == {"a", "b", "d"}  # c has its default
    a, b, d = (np.asarray(point.knobs[name]) for name in "abd")
    assert a.min() >= 0.2 and set(np.unique(d)) == {0.0, 0.5} and b[b != 1].min() >= 2 and (b == 1).any()
    switches = np.stack([point.csi_error_var > 0.1, b > 1, d > 0]).astype(float)
    bound = 5 / np.sqrt(400)
    assert np.abs(switches.mean(axis=1) - 0.5).max() < bound / 2
    assert np.abs(np.corrcoef(np.concatenate([switches, [point.snr_db, a]])) - np.eye(5)).max() < bound


def test_losses_against_numpy():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=(2, 3, 1, 4, 4, 3))
    per_picture = ((a - b) ** 2).mean((2, 3, 4))
    for kind, want in (("mse", per_picture.mean()), ("log_mse", np.log(per_picture + 1e-6).mean())):
        loss, psnr = image_loss(jnp.float32(a), jnp.float32(b), kind)
        np.testing.assert_allclose(loss, want, rtol=1e-5)
        np.testing.assert_allclose(psnr, -10 * np.log10(per_picture).mean(), rtol=1e-3)
    valid = np.array([True, False, True])
    np.testing.assert_allclose(
        masked_mse(jnp.float32(a[:, 0, 0, :3]), jnp.float32(b[:, 0, 0, :3]), jnp.stack([valid] * 3)),
        ((a - b)[:, 0, 0, :3][:, valid] ** 2).mean(),
        rtol=1e-5,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mse", "log_mse"])
def test_the_loss_weighs_scenarios_by_their_pictures(kind):
    scheme = DeepJscc(DeepJsccConfig(image_size=8, num_symbols=2))
    scenarios = (Scenario(num_groups=3, link=LINK), Scenario(num_groups=1, num_uavs=2))
    params, key = jax.jit(scheme.init)(jax.random.key(0)), jax.random.key(3)
    batch = jax.jit(make_batch_fn(scheme, scenarios))(pictures(), jax.random.key(1))
    loss_fn = jax.jit(make_loss_fn(find_stage(scheme, "system"), scheme, scenarios, {"image_loss": kind}))
    run = jax.jit(forward, static_argnums=(0, 4))
    loss, metrics = loss_fn(params, batch, jax.random.clone(key))
    terms = []
    for number, (examples, scenario) in enumerate(zip(batch, scenarios, strict=True)):
        assert examples.source.data.shape == (scenario.num_groups, scenario.num_uavs, 8, 8, 3)
        its_key = jax.random.split(jax.random.clone(key))[number]
        out = run(scheme, params, examples.source, its_key, scenario.link, examples.point)
        mse = ((np.float64(out.estimate.data) - np.float64(examples.source.data)) ** 2).mean((2, 3, 4))
        terms.append((np.log(mse + 1e-6) if kind == "log_mse" else mse).mean())
        np.testing.assert_allclose(metrics[f"psnr_{number}"], -10 * np.log10(mse + 1e-6).mean(), rtol=1e-5)
    np.testing.assert_allclose(loss, (3 * terms[0] + 2 * terms[1]) / 5, rtol=1e-5)
    assert abs(loss - np.mean(terms)) > 1e-4 * abs(loss)


def test_a_scenario_has_a_configuration_of_its_own():
    scenarios = (Scenario(num_groups=2, config={"num_kept": 1}, link=LINK), Scenario(num_groups=2, link=LINK))
    params = TOKENS.init(jax.random.key(0))
    batch = jax.jit(make_batch_fn(TOKENS, scenarios))(pictures(), jax.random.key(1))
    assert [scenario.scheme(TOKENS).config.capacity for scenario in scenarios] == [1, 2]
    loss_fn = jax.jit(make_loss_fn(find_stage(TOKENS, "token"), TOKENS, scenarios))
    _, metrics = loss_fn(params, batch, jax.random.key(2))
    assert set(metrics) == {"psnr_0", "psnr_1"}
    with pytest.raises(ValueError, match=r"Scenario.config.num_keep is not known \(did you mean 'num_kept'\?\)"):
        Scenario(num_groups=1, config={"num_keep": 1}).scheme(TOKENS)
    with pytest.raises(ValueError, match="Scenario.config: LvmMtcConfig.num_kept 5 exceeds"):
        Scenario(num_groups=1, config={"num_kept": 5}).scheme(TOKENS)


def test_a_scenario_takes_a_link_as_files_have_it():
    plain = dict(fading="rayleigh", block_length=4, num_rx_ant=2, num_tx_ant=2)
    assert from_dict(Scenario, {"num_groups": 1, "link": plain}).link == LinkConfig.of(**plain)
    with pytest.raises(ValueError, match="LinkConfig.fadding is not known"):
        from_dict(Scenario, {"num_groups": 1, "link": {"fadding": "awgn"}})


@pytest.mark.slow
def test_the_token_term_takes_the_tokens_it_aims_at_for_a_constant():
    """Its gradient is that of the MSE to a fixed target, and none reaches the token decoder."""
    scheme = LvmMtc(LvmMtcConfig(variant="tiny", image_size=16, patch_size=8, num_symbols=4, num_kept=4))
    scenarios, key = (Scenario(num_groups=2, link=LINK),), jax.random.key(3)
    params, stage = jax.jit(scheme.init)(jax.random.key(0)), find_stage(scheme, "system")
    batch = jax.jit(make_batch_fn(scheme, scenarios))(pictures(), jax.random.key(2))
    without, with_term = (make_loss_fn(stage, scheme, scenarios, {"token_weight": w}) for w in (0.0, 1.0))

    def term(params):
        return with_term(params, batch, jax.random.clone(key))[0] - without(params, batch, jax.random.clone(key))[0]

    def to_fixed(params, target):
        (examples,) = batch
        its_key = jax.random.split(jax.random.clone(key), 1)[0]
        out = forward(scheme, params, examples.source, its_key, LINK, examples.point)
        own = out.sent.tells["tokens_own"]
        target = own if target is None else target
        return masked_mse(out.estimate.tells["tokens"], target, out.sent.tells["valid"]), own

    @jax.jit
    def gradients(params):
        _, target = to_fixed(params, None)
        fixed = jax.grad(lambda p: to_fixed(p, jax.lax.stop_gradient(target))[0])(params)
        return jax.grad(term)(params), fixed, jax.grad(lambda p: to_fixed(p, None)[0])(params)

    got, fixed, moving = gradients(params)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(fixed), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    assert all(np.allclose(leaf, 0, atol=1e-6) for leaf in jax.tree.leaves(got["decoder"]))
    name = ("encoder", "linear_path", "kernel")
    assert not np.allclose(got[name[0]][name[1]][name[2]], moving[name[0]][name[1]][name[2]], atol=1e-3)
