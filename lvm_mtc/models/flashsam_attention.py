"""The attention stage of FlashSAM, C2PSA. Fields and arguments are as in models/flashsam_blocks.py.

Source: Khanam and Hussain, YOLOv11: An Overview of the Key Architectural Enhancements (2024), and the references there.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.flashsam_blocks import ConvBlock


class PositionalAttention(nn.Module):
    """Self-attention over all cells of a map; a depthwise convolution of the values tells positions apart.

    Attributes:
        features: Channels of input and output.
        num_heads: Heads; divides ``features``. Keys have half the width of values.
        folded: See the module.
        dtype: See the module.
    """

    features: int
    num_heads: int
    folded: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps ``[batch, height, width, features]`` to its own shape."""
        style = {"activation": False, "folded": self.folded, "dtype": self.dtype}
        batch, height, width, _ = x.shape
        value_dim = self.features // self.num_heads
        key_dim = value_dim // 2
        qkv = ConvBlock(self.features + 2 * self.num_heads * key_dim, **style, name="qkv")(x, train)
        qkv = qkv.reshape(batch, height * width, self.num_heads, 2 * key_dim + value_dim)
        query, key, value = jnp.split(qkv, (key_dim, 2 * key_dim), axis=-1)
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) * key_dim**-0.5
        weights = jax.nn.softmax(scores.astype(jnp.promote_types(self.dtype, jnp.float32)), axis=-1).astype(self.dtype)
        attended = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(batch, height, width, self.features)
        value = value.reshape(batch, height, width, self.features)
        position = ConvBlock(self.features, 3, depthwise=True, **style, name="position")(value, train)
        return ConvBlock(self.features, **style, name="proj")(attended + position, train)


class AttentionBlock(nn.Module):
    """Attention and a two-layer map per cell, each added to its input (PSA).

    Attributes:
        features: Channels of input and output.
        num_heads: Attention heads.
        folded: See the module.
        dtype: See the module.
    """

    features: int
    num_heads: int
    folded: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps ``[batch, height, width, features]`` to its own shape."""
        style = {"folded": self.folded, "dtype": self.dtype}
        x = x + PositionalAttention(self.features, self.num_heads, **style, name="attention")(x, train)
        y = ConvBlock(2 * self.features, **style, name="expand")(x, train)
        return x + ConvBlock(self.features, activation=False, **style, name="contract")(y, train)


class C2PSA(nn.Module):
    """Splits the channels, passes one half through attention blocks, and merges.

    Attributes:
        features: Channels of input and output, a multiple of 128.
        depth: Attention blocks.
        folded: See the module.
        dtype: See the module.
    """

    features: int
    depth: int = 1
    folded: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps ``[batch, height, width, features]`` to its own shape."""
        style = {"folded": self.folded, "dtype": self.dtype}
        half = self.features // 2
        bypass, y = jnp.split(ConvBlock(2 * half, **style, name="split")(x, train), 2, axis=-1)
        for i in range(self.depth):
            y = AttentionBlock(half, half // 64, **style, name=f"block{i}")(y, train)
        return ConvBlock(self.features, **style, name="merge")(jnp.concatenate([bypass, y], axis=-1), train)
