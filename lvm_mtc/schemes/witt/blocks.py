"""Parts of WITT: window attention, Swin blocks, patch merging and dividing, the channel ModNet.

Source: Liu et al., Swin Transformer (2021); Yang et al., WITT (2023), and the code that its authors published.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.transformer import held_features
from lvm_mtc.models.windows import from_windows, relative_index, to_windows

LAYER_NORM_EPSILON = 1e-5
MLP_RATIO = 4
MODNET_LAYERS = 7
MODNET_RATIO = 1.5

DENSE_INIT = nn.initializers.normal(0.02)


def shift_mask(grid: Sequence[int], window: int, shift: int) -> np.ndarray:
    """Which pairs of a window attend to each other after a cyclic shift: those that were neighbours before.

    The picture of ``grid`` = (rows, columns) was rolled up and left by ``shift``, in [1, window). Gives ``[num_windows,
    window^2, window^2]`` bool.
    """
    # The last window along each axis holds positions from both ends of the picture.
    row, column = (np.arange(side) >= side - shift for side in grid)
    region = (2 * row[:, None] + column[None, :])[None, :, :, None]
    region = np.asarray(to_windows(region, window))[0, :, :, 0]
    return region[:, :, None] == region[:, None, :]


class WindowAttention(nn.Module):
    """Self-attention within windows, with a learned bias for every relative position and head."""

    num_heads: int

    @nn.compact
    def __call__(self, x: jax.Array, mask: np.ndarray | None = None) -> jax.Array:
        """Maps ``[batch, num_windows, window^2, width]`` to its own shape.

        ``mask [num_windows, window^2, window^2]`` is False where a query does not see a key; None: all do.
        """
        *lead, size, width = x.shape
        window, head = round(size**0.5), width // self.num_heads
        num_heads = held_features(self, "qkv", 3 * width) // 3 // head
        qkv = nn.Dense(3 * num_heads * head, kernel_init=DENSE_INIT, name="qkv")(x)
        qkv = qkv.reshape(*lead, size, 3, num_heads, head)
        query, key, value = jnp.moveaxis(qkv, -3, 0)
        table = self.param("position_bias", DENSE_INIT, ((2 * window - 1) ** 2, num_heads))
        bias = jnp.moveaxis(table[relative_index(window)], -1, 0)
        logits = jnp.einsum("bwqhd,bwkhd->bwhqk", query * head**-0.5, key) + bias[None, None]
        if mask is not None:
            logits = jnp.where(mask[None, :, None], logits, jnp.finfo(logits.dtype).min)
        y = jnp.einsum("bwhqk,bwkhd->bwqhd", nn.softmax(logits), value)
        return nn.Dense(width, kernel_init=DENSE_INIT, name="proj")(y.reshape(*x.shape[:-1], -1))


class SwinBlock(nn.Module):
    """Window attention and a two-layer MLP, each behind a LayerNorm and added to its input.

    Attributes:
        num_heads: Heads of the attention.
        window: Side of the windows; divides rows and columns.
        shifted: Move the windows by half of their side; not where one window spans the picture.
    """

    num_heads: int
    window: int
    shifted: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, rows, columns, width]`` to its own shape."""
        grid, width = x.shape[1:3], x.shape[-1]
        shift = self.window // 2 if self.shifted and min(grid) > self.window else 0
        y = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name="norm1")(x)
        windows = to_windows(jnp.roll(y, (-shift, -shift), axis=(1, 2)), self.window)
        mask = shift_mask(grid, self.window, shift) if shift else None
        y = from_windows(WindowAttention(self.num_heads, name="attention")(windows, mask), grid)
        x = x + jnp.roll(y, (shift, shift), axis=(1, 2))

        y = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name="norm2")(x)
        hidden = held_features(self, "fc1", MLP_RATIO * width)
        y = nn.gelu(nn.Dense(hidden, kernel_init=DENSE_INIT, name="fc1")(y), approximate=False)
        return x + nn.Dense(width, kernel_init=DENSE_INIT, name="fc2")(y)


class PatchMerging(nn.Module):
    """Four neighbours become one position: half as many rows and columns; ``width`` is that of the output."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, rows, columns, width]``.

        The neighbours stand in the order upper left, lower left, upper right, lower right.
        """
        batch, rows, columns, width = x.shape
        x = x.reshape(batch, rows // 2, 2, columns // 2, 2, width).transpose(0, 1, 3, 4, 2, 5)
        x = x.reshape(batch, rows // 2, columns // 2, 4 * width)
        x = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name="norm")(x)
        return nn.Dense(self.width, use_bias=False, kernel_init=DENSE_INIT, name="reduction")(x)


class PatchDividing(nn.Module):
    """One position becomes four neighbours: twice as many rows and columns; ``width`` is that of the output."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, rows, columns, width]``.

        Of the numbers that a position grows to, number 4 c + 2 i + j is channel c of the neighbour in row i, column j.
        """
        batch, rows, columns, _ = x.shape
        x = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name="norm")(x)
        x = nn.Dense(4 * self.width, use_bias=False, kernel_init=DENSE_INIT, name="expansion")(x)
        x = x.reshape(batch, rows, columns, self.width, 2, 2).transpose(0, 1, 4, 2, 5, 3)
        return x.reshape(batch, 2 * rows, 2 * columns, self.width)


class ModNet(nn.Module):
    """Channel ModNet: scales every feature by a number in (0, 1) that depends on the features and on the SNR.

    The features are a constant to the network that finds the scale.
    """

    @nn.compact
    def __call__(self, x: jax.Array, snr_db: jax.Array) -> jax.Array:
        """Maps ``[batch, rows, columns, width]`` to its own shape; ``snr_db [batch]``, nominal, is in dB."""
        width, hidden = x.shape[-1], int(x.shape[-1] * MODNET_RATIO)

        def dense(features, name):
            return nn.Dense(features, kernel_init=DENSE_INIT, name=name)

        y = jax.lax.stop_gradient(x)
        for i in range(MODNET_LAYERS):
            scale = nn.relu(dense(hidden, f"snr{i}_fc1")(snr_db[:, None]))
            scale = nn.relu(dense(hidden, f"snr{i}_fc2")(scale))
            scale = nn.sigmoid(dense(hidden, f"snr{i}_fc3")(scale))
            y = dense(hidden, f"fc{i}")(y) * scale[:, None, None]
        return x * nn.sigmoid(dense(width, f"fc{MODNET_LAYERS}")(y))
