"""The token codec (ETC): a ViT encoder over the kept patches and an MAE-style decoder (Eq. 16-22).

``linear_path`` adds one linear map beside each transformer (patch -> token, token -> patch). Started from the principal
components of patches (models/pca.py) with the transformers' outputs starting at zero, the codec starts as the best
linear patch-wise one and can only go up from there; without it the codec is the paper's plain form.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.masking import KeptPatches, restore
from lvm_mtc.models.transformer import LAYER_NORM_EPSILON, Block, sincos_positions


def _positions(module: nn.Module, grid: tuple[int, int], width: int) -> jax.Array:
    return module.param("pos_embed", lambda _: jnp.asarray(sincos_positions(grid, width)))


class TokenEncoder(nn.Module):
    """Kept patches to tokens.

    Attributes:
        grid_rows: Rows of patches in the picture.
        grid_columns: Columns of patches in the picture.
        embed_dim: Token width D.
        depth: Transformer layers; 0 leaves the linear path alone.
        num_heads: Attention heads.
        linear_path: Add the linear map patch -> token; residual branches and the last norm's scale then start at zero.
        attention: Implementation of ``jax.nn.dot_product_attention``.
    """

    grid_rows: int
    grid_columns: int
    embed_dim: int
    depth: int
    num_heads: int
    linear_path: bool = False
    attention: str = "xla"

    @nn.compact
    def __call__(self, patches: jax.Array, kept: KeptPatches) -> tuple[jax.Array, jax.Array]:
        """Encodes the kept patches only; a class token takes part and is dropped.

        Args:
            patches: All patches of the picture, ``[batch, num_patches, patch_dim]``, in [0, 1].
            kept: Which of them are kept, leading axis ``batch``.

        Returns:
            tokens: ``[batch, num_kept, embed_dim]`` (Eq. 18, plus the linear path).
            features: ``[batch, num_kept, embed_dim]``, the transformer's output before the last norm; the tokens
                themselves if ``depth`` is 0.
        """
        patches = jnp.take_along_axis(patches, kept.ids_keep[..., None], axis=1)
        linear = nn.Dense(self.embed_dim, name="linear_path")(patches) if self.linear_path else None
        if self.depth == 0:
            return linear, linear

        positions = _positions(self, (self.grid_rows, self.grid_columns), self.embed_dim)
        cls = self.param("cls_token", nn.initializers.normal(0.02), (self.embed_dim,)) + positions[0]
        x = nn.Dense(self.embed_dim, kernel_init=nn.initializers.xavier_uniform(), name="patch_embed")(patches)
        x = x + positions[1:][kept.ids_keep]
        x = jnp.concatenate([jnp.broadcast_to(cls, (x.shape[0], 1, self.embed_dim)), x], axis=1)
        attend = jnp.pad(kept.valid, ((0, 0), (1, 0)), constant_values=True)
        for i in range(self.depth):
            x = Block(self.num_heads, zero_residual=self.linear_path, attention=self.attention, name=f"block{i}")(
                x, attend
            )
        scale = nn.initializers.zeros if self.linear_path else nn.initializers.ones
        tokens = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, scale_init=scale, name="norm")(x)[:, 1:]
        return (tokens if linear is None else tokens + linear), x[:, 1:]


class TokenDecoder(nn.Module):
    """Received tokens to a picture's patches.

    Attributes:
        grid_rows: Rows of patches in the picture.
        grid_columns: Columns of patches in the picture.
        patch_dim: Numbers in a patch, ``patch_size**2 * channels``.
        embed_dim: Width of the decoder.
        depth: Transformer layers; 0 leaves the linear path alone.
        num_heads: Attention heads.
        linear_path: Add the linear map token -> patch; residual branches and the last layer then start at zero.
        attention: Implementation of ``jax.nn.dot_product_attention``.
    """

    grid_rows: int
    grid_columns: int
    patch_dim: int
    embed_dim: int
    depth: int
    num_heads: int
    linear_path: bool = False
    attention: str = "xla"

    @nn.compact
    def __call__(self, tokens: jax.Array, kept: KeptPatches, reliability: jax.Array | None = None) -> jax.Array:
        """Fills the gaps with the mask token and decodes (Eq. 19-22), with a learned class token of its own.

        Args:
            tokens: ``[batch, num_kept, token width]``.
            kept: Where they belong, leading axis ``batch``.
            reliability: What the channel decoder knows of each token's noise, ``[batch, num_kept, features]``, or None.

        Returns:
            ``[batch, num_patches, patch_dim]``, pixels, not clipped.
        """
        linear = None
        if self.linear_path:
            zero = jnp.zeros(tokens.shape[-1], tokens.dtype)
            linear = nn.Dense(self.patch_dim, name="linear_path")(restore(tokens, kept, zero))
        if self.depth == 0:
            return linear

        positions = _positions(self, (self.grid_rows, self.grid_columns), self.embed_dim)
        x = nn.Dense(self.embed_dim, kernel_init=nn.initializers.xavier_uniform(), name="decoder_embed")(tokens)
        if reliability is not None:
            x = x + nn.Dense(self.embed_dim, use_bias=False, kernel_init=nn.initializers.zeros, name="reliability")(
                reliability
            )
        x = restore(x, kept, self.param("mask_token", nn.initializers.normal(0.02), (self.embed_dim,)))
        x = x + positions[None, 1:]
        cls = self.param("cls_token", nn.initializers.normal(0.02), (self.embed_dim,)) + positions[0]
        x = jnp.concatenate([jnp.broadcast_to(cls, (x.shape[0], 1, self.embed_dim)), x], axis=1)
        for i in range(self.depth):
            x = Block(self.num_heads, zero_residual=self.linear_path, attention=self.attention, name=f"block{i}")(x)
        x = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name="norm")(x)[:, 1:]
        last = nn.initializers.zeros if self.linear_path else nn.initializers.xavier_uniform()
        pixels = nn.Dense(self.patch_dim, kernel_init=last, name="pred")(x)
        return pixels if linear is None else pixels + linear
