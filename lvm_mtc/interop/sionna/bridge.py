"""The border between JAX and TensorFlow: a TensorFlow body becomes a pure function of the bits of keys.

A body is called as ``body(seeds, *arrays)`` and returns a tuple of real tensors; ``seeds`` are ``[num_keys, 2]`` and
every array, taken or returned, has the leading axis ``num_keys``. It draws through ``runtime.keyed(seeds)``, so that
slice i of what it returns depends on key i and slice i of the arrays only. What comes out is called as
``call(bits, *arrays)`` with ``bits [num_keys, 2]`` int32; ``vmap`` makes the leading axis longer instead of calling the
body again, and gradients end at the arrays.

Compiled functions are kept by their caller (one per static configuration): each of them traces once per shape.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.interop.sionna import runtime

Body = Callable[..., tuple[Any, ...]]
Call = Callable[..., tuple[jax.Array, ...]]


def key_bits(key: jax.Array) -> jax.Array:
    """What identifies a key to TensorFlow, ``[1, 2]`` int32.

    Raises:
        ValueError: if it is not a typed key, or an array of them.
    """
    if not jnp.issubdtype(getattr(key, "dtype", None), jax.dtypes.prng_key) or key.ndim:
        raise ValueError(
            f"key must be one typed key (jax.random.key), got {getattr(key, 'dtype', type(key).__name__)} of shape "
            f"{np.shape(key)}"
        )
    return jax.lax.bitcast_convert_type(jax.random.bits(key, (1, 2), jnp.uint32), jnp.int32)


def _under_vmap(call: Call) -> Call:
    """Fold a mapped axis into the leading axis that all arrays of ``call`` have."""
    folding = jax.custom_batching.custom_vmap(call)

    @folding.def_vmap
    def fold(axis_size, in_batched, *arrays):
        folded = []
        for array, batched in zip(arrays, in_batched, strict=True):
            mapped = array if batched else jnp.broadcast_to(array[None], (axis_size, *array.shape))
            folded.append(mapped.reshape(-1, *mapped.shape[2:]))
        results = folding(*folded)
        num_keys = folded[0].shape[0] // axis_size
        unfolded = tuple(result.reshape(axis_size, num_keys, *result.shape[1:]) for result in results)
        return unfolded, (True,) * len(unfolded)

    return folding


def draw_in_graph(body: Body) -> Call:
    """A body that runs inside compiled programs: XLA must be able to compile it."""
    sionna = runtime.load()
    call = _under_vmap(jax.jit(sionna.jax2tf.call_tf(sionna.tf.function(body, autograph=False))))
    return lambda *arrays: call(*jax.lax.stop_gradient(arrays))


def draw_on_host(
    body: Body, shapes: Callable[[int], tuple[jax.ShapeDtypeStruct, ...]], *, has_no_branches: bool
) -> Call:
    """A body that XLA can't compile, called on the host.

    Args:
        shapes: Shapes and dtypes of what it returns, for a number of keys.
        has_no_branches: Whether TensorFlow can trace it as it is; otherwise Python's branches are rewritten first
            (autograph), which takes several seconds.
    """
    tf = runtime.load().tf
    graph = tf.function(body, autograph=not has_no_branches)

    def on_host(*arrays):
        # A graph is traced once per shape, and what JAX hands over must have the same kind every time.
        return tuple(result.numpy() for result in graph(*(tf.constant(np.asarray(array)) for array in arrays)))

    def call(*arrays):
        return jax.pure_callback(on_host, shapes(arrays[0].shape[0]), *arrays, vmap_method="sequential")

    folding = _under_vmap(jax.jit(call))
    return lambda *arrays: folding(*jax.lax.stop_gradient(arrays))
