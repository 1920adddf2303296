"""Many devices, sharded parameters and pieces of a batch: the numbers of one device that holds and sees everything."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from tiny_run import BATCH, batch_fn, make_data, make_params
from tiny_run import loss_fn as noisy_loss

from lvm_mtc import LinkConfig
from lvm_mtc.schemes.lvm_mtc.config import Execution, LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.training import OptimizerConfig, init_state, make_mesh, make_optimizer, make_train_step, state_shardings
from lvm_mtc.training.examples import Ranges, Scenario, find_stage, make_batch_fn, make_loss_fn
from lvm_mtc.training.mesh import place, replicated
from lvm_mtc.training.step import check_batch

STEPS = 20
SYSTEM = LvmMtcConfig(
    variant="tiny", image_size=16, patch_size=8, num_symbols=4, linear_path=False, receiver="shrunk",
    power_allocation=False,
)  # fmt: skip
SCENARIOS = (Scenario(num_groups=4, num_uavs=2, link=LinkConfig(num_rx_ant=2, num_tx_ant=2)),)
ADAM = OptimizerConfig(learning_rate=1e-3, warmup_steps=3)
# Steps along the gradient itself: Adam's division makes of a gradient that is nothing but rounding a whole step.
ALONG_GRADIENT = OptimizerConfig(learning_rate=0.3, warmup_steps=3, eps=1.0)
MESHES = {
    "both": dict(num_devices=8, uav_devices=2, shard_params=True),
    "data": dict(num_devices=4),
    "uav": dict(num_devices=2, uav_devices=2),
}

pytestmark = pytest.mark.usefixtures("fast_compile")


def pixel_loss(params, batch, key):
    """The tiny run's loss without its noise: a mean over pictures."""
    x = batch.reshape(batch.shape[0], -1).astype(params["encoder"]["kernel"].dtype) / 255
    hidden = jnp.tanh(x @ params["encoder"]["kernel"] + params["encoder"]["bias"][None])
    loss = jnp.mean(jnp.square(hidden @ params["decoder"]["kernel"] + params["decoder"]["bias"][None] - x))
    return loss, {}


def pictures():
    return {"pictures": np.random.default_rng(0).integers(0, 256, (6, 20, 20, 3), dtype=np.uint8)}


def train(
    params, loss_fn, batch_fn, data, *, mesh, shard_params=False, per_uav=None, steps=STEPS,
    config=ADAM, **options,
):  # fmt: skip
    """Losses ``[steps]`` and the final state of a short run."""
    optimizer, schedule = make_optimizer(config, STEPS)
    state = init_state(params, optimizer, jax.random.key(0), ema=True)
    shardings = state_shardings(state, mesh, shard_params=shard_params, per_uav=per_uav)
    train_step = make_train_step(
        loss_fn, batch_fn, optimizer, schedule=schedule, ema_decay=0.9, mesh=mesh, state_sharding=shardings, **options
    )
    state, data, losses = place(state, shardings), place(data, replicated(mesh)), []
    for _ in range(steps):
        state, metrics = train_step(state, data)
        losses.append(float(metrics["loss"][0]))
    return np.array(losses), state


@functools.cache
def tiny(loss_fn=noisy_loss, dtype=np.float32, num_devices=1, uav_devices=1, shard_params=False, accumulation=1):
    return train(
        make_params(dtype=dtype), loss_fn, batch_fn, make_data(), mesh=make_mesh(num_devices, uav_devices),
        shard_params=shard_params, accumulation=accumulation,
    )  # fmt: skip


@functools.cache
def system(num_devices=1, uav_devices=1, shard_params=False, per_uav_params=False, **execution):
    scheme = LvmMtc(dataclasses.replace(SYSTEM, per_uav_params=per_uav_params), Execution(**execution))
    ranges = Ranges(knobs={"mask_prob": (0.1, 0.5), "epsilon": (0.0, 0.2)})
    return train(
        scheme.init(jax.random.key(1), 2 if per_uav_params else None),
        make_loss_fn(find_stage(scheme, "system"), scheme, SCENARIOS),
        make_batch_fn(scheme, SCENARIOS, ranges),
        pictures(),
        mesh=make_mesh(num_devices, uav_devices),
        shard_params=shard_params,
        per_uav=(lambda name: "public_encoder" not in name) if per_uav_params else None,
        steps=10,
        config=ALONG_GRADIENT,
    )


def largest_difference(first, second):
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in pairs]
    return max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs)


def bytes_on_one_device(tree):
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 2])
def test_sharded_parameters_give_the_numbers_of_one_device(accumulation):
    losses, state = tiny(accumulation=accumulation)
    sharded, sharded_state = tiny(num_devices=4, shard_params=True, accumulation=accumulation)
    np.testing.assert_allclose(sharded, losses, rtol=1e-5)
    assert largest_difference(sharded_state.params, state.params) < 1e-5
    assert sharded_state.params["encoder"]["kernel"].sharding.spec == PartitionSpec("data", None)


