"""Named random streams, so that a new consumer of randomness never shifts the draws of another."""

from enum import IntEnum

import jax


class Stream(IntEnum):
    """What a key derived by :func:`stream_key` is for. The numbers are part of every reproducible result."""

    INIT = 0
    DATA = 1
    MASK = 2
    FADING = 3
    CSI = 4
    NOISE = 5
    DROPOUT = 6
    LARGE_SCALE = 7


def stream_key(key: jax.Array, stream: Stream) -> jax.Array:
    """Key of one named stream: ``fold_in(key, stream)``.

    Args:
        key: Typed key (``jax.random.key``), scalar.
        stream: Which stream.

    Returns:
        The key of that stream, scalar.
    """
    return jax.random.fold_in(key, int(stream))
