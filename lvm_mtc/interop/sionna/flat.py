"""Sionna's AWGN and flat fading as pure functions of a key."""

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.interop.sionna import bridge, runtime
from lvm_mtc.interop.sionna.arguments import Draw, describe, precision_of
from lvm_mtc.phy.numerics import align, real_dtype, require_at_least, require_complex


@functools.lru_cache(maxsize=64)
def _awgn(shape: tuple[int, ...], precision: str):
    tf, phy, _ = runtime.load()

    def body(seeds):
        num_keys = seeds.shape[0]
        with runtime.keyed(seeds), runtime.precision(precision):
            add = phy.channel.AWGN(precision=precision)
            noise = add(tf.zeros([num_keys * math.prod(shape)], add.cdtype), tf.ones([], add.rdtype))
        noise = tf.reshape(noise, [num_keys, *shape])
        return tf.math.real(noise), tf.math.imag(noise)

    return bridge.draw_in_graph(body)


def awgn(key: jax.Array, x: jax.Array, no: ArrayLike) -> jax.Array:
    """Add white Gaussian noise, drawn by Sionna's ``AWGN``; differentiable in ``x`` and ``no``.

    Args:
        x: Sent symbols, ``[...]`` complex.
        no: Noise variance per complex dimension, linear, > 0 (the gradient at 0 is infinite); scalar or broadcasting
            against ``[...]``.

    Returns:
        Received symbols, ``[...]`` complex.

    Raises:
        ValueError: if ``x`` is real, ``no`` does not broadcast or is a negative Python number, or ``key`` is no key.
    """
    require_complex("x", x)
    require_at_least("no", no, 0.0)
    scale = jnp.sqrt(align("no", no, x.shape, 0, real_dtype(x)))
    re, im = _awgn(x.shape, precision_of(x.dtype))(bridge.key_bits(key))
    return x + jax.lax.complex(scale * re[0], scale * im[0])


def _kronecker(sionna, sides: tuple[bool, bool], parts, num_links: int):
    """Sionna's Kronecker model from the matrices of each key; None for both without a matrix."""
    tf = sionna.tf
    matrices = iter([tf.complex(re, im) for re, im in zip(parts[::2], parts[1::2], strict=True)])
    by_side = [next(matrices) if side else None for side in sides]
    if not any(sides):
        return None
    # One matrix per key serves all of its links.
    by_side = [m if m is None else m[0] if m.shape[0] == 1 else tf.repeat(m, num_links, 0) for m in by_side]
    return sionna.phy.channel.KroneckerModel(r_tx=by_side[1], r_rx=by_side[0])


def _correlations(rx_corr, tx_corr, num_rx_ant: int, num_tx_ant: int, dtype) -> tuple[tuple[bool, bool], list]:
    """Which sides are correlated, and the real parts that cross the border."""
    parts = []
    for name, corr, size in (("rx_corr", rx_corr, num_rx_ant), ("tx_corr", tx_corr, num_tx_ant)):
        if corr is None:
            continue
        if corr.shape != (size, size):
            raise ValueError(f"{name} must have shape {(size, size)}, got {corr.shape}")
        corr = jnp.asarray(corr, dtype)[None]
        parts += [jnp.real(corr), jnp.imag(corr)]
    return (rx_corr is not None, tx_corr is not None), parts


@functools.lru_cache(maxsize=64)
def _flat(draw: Draw, sides: tuple[bool, bool]):
    sionna = runtime.load()
    tf = sionna.tf

    def body(seeds, *corr):
        num_keys = seeds.shape[0]
        with runtime.keyed(seeds), runtime.precision(draw.precision):
            options = {"spatial_corr": _kronecker(sionna, sides, corr, draw.num_links), "precision": draw.precision}
            generate = sionna.phy.channel.GenerateFlatFadingChannel(draw.num_tx_ant, draw.num_rx_ant, **options)
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
        batch_shape: Leading axes; the last one holds the coherence blocks.
        rx_corr: Kronecker model: E[H H^H] / num_tx_ant, Hermitian positive definite with unit diagonal,
            ``[num_rx_ant, num_rx_ant]``, or None for I.
        tx_corr: E[H^H H] / num_rx_ant, ``[num_tx_ant, num_tx_ant]``, or None for I.

    Returns:
        ``h [*batch_shape, num_rx_ant, num_tx_ant]``, E|h|^2 = 1.

    Raises:
        ValueError: on a bad antenna count, a real dtype, correlation matrices that do not fit, or no key.
    """
    draw = describe(batch_shape, None, num_rx_ant, num_tx_ant, dtype)
    sides, corr = _correlations(rx_corr, tx_corr, num_rx_ant, num_tx_ant, dtype)
    h_re, h_im = _flat(draw, sides)(bridge.key_bits(key), *corr)
    return jax.lax.complex(h_re, h_im).reshape(*batch_shape, num_rx_ant, num_tx_ant)
