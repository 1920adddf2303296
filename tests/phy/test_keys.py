"""Keys of named streams against keys that a caller splits off the same key."""

import jax
import numpy as np

from lvm_mtc import phy


def test_no_stream_is_a_split_key():
    key = jax.random.key(7)
    streams = [jax.random.key_data(phy.stream_key(jax.random.clone(key), stream)) for stream in phy.Stream]
    split = jax.random.key_data(jax.random.split(jax.random.clone(key), 2**16))
    everything = np.concatenate([np.stack(streams), split])
    assert len(np.unique(everything, axis=0)) == len(phy.Stream) + 2**16


def test_the_fading_of_a_link_is_not_that_of_a_split_key():
    key = jax.random.key(0)
    x = jax.random.normal(jax.random.key(1), (3, 40, 2)).astype(np.complex64)
    h = phy.joint(jax.random.clone(key), x, no=0.1, num_rx_ant=2).h
    for part in jax.random.split(key, 8):
        assert not np.any(np.isclose(h, phy.rayleigh(part, h.shape[:-2], num_rx_ant=2, num_tx_ant=2)))
