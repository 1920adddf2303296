"""The border between JAX and TensorFlow: a TensorFlow body becomes a pure function of the bits of keys.

A body is called as ``body(seeds, *arrays)`` and returns a tuple of real tensors; ``seeds`` are ``[num_keys, 2]`` and
every array, taken or returned, has the leading axis ``num_keys``. It draws through ``runtime.keyed(seeds)``, so that
slice i of what it returns depends on key i and slice i of the arrays only. ``vmap`` of the resulting function makes
that axis longer instead of calling the body again. Only real numbers cross: TensorFlow's convention for gradients
with respect to complex numbers is the conjugate of JAX's, and crossing with complex ones gives wrong gradients
silently.

Compiled functions are kept by their caller (one per static configuration): each of them traces once per shape.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.interop.sionna import runtime

Body = Callable[..., tuple[Any, ...]]


def key_bits(key: jax.Array) -> jax.Array:
    """What identifies a key to TensorFlow, ``[1, 2]`` int32.

    Args:
        key: Typed key, scalar.

    Raises:
        ValueError: if it is not a typed key, or an array of them.
    """
    if not jnp.issubdtype(getattr(key, "dtype", None), jax.dtypes.prng_key) or key.ndim:
        raise ValueError(
            f"key must be one typed key (jax.random.key), got {getattr(key, 'dtype', type(key).__name__)} of shape "
            f"{np.shape(key)}"
        )
    return jax.lax.bitcast_convert_type(jax.random.bits(key, (1, 2), jnp.uint32), jnp.int32)


def _under_vmap(call: Callable[..., tuple[jax.Array, ...]]) -> Callable[..., tuple[jax.Array, ...]]:
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


def _graph(body: Body) -> Callable[..., tuple[jax.Array, ...]]:
    sionna = runtime.load()
    return _under_vmap(jax.jit(sionna.jax2tf.call_tf(sionna.tf.function(body, autograph=False))))


def draw_in_graph(body: Body) -> Callable[..., tuple[jax.Array, ...]]:
    """A body that runs inside compiled programs; gradients end at its arguments.

    Args:
        body: See the top of this module; XLA must be able to compile it.

    Returns:
        ``call(bits, *arrays)`` with bits ``[num_keys, 2]`` int32 and real arrays ``[num_keys, ...]``.
    """
    call = _graph(body)
    return lambda *arrays: call(*jax.lax.stop_gradient(arrays))


def differentiable(body: Body) -> Callable[..., tuple[jax.Array, ...]]:
    """A body that runs inside compiled programs, differentiable (reverse mode, once) in all its real arrays.

    Args:
        body: See the top of this module; XLA must be able to compile it and its gradient.

    Returns:
        ``call(bits, *arrays)`` with bits ``[num_keys, 2]`` int32 and real arrays ``[num_keys, ...]``.
    """
    tf = runtime.load().tf

    def pull_back(seeds, arrays, cotangents):
        # Replays the draws of the forward pass: they depend on the seeds only.
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            results = body(seeds, *arrays)
        return tuple(tape.gradient(results, arrays, cotangents, unconnected_gradients=tf.UnconnectedGradients.ZERO))

    forward = _graph(body)
    backward: dict[int, Callable] = {}

    @jax.custom_vjp
    def call(bits, *arrays):
        return forward(bits, *arrays)

    def call_forward(bits, *arrays):
        return forward(bits, *arrays), (bits, arrays)

    def call_backward(saved, cotangents):
        bits, arrays = saved
        count = len(arrays)
        if count not in backward:
            backward[count] = _graph(lambda seeds, *rest: pull_back(seeds, rest[:count], rest[count:]))
        gradients = backward[count](bits, *arrays, *cotangents)
        return (np.zeros(bits.shape, jax.dtypes.float0), *gradients)

    call.defvjp(call_forward, call_backward)
    return call


def draw_on_host(
    body: Body, shapes: Callable[[int], tuple[jax.ShapeDtypeStruct, ...]], *, has_no_branches: bool
) -> Callable[..., tuple[jax.Array, ...]]:
    """A body that XLA can't compile, called on the host; gradients end at its arguments.

    Args:
        body: See the top of this module.
        shapes: Shapes and dtypes of what it returns, for a number of keys.
        has_no_branches: Whether TensorFlow can trace it as it is; otherwise Python's branches are rewritten first
            (autograph), which takes several seconds.

    Returns:
        ``call(bits, *arrays)`` with bits ``[num_keys, 2]`` int32 and real arrays ``[num_keys, ...]``.
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
