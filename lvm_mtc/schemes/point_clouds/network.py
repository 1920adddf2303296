"""Networks of the learned codec: groups of points to tokens, and blocks of vector attention among neighbouring tokens.

Tokens are a row of a grid one token high, so that blocks can be told the SNR as the codecs of pictures are.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.conditioned import INIT, Modulated
from lvm_mtc.models.point_geometry import nearest_places, take_points
from lvm_mtc.models.products import Dense

_GROUP_WIDTHS = (32, 64)
_ZERO = nn.initializers.zeros
_RESIDUAL = nn.initializers.variance_scaling(0.25, "fan_in", "normal")


class SetAbstraction(nn.Module):
    """Tokens ``[n, num_tokens, width]`` of groups of points around centres, whatever their order.

    Source: Qi, Yi, Su, Guibas, PointNet++ (2017).
    """

    width: int

    @nn.compact
    def __call__(self, groups: jax.Array, centres: jax.Array) -> jax.Array:
        """``groups [n, num_tokens, neighbours, 3]``, relative to the centres and the radius; ``centres [n, M, 3]``."""
        for number, width in enumerate(_GROUP_WIDTHS):
            groups = nn.gelu(Dense(width, kernel_init=INIT, name=f"group{number}")(groups))
        of_group = Dense(self.width, kernel_init=INIT, name="group")(groups).max(axis=-2)
        where = nn.gelu(Dense(self.width, kernel_init=INIT, name="where")(centres))
        return Dense(self.width, kernel_init=INIT, name="token")(jnp.concatenate([of_group, where], axis=-1))


class VectorAttention(nn.Module):
    """Each token looks at its nearest ones, each feature with weights of its own.

    y_i = sum_j softmax_j(gamma(q_i - k_j + d_ij)) * (v_j + d_ij), where d_ij depends on how the centres lie.

    Attributes:
        neighbours: How many tokens each looks at.

    Source: Zhao, Jiang, Jia, Torr, Koltun, Point Transformer (2021).
    """

    neighbours: int

    @nn.compact
    def __call__(self, x: jax.Array, centres: jax.Array) -> jax.Array:
        """Maps ``[n, num_tokens, width]`` to its own shape; ``centres [n, num_tokens, 3]``."""
        width, near = x.shape[-1], min(self.neighbours, x.shape[-2])
        places, _ = nearest_places(jax.lax.stop_gradient(centres), jax.lax.stop_gradient(centres), near)
        query, key, value = jnp.split(Dense(3 * width, kernel_init=INIT, name="qkv")(x), 3, axis=-1)
        gap = centres[..., None, :] - take_points(centres, places)
        hidden = nn.relu(Dense(width, kernel_init=INIT, name="where_in")(gap))
        where = Dense(width, kernel_init=INIT, name="where_out")(hidden)
        scores = query[..., None, :] - take_points(key, places) + where
        scores = Dense(width, kernel_init=INIT, name="score_out")(
            nn.relu(Dense(width, kernel_init=INIT, name="score_in")(scores))
        )
        return jnp.sum(nn.softmax(scores, axis=-2) * (take_points(value, places) + where), axis=-2)


class PointBlock(nn.Module):
    """Vector attention, then an MLP, each behind a norm that the condition scales, and added to its input."""

    neighbours: int

    @nn.compact
    def __call__(self, x: jax.Array, centres: jax.Array, condition: jax.Array) -> jax.Array:
        """Maps ``[n, num_tokens, width]`` to its own shape; ``condition [n, features]``."""
        width = x.shape[-1]
        y = Modulated(name="before")(x[:, None], condition)[:, 0]
        y = VectorAttention(self.neighbours, name="attention")(y, centres)
        x = x + Dense(width, kernel_init=_RESIDUAL, name="out")(y)
        y = Modulated(name="between")(x[:, None], condition)[:, 0]
        y = nn.gelu(Dense(2 * width, kernel_init=INIT, name="up")(y))
        return x + Dense(width, kernel_init=_RESIDUAL, name="down")(y)


class Proposer(nn.Module):
    """An encoder: what each axis of each slot of each token asks for, ``[n, num_tokens, outputs]``; starts at zero."""

    depth: int
    neighbours: int
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array, centres: jax.Array, condition: jax.Array) -> jax.Array:
        """``x [n, num_tokens, width]``, their centres, ``condition [n, features]``."""
        for number in range(self.depth):
            x = PointBlock(self.neighbours, name=f"block{number}")(x, centres, condition)
        x = Modulated(name="last")(x[:, None], condition)[:, 0]
        return Dense(self.outputs, kernel_init=_ZERO, name="head")(x)


class Importance(nn.Module):
    """Logarithm of what each slot of each class of tokens is worth, ``[n, num_classes, slots]``; starts at zero."""

    slots: int

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        """``x [n, num_classes, width]``, ``condition [n, features]``."""
        x = Modulated(name="before")(x[:, None], condition)[:, 0]
        x = nn.gelu(Dense(x.shape[-1], kernel_init=INIT, name="hidden")(x))
        return Dense(self.slots, kernel_init=_ZERO, name="head")(x)


class Painter(nn.Module):
    """The decoder behind the linear one: it moves centres and changes what is painted around them.

    Attributes:
        width: Features of a token.
        depth: Blocks.
        neighbours: Of the blocks.
        upsample: Points of a token.
    """

    width: int
    depth: int
    neighbours: int
    upsample: int

    @nn.compact
    def __call__(self, heard: jax.Array, centres: jax.Array, condition: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What to add to centres ``[n, M, 3]`` and to points around them ``[n, M, upsample, 3]``; at first nothing.

        ``heard [n, num_tokens, features]`` are the symbols, ``centres`` what the linear decoder makes of them.
        """
        x = Dense(self.width, kernel_init=INIT, name="heard")(jnp.concatenate([heard, centres], axis=-1))
        for number in range(self.depth):
            x = PointBlock(self.neighbours, name=f"block{number}")(x, centres, condition)
        x = Modulated(name="last")(x[:, None], condition)[:, 0]
        shift = Dense(3, kernel_init=_ZERO, name="shift")(x)
        hidden = nn.gelu(Dense(2 * self.width, kernel_init=INIT, name="hidden")(x))
        spread = Dense(3 * self.upsample, kernel_init=_ZERO, name="spread")(hidden)
        return shift, spread.reshape(*x.shape[:-1], self.upsample, 3)
