"""What 16 bits of side information tell a UAV: the gain of its symbols, and the worst SNR of its group."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from observed import point_of

from lvm_mtc.link import LinkConfig, draw, send, uav_keys
from lvm_mtc.models.receivers import GAIN_BITS, as_sent, unit_power
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import all_knobs, encode

B, K = 3, 2
SCHEME = LvmMtc(LvmMtcConfig(variant="linear", image_size=32, patch_size=8, num_symbols=6))
LINK = LinkConfig(num_rx_ant=2, num_tx_ant=2)


@pytest.mark.usefixtures("fast_compile")
def test_the_worst_snr_is_booked_and_no_other_uav_s_snr_is_known():
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape),
        SCHEME.init(jax.random.key(0)),
    )
    images = jax.random.uniform(jax.random.key(3), (B, K, 32, 32, 3))
    loc = jnp.broadcast_to(jnp.array([14.0, 18.0, 16.0, 12.0]), (B, K, 4))
    own = jnp.array([[3.3, 10.0], [20.0, -4.4], [7.0, 7.0]])
    point = point_of(snr_db=own, epsilon=jnp.float32(0.08))
    point = point._replace(knobs=all_knobs(SCHEME, point.knobs))

    @jax.jit
    def run(params):
        keys = uav_keys(jax.random.key(1), K)
        encoded = encode(SCHEME, params, Source(images, {"loc": loc}), keys, point.knobs)
        sent, alike = (SCHEME.modulate(params, encoded, at) for at in (point, point._replace(snr_db=5.0)))
        received, _ = send(LINK, sent.signal, draw(LINK, jax.random.clone(keys), B, *SCHEME.frames()), point)
        others = point._replace(snr_db=own.at[:, 1].set(0.0))
        sides = sent.side, sent.side, sent.side._replace(worst_snr_db=sent.side.worst_snr_db + 9)
        shown = [
            SCHEME.decode(params, received, side, at).data
            for side, at in zip(sides, (point, others, point), strict=True)
        ]
        return sent, alike.side_bits, shown

    sent, bits_of_one_snr, (first, second, third) = run(params)
    assert sent.signal.public.sent.any(-1).all()
    np.testing.assert_array_equal(sent.side_bits, bits_of_one_snr + GAIN_BITS)
    np.testing.assert_array_equal(sent.side.worst_snr_db, np.float16([3.3, -4.4, 7.0]))
    np.testing.assert_array_equal(first[:, 0], second[:, 0])
    assert not np.allclose(first[:, 0], third[:, 0], atol=1e-3)


def test_numbers_beyond_16_bits_are_bounded():
    numbers = jnp.float32([1e6, -1e9, 65504.0, 3.0, 1e-12])
    np.testing.assert_array_equal(as_sent(numbers), np.float32([65504, -65504, 65504, 3, 0]))
    np.testing.assert_array_equal(jax.grad(lambda x: as_sent(x).sum())(numbers), 1.0)


@pytest.mark.parametrize("size", [1e-30, 1e-8, 1.0, 1e8])
def test_a_gain_fits_16_bits(size):
    symbols = size * jax.random.normal(jax.random.key(0), (4, 6, 8), jnp.complex64)
    scaled, gain = unit_power(symbols)
    assert np.isfinite(as_sent(gain)).all()
    power = np.mean(np.abs(scaled) ** 2, axis=(1, 2))
    np.testing.assert_allclose(
        power, 1.0 if size >= 1 else np.mean(np.abs(65504 * symbols) ** 2, axis=(1, 2)), rtol=1e-4
    )