@pytest.mark.slow
def test_sharded_parameters_give_the_numbers_of_one_device_in_float64():
    with jax.enable_x64(True):
        losses, state = tiny(dtype=np.float64)
        sharded, sharded_state = tiny(dtype=np.float64, num_devices=4, shard_params=True)
    assert state.params["encoder"]["kernel"].dtype == np.float64
    np.testing.assert_allclose(sharded, losses, rtol=1e-10)
    assert largest_difference(sharded_state.params, state.params) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("axes", MESHES)
def test_the_system_has_the_same_losses_on_every_mesh(axes):
    losses, _ = system()
    sharded, _ = system(**MESHES[axes])
    np.testing.assert_allclose(sharded, losses, rtol=1e-5)


@pytest.mark.slow
def test_parameters_per_uav_lie_with_their_uav():
    losses, _ = system(per_uav_params=True)
    sharded, state = system(num_devices=4, uav_devices=2, shard_params=True, per_uav_params=True)
    np.testing.assert_allclose(sharded, losses, rtol=1e-5)
    assert state.params["encoder"]["block0"]["fc1"]["kernel"].sharding.spec == PartitionSpec("uav", None, "data")


@pytest.mark.slow
@pytest.mark.parametrize("options", [dict(scan=True), dict(remat=True), dict(scan=True, remat=True)])
def test_execution_changes_no_number_beyond_rounding(options):
    losses, _ = system()
    other, _ = system(**options)
    np.testing.assert_allclose(other, losses, rtol=1e-5)


def test_the_comparison_of_sharded_steps_can_fail():
    losses, _ = tiny()
    assert np.abs(tiny(pixel_loss)[0] / losses - 1).max() > 1e-5


@pytest.mark.slow
def test_half_precision_is_seen():
    losses, _ = system()
    assert np.abs(system(dtype="bfloat16")[0] / losses - 1).max() > 1e-4


@pytest.mark.parametrize("accumulation", [2, 8])
def test_pieces_of_a_batch_give_its_mean_gradient(accumulation):
    losses, state = tiny(pixel_loss)
    in_pieces, other_state = tiny(pixel_loss, accumulation=accumulation)
    np.testing.assert_allclose(in_pieces, losses, rtol=1e-5)
    assert largest_difference(other_state.params, state.params) < 1e-5


def test_pieces_draw_noise_of_their_own():
    def draws(params, batch, key):
        return pixel_loss(params, batch, key)[0], {"draw": jax.random.normal(jax.random.clone(key))}

    optimizer, _ = make_optimizer(OptimizerConfig(), STEPS)
    state = init_state(make_params(), optimizer, jax.random.key(0))
    key = jax.random.split(jax.random.fold_in(jax.random.key(0), 0))[1]
    want = np.mean([jax.random.normal(jax.random.fold_in(jax.random.clone(key), i)) for i in range(4)])
    _, metrics = make_train_step(draws, batch_fn, optimizer, accumulation=4)(state, make_data())
    np.testing.assert_allclose(metrics["draw"], [want], rtol=1e-6)


def test_sharded_state_takes_its_share_of_memory():
    _, state = tiny(num_devices=4, shard_params=True)
    _, whole = tiny()
    # The kernels of both layers, their moments and averages: all but the two biases and counters.
    big = sum(leaf.nbytes for leaf in jax.tree.leaves(whole.params) if leaf.ndim == 2)
    assert bytes_on_one_device((state.params, state.opt_state, state.ema)) < 4 * big / 4 * 1.1
    assert bytes_on_one_device((whole.params, whole.opt_state, whole.ema)) > 4 * big


def test_state_shardings_by_hand():
    mesh = make_mesh(4, 2)
    shapes = {
        "wide": jax.ShapeDtypeStruct((6, 5, 8), np.float32),
        "odd": jax.ShapeDtypeStruct((3, 5), np.float32),
        "uav": jax.ShapeDtypeStruct((2, 3, 4), np.float32),
        "count": jax.ShapeDtypeStruct((), np.int32),
    }
    shardings = state_shardings(shapes, mesh, shard_params=True, per_uav=lambda name: name == "uav")
    assert {name: sharding.spec for name, sharding in shardings.items()} == {
        "wide": PartitionSpec(None, None, "data"),
        "odd": PartitionSpec(),
        "uav": PartitionSpec("uav", None, "data"),
        "count": PartitionSpec(),
    }
    assert set(s.spec for s in state_shardings(shapes, mesh).values()) == {PartitionSpec()}


def test_what_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match="uav_devices must be a divisor of the 4 devices, got 3"):
        make_mesh(4, 3)
    with pytest.raises(ValueError, match=r"\(8, 6, 6, 3\), but 4 devices cannot share it in 4 pieces"):
        check_batch(batch_fn, make_data(), BATCH, make_mesh(4), 4)
    with pytest.raises(ValueError, match="4 devices cannot share the 6 UAVs of its second axis"):
        check_batch(batch_fn, make_data(), BATCH, make_mesh(8, 4))
