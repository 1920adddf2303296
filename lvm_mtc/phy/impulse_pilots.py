"""A channel's taps at every sample of a grid, estimated from impulses in its pilot symbols.

In a pilot symbol every antenna sends one impulse, ``fft_size // num_tx_ant`` samples behind that of the one before,
with power 1 on every subcarrier. An impulse is answered by the taps of its antenna one after the other, each at one
sample: what is heard there is the tap at that very time, with error variance ``no / fft_size``, however fast it turns.
From the pilot symbols of its grid each tap is then estimated at all other times by itself (a Wiener filter in time),
under a known delay profile of whole samples and the classical Doppler spectrum.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.phy.paths import bessel_j0
from lvm_mtc.phy.resource_grid import ResourceGrid


def impulse_rows(grid: ResourceGrid, num_taps: int, num_tx_ant: int) -> np.ndarray:
    """Sample behind the prefix at which each tap of each antenna is heard, ``[num_taps, num_tx_ant]``.

    Raises:
        ValueError: if the taps of all antennas do not fit into a symbol, or a subcarrier is unused.
    """
    grid.require_pilots()
    if num_taps * num_tx_ant > grid.fft_size or grid.num_carriers < grid.fft_size:
        raise ValueError(
            f"impulses of {num_tx_ant} antennas over {num_taps} taps need {num_taps * num_tx_ant} samples and all "
            f"subcarriers, got fft_size {grid.fft_size} with {grid.num_carriers} used"
        )
    return np.arange(num_taps)[:, None] + np.arange(num_tx_ant) * (grid.fft_size // num_tx_ant)


def impulse_spectrum(grid: ResourceGrid, num_tx_ant: int) -> np.ndarray:
    """What each antenna sends on each subcarrier of a pilot symbol, ``[fft_size, num_tx_ant]``, of magnitude 1."""
    places = impulse_rows(grid, 1, num_tx_ant)[0]
    return np.exp(-2j * np.pi * np.outer(grid.carriers - grid.fft_size // 2, places) / grid.fft_size)


class TapFilter(NamedTuple):
    """What estimates the taps of a grid, for any number of links ``[...]``.

    Attributes:
        correlation: Of the times of data with those of the pilots, by how many samples a datum lies behind the one of
            its pilot in the symbol, ``[num_data_symbols, ..., 2 fft_size - 1, num_pilots]``.
        inverse: Of the covariance of a tap's observations, ``[..., num_taps, num_pilots, num_pilots]``.
        powers: Of the taps, ``[num_taps]``.
        rows: :func:`impulse_rows`.
    """

    correlation: jax.Array
    inverse: jax.Array
    powers: jax.Array
    rows: np.ndarray


def tap_filter(
    grid: ResourceGrid, powers: jax.Array, max_doppler: jax.Array, no: jax.Array, num_tx_ant: int
) -> TapFilter:
    """The filter for taps at delays of 0, 1, ... samples; ``max_doppler``, Hz, and ``no`` are scalars or ``[...]``."""
    m, pilots = grid.fft_size, np.asarray(grid.pilot_symbols)
    angular = (2 * jnp.pi * max_doppler)[..., None, None]
    behind = np.arange(1 - m, m)[:, None] * grid.sample_duration

    def correlation(lags: np.ndarray) -> jax.Array:
        return bessel_j0(angular * jnp.asarray(lags, angular.dtype).reshape((1,) * (angular.ndim - 2) + lags.shape))

    of_data = [correlation(behind + (symbol - pilots) * grid.symbol_duration) for symbol in grid.data_symbols]
    among = correlation((pilots[:, None] - pilots) * grid.symbol_duration)[..., None, :, :]
    eye = jnp.eye(len(pilots), dtype=among.dtype)
    strength = powers.astype(among.dtype)[:, None, None]
    lead = (1,) * (among.ndim - 3)
    gram = strength.reshape(*lead, *strength.shape) * among
    gram = gram + (no / m)[..., None, None, None] * eye.reshape(*lead, 1, *eye.shape)
    rows = impulse_rows(grid, powers.shape[0], num_tx_ant)
    return TapFilter(jnp.stack(of_data), jnp.linalg.inv(gram), powers, rows)


def estimate_taps(observed: jax.Array, correlation: jax.Array, taps: TapFilter) -> tuple[jax.Array, jax.Array]:
    """Taps at all samples of a symbol of data.

    Args:
        observed: What the pilots say, ``[..., num_pilots, num_taps, num_tx_ant, num_rx_ant]`` complex.
        correlation: Of this symbol, ``[..., 2 fft_size - 1, num_pilots]``.
        taps: The filter.

    Returns:
        mean: ``[..., num_taps, fft_size, num_rx_ant, num_tx_ant]``.
        variance: Of the errors of all taps and antennas together, ``[..., fft_size]``.
    """
    m = (correlation.shape[-2] + 1) // 2
    behind = np.arange(m)[:, None, None] - taps.rows + m - 1
    near = correlation[..., behind, :] * taps.powers[:, None, None].reshape((1,) * (correlation.ndim - 1) + (-1, 1, 1))
    weights = jnp.einsum("...mlaq,...lqk->...mlak", near, taps.inverse, precision="highest")
    parts = [
        jnp.einsum("...mlak,...klar->...lmra", weights, part, precision="highest")
        for part in (jnp.real(observed), jnp.imag(observed))
    ]
    explained = jnp.sum(weights * near, axis=(-3, -2, -1))
    return jax.lax.complex(*parts), taps.rows.shape[1] * jnp.sum(taps.powers) - explained
