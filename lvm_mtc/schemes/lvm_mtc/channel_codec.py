"""The channel codec: tokens to real features that become complex symbols, and back (Eq. 3, 6, 24-26).

Features pair up to symbols along the last axis (even = real part). Power normalisation lies between the encoder and the
channel, the equaliser between the channel and the decoder; neither is a matter of these modules.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class ChannelEncoder(nn.Module):
    """One linear layer, token -> ``2 num_symbols`` real features."""

    num_symbols: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """``[..., embed_dim]`` to ``[..., 2 * num_symbols]``."""
        return nn.Dense(2 * self.num_symbols, kernel_init=nn.initializers.xavier_uniform(), name="linear")(tokens)


class ChannelDecoder(nn.Module):
    """Received features to tokens of width ``embed_dim``, given what the receiver believes of their noise.

    How the noise variance enters: ``"shrunk"``: features / (1 + no_eff), no parameters. ``"log_no_eff"``: the features
    and the logarithm of no_eff, side by side. ``"wiener"``: features in the scale in which the transmitter made them
    (its gain is side information) times p / (p + noise), with p the learned power of each feature: the scalar L-MMSE
    estimator for features of unequal power.
    """

    embed_dim: int
    receiver: str = "shrunk"

    @nn.compact
    def __call__(self, features: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Estimates tokens.

        Args:
            features: ``[..., 2 * num_symbols]``.
            noise: Variance of their errors, same shape, linear: no_eff / 2, in the features' scale.

        Returns:
            tokens: ``[..., embed_dim]``.
            reliability: ``[..., 2 * num_symbols]`` in [0, 1] for ``"wiener"`` (1 = noiseless), else None.
        """
        reliability = None
        if self.receiver == "wiener":
            log_power = self.param("log_power", nn.initializers.zeros, (features.shape[-1],))
            power = jnp.exp(log_power).reshape((1,) * (features.ndim - 1) + (-1,))
            reliability = power / (power + noise)
            features = features * reliability
        elif self.receiver == "log_no_eff":
            features = jnp.concatenate([features, jnp.log(2 * noise[..., ::2])], axis=-1)
        else:
            features = features / (1 + 2 * noise)
        linear = nn.Dense(self.embed_dim, kernel_init=nn.initializers.xavier_uniform(), name="linear")
        return linear(features), reliability


class PowerAllocation(nn.Module):
    """Gain of each feature as a function of the nominal SNR, which both ends know: exp(b t + c t^2), t = dB / 20."""

    num_symbols: int

    @nn.compact
    def __call__(self, snr_db: jax.Array) -> jax.Array:
        """``snr_db [...]`` in dB to amplitude gains ``[..., 2 * num_symbols]``; all 1 at the start and at 0 dB."""
        slope, curve = self.param("allocation", nn.initializers.zeros, (2, 2 * self.num_symbols))
        t = (snr_db / 20.0)[..., None]
        lead = (1,) * (t.ndim - 1) + (-1,)
        return jnp.exp(slope.reshape(lead) * t + curve.reshape(lead) * t**2)
