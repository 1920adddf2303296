"""A comparator that learns which differences matter: tokens are compared after one linear map."""

import flax.linen as nn
import jax

WIDTH = 16


class ComparatorProjection(nn.Module):
    """Token features to the few numbers that the learned comparator compares.

    At the start the map is a random orthogonal one, which keeps distances on average; trained end to end with a rate
    term, it forgets differences that cost nothing at the UAVs.

    Attributes:
        width: Numbers a token is compared by.
    """

    width: int = WIDTH

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """``[..., embed_dim]`` to ``[..., width]``."""
        start = nn.initializers.orthogonal()
        return nn.Dense(self.width, use_bias=False, kernel_init=start, name="projection")(features)
