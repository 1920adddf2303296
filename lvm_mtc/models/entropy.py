"""A factorised entropy model: how many bits each feature would cost if it were rounded and coded."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

FILTERS = (1, 3, 3, 3, 1)
INIT_SCALE = 10.0
_LEAST = 1e-9


class FactorizedPrior(nn.Module):
    """One learned density for each feature, whatever its neighbours.

    Its distribution function c is a chain of monotone maps, so the probability of the unit interval around z is
    ``p(z) = c(z + 1/2) - c(z - 1/2)``, and those of all integers sum to 1.

    Source: Balle et al., Variational Image Compression with a Scale Hyperprior (2018), Appendix 6.1.
    """

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Bits ``-log2 p`` of each of ``features [..., num_features]``, the same shape."""
        z = features.reshape(-1, features.shape[-1])
        lower, upper = self._logits(jnp.stack([z - 0.5, z + 0.5]))
        # On the side where both are small: differences of numbers close to 1 lose their digits.
        sign = jax.lax.stop_gradient(-jnp.sign(lower + upper))
        likelihood = jnp.abs(nn.sigmoid(sign * upper) - nn.sigmoid(sign * lower))
        return -jnp.log2(jnp.maximum(likelihood, _LEAST)).reshape(features.shape)

    def _logits(self, z: jax.Array) -> jax.Array:
        """Logits of the distribution function, ``[..., num_features]``."""
        width, layers = z.shape[-1], len(FILTERS) - 1
        x = z[..., None]
        for i, (before, after) in enumerate(zip(FILTERS[:-1], FILTERS[1:], strict=True)):
            start = np.log(np.expm1(INIT_SCALE ** (-1 / layers) / after))
            matrix = self.param(f"matrix{i}", nn.initializers.constant(start), (width, after, before))
            bias = self.param(f"bias{i}", nn.initializers.uniform(1.0), (width, after)) - 0.5
            x = jnp.einsum("coi,...ci->...co", nn.softplus(matrix), x, precision="highest")
            x = x + jnp.broadcast_to(bias, x.shape)
            if i < layers - 1:
                factor = jnp.tanh(self.param(f"factor{i}", nn.initializers.zeros, (width, after)))
                x = x + jnp.broadcast_to(factor, x.shape) * jnp.tanh(x)
        return x[..., 0]
