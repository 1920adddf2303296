"""What the tests of links hold transmissions to (``documented_shapes.hold_links``) does find what has another shape."""

import jax
import jax.numpy as jnp
import pytest

from lvm_mtc.link import Frames, LinkConfig, OperatingPoint, Signal, draw, send


def test_a_shape_that_only_broadcasts_is_found():
    link, frames = LinkConfig(fading="awgn", num_rx_ant=2, num_tx_ant=2), (2, 3, 4)
    signal = Signal(Frames(jnp.ones((*frames, 2), jnp.complex64), jnp.ones(frames, bool)), power=jnp.ones(frames))
    draws = draw(link, jax.random.split(jax.random.key(0), 3), 2, 4, 2)
    assert send(link, signal, draws, OperatingPoint())[0].symbols.shape == (*frames, 2)
    with pytest.raises(AssertionError, match=r"Signal.power has shape \(1, 1, 4\); documented: batch, num_uavs"):
        send(link, signal._replace(power=jnp.ones((1, 1, 4))), draws, OperatingPoint())
