"""Building blocks of FlashSAM: convolution with norm and activation, and what is made of it.

Blocks map ``[batch, height, width, channels]`` to ``[batch, height, width, features]``; only convolutions have strides,
at which height and width are divided and rounded up. Padding is symmetric, also at stride 2 (Flax's SAME is not), so
that output cell i of a 3x3 convolution of stride 2 is centred on input cell 2 i. Kernel sizes are odd. ``train`` takes
the batch's statistics instead of the running ones.

Source: Khanam and Hussain, YOLOv11: An Overview of the Key Architectural Enhancements (2024), and the references there.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.maps import convolution, shifted_products

BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.97
"""Share of the old running statistics that a step keeps (PyTorch counts the other way: 0.03)."""

CONV_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""Uniform on +-1/sqrt(fan in), as the published detectors of this family start."""


class Styled(nn.Module, kw_only=True):
    """What every block is told by the network around it.

    Attributes:
        folded: The batch norms are part of the convolutions, which then have biases (``flashsam.fold_batch_norm``).
        dtype: Of the computation; parameters are float32.
    """

    folded: bool = False
    dtype: str = "float32"

    @property
    def style(self) -> dict[str, Any]:
        """These fields, for the blocks inside."""
        return {"folded": self.folded, "dtype": self.dtype}


class Conv(nn.Module):
    """Dense convolution with symmetric padding; a bias starts at ``bias_value``."""

    features: int
    kernel_size: int = 1
    stride: int = 1
    use_bias: bool = True
    bias_value: float = 0.0
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", CONV_INIT, shape).astype(self.dtype)
        y = convolution(x.astype(self.dtype), kernel, self.stride, self.kernel_size // 2)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.constant(self.bias_value), (self.features,))
        return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)


class DepthwiseConv(nn.Module):
    """One 3x3 kernel per channel, stride 1."""

    use_bias: bool = True
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", CONV_INIT, (3, 3, 1, x.shape[-1])).astype(self.dtype)
        y = depthwise_conv3x3(x.astype(self.dtype), kernel)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)


@jax.jit
def depthwise_conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlation of every channel with its own of the kernels ``[3, 3, 1, channels]``, zero padding.

    The FLOP counter knows this function by its name.
    """
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return functools.reduce(jnp.add, shifted_products(padded, kernel))


class ConvBlock(Styled):
    """Convolution, batch norm and SiLU (CBS).

    Attributes:
        depthwise: One kernel per channel instead of a dense convolution: 3x3, stride 1, as many features as channels.
        activation: Apply SiLU.
    """

    features: int
    kernel_size: int = 1
    stride: int = 1
    depthwise: bool = False
    activation: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        if self.depthwise:
            if (self.features, self.kernel_size, self.stride) != (x.shape[-1], 3, 1):
                raise ValueError(
                    f"a depthwise block keeps its {x.shape[-1]} channels with kernel_size 3 and stride 1, got features "
                    f"{self.features}, kernel_size {self.kernel_size}, stride {self.stride}"
                )
            x = DepthwiseConv(use_bias=self.folded, dtype=self.dtype, name="conv")(x)
        else:
            style = {"use_bias": self.folded, "dtype": self.dtype}
            x = Conv(self.features, self.kernel_size, self.stride, **style, name="conv")(x)
        if not self.folded:
            norm = {"momentum": BATCH_NORM_MOMENTUM, "epsilon": BATCH_NORM_EPSILON, "dtype": self.dtype}
            x = nn.BatchNorm(use_running_average=not train, **norm, name="norm")(x)
        return nn.silu(x) if self.activation else x


class Bottleneck(Styled):
    """Two 3x3 convolutions, added to the input; ``middle``: channels between them over ``features``."""

    features: int
    middle: float = 0.5

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y = ConvBlock(int(self.features * self.middle), 3, **self.style, name="conv1")(x, train)
        return x + ConvBlock(self.features, 3, **self.style, name="conv2")(y, train)


class C3k(Styled):
    """Two halves, one through ``depth`` bottlenecks of constant width, fused by a 1x1 convolution."""

    features: int
    depth: int = 2

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        half = self.features // 2
        y = ConvBlock(half, **self.style, name="inner")(x, train)
        for i in range(self.depth):
            y = Bottleneck(half, 1.0, **self.style, name=f"block{i}")(y, train)
        bypass = ConvBlock(half, **self.style, name="bypass")(x, train)
        return ConvBlock(self.features, **self.style, name="fuse")(jnp.concatenate([y, bypass], axis=-1), train)


class C3k2(Styled):
    """Splits the channels, refines one half block after block, and merges every stage.

    Attributes:
        depth: Bottlenecks, or :class:`C3k`.
        nested: Blocks are :class:`C3k` instead of :class:`Bottleneck`.
        width: Channels of a half over ``features``.
    """

    features: int
    depth: int = 1
    nested: bool = False
    width: float = 0.5

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        half = int(self.features * self.width)
        stages = list(jnp.split(ConvBlock(2 * half, **self.style, name="split")(x, train), 2, axis=-1))
        for i in range(self.depth):
            block = C3k if self.nested else Bottleneck
            stages.append(block(half, **self.style, name=f"block{i}")(stages[-1], train))
        return ConvBlock(self.features, **self.style, name="merge")(jnp.concatenate(stages, axis=-1), train)


class SPPF(Styled):
    """Pyramid of poolings: three 5x5 maxima one after the other, merged with what they started from."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        stages = [ConvBlock(self.features // 2, **self.style, name="reduce")(x, train)]
        for _ in range(3):
            stages.append(nn.max_pool(stages[-1], (5, 5), (1, 1), ((2, 2), (2, 2))))
        return ConvBlock(self.features, **self.style, name="merge")(jnp.concatenate(stages, axis=-1), train)


class PositionalAttention(Styled):
    """Self-attention over all cells of a map; a depthwise convolution of the values tells positions apart.

    Attributes:
        num_heads: Divides ``features``. Keys have half the width of values.
    """

    features: int
    num_heads: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        style = {"activation": False, **self.style}
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


class AttentionBlock(Styled):
    """Attention and a two-layer map per cell, each added to its input (PSA)."""

    features: int
    num_heads: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = x + PositionalAttention(self.features, self.num_heads, **self.style, name="attention")(x, train)
        y = ConvBlock(2 * self.features, **self.style, name="expand")(x, train)
        return x + ConvBlock(self.features, activation=False, **self.style, name="contract")(y, train)


class C2PSA(Styled):
    """Splits the channels, a multiple of 128, passes one half through ``depth`` attention blocks, and merges."""

    features: int
    depth: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        half = self.features // 2
        bypass, y = jnp.split(ConvBlock(2 * half, **self.style, name="split")(x, train), 2, axis=-1)
        for i in range(self.depth):
            y = AttentionBlock(half, half // 64, **self.style, name=f"block{i}")(y, train)
        return ConvBlock(self.features, **self.style, name="merge")(jnp.concatenate([bypass, y], axis=-1), train)
