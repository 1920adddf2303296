"""Small numerical rules that every part of the channel layer keeps: alignment, domains, roots at zero."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.export import is_symbolic_dim
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.phy.keys import require_key

A = TypeVar("A", jax.Array, np.ndarray)
T = TypeVar("T")


def real_dtype(array: jax.Array) -> jnp.dtype:
    """Real dtype of the same precision as ``array`` (complex64 -> float32)."""
    return jnp.finfo(array.dtype).dtype


def floating(value: ArrayLike) -> jax.Array:
    """Any number or array as a floating array: integers in the default precision, the rest in its own."""
    _require_numbers("value", value)
    array = jnp.asarray(value)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(jnp.result_type(float))


def require_complex(name: str, array: jax.Array) -> None:
    """Raise ``ValueError`` unless ``array`` is complex.

    Args:
        name: Name of the argument, for the message.
        array: Any array.

    Raises:
        ValueError: if ``array`` is not complex, or no array.
    """
    if not hasattr(array, "dtype"):
        raise ValueError(f"{name} must be a complex array, got a {type(array).__name__}: make one with jnp.asarray")
    if not jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"{name} must be complex, got {array.dtype} with shape {array.shape}")


def known(value: ArrayLike) -> np.ndarray | None:
    """A value on the host, for a check of it, or None.

    A concrete device array is waited for and copied; under ``jit`` and the like nothing is.

    Args:
        value: Number or array, of JAX or not.

    Returns:
        NumPy array of its shape and dtype. None for a tracer, and for an array of which other processes hold a part.
    """
    if isinstance(value, Tracer) or isinstance(value, jax.Array) and not value.is_fully_addressable:
        return None
    return np.asarray(value)


def require_at_least(
    name: str, value: ArrayLike, low: float, *, strict: bool = False, dtype: DTypeLike | None = None
) -> None:
    """Raise ``ValueError`` if a number that is :func:`known` lies below its domain, or is infinite.

    Args:
        name: Name of the argument, for the message.
        value: A number or array; a tracer passes unchecked.
        low: Lower end of the domain; minus infinity for decibels, which may be infinite.
        strict: Whether ``low`` itself is outside.
        dtype: Real dtype that the number is used in, where it must be finite and in its domain too; None: finite in
            JAX's default precision, and in its domain as given.

    Raises:
        ValueError: if any element is NaN or outside the domain.
    """
    numbers = _require_numbers(name, value)
    if numbers is None:
        return
    used = np.dtype(jnp.result_type(float) if dtype is None else dtype)
    with np.errstate(over="ignore"):
        rounded = numbers.astype(used)
    if low > -np.inf and np.any(np.isposinf(rounded)):
        raise ValueError(f"{name} must be finite in {used}, got {value}")
    if dtype is not None:
        numbers = rounded
    if not np.all(numbers > low if strict else numbers >= low):
        kind = "" if dtype is None else f" in {np.dtype(dtype)}"
        raise ValueError(f"{name} must be {'>' if strict else '>='} {low:g}{kind}, got {value}")


def _require_numbers(name: str, value: Any) -> np.ndarray | None:
    """The value if it is :func:`known`; ``ValueError`` where it holds text or other objects."""
    array = known(value)
    if array is not None and array.dtype.kind in "SUO":
        raise ValueError(f"{name} must be a number or an array of numbers, got {value!r}")
    return array


def require_bits(name: str, value: ArrayLike) -> None:
    """Raise ``ValueError`` if bits that are :func:`known` are anything but zeros and ones.

    Args:
        name: Name of the argument, for the message.
        value: A number or array; a tracer passes unchecked.

    Raises:
        ValueError: with the first value that is no bit.
    """
    array = known(value)
    if array is not None and np.any(wrong := (array != 0) & (array != 1)):
        raise ValueError(f"{name} must be zeros and ones, got {array[wrong][0]}")


def require_count(name: str, value: int, low: int = 1) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer of at least ``low``, or a symbolic one of ``jax.export``.

    Args:
        name: Name of the argument, for the message.
        value: What should be a Python integer.
        low: Smallest allowed value.

    Raises:
        ValueError: if it is not an integer or too small.
    """
    if is_symbolic_dim(value):
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise ValueError(f"{name} must be an integer >= {low}, got {value!r}")


def require_given(name: str, value: T | None) -> T:
    """The value, which must not be None.

    Args:
        name: Name of what was to be given, for the message.
        value: It, or None.

    Raises:
        ValueError: if it is None.
    """
    if value is None:
        raise ValueError(f"{name} is None, and is needed here")
    return value


def lift(array: A, lead: Sequence[Any], tail: int) -> A:
    """Gives an array size-1 axes in front, so that it has ``tail`` axes behind the rank of ``lead``."""
    return array.reshape((1,) * (len(lead) + tail - array.ndim) + array.shape)


