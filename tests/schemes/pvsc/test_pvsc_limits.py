"""The video codec where it is another one: without leak, without a program, without a budget."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import OperatingPoint, Received
from lvm_mtc.schemes.pvsc.scheme import Pvsc, PvscConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode

pytestmark = pytest.mark.usefixtures("fast_compile")

# Of 24 features at 4 places all 48 pairs of chunks fit into 192 symbols a frame.
ALL = PvscConfig(size=(32, 32), num_frames=4, gop=4, num_uses=192, features=24, chunk=2, intra_factor=1.0)
INTRA = dataclasses.replace(ALL, gop=1)
FEW = dataclasses.replace(ALL, num_uses=40, intra_factor=2.0)
POINT = OperatingPoint(snr_db=7.0)
CLIP = np.random.default_rng(0).uniform(size=(1, 1, 4, 32, 32, 3)).astype(np.float32)


def params_of(leak):
    params = Pvsc(ALL).init(jax.random.key(0))
    params["linear"]["basis"] = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (192, 192)))[0]
    params["energy"] = jnp.broadcast_to(-jnp.log2(jnp.arange(1.0, 25.0)), (2, 24))
    return params | {"leak": jnp.full_like(params["leak"], leak)}


def through(config, params, noise, rate=1.0):
    """What is sent, as it goes on air, and the clip that arrives with ``noise`` added to it."""
    scheme = Pvsc(config)
    encoded = encode(scheme, params, Source(CLIP), jax.random.key(2), {"rate": rate})
    sent = scheme.modulate(params, encoded, POINT)
    symbols = sent.signal.private.symbols
    received = Received(symbols + noise[:, :, : symbols.shape[2]], jnp.full(symbols.shape, 0.1))
    return encoded.mask, symbols, scheme.decode(params, received, sent.side, POINT).data


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(3)
    return np.complex64(np.sqrt(0.05) * (rng.normal(size=(1, 1, 192, 4)) + 1j * rng.normal(size=(1, 1, 192, 4))))


def test_without_leak_and_with_every_chunk_sent_frames_are_coded_by_themselves_bit_for_bit(noise):
    @jax.jit
    def made(noise):
        return [through(c, params_of(leak), noise) for c, leak in ((ALL, 0.0), (INTRA, 0.0), (ALL, 0.5))]

    (mask, symbols, clip), (_, alone, clip_alone), (_, leaking, clip_leaking) = jax.device_get(made(noise))
    assert mask.all() and symbols.shape == (1, 1, 192, 4)
    np.testing.assert_array_equal(symbols, alone)
    np.testing.assert_array_equal(clip, clip_alone)
    np.testing.assert_array_equal(leaking[:, :, :48], alone[:, :, :48])  # the first frame refers to none
    assert np.abs(leaking - alone)[:, :, 48:].max() > 0.1 and np.abs(clip_leaking - clip_alone)[:, :, 1:].max() > 0.05


@pytest.mark.slow
def test_operation_by_operation_it_is_what_the_program_does(noise):
    params = params_of(0.5)
    compiled = jax.jit(lambda noise: through(FEW, params, noise))(noise)
    mask, symbols, clip = through(FEW, params, noise)
    np.testing.assert_array_equal(mask, compiled[0])
    np.testing.assert_allclose(symbols, compiled[1], atol=1e-5)
    # A rounding error may put a feature on the next step of 2^-10.
    np.testing.assert_allclose(clip, compiled[2], atol=2e-3)
    assert np.asarray(mask).any() and not np.asarray(mask).all()


@pytest.mark.slow
def test_gradients_of_four_frames_are_the_networks_alone_and_finite_without_a_budget_and_with_all_of_it(noise):
    config = dataclasses.replace(FEW, network="tiny")
    params = params_of(0.5) | {"network": Pvsc(config).init(jax.random.key(0))["network"]}
    rng = np.random.default_rng(0)
    params["network"] = jax.tree.map(lambda a: jnp.float32(0.3 * rng.normal(size=a.shape)), params["network"])

    @jax.jit
    def gradients(params, rates):
        loss = lambda params, rate: jnp.mean((through(config, params, noise, rate)[2] - CLIP) ** 2)  # noqa: E731
        return jax.vmap(jax.grad(loss), in_axes=(None, 0))(params, rates)

    found = jax.device_get(gradients(params, jnp.array([0.0, 1.0])))
    of_network = jax.tree.leaves(found.pop("network"))
    assert all(np.isfinite(leaf).all() for leaf in of_network)
    of_none, of_all = np.array([np.abs(leaf).reshape(2, -1).max(1) for leaf in of_network]).T
    assert of_none.any() and of_all.all()
    # The linear codec before it stays as it was fitted.
    assert not any(leaf.any() for leaf in jax.tree.leaves(found))
