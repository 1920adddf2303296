"""The border of split learning: gradients of the parts are those of the whole, over a link too; noise; the ledger."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.lora import Lora
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.training.split import Split, Traffic, over_the_air, split_scheme

pytestmark = pytest.mark.usefixtures("fast_compile")


def close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.slow
def test_gradients_through_the_border_are_those_of_the_whole_scheme():
    """Adapters of the encoder with the client, the whole decoder with the server, over Rayleigh fading at 5 dB."""
    scheme = LvmMtc(LvmMtcConfig(variant="linear", image_size=16, patch_size=8, num_symbols=4))
    base = scheme.init(jax.random.key(0))
    lora = Lora(rank=2, targets=("(encoder/linear_path|channel_encoder/linear)/kernel",))
    front = lora.init(jax.random.key(1), base)
    front = jax.tree.map(lambda leaf: leaf + 0.05, front)
    link, point = LinkConfig(num_tx_ant=2, num_rx_ant=2), OperatingPoint(5.0)
    images = jax.random.uniform(jax.random.key(2), (3, 1, 16, 16, 3))
    source = Source(images, {"loc": jnp.full((3, 1, 4), 8.0)})
    key = jax.random.key(3)

    def loss(estimate, source):
        return jnp.mean((estimate.data - source.data) ** 2), {}

    split = split_scheme(scheme, link, point, loss, front=lambda adapters: lora.merge(base, adapters))

    def whole(front, back):
        return split.back(back, split.front(front, source, jax.random.clone(key))[0], source)[0]

    @jax.jit
    def both(front, back):
        crossing, traffic = split.up(front, source, jax.random.clone(key))
        (value, _), by_back, by_crossing = split.serve(back, crossing, source)
        parts = value, split.down(front, source, jax.random.clone(key), by_crossing), by_back
        return parts, jax.value_and_grad(whole, (0, 1))(front, back), traffic, by_crossing

    (value, by_front, by_back), (wanted, (whole_front, whole_back)), traffic, by_crossing = both(front, base)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    close(by_front, whole_front, atol=1e-6)
    close(by_back, whole_back, atol=1e-6)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(by_front)) > 1e-3
    assert float(traffic.symbols) == 3 * 2 * 4  # of each picture two of four patches, 4 symbols each; no pilots
    assert float(traffic.gradient_numbers) == sum(leaf.size * (1 + jnp.iscomplexobj(leaf)) for leaf in by_crossing)
    assert float(traffic.side_bits) > 0


@pytest.mark.parametrize("cut", [0, 3, 6])
def test_wherever_the_cut_is_gradients_are_those_of_the_whole(cut):
    """Six layers, of which the client holds none, half or all; what crosses meets noise of the key."""
    rng = np.random.default_rng(cut)
    layers = [rng.normal(size=(5, 5)).astype(np.float32) / 2 for _ in range(6)]
    x, key = rng.normal(size=(7, 5)).astype(np.float32), jax.random.key(1)

    def through(layers, x):
        for kernel in layers:
            x = jnp.tanh(x @ kernel)
        return x

    def front(layers, x, key):
        return through(layers, x) + 0.1 * jax.random.normal(key, x.shape), Traffic()

    def back(layers, crossing, x):
        return jnp.mean(through(layers, crossing) ** 2), {}

    def whole(layers):
        return back(layers[cut:], front(layers[:cut], x, jax.random.clone(key))[0], x)[0]

    split = Split(front, back)

    @jax.jit
    def both(layers):
        crossing, _ = split.up(layers[:cut], x, jax.random.clone(key))
        (value, _), by_back, by_crossing = split.serve(layers[cut:], crossing, x)
        by_front = split.down(layers[:cut], x, jax.random.clone(key), by_crossing)
        return (value, by_front + by_back), jax.value_and_grad(whole)(layers)

    got, wanted = both(layers)
    close(got, wanted, atol=1e-6)
    assert min(float(jnp.abs(leaf).max()) for leaf in got[1]) > 1e-4


def test_analogue_derivatives_have_the_noise_that_the_snr_says():
    gradient = jax.random.normal(jax.random.key(0), (300, 200), jnp.complex64) * 0.01
    noise = over_the_air([gradient, gradient.real], 7.0, jax.random.key(1))
    for sent, got in zip((gradient, gradient.real), noise, strict=True):
        ratio = np.mean(np.abs(got - sent) ** 2) / np.mean(np.abs(sent) ** 2) / 10**-0.7
        assert abs(ratio - 1) < 5 * (2 / sent.size) ** 0.5
