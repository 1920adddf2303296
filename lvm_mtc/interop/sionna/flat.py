"""Sionna's AWGN, flat fading and Rayleigh block fading as pure functions of a key."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.interop.sionna import bridge, runtime
from lvm_mtc.interop.sionna.arguments import Draw, describe, precision_of, spacing, split
from lvm_mtc.phy.numerics import align, real_dtype, require_at_least, require_complex, require_count
from lvm_mtc.phy.paths import Paths


@functools.lru_cache(maxsize=64)
def _awgn(precision: str):
    tf, phy, _ = runtime.load()

    def body(seeds, x_re, x_im, no):
        shape = x_re.shape
        x = tf.reshape(tf.complex(x_re, x_im), [-1])
        with runtime.keyed(seeds), runtime.precision(precision):
            y = phy.channel.AWGN(precision=precision)(x, tf.reshape(no, [-1]))
        return tf.reshape(tf.math.real(y), shape), tf.reshape(tf.math.imag(y), shape)

    return bridge.differentiable(body)


def awgn(key: jax.Array, x: jax.Array, no: ArrayLike) -> jax.Array:
    """Add white Gaussian noise: Sionna's ``AWGN``.

    Differentiable in reverse mode in ``x`` and ``no``.

    Args:
        key: Typed key, scalar.
        x: Sent symbols, ``[...]`` complex.
        no: Noise variance per complex dimension, linear, > 0 (the gradient at 0 is infinite); scalar or broadcasting
            against ``[...]``.

    Returns:
        Received symbols, ``[...]`` complex.

    Raises:
        ValueError: if ``x`` is real, ``no`` does not broadcast or is a negative Python number, or ``key`` is no key.
        SionnaUnavailable: if Sionna can't be loaded.
    """
    require_complex("x", x)
    require_at_least("no", no, 0.0)
    no = jnp.broadcast_to(align("no", no, x.shape, 0, real_dtype(x)), x.shape)
    x_re, x_im = split(x)
    y_re, y_im = _awgn(precision_of(x.dtype))(bridge.key_bits(key), x_re[None], x_im[None], no[None])
    return jax.lax.complex(y_re[0], y_im[0])


def _kronecker(sionna, sides: tuple[bool, bool], parts, num_links: int):
    """Sionna's Kronecker model from the matrices of each key; None for both without a matrix."""
    tf = sionna.tf
    matrices = iter([tf.complex(re, im) for re, im in zip(parts[::2], parts[1::2], strict=True)])
    found = [next(matrices) if side else None for side in sides]
    if not any(sides):
        return None
    # One matrix per key serves all of its links.
    found = [m if m is None else m[0] if m.shape[0] == 1 else tf.repeat(m, num_links, 0) for m in found]
    return sionna.phy.channel.KroneckerModel(r_tx=found[1], r_rx=found[0])


def _correlations(rx_corr, tx_corr, num_rx_ant: int, num_tx_ant: int, dtype) -> tuple[tuple[bool, bool], list]:
    """Which sides are correlated, and the real parts that cross the border."""
    parts = []
    for name, corr, size in (("rx_corr", rx_corr, num_rx_ant), ("tx_corr", tx_corr, num_tx_ant)):
        if corr is None:
            continue
        if corr.shape != (size, size):
            raise ValueError(f"{name} must have shape {(size, size)}, got {corr.shape}")
        parts += [part[None] for part in split(jnp.asarray(corr, dtype))]
    return (rx_corr is not None, tx_corr is not None), parts


@functools.lru_cache(maxsize=64)
def _flat_fading(num_rx_ant: int, sides: tuple[bool, bool], precision: str):
    sionna = runtime.load()
    tf = sionna.tf

    def body(seeds, x_re, x_im, no, *corr):
        num_keys, num_links, num_tx_ant = x_re.shape
        x = tf.reshape(tf.complex(x_re, x_im), [-1, num_tx_ant])
        with runtime.keyed(seeds), runtime.precision(precision):
            channel = sionna.phy.channel.FlatFadingChannel(
                num_tx_ant,
                num_rx_ant,
                spatial_corr=_kronecker(sionna, sides, corr, num_links),
                return_channel=True,
                precision=precision,
            )
            y, h = channel(x, tf.reshape(no, [-1]))
        y = tf.reshape(y, [num_keys, num_links, num_rx_ant])
        h = tf.reshape(h, [num_keys, num_links, num_rx_ant, num_tx_ant])
        return tf.math.real(y), tf.math.imag(y), tf.math.real(h), tf.math.imag(h)

    return bridge.differentiable(body)


