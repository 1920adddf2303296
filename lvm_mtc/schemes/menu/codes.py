"""Analogue codes of one number: n real symbols for a component of unit variance, and what is known of it afterwards.

The first symbol is the number itself, the others are triangle waves of it, each of a shorter period: what one symbol
leaves uncertain the next resolves, as the digits of a number do.

Source: twisted modulation, after Wozencraft and Jacobs, Principles of Communication Engineering (1965), Ch. 8; the
triangle waves and the search for their periods are ours.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Codes(NamedTuple):
    """One code a component; arrays ``[..., J]``, J symbols of each component at most.

    Attributes:
        amplitude: Factor of each symbol, 0 for one that the code does not have.
        period: Of its triangle wave, standard deviations of the component; 0: the number itself.
        phase: Of the wave, periods.
    """

    amplitude: jax.Array
    period: jax.Array
    phase: jax.Array


def triangle(u: jax.Array) -> jax.Array:
    """Wave of period 1: 1 at whole numbers, -1 halfway between them, straight in between."""
    return 1 - 4 * jnp.abs(u - jnp.round(u))


def symbols_of(u: jax.Array, codes: Codes) -> jax.Array:
    """Symbols of components.

    Args:
        u: Components in standard deviations, ``[...]``.
        codes: ``[..., J]``, broadcasting against ``u``.

    Returns:
        Real symbols ``[..., J]``.
    """
    u, codes = jnp.asarray(u)[..., None], Codes(*(_with_axes(a, jnp.ndim(u) + 1) for a in codes))
    wave = triangle(u / jnp.where(codes.period > 0, codes.period, 1.0) + codes.phase)
    return codes.amplitude * jnp.where(codes.period > 0, wave, u)


def posterior(
    received: jax.Array, noise: jax.Array, codes: Codes, grid: jax.Array, log_prior: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of components given their noisy symbols, on a grid.

    Args:
        received: Symbols plus Gaussian noise, ``[..., J]``.
        noise: Variance of the noise of each, linear, > 0, infinite for what did not arrive, ``[..., J]``.
        codes: ``[..., J]``, broadcasting against ``received``.
        grid: Values that a component may have, standard deviations, ``[G]``.
        log_prior: Logarithm of their weights, up to a constant, ``[..., G]``, broadcasting likewise.

    Returns:
        mean: ``[...]``.
        variance: ``[...]``.
    """
    ndim = jnp.ndim(received)
    codes = Codes(*(_with_axes(a, ndim)[..., None, :] for a in codes))
    grid, log_prior = _with_axes(grid, ndim), _with_axes(log_prior, ndim)
    points = jnp.moveaxis(symbols_of(grid, codes), -1, -2)  # [..., J, G]
    log_weight = log_prior - jnp.sum(0.5 / noise[..., None] * (received[..., None] - points) ** 2, axis=-2)
    weight = jax.nn.softmax(log_weight)
    mean = jnp.sum(weight * grid, axis=-1)
    return mean, jnp.maximum(jnp.sum(weight * grid**2, axis=-1) - mean**2, 0)


def _with_axes(array: jax.Array, ndim: int) -> jax.Array:
    """An array with axes of size 1 in front, so that it has ``ndim``; as it is where it has more."""
    array = jnp.asarray(array)
    return array.reshape((1,) * (ndim - array.ndim) + array.shape)
