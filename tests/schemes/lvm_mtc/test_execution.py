"""How the codec is computed changes no number: scan and rematerialisation exactly, bf16 within its rounding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.transformer import unstack_layers
from lvm_mtc.schemes import simulate
from lvm_mtc.schemes.lvm_mtc.config import Execution, LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Source

pytestmark = pytest.mark.usefixtures("fast_compile")

CONFIG = LvmMtcConfig(variant="tiny", image_size=32, patch_size=8, num_symbols=8, num_kept=8, linear_path=False)


def forward(scheme, params):
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.random((1, 2, 32, 32, 3)), jnp.float32)
    loc = jnp.broadcast_to(jnp.array([16.0, 16.0, 16.0, 16.0]), (1, 2, 4))
    point = OperatingPoint(snr_db=10.0)
    source = Source(images, {"loc": loc})
    run = jax.jit(lambda p: simulate.forward(scheme, p, source, jax.random.key(1), LinkConfig(), point).estimate.data)
    return run(params)


@pytest.fixture(scope="module")
def looped(fast_compile):
    scheme = LvmMtc(CONFIG)
    params = scheme.init(jax.random.key(0))
    return params, forward(scheme, params)


@pytest.mark.slow
@pytest.mark.parametrize("per_uav", [False, True])
def test_scan_draws_the_same_parameters(per_uav):
    config = dataclasses.replace(CONFIG, per_uav_params=per_uav)
    scanned = LvmMtc(config, Execution(scan=True)).init(jax.random.key(0), 2)
    plain = LvmMtc(config).init(jax.random.key(0), 2)
    back = unstack_layers(scanned, axis=int(per_uav))
    assert jax.tree.structure(back) == jax.tree.structure(plain) != jax.tree.structure(scanned)
    jax.tree.map(np.testing.assert_array_equal, back, plain)


@pytest.mark.slow
def test_scan_with_remat_sends_the_same_picture(looped):
    scheme = LvmMtc(CONFIG, Execution(scan=True, remat=True))
    found = forward(scheme, scheme.init(jax.random.key(0)))
    np.testing.assert_allclose(found, looped[1], atol=2e-5)
    assert np.std(looped[1]) > 0.1


@pytest.mark.slow
def test_bfloat16_leaves_parameters_and_pictures_in_float32(looped):
    params, images = looped
    found = forward(LvmMtc(CONFIG, Execution(dtype="bfloat16")), params)
    assert found.dtype == jnp.float32 and {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    difference = np.abs(np.asarray(found) - images)
    assert 0 < difference.mean() < 2.0**-6 * np.abs(images).max()


def test_unknown_types_are_refused():
    with pytest.raises(ValueError, match="Execution.dtype .*'int8'"):
        Execution(dtype="int8")