def flat_fading(
    key: jax.Array,
    x: jax.Array,
    no: ArrayLike,
    *,
    num_rx_ant: int,
    rx_corr: jax.Array | None = None,
    tx_corr: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Send each vector through a Rayleigh channel of its own and add noise: Sionna's ``FlatFadingChannel``.

    Differentiable in reverse mode in ``x``, ``no`` and the correlation matrices.

    Args:
        key: Typed key, scalar.
        x: Sent vectors, ``[..., num_tx_ant]`` complex.
        no: Noise variance per complex dimension, linear, > 0; scalar or broadcasting against ``[...]``.
        num_rx_ant: Receive antennas.
        rx_corr: Kronecker model: E[H H^H] / num_tx_ant, Hermitian positive definite with unit diagonal,
            ``[num_rx_ant, num_rx_ant]``, or None for I.
        tx_corr: E[H^H H] / num_rx_ant, ``[num_tx_ant, num_tx_ant]``, or None for I.

    Returns:
        y: Received vectors, ``[..., num_rx_ant]`` complex.
        h: Channels, ``[..., num_rx_ant, num_tx_ant]`` complex, E|h|^2 = 1.

    Raises:
        ValueError: if ``x`` is real or a scalar, shapes do not fit, ``no`` is a negative Python number, or ``key`` is
            no key.
        SionnaUnavailable: if Sionna can't be loaded.
    """
    require_complex("x", x)
    require_count("num_rx_ant", num_rx_ant)
    require_at_least("no", no, 0.0)
    if x.ndim == 0:
        raise ValueError("x must be [..., num_tx_ant], got a scalar")
    *lead, num_tx_ant = x.shape
    no = jnp.broadcast_to(align("no", no, tuple(lead), 0, real_dtype(x)), lead).reshape(1, -1)
    sides, corr = _correlations(rx_corr, tx_corr, num_rx_ant, num_tx_ant, x.dtype)
    call = _flat_fading(int(num_rx_ant), sides, precision_of(x.dtype))
    x_re, x_im = split(x.reshape(1, -1, num_tx_ant))
    y_re, y_im, h_re, h_im = call(bridge.key_bits(key), x_re, x_im, no, *corr)
    y = jax.lax.complex(y_re, y_im).reshape(*lead, num_rx_ant)
    return y, jax.lax.complex(h_re, h_im).reshape(*lead, num_rx_ant, num_tx_ant)


@functools.lru_cache(maxsize=64)
def _flat(draw: Draw, sides: tuple[bool, bool]):
    sionna = runtime.load()
    tf = sionna.tf

    def body(seeds, *corr):
        num_keys = seeds.shape[0]
        with runtime.keyed(seeds), runtime.precision(draw.precision):
            generate = sionna.phy.channel.GenerateFlatFadingChannel(
                draw.num_tx_ant,
                draw.num_rx_ant,
                spatial_corr=_kronecker(sionna, sides, corr, draw.num_links),
                precision=draw.precision,
            )
            h = generate(num_keys * draw.num_links)
        h = tf.reshape(h, [num_keys, draw.num_links, draw.num_rx_ant, draw.num_tx_ant])
        return tf.math.real(h), tf.math.imag(h)

    return bridge.draw_in_graph(body)


def flat(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    num_rx_ant: int,
    num_tx_ant: int,
    dtype: DTypeLike = jnp.complex64,
    rx_corr: jax.Array | None = None,
    tx_corr: jax.Array | None = None,
) -> jax.Array:
    """Rayleigh fading with Kronecker correlation, drawn by Sionna's ``GenerateFlatFadingChannel``.

    Has the signature of the samplers of ``phy.fading``; no gradient flows to the correlation matrices.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes; the last one holds the coherence blocks.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        dtype: Complex dtype.
        rx_corr: Receive correlation ``[num_rx_ant, num_rx_ant]`` or None; see :func:`flat_fading`.
        tx_corr: Transmit correlation ``[num_tx_ant, num_tx_ant]`` or None.

    Returns:
        ``h [*batch_shape, num_rx_ant, num_tx_ant]``, E|h|^2 = 1.

    Raises:
        ValueError: on a bad antenna count, a real dtype, correlation matrices that do not fit, or no key.
        SionnaUnavailable: if Sionna can't be loaded.
    """
    draw = describe(batch_shape, 1, num_rx_ant, num_tx_ant, dtype)
    sides, corr = _correlations(rx_corr, tx_corr, num_rx_ant, num_tx_ant, dtype)
    h_re, h_im = _flat(draw, sides)(bridge.key_bits(key), *corr)
    return jax.lax.complex(h_re, h_im).reshape(*batch_shape, num_rx_ant, num_tx_ant)


@functools.lru_cache(maxsize=64)
def _rayleigh_block_fading(draw: Draw):
    tf, phy, _ = runtime.load()

    def body(seeds):
        num_keys = seeds.shape[0]
        with runtime.keyed(seeds), runtime.precision(draw.precision):
            model = phy.channel.RayleighBlockFading(1, draw.num_rx_ant, 1, draw.num_tx_ant, precision=draw.precision)
            gains, _ = model(num_keys * draw.num_links, 1)
        gains = tf.reshape(gains, [num_keys, draw.num_links, draw.num_rx_ant, draw.num_tx_ant])
        return tf.math.real(gains), tf.math.imag(gains)

    return bridge.draw_in_graph(body)


def rayleigh_block_fading(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    times: ArrayLike,
    num_rx_ant: int,
    num_tx_ant: int,
    dtype: DTypeLike = jnp.complex64,
) -> Paths:
    """One Rayleigh path without delay that stands still: Sionna's ``RayleighBlockFading``.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes, one independent channel for each entry.
        times: When the channel is sampled, seconds, ``[num_times]``; only their number matters.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        dtype: Complex dtype.

    Returns:
        One path, entries CN(0, 1), the same at all times.

    Raises:
        ValueError: on a bad antenna count, a real dtype, or no key.
        SionnaUnavailable: if Sionna can't be loaded.
    """
    num_times, _ = spacing(times)
    draw = describe(batch_shape, num_times, num_rx_ant, num_tx_ant, dtype)
    re, im = _rayleigh_block_fading(draw._replace(num_times=1))(bridge.key_bits(key))
    gains = jax.lax.complex(re, im).reshape(*batch_shape, 1, 1, num_rx_ant, num_tx_ant)
    gains = jnp.broadcast_to(gains, (*batch_shape, 1, num_times, num_rx_ant, num_tx_ant))
    return Paths(gains, jnp.zeros((*batch_shape, 1), draw.real))
