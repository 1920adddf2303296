"""Named random streams, so that a new consumer of randomness never shifts the draws of another."""

from enum import IntEnum

import jax
import jax.numpy as jnp

# ``split(key, n)[i]`` is ``fold_in(key, i)``: streams begin where no index of a split can be.
_FIRST_STREAM = 2**31


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
    DEMODULATION = 8


def require_key(key: jax.Array | None) -> jax.Array:
    """The key, if it is a typed one.

    Args:
        key: What the caller gave.

    Raises:
        ValueError: on anything else, such as an integer or the raw numbers of ``jax.random.PRNGKey``.
    """
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        kind = f"{key.dtype} of shape {key.shape}" if key is not None and hasattr(key, "dtype") else repr(key)
        raise ValueError(f"key must be a typed key, use jax.random.key(seed); got {kind}")
    return key


def uav_keys(key: jax.Array, num_uavs: int) -> jax.Array:
    """One key per UAV.

    Args:
        key: Typed key: a scalar, which is split, or what is wanted already.
        num_uavs: How many.

    Returns:
        ``[num_uavs]``.

    Raises:
        ValueError: on another shape, or if ``key`` is not typed.
    """
    if require_key(key).ndim == 0:
        return jax.random.split(key, num_uavs)
    if key.shape != (num_uavs,):
        raise ValueError(f"key must be a scalar or have shape {(num_uavs,)}, got {key.shape}")
    return key


def stream_key(key: jax.Array, stream: Stream) -> jax.Array:
    """Key of one named stream, ``fold_in(key, 2**31 + stream)``, which is none of the keys that ``split`` makes of it.

    Args:
        key: Typed key (``jax.random.key``), scalar.
        stream: Which stream.

    Returns:
        The key of that stream, scalar.

    Raises:
        ValueError: if ``key`` is not a typed key.
    """
    return jax.random.fold_in(require_key(key), _FIRST_STREAM + int(stream))
