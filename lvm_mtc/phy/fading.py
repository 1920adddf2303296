"""Flat fading: unit-power channel matrices of named distributions.

A sampler has the signature ``sampler(key, batch_shape, *, num_rx_ant, num_tx_ant, dtype, ...)`` and returns
``h [*batch_shape, num_rx_ant, num_tx_ant]`` with E|h|^2 = 1 per entry. Its own numbers (a K factor, a shape
parameter) are bound with ``functools.partial`` and may be traced. When the link calls a sampler, the last axis of
``batch_shape`` is that of the coherence blocks. AWGN has no sampler: the link takes ``fading=None``.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.phy.correlation import correlate
from lvm_mtc.phy.keys import require_key
from lvm_mtc.phy.numerics import align, complex_normal, real_of, require_at_least, require_count, safe_sqrt


def _shape(batch_shape: tuple[int, ...], num_rx_ant: int, num_tx_ant: int) -> tuple[int, ...]:
    require_count("num_rx_ant", num_rx_ant)
    require_count("num_tx_ant", num_tx_ant)
    return (*batch_shape, num_rx_ant, num_tx_ant)


def rayleigh(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    num_rx_ant: int,
    num_tx_ant: int,
    dtype: DTypeLike = jnp.complex64,
    rx_corr: jax.Array | None = None,
    tx_corr: jax.Array | None = None,
) -> jax.Array:
    """Rayleigh fading: entries CN(0, 1), i.i.d. or with Kronecker correlation.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes; the last one holds the coherence blocks.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        dtype: Complex dtype.
        rx_corr: Receive correlation ``[num_rx_ant, num_rx_ant]`` or None; see :func:`correlate`.
        tx_corr: Transmit correlation ``[num_tx_ant, num_tx_ant]`` or None.

    Returns:
        ``h [*batch_shape, num_rx_ant, num_tx_ant]``, E|h|^2 = 1.

    Raises:
        ValueError: on a bad antenna count, a real dtype or correlation matrices that do not fit.
    """
    real_of(dtype)
    _shape(batch_shape, num_rx_ant, num_tx_ant)
    h = complex_normal(key, tuple(batch_shape), (num_rx_ant, num_tx_ant), dtype)
    return correlate(h, rx_corr=rx_corr, tx_corr=tx_corr)


def rayleigh_magnitude(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    num_rx_ant: int,
    num_tx_ant: int,
    dtype: DTypeLike = jnp.complex64,
) -> jax.Array:
    """Rayleigh fading without its phase: h = |CN(0, 1)|, real and >= 0, entries i.i.d.

    E h = sqrt(pi) / 2. On one antenna, with a new h in every slot and no equaliser (``"none"``), this is the channel
    that WITT calls Rayleigh.

    Args:
        key: Typed key, scalar; gives the magnitudes of what :func:`rayleigh` draws from it.
        batch_shape: Leading axes; the last one holds the coherence blocks.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        dtype: Complex dtype.

    Returns:
        ``h [*batch_shape, num_rx_ant, num_tx_ant]`` of that dtype with imaginary part 0, E|h|^2 = 1.

    Raises:
        ValueError: on a bad antenna count or a real dtype.

    Source: Yang et al., WITT: a wireless image transmission transformer for semantic communications (2023), its code.
    """
    return jnp.abs(rayleigh(key, batch_shape, num_rx_ant=num_rx_ant, num_tx_ant=num_tx_ant, dtype=dtype)).astype(dtype)


def line_of_sight(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    num_rx_ant: int,
    num_tx_ant: int,
    dtype: DTypeLike = jnp.complex64,
) -> jax.Array:
    """Line-of-sight matrices of two half-wavelength line arrays at drawn angles.

    ``a(theta_rx) a(theta_tx)^H`` with ``a_n(theta) = exp(j pi n sin theta)`` and both angles uniform in [-pi, pi).

    Args:
        key: Typed key, scalar.
        batch_shape: One pair of angles is drawn for each entry.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        dtype: Complex dtype.

    Returns:
        ``[*batch_shape, num_rx_ant, num_tx_ant]``, every entry of magnitude 1.

    Raises:
        ValueError: on a bad antenna count or a real dtype.
    """
    shape = _shape(batch_shape, num_rx_ant, num_tx_ant)
    angles = jax.random.uniform(require_key(key), (2, *batch_shape, 1, 1), real_of(dtype), -jnp.pi, jnp.pi)
    lead = (1,) * len(batch_shape)
    rx_index = jnp.arange(num_rx_ant, dtype=angles.dtype).reshape(*lead, num_rx_ant, 1)
    tx_index = jnp.arange(num_tx_ant, dtype=angles.dtype).reshape(*lead, 1, num_tx_ant)
    phase = jnp.pi * (rx_index * jnp.sin(angles[0]) - tx_index * jnp.sin(angles[1]))
    return jnp.broadcast_to(jax.lax.complex(jnp.cos(phase), jnp.sin(phase)), shape)


def rician_weights(k_factor_db: ArrayLike, dtype: DTypeLike = jnp.float32) -> tuple[jax.Array, jax.Array]:
    """Power of the line-of-sight and of the scattered part, K/(K+1) and 1/(K+1), exact at K = 0 and infinity.

    Args:
        k_factor_db: Rician K factor, dB; minus infinity is Rayleigh.
        dtype: Real dtype.

    Returns:
        Both powers, linear, shape of ``k_factor_db``; they add up to 1.

    Raises:
        ValueError: if a Python number ``k_factor_db`` is NaN.
    """
    require_at_least("k_factor_db", k_factor_db, -math.inf)
    log_k = jnp.asarray(k_factor_db, dtype) * (jnp.log(10.0) / 10.0).astype(dtype)
    return jax.nn.sigmoid(log_k), jax.nn.sigmoid(-log_k)


def rician(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    num_rx_ant: int,
    num_tx_ant: int,
    k_factor_db: ArrayLike,
    los: jax.Array | None = None,
    dtype: DTypeLike = jnp.complex64,
    rx_corr: jax.Array | None = None,
    tx_corr: jax.Array | None = None,
) -> jax.Array:
    """Rician fading of unit power: ``sqrt(K/(K+1)) H_los + sqrt(1/(K+1)) H_scattered``.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes; the last one holds the coherence blocks.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        k_factor_db: Rician K factor, dB, traced; scalar or broadcasting against ``batch_shape`` (for one per UAV and
            all its coherence blocks, ``num_uavs`` by 1). Minus infinity is Rayleigh.
        los: Line-of-sight matrices with entries of magnitude 1, ``[..., num_rx_ant, num_tx_ant]``, broadcasting
            against the result. None: :func:`line_of_sight` with angles that are drawn once per link and stay the same
            for all its coherence blocks (the last axis of ``batch_shape``), because geometry changes slowly.
        dtype: Complex dtype.
        rx_corr: Receive correlation of the scattered part, or None.
        tx_corr: Transmit correlation of the scattered part, or None.

    Returns:
        ``h [*batch_shape, num_rx_ant, num_tx_ant]``, E|h|^2 = 1.

    Raises:
        ValueError: on a bad antenna count, a real dtype, a Python number ``k_factor_db`` that is NaN, or
            ``k_factor_db``, ``los`` or correlation matrices that do not fit.
    """
    shape = _shape(batch_shape, num_rx_ant, num_tx_ant)
    key_scattered, key_angles = jax.random.split(require_key(key))
    if los is None:
        link_shape = (*batch_shape[:-1], 1) if batch_shape else ()
        los = line_of_sight(key_angles, link_shape, num_rx_ant=num_rx_ant, num_tx_ant=num_tx_ant, dtype=dtype)
    try:
        los = jnp.broadcast_to(los, shape).astype(dtype)
    except ValueError as error:
        raise ValueError(f"los of shape {los.shape} does not broadcast to the channel's shape {shape}") from error
    require_at_least("k_factor_db", k_factor_db, -math.inf)
    k_factor_db = align("k_factor_db", k_factor_db, tuple(batch_shape), 2, real_of(dtype))
    power_los, power_scattered = rician_weights(k_factor_db, real_of(dtype))
    scattered = rayleigh(
        key_scattered,
        batch_shape,
        num_rx_ant=num_rx_ant,
        num_tx_ant=num_tx_ant,
        dtype=dtype,
        rx_corr=rx_corr,
        tx_corr=tx_corr,
    )
    amplitudes = [safe_sqrt(power).astype(dtype) for power in (power_los, power_scattered)]
    return amplitudes[0] * los + amplitudes[1] * scattered


def _uniform_phase(key: jax.Array, amplitude: jax.Array) -> jax.Array:
    phase = jax.random.uniform(key, amplitude.shape, amplitude.dtype, -jnp.pi, jnp.pi)
    return jax.lax.complex(amplitude * jnp.cos(phase), amplitude * jnp.sin(phase))


def nakagami(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    num_rx_ant: int,
    num_tx_ant: int,
    m: ArrayLike,
    dtype: DTypeLike = jnp.complex64,
) -> jax.Array:
    """Nakagami-m fading: ``|h|^2 ~ Gamma(m, 1/m)``, uniform phase, entries i.i.d.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes; the last one holds the coherence blocks.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        m: Shape parameter, >= 0.5, finite, scalar, traced. 1 is Rayleigh, a large one hardly fades the magnitude.
        dtype: Complex dtype.

    Returns:
        ``h [*batch_shape, num_rx_ant, num_tx_ant]``, E|h|^2 = 1.

    Raises:
        ValueError: on a bad antenna count, a real dtype or a Python number ``m`` below 0.5 or not finite.
    """
    require_at_least("m", m, 0.5, dtype=real_of(dtype))
    shape = _shape(batch_shape, num_rx_ant, num_tx_ant)
    m = jnp.asarray(m, real_of(dtype))
    key_power, key_phase = jax.random.split(require_key(key))
    log_power = jax.random.loggamma(key_power, m, shape, m.dtype) - jnp.log(m)
    return _uniform_phase(key_phase, jnp.exp(0.5 * log_power))


def fisher_snedecor(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    *,
    num_rx_ant: int,
    num_tx_ant: int,
    m_f: ArrayLike,
    m_s: ArrayLike,
    dtype: DTypeLike = jnp.complex64,
) -> jax.Array:
    """Fisher-Snedecor F fading: Nakagami multipath times inverse-gamma shadowing, uniform phase.

    ``|h|^2 = Gamma(m_f, 1/m_f) (m_s - 1) / Gamma(m_s, 1)``. The multipath is independent for every entry of H; the
    shadowing is common to all antennas of a link and drawn once per entry of ``batch_shape``, that is, per block.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes; the last one holds the coherence blocks.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas.
        m_f: Fading shape, > 0, finite, scalar, traced.
        m_s: Shadowing shape, > 1 for unit power (a finite variance of the power needs > 2), finite, scalar, traced.
        dtype: Complex dtype.

    Returns:
        ``h [*batch_shape, num_rx_ant, num_tx_ant]``, E|h|^2 = 1.

    Raises:
        ValueError: on a bad antenna count, a real dtype, or Python numbers ``m_f`` or ``m_s`` outside their domain.

    Source: Yoo et al., The Fisher-Snedecor F distribution: a simple and accurate composite fading model (2017).
    """
    require_at_least("m_f", m_f, 0.0, strict=True, dtype=real_of(dtype))
    require_at_least("m_s", m_s, 1.0, strict=True, dtype=real_of(dtype))
    shape = _shape(batch_shape, num_rx_ant, num_tx_ant)
    m_f = jnp.asarray(m_f, real_of(dtype))
    m_s = jnp.asarray(m_s, real_of(dtype))
    key_multipath, key_shadow, key_phase = jax.random.split(require_key(key), 3)
    log_multipath = jax.random.loggamma(key_multipath, m_f, shape, m_f.dtype) - jnp.log(m_f)
    log_shadow = jnp.log(m_s - 1) - jax.random.loggamma(key_shadow, m_s, (*batch_shape, 1, 1), m_s.dtype)
    return _uniform_phase(key_phase, jnp.exp(0.5 * (log_multipath + log_shadow)))
