"""Blocks of small codecs on a grid of tokens that are told a condition, such as the SNR, before each sublayer.

Source: scale and shift behind a norm as in Peebles and Xie, Scalable Diffusion Models with Transformers (2023);
relative position bias and windows as in Liu et al., Swin Transformer (2021).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.products import Dense, convolve3
from lvm_mtc.models.windows import from_windows, relative_index, to_windows

SNR_CENTRE_DB, SNR_SCALE_DB = 7.0, 7.0
INIT = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
_RESIDUAL_INIT = nn.initializers.variance_scaling(0.25, "fan_in", "normal")
_EPSILON = 1e-5


class Sizes(NamedTuple):
    """Of a stack of blocks.

    Attributes:
        width: Features of a token inside.
        blocks: ``"convolution"`` or ``"attention"`` each.
        num_heads: Heads of the attention; divides the width.
        mlp_ratio: Hidden features of the attention blocks' MLP over ``width``.
        window: Side of the attention's windows, tokens; divides rows and columns.
        condition: Features of the condition.
    """

    width: int
    blocks: tuple[str, ...]
    num_heads: int = 4
    mlp_ratio: int = 2
    window: int = 8
    condition: int = 32


def require_windows(owner: str, image_size: int, side: int, sizes: str) -> None:
    """Raises ``ValueError`` unless windows of ``side`` pixels, those of the sizes of a name, tile the pictures."""
    if image_size % side:
        raise ValueError(
            f"{owner}.image_size {image_size} is no multiple of the {side} pixels of a window of {sizes!r}"
        )


def snr_features(snr_db: jax.Array) -> jax.Array:
    """Powers 0 to 3 of (snr - 7 dB) / 7 dB, ``[batch]`` to ``[batch, 4]``."""
    t = (snr_db - SNR_CENTRE_DB) / SNR_SCALE_DB
    return jnp.stack([jnp.ones_like(t), t, t**2, t**3], axis=-1)


def normalize(x: jax.Array) -> jax.Array:
    """Mean 0 and variance 1 over the last axis."""
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + _EPSILON)


class Modulated(nn.Module):
    """Normalises tokens, then scales and shifts them as the condition asks; starts as the normalisation alone."""

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        """Maps ``[batch, rows, columns, width]`` to its own shape; ``condition [batch, condition]``."""
        change = Dense(2 * x.shape[-1], kernel_init=nn.initializers.zeros, name="change")(condition)
        scale, shift = jnp.split(change[:, None, None], 2, axis=-1)
        # Behind the barrier its gradient is computed once, and not in each of the sums that need it.
        return jax.lax.optimization_barrier(normalize(x) * (1 + scale) + shift)


class Gate(nn.Module):
    """Scales each feature by the exponential of what the condition says; starts as the identity."""

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        """Maps ``[batch, rows, columns, features]`` to its own shape."""
        log_gain = Dense(x.shape[-1], kernel_init=nn.initializers.zeros, name="log_gain")(condition)
        return x * jnp.exp(log_gain)[:, None, None]


class ConvolutionBlock(nn.Module):
    """3 x 3 convolution, GELU, and a product at each position, added to the input."""

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        """Maps ``[batch, rows, columns, width]`` to its own shape."""
        width = x.shape[-1]
        kernel = self.param("mix", INIT, (9 * width, width))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        y = convolve3(Modulated(name="before")(x, condition), kernel, bias)
        return x + Dense(width, kernel_init=_RESIDUAL_INIT, name="out")(nn.gelu(y))


class Residual(nn.Module):
    """Norm, 3 x 3 convolution, GELU, and a product at each position, added to the input."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, rows, columns, width]`` to its own shape."""
        width = x.shape[-1]
        kernel = self.param("mix", INIT, (9 * width, width))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        return x + Dense(width, kernel_init=INIT, name="out")(nn.gelu(convolve3(normalize(x), kernel, bias))) / 2


class AttentionBlock(nn.Module):
    """Self-attention within windows with a bias for each relative position, then an MLP, each added to its input.

    Attributes:
        num_heads: Heads.
        mlp_ratio: Hidden features over the width.
        window: Side of a window.
    """

    num_heads: int
    mlp_ratio: int
    window: int

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        """Maps ``[batch, rows, columns, width]`` to its own shape."""
        width = x.shape[-1]
        y = to_windows(Modulated(name="before")(x, condition), self.window)
        y = from_windows(self._attend(y.reshape(-1, *y.shape[2:])).reshape(y.shape), x.shape[1:3])
        x = x + Dense(width, kernel_init=_RESIDUAL_INIT, name="out")(y)
        y = Dense(self.mlp_ratio * width, kernel_init=INIT, name="up")(Modulated(name="between")(x, condition))
        return x + Dense(width, kernel_init=_RESIDUAL_INIT, name="down")(nn.gelu(y))

    def _attend(self, x):
        windows, size, width = x.shape
        head = width // self.num_heads
        qkv = Dense(3 * width, kernel_init=INIT, name="qkv")(x).reshape(windows, size, 3, self.num_heads, head)
        query, key, value = (qkv[:, :, part] for part in range(3))
        table = self.param("position_bias", nn.initializers.zeros, ((2 * self.window - 1) ** 2, self.num_heads))
        bias = jnp.moveaxis(table[relative_index(self.window)], -1, 0)[None]
        logits = jnp.einsum("wqhd,wkhd->whqk", query * head**-0.5, key) + bias
        return jnp.einsum("whqk,wkhd->wqhd", nn.softmax(logits), value).reshape(x.shape)


def apply_blocks(sizes: Sizes, x: jax.Array, condition: jax.Array) -> jax.Array:
    """Blocks ``block0``, ``block1`` ... one after the other, as submodules of the calling module.

    Args:
        sizes: Of them.
        x: ``[batch, rows, columns, width]``.
        condition: ``[batch, condition]``.

    Raises:
        ValueError: for an unknown kind of block.
    """
    for number, kind in enumerate(sizes.blocks):
        name = f"block{number}"
        if kind == "convolution":
            x = ConvolutionBlock(name=name)(x, condition)
        elif kind == "attention":
            x = AttentionBlock(sizes.num_heads, sizes.mlp_ratio, sizes.window, name=name)(x, condition)
        else:
            raise ValueError(f"Sizes.blocks must be 'convolution' or 'attention' each, got {kind!r}")
    return x