def align(name: str, value: ArrayLike, batch_shape: Sequence[Any], extra: int, dtype: DTypeLike) -> jax.Array:
    """Shape a number per example so that it multiplies an array with ``extra`` more axes.

    Args:
        name: Name of the argument, for the message.
        value: Scalar, or an array that broadcasts against ``batch_shape``.
        batch_shape: Leading axes of the array it will meet.
        extra: How many axes follow them.
        dtype: Real dtype of the result.

    Returns:
        A scalar, or an array of rank ``len(batch_shape) + extra`` with size-1 axes where nothing varies.

    Raises:
        ValueError: if ``value`` does not broadcast against ``batch_shape``.
    """
    value = jnp.asarray(value, dtype)
    if value.ndim == 0:
        return value
    try:
        fits = jnp.broadcast_shapes(value.shape, tuple(batch_shape)) == tuple(batch_shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} of shape {value.shape} does not broadcast against the leading axes {batch_shape}")
    return value.reshape((1,) * (len(batch_shape) - value.ndim) + value.shape + (1,) * extra)


def fit(name: str, array: ArrayLike | None, shape: tuple[Any, ...], dtype: DTypeLike) -> jax.Array:
    """Broadcast an array to a shape, in a dtype.

    Args:
        name: Name of the argument, for the message.
        array: What the caller gave.
        shape: What it has to become.
        dtype: Of the result.

    Raises:
        ValueError: if it does not broadcast to ``shape``, or is None.
    """
    array = jnp.asarray(require_given(name, array))
    try:
        return jnp.broadcast_to(array, shape).astype(dtype)
    except ValueError as error:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}") from error


def real_of(dtype: DTypeLike) -> jnp.dtype:
    """The real dtype of a channel's complex one.

    Args:
        dtype: Complex dtype.

    Raises:
        ValueError: on a real one.
    """
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        raise ValueError(f"dtype of a channel must be complex, got {jnp.dtype(dtype)}")
    return jnp.finfo(dtype).dtype


def safe_sqrt(value: jax.Array) -> jax.Array:
    """Square root whose gradient at 0 is defined as 0 (it is infinite), and whose value below 0 is NaN.

    Args:
        value: Real array, >= 0.

    Returns:
        Its square root, same shape.
    """
    at_zero = value == 0
    return jnp.where(at_zero, jnp.zeros_like(value), jnp.sqrt(jnp.where(at_zero, jnp.ones_like(value), value)))


@jax.custom_jvp
def standard_deviation(variance: jax.Array) -> jax.Array:
    """Root of the variance of something drawn, with a gradient at 0 that is NaN.

    What scales a draw by sqrt(s) has no slope in s at s = 0: that of each realisation is infinite, with a random sign,
    while that of the mean over the draws is finite. No number stands for both, so that none is given.

    Args:
        variance: Real array, >= 0.

    Returns:
        Its square root, same shape.
    """
    return jnp.sqrt(variance)


@standard_deviation.defjvp
def _slope_of_standard_deviation(primals, tangents):
    (variance,), (tangent,) = primals, tangents
    root = jnp.sqrt(variance)
    return root, tangent * jnp.where(root == 0, jnp.nan, 0.5 / root)


def abs2(value: jax.Array) -> jax.Array:
    """Squared magnitude, with a gradient that is finite at 0 (that of ``abs`` is not defined there).

    Args:
        value: Complex array.

    Returns:
        ``|value|^2``, real, same shape.
    """
    return jnp.real(value) ** 2 + jnp.imag(value) ** 2


def weighted_sum(*terms: tuple[ArrayLike, jax.Array]) -> jax.Array:
    """Sum of complex arrays with real weights, in real arithmetic.

    Written as ``weight * array``, JAX would promote the weight to a complex number, and the compiled product (or
    quotient) of complex numbers takes several times longer.

    Args:
        terms: Pairs of a real weight and a complex array; they broadcast.

    Returns:
        ``sum(weight * array)``, complex.
    """
    re = sum(weight * jnp.real(array) for weight, array in terms)
    im = sum(weight * jnp.imag(array) for weight, array in terms)
    return jax.lax.complex(re, im)


def complex_normal(
    key: jax.Array, batch_shape: tuple[int, ...], tail: tuple[int, ...], dtype: DTypeLike = jnp.complex64
) -> jax.Array:
    """Entries CN(0, 1), drawn so that the batch is contiguous in memory for every index of the tail.

    The unrolled algebra reads one entry of all matrices after the other, and drawing in that order saves a transpose.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes.
        tail: Axes of one matrix or vector.
        dtype: Complex dtype.

    Returns:
        ``[*batch_shape, *tail]``.
    """
    drawn = jax.random.normal(require_key(key), (*tail, *batch_shape), dtype)
    return jnp.moveaxis(drawn, range(len(tail)), range(-len(tail), 0))


def ceil_div(numerator: int, denominator: int) -> int:
    """Smallest integer not below the quotient."""
    return -(-numerator // denominator)
