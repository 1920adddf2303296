"""Users that take turns, in the study of superposed ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.sfma.turns import TakingTurns
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.patches import unpatchify
from lvm_mtc.models.pca import PatchPca
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.sfma.scheme import SfmaConfig
from lvm_mtc.schemes.simulate import forward

pytestmark = pytest.mark.usefixtures("fast_compile")

SMALL = dict(image_size=16, patch_size=4, num_symbols=8, width=16)
SCHEME = TakingTurns(SfmaConfig(**SMALL))
LINK = LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)


@pytest.mark.slow
def test_each_has_half_of_the_symbols_and_nothing_of_the_other():
    rng = np.random.default_rng(0)
    params = SCHEME.init(jax.random.key(0))
    basis = np.linalg.qr(rng.normal(size=(48, 48)))[0]
    params |= SCHEME.from_pca(PatchPca(np.full(48, 0.5), basis, 0.02 * 0.8 ** np.arange(48.0)))
    images = jnp.float32(rng.uniform(size=(3, 2, 16, 16, 3)))
    run = jax.jit(forward, static_argnums=(0, 4))

    def sent(params, images, snr_db=60.0):
        return run(SCHEME, params, Source(images), jax.random.key(1), LINK, OperatingPoint(snr_db=jnp.float32(snr_db)))

    out = sent(params, images)
    np.testing.assert_array_equal(out.ledger.channel_uses(), 16 * 8)  # of both together
    np.testing.assert_array_equal(out.ledger.side_information_bits, 2 * 16)
    np.testing.assert_allclose((jnp.abs(out.sent.signal.private.symbols) ** 2).mean((2, 3)), 1, rtol=1e-5)
    features = SCHEME.encode(params, Source(images), None, {}).features
    assert features.shape == (3, 2, 16, 8)
    patches = features @ params["linear"]["decoder"] + params["linear"]["mean"].reshape(1, 1, 1, -1)
    np.testing.assert_allclose(out.estimate.data, unpatchify(patches, 4, (16, 16)), atol=2e-2)
    opened = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(jax.random.key(a.size), a.shape), params)
    opened["linear"] = params["linear"]
    found = sent(opened, images, 5.0).estimate.data
    assert jnp.abs(found - sent(params, images, 5.0).estimate.data).max() > 1e-2
    other = sent(opened, images.at[:, 1].set(images[::-1, 1]), 5.0).estimate.data
    np.testing.assert_allclose(other[:, 0], found[:, 0], atol=1e-5)


def test_wrong_shapes():
    with pytest.raises(ValueError, match="num_symbols must be even for users that take turns"):
        TakingTurns(SfmaConfig(**SMALL | dict(num_symbols=7, num_heads=2)))
