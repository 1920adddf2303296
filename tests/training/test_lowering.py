"""The whole end-to-end training step is a program for TPU and CUDA too, lowered on this host without such a device."""

import jax
import jax.numpy as jnp
import pytest

from lvm_mtc import LinkConfig
from lvm_mtc.schemes.lvm_mtc.config import Execution, LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.training import OptimizerConfig, init_state, make_mesh, make_optimizer, make_train_step, state_shardings
from lvm_mtc.training.examples import Scenario, find_stage, make_batch_fn, make_loss_fn

# Calls that say where things lie, and orthogonal and Cholesky factors: XLA's own on a TPU, else those of NVIDIA's
# library, which comes with JAX.
ALLOWED_CALLS = {
    "tpu": {"Sharding", "Qr", "ProductOfElementaryHouseholderReflectors"},
    "cuda": {"Sharding", "cusolver_potrf_ffi", "cusolver_geqrf_ffi", "cusolver_orgqr_ffi"},
}

SMALL = LvmMtcConfig(variant="tiny", image_size=16, patch_size=8, num_symbols=8)
MIXED = (
    Scenario(num_groups=4, num_uavs=2, link=LinkConfig(fading="rayleigh")),
    Scenario(num_groups=4, link=LinkConfig(fading="awgn")),
)
SCANNED = Execution(scan=True, remat=True, dtype="bfloat16")


def trace(config, scenarios, execution, *, accumulation=1, talks=False):
    """The training step on two devices with sharded parameters, traced from shapes alone."""
    scheme, mesh = LvmMtc(config, execution), make_mesh(2)
    optimizer, schedule = make_optimizer(OptimizerConfig(), 100)
    silent_loss = make_loss_fn(find_stage(scheme, "system"), scheme, scenarios)

    def talking_loss(params, batch, key):
        loss, metrics = silent_loss(params, batch, key)
        jax.debug.callback(lambda value: None, loss)
        return loss, metrics

    def initial(key):
        return init_state(scheme.init(key), optimizer, jax.random.clone(key), ema=True)

    state = jax.eval_shape(initial, jax.random.key(0))
    step = make_train_step(
        talking_loss if talks else silent_loss,
        make_batch_fn(scheme, scenarios),
        optimizer,
        schedule=schedule,
        ema_decay=0.99,
        accumulation=accumulation,
        mesh=mesh,
        state_sharding=state_shardings(state, mesh, shard_params=True),
    )
    side = config.image_size + 8
    return step.trace(state, {"pictures": jax.ShapeDtypeStruct((8, side, side, 3), jnp.uint8)})


def lower(platform, *arguments, **options):
    return trace(*arguments, **options).lower(lowering_platforms=(platform,)).as_text()


def custom_calls(text):
    return {part.split("(")[0].strip("@ ") for part in text.split("stablehlo.custom_call")[1:]}


@pytest.mark.slow
@pytest.mark.parametrize("platform", ALLOWED_CALLS)
def test_the_papers_training_step_lowers(platform):
    """ViT-L for ten UAVs, layers scanned."""
    text = lower(platform, LvmMtcConfig.paper(num_kept=49), (Scenario(num_groups=2, num_uavs=10),), SCANNED)
    assert "tensor<24x1024x4096xf32>" in text and "callback" not in text
    assert custom_calls(text) <= ALLOWED_CALLS[platform]


@pytest.mark.slow
@pytest.mark.parametrize("platform", ALLOWED_CALLS)
@pytest.mark.parametrize("execution", [Execution(), SCANNED])
def test_a_mixture_of_scenarios_in_pieces_lowers(platform, execution):
    text = lower(platform, SMALL, MIXED, execution, accumulation=2)
    assert "stablehlo.dot_general" in text and "callback" not in text
    assert custom_calls(text) <= ALLOWED_CALLS[platform]


@pytest.mark.slow
def test_a_callback_does_not_lower():
    """It belongs to this host's platform, so that the tests above would fail on one."""
    with pytest.raises(ValueError, match="is different from the lowering platform cuda"):
        lower("cuda", SMALL, MIXED[1:], SCANNED, talks=True)
