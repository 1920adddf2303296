"""What both ends of an analogue codec agree on: how gains are sent, how a decoder learns of the noise."""

import jax
import jax.numpy as jnp

from lvm_mtc import phy

RECEIVERS = ("shrunk", "log_no_eff", "wiener")
GAIN_BITS = 16
_LARGEST_GAIN = float(jnp.finfo(jnp.float16).max)


def unit_power(symbols: jax.Array, active: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Scales all symbols by the gain that gives the active ones power 1.

    The others are not sent, but a soft decision asks what they would have been. A gain that 16 bits could not hold is
    bounded by 65504; the power is then below 1.

    Args:
        symbols: ``[..., num_frames, num_symbols]`` complex.
        active: ``[..., num_frames]`` bool; None: all.

    Returns:
        The symbols, and the gain, ``[...]``; 1 where nothing is active.
    """
    _, gain = phy.normalize_power(symbols, active)
    if active is not None:
        gain = jnp.where(active.any(-1), gain, 1.0)
    gain = jnp.minimum(gain, _LARGEST_GAIN)
    return symbols * gain[..., None, None], gain


def as_sent(gain: jax.Array) -> jax.Array:
    """A number as 16 bits of side information bring it, with the gradient of the number itself.

    What lies beyond 65504 on either side is brought as that.
    """
    rounded = jnp.clip(gain, -_LARGEST_GAIN, _LARGEST_GAIN).astype(jnp.float16).astype(gain.dtype)
    return jax.lax.stop_gradient(rounded) + (gain - jax.lax.stop_gradient(gain))


def wiener(symbols: jax.Array, no_eff: jax.Array, gain: jax.Array, power: jax.Array) -> jax.Array:
    """The scalar L-MMSE estimate of each feature, p / (p + noise) times what was received, in the encoder's scale.

    Args:
        symbols: After the equaliser, ``[..., num_frames, num_symbols]`` complex.
        no_eff: Their error variance, same shape, linear.
        gain: Which the transmitter gave them (:func:`unit_power`), ``[...]``.
        power: Of the features, p, ``[2 num_symbols]``, linear.

    Returns:
        ``[..., num_frames, 2 num_symbols]``.
    """
    gain = gain[..., None, None]
    noise = jnp.repeat(no_eff, 2, axis=-1) / 2 / gain**2
    power = power.reshape((1,) * (noise.ndim - 1) + (-1,))
    return phy.symbols_to_features(symbols) / gain * power / (power + noise)
