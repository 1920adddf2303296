"""Between delay-Doppler and time-frequency, and what Doppler does to subcarriers."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.paths import bessel_j0
from lvm_mtc.phy.resource_grid import ResourceGrid


def isfft(x: jax.Array) -> jax.Array:
    """Delay-Doppler to time-frequency, ``X_tf = F_M X_dd F_N^H``, unitary; subcarriers ascend, as in ``ofdm_modulate``.

    Args:
        x: ``[..., N Dopplers, M delays, num_streams]`` complex.

    Returns:
        ``[..., N symbols, M subcarriers, num_streams]``.
    """
    return jnp.fft.fftshift(jnp.fft.fft(jnp.fft.ifft(x, axis=-3, norm="ortho"), axis=-2, norm="ortho"), axes=-2)


def sfft(x: jax.Array) -> jax.Array:
    """Inverse of :func:`isfft`."""
    return jnp.fft.fft(jnp.fft.ifft(jnp.fft.ifftshift(x, axes=-2), axis=-2, norm="ortho"), axis=-3, norm="ortho")


def interference_power(max_doppler: ArrayLike, grid: ResourceGrid) -> jax.Array:
    """Power, of 1, that Doppler moves from a subcarrier to the others: ``1 - E|mean over a symbol of h(t)|^2``.

    For the classical spectrum, all M subcarriers in use; near 0 it is ``(pi max_doppler M T_s)^2 / 6`` (Li & Cimini
    2001). ``max_doppler`` is in Hz, of any shape; the result has that shape.
    """
    m = grid.fft_size
    lags = np.arange(m)
    weights = np.where(lags == 0, m, 2.0 * (m - lags)) / m**2
    angular = 2 * jnp.pi * jnp.asarray(max_doppler, jnp.result_type(float)) * grid.sample_duration
    gone = 1 - bessel_j0(angular[..., None] * jnp.asarray(lags, angular.dtype).reshape((1,) * angular.ndim + (m,)))
    return jnp.sum(gone * jnp.asarray(weights, angular.dtype).reshape((1,) * angular.ndim + (m,)), axis=-1)
