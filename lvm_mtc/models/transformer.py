"""Pre-norm transformer blocks, as in ViT and MAE, over a set of tokens of which some may be padding."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

LAYER_NORM_EPSILON = 1e-6  # MAE's


def sincos_positions(grid: tuple[int, int], width: int) -> np.ndarray:
    """Fixed two-dimensional sine-cosine positions with a zero row for the class token.

    Args:
        grid: Rows and columns of patches.
        width: Token width, a multiple of 4.

    Returns:
        ``[1 + rows * columns, width]`` float32; half of the width encodes the column, half the row (MAE's order).

    Raises:
        ValueError: if ``width`` is no multiple of 4.

    Source: He et al., Masked Autoencoders Are Scalable Vision Learners (2022), ``util/pos_embed.py``.
    """
    if width % 4:
        raise ValueError(f"width {width} is no multiple of 4, which sine-cosine positions need")
    omega = 1.0 / 10000.0 ** (np.arange(width // 4) / (width / 4))
    row, column = np.meshgrid(np.arange(grid[0]), np.arange(grid[1]), indexing="ij")

    def encode(position):
        angle = position.reshape(-1, 1) * omega
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)

    table = np.concatenate([encode(column), encode(row)], axis=1)
    return np.concatenate([np.zeros((1, width)), table]).astype(np.float32)


class Block(nn.Module):
    """Self-attention and a two-layer MLP, each behind a LayerNorm and added to its input (Eq. 16-17).

    Deviation: Eq. 17 writes one linear layer; ViT's two (wider by ``mlp_ratio`` in between) give the paper's parameter
    counts.

    Attributes:
        num_heads: Attention heads; divides the token width.
        mlp_ratio: Width of the MLP's hidden layer over the token width.
        zero_residual: Start both residual branches at zero, so that the block starts as the identity.
        attention: Implementation of ``jax.nn.dot_product_attention``: ``"xla"`` or ``"cudnn"`` (GPU, half precision).
    """

    num_heads: int
    mlp_ratio: float = 4.0
    zero_residual: bool = False
    attention: str = "xla"

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Maps ``x [..., num_tokens, width]`` to its own shape; ``valid [..., num_tokens]`` is False for padding."""
        *lead, num_tokens, width = x.shape
        last = nn.initializers.zeros if self.zero_residual else nn.initializers.xavier_uniform()

        y = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name="norm1")(x)
        qkv = nn.Dense(3 * width, kernel_init=nn.initializers.xavier_uniform(), name="qkv")(y)
        query, key, value = jnp.moveaxis(qkv.reshape(-1, num_tokens, 3, self.num_heads, width // self.num_heads), 2, 0)
        mask = None if valid is None else valid.reshape(-1, 1, 1, num_tokens)
        y = jax.nn.dot_product_attention(query, key, value, mask=mask, implementation=self.attention)
        x = x + nn.Dense(width, kernel_init=last, name="proj")(y.reshape(*lead, num_tokens, width))

        y = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name="norm2")(x)
        y = nn.Dense(int(width * self.mlp_ratio), kernel_init=nn.initializers.xavier_uniform(), name="fc1")(y)
        return x + nn.Dense(width, kernel_init=last, name="fc2")(nn.gelu(y, approximate=False))
