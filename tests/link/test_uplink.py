"""The uplink as a carrier: who is on air when, with what power, and what it costs, under both accesses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import link as links_room
from lvm_mtc.link import Frames, LinkConfig, Mac, OperatingPoint, Signal

B, K, FRAMES, C = 3, 3, 4, 5
FIELDS = dict(num_tx_ant=1, num_rx_ant=4)
BOTH = {access: LinkConfig(**FIELDS, carrier=Mac(access=access)) for access in ("superposed", "orthogonal")}

pytestmark = pytest.mark.usefixtures("fast_compile")


def signal(seed=0):
    """Private frames, of which each device leaves out some."""
    rng = np.random.default_rng(seed)
    symbols = rng.normal(size=(B, K, FRAMES, C, 2)) @ np.array([1, 1j]) / np.sqrt(2)
    return Signal(Frames(jnp.asarray(symbols, jnp.complex64), jnp.asarray(rng.random((B, K, FRAMES)) < 0.7)))


@functools.partial(jax.jit, static_argnums=0)
def through(link, keys, sent, point):
    draws = links_room.draw(link, keys, B, FRAMES, C)
    return links_room.send(link, sent, draws, point), draws


@functools.cache
def outcome(access, snr_db=(12.0, 6.0, 0.0)):
    point = OperatingPoint(snr_db=jnp.broadcast_to(jnp.array(snr_db), (B, K)))
    return through(BOTH[access], jax.random.split(jax.random.key(1), K), signal(), point)


def test_alone_a_device_has_the_snr_of_its_antennas_and_k_times_its_power():
    (received, _), draws = outcome("orthogonal")
    gain = K * 10 ** (np.array([12.0, 6.0, 0.0]) / 10) * np.sum(np.abs(draws.h[:, :, 0, :, 0]) ** 2, axis=-1)
    on_air = np.asarray(signal().private.sent)
    for frame in range(FRAMES):
        for symbol in range(C):
            no_eff = np.asarray(received.no_eff)[:, :, frame, symbol]
            np.testing.assert_allclose(no_eff[on_air[:, :, frame]], 1 / gain[on_air[:, :, frame]], rtol=1e-4)


def test_together_devices_have_the_sinr_of_lmmse_over_those_on_air():
    (received, _), draws = outcome("superposed")
    power = 10 ** (np.array([12.0, 6.0, 0.0]) / 10)
    on_air = np.asarray(signal().private.sent)
    for b in range(B):
        h = np.moveaxis(np.asarray(draws.h, np.complex128)[b, :, 0, :, 0], 0, 1) * np.sqrt(power)
        for frame in range(FRAMES):
            for k in np.flatnonzero(on_air[b, :, frame]):
                others = h[:, [j for j in np.flatnonzero(on_air[b, :, frame]) if j != k]]
                sinr = (h[:, k].conj() @ np.linalg.solve(np.eye(4) + others @ others.conj().T, h[:, k])).real
                np.testing.assert_allclose(received.no_eff[b, k, frame], 1 / sinr, rtol=1e-4)


@pytest.mark.parametrize("access", BOTH)
def test_errors_are_as_large_as_believed(access):
    """Over all symbols on air: the measured error over the believed one, whose spread is that of an exponential."""
    (received, _), _ = outcome(access)
    on_air = np.asarray(signal().private.sent)
    ratio = (np.abs(received.symbols - signal().private.symbols) ** 2 / received.no_eff)[on_air]
    assert abs(ratio.mean() - 1) < 5 / np.sqrt(ratio.size) and ratio.size > 100
    assert not np.any(np.asarray(received.symbols)[~on_air])


def test_equal_uses_hold_a_share_of_the_symbols():
    """K times the slots and uses for the same frames; with each device's share of the frames, the same."""
    sent = signal()
    books = {access: links_room.book(link, sent) for access, link in BOTH.items()}
    on_air = np.asarray(sent.private.sent)
    np.testing.assert_array_equal(books["superposed"].channel_uses(), on_air.sum((1, 2)) * C)
    np.testing.assert_array_equal(books["superposed"].slots, on_air.any(1).sum(1) * C)
    for name in ("slots", "private_uses"):
        np.testing.assert_array_equal(getattr(books["orthogonal"], name), K * getattr(books["superposed"], name))
    frames = Frames(jnp.ones((1, K, 6, C), jnp.complex64), jnp.ones((1, K, 6), bool))
    share = Frames(frames.symbols[:, :, : 6 // K], frames.sent[:, :, : 6 // K])
    for name in ("slots", "private_uses"):
        whole, part = (
            links_room.book(BOTH["superposed"], Signal(frames)),
            links_room.book(BOTH["orthogonal"], Signal(share)),
        )
        np.testing.assert_array_equal(getattr(whole, name), getattr(part, name))
    pilots = LinkConfig(**FIELDS, csi="pilots_ls", carrier=Mac(num_pilots=K, block_length=10))
    assert links_room.book(pilots, Signal(frames)).pilot_uses == np.ceil(6 * C / 7) * K * K


def test_devices_have_channels_of_their_own_keys():
    keys = jax.random.split(jax.random.key(1), K)
    draws = links_room.draw(BOTH["superposed"], keys, B, FRAMES, C)
    fewer = links_room.draw(BOTH["superposed"], jax.random.clone(keys)[:2], B, FRAMES, C)
    np.testing.assert_array_equal(draws.h[:, :2], fewer.h)
    assert draws.h.shape == (B, K, 1, 4, 1) and draws.noise.shape[-1] == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(num_tx_ant=4), r"num_tx_ant must be 1 under topology 'mac' \(one antenna a device\), got 4"),
        (dict(access="random"), "Mac.access 'random' is unknown; known: superposed, orthogonal"),
        (dict(fading="awgn"), "topology 'mac' needs flat fading, got 'awgn'"),
        (dict(equalizer="none"), "equalizer 'none' does not go with topology 'mac'"),
        (
            dict(fading="exponential"),
            "topology 'mac' needs a single carrier, got fading 'exponential'|frequency-selective",
        ),
        (dict(waveform="ofdm"), "topology 'mac' needs a single carrier, got fading 'rayleigh' on a resource grid"),
        (dict(precoding="zf"), "LinkConfig.precoding 'zf' goes with carrier 'mu_mimo', not with 'mac'"),
    ],
)
def test_what_does_not_fit_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        LinkConfig.of(**(dict(topology="mac", **FIELDS) | fields))
