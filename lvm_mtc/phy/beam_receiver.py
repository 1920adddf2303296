"""What a UAV does with one antenna: measure the gains of the beams, and divide by its own. See ``phy.mu_mimo``."""

import jax
import jax.numpy as jnp

from lvm_mtc.phy.blocks import BlockGrid
from lvm_mtc.phy.csi import pilot_matrix
from lvm_mtc.phy.kernels import transmit
from lvm_mtc.phy.numerics import abs2, standard_deviation, weighted_sum


def before_uavs(value: jax.Array, axes: int) -> jax.Array:
    """``[..., num_uavs]`` to ``[..., 1, num_uavs]`` with that many size-1 axes; scalars stay."""
    return value if value.ndim == 0 else jnp.expand_dims(value, tuple(range(-1 - axes, -1)))


def _equalize(y, gain, noise, *, biased: bool):
    """One symbol from one antenna: ``y = gain x + noise``. Where nothing is heard, 0 with the largest variance."""
    power = abs2(gain)
    divisor = power + noise if biased else power
    silent = power == 0
    safe = jnp.where(silent, 1, divisor)
    matched = jax.lax.complex(
        jnp.real(gain) * jnp.real(y) + jnp.imag(gain) * jnp.imag(y),
        jnp.real(gain) * jnp.imag(y) - jnp.imag(gain) * jnp.real(y),
    )
    worst = jnp.ones_like(power) if biased else jnp.full_like(power, jnp.finfo(power.dtype).max)
    return jnp.where(silent, 0, weighted_sum((1 / safe, matched))), jnp.where(silent, worst, noise / safe)


def measure_gains(gains, noise, error_var, num_pilots: int):
    """Gains of all beams as the UAVs measure them in the demodulation pilots.

    Args:
        gains: The true ones, ``[..., num_blocks, num_uavs, num_beams]``.
        noise: CN(0, 1), ``[..., num_blocks, num_uavs, slots]``: T slots for the private beams, and T for a common one.
        error_var: Of each gain, scalar or ``[..., 1, num_uavs, 1]``.
        num_pilots: T.
    """
    num_uavs, num_beams = gains.shape[-2:]
    pilots = jnp.conj(pilot_matrix(num_uavs, num_pilots, gains.dtype)) * num_pilots**-0.5
    errors = [jnp.einsum("...t,jt->...j", noise[..., :num_pilots], pilots, precision="highest")]
    if num_beams > num_uavs:
        errors.append(jnp.sum(noise[..., num_pilots:], axis=-1, keepdims=True) * num_pilots**-0.5)
    return weighted_sum((1, gains), (standard_deviation(error_var), jnp.concatenate(errors, axis=-1)))


def receive(x, no, common, grid: BlockGrid, gains, gain_hat, gain_error_var, noise, *, equalizer: str):
    """Send and equalise: ``gains`` and ``gain_hat`` ``[..., num_blocks, num_uavs, num_beams]``, true and measured."""
    num_uavs = x.shape[-1]
    if common is not None:
        # The common beam is one more stream, on air in slots where the private ones are not.
        in_common = common[..., None]
        x = jnp.concatenate([jnp.where(in_common, 0, x), jnp.where(in_common, x[..., :1], 0)], axis=-1)
    y = weighted_sum((1, transmit(grid.channel(gains, 2), grid.slots(x))), (1, grid.slots(noise)))
    known = grid.channel(gain_hat, 2)
    private = known[..., :num_uavs]
    gain = jnp.diagonal(private, axis1=-2, axis2=-1)
    unknown = before_uavs(gain_error_var if equalizer == "robust" else jnp.zeros_like(gain_error_var), 2)
    others = 1 - jnp.eye(num_uavs, dtype=no.dtype)
    interference = jnp.sum(abs2(private) * others.reshape((1,) * (private.ndim - 2) + others.shape), axis=-1)
    interference = interference - (num_uavs - 1) * unknown
    if common is not None:
        in_common = grid.slots(common[..., None])
        gain = jnp.where(in_common, known[..., num_uavs], gain)
        interference = jnp.where(in_common, 0, interference)
    x_hat, no_eff = _equalize(y, gain, interference + before_uavs(no, 2) + unknown, biased=equalizer == "paper")
    return tuple(grid.flat(jnp.broadcast_to(array, y.shape)) for array in (y, x_hat, no_eff))
