"""The token codec (ETC): a ViT encoder over the kept patches and an MAE-style decoder (Eq. 16-22).

``linear_path`` adds one linear map beside each transformer (patch -> token, token -> patch). Started from the principal
components of patches (models/pca.py) with the transformers' outputs starting at zero, the codec starts as the best
linear patch-wise one and can only go up from there; without it the codec is the paper's plain form.

``scan``, ``remat``, ``dtype`` and ``attention`` are the options of models/transformer.py; whatever the type, tokens,
features and pixels leave in the parameters' type, and the linear path is computed in it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.masking import KeptPatches, restore
from lvm_mtc.models.transformer import LAYER_NORM_EPSILON, apply_blocks, sincos_positions


def _check_class_token(module: nn.Module) -> None:
    if module.send_class_token and module.depth == 0:
        raise ValueError("send_class_token True needs a transformer, got depth 0")


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
        scan: Scan over the layers, whose parameters are stacked.
        remat: Compute activations again in the backward pass.
        dtype: Name of the type to compute in; None: the parameters'.
        send_class_token: The class token is handed on in front of the others; False drops it.
    """

    grid_rows: int
    grid_columns: int
    embed_dim: int
    depth: int
    num_heads: int
    linear_path: bool = False
    attention: str | None = "xla"
    scan: bool = False
    remat: bool = False
    dtype: str | None = None
    send_class_token: bool = False

    @nn.compact
    def __call__(self, patches: jax.Array, kept: KeptPatches) -> tuple[jax.Array, jax.Array]:
        """Encodes the kept patches only; a class token takes part.

        Args:
            patches: All patches of the picture, ``[batch, num_patches, patch_dim]``, in [0, 1].
            kept: Which of them are kept, leading axis ``batch``.

        Returns:
            tokens: ``[batch, num_kept, embed_dim]`` (Eq. 18, plus the linear path); with ``send_class_token`` one more,
                in front, to which the linear path adds nothing.
            features: Same shape, the transformer's output before the last norm; the tokens themselves if ``depth`` is
                0.

        Raises:
            ValueError: if a class token is to be sent and there is none (``depth`` 0).
        """
        _check_class_token(self)
        patches = jnp.take_along_axis(patches, kept.ids_keep[..., None], axis=1)
        linear = nn.Dense(self.embed_dim, name="linear_path")(patches) if self.linear_path else None
        if self.depth == 0:
            return linear, linear

        positions = _positions(self, (self.grid_rows, self.grid_columns), self.embed_dim)
        cls = self.param("cls_token", nn.initializers.normal(0.02), (self.embed_dim,)) + positions[0]
        init = nn.initializers.xavier_uniform()
        x = nn.Dense(self.embed_dim, dtype=self.dtype, kernel_init=init, name="patch_embed")(patches)
        x = x + positions[1:][kept.ids_keep].astype(x.dtype)
        cls = jnp.broadcast_to(cls.astype(x.dtype), (x.shape[0], 1, self.embed_dim))
        x = apply_blocks(
            jnp.concatenate([cls, x], axis=1),
            jnp.pad(kept.valid, ((0, 0), (1, 0)), constant_values=True),
            num_heads=self.num_heads,
            depth=self.depth,
            scan=self.scan,
            remat=self.remat,
            zero_residual=self.linear_path,
            attention=self.attention,
            dtype=self.dtype,
        )
        scale = nn.initializers.zeros if self.linear_path else nn.initializers.ones
        tokens = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, scale_init=scale, name="norm")(x)
        x = x.astype(tokens.dtype)
        if not self.send_class_token:
            tokens, x = tokens[:, 1:], x[:, 1:]
        elif self.linear_path:
            linear = jnp.pad(linear, ((0, 0), (1, 0), (0, 0)))
        return (tokens if linear is None else tokens + linear), x


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
        scan: Scan over the layers, whose parameters are stacked.
        remat: Compute activations again in the backward pass.
        dtype: Name of the type to compute in; None: the parameters'.
        send_class_token: The first token is the encoder's class token, as in MAE; False learns one here.
    """

    grid_rows: int
    grid_columns: int
    patch_dim: int
    embed_dim: int
    depth: int
    num_heads: int
    linear_path: bool = False
    attention: str | None = "xla"
    scan: bool = False
    remat: bool = False
    dtype: str | None = None
    send_class_token: bool = False

    @nn.compact
    def __call__(self, tokens: jax.Array, kept: KeptPatches, reliability: jax.Array | None = None) -> jax.Array:
        """Fills the gaps with the mask token and decodes (Eq. 19-22).

        Args:
            tokens: ``[batch, num_kept, token width]``; with ``send_class_token`` one more, in front.
            kept: Where they belong, leading axis ``batch``.
            reliability: What the channel decoder knows of each token's noise, ``[batch, num_tokens, features]``, or
                None.

        Returns:
            ``[batch, num_patches, patch_dim]``, pixels, not clipped.

        Raises:
            ValueError: if a class token was sent and there is no transformer (``depth`` 0).
        """
        _check_class_token(self)
        linear = None
        if self.linear_path:
            zero = jnp.zeros(tokens.shape[-1], tokens.dtype)
            patch_tokens = tokens[:, 1:] if self.send_class_token else tokens
            linear = nn.Dense(self.patch_dim, name="linear_path")(restore(patch_tokens, kept, zero))
        if self.depth == 0:
            return linear

        positions = _positions(self, (self.grid_rows, self.grid_columns), self.embed_dim)
        init = nn.initializers.xavier_uniform()
        x = nn.Dense(self.embed_dim, dtype=self.dtype, kernel_init=init, name="decoder_embed")(tokens)
        if reliability is not None:
            known = nn.Dense(
                self.embed_dim, use_bias=False, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="reliability"
            )
            x = x + known(reliability)
        if self.send_class_token:
            cls, x = x[:, :1] + positions[None, :1].astype(x.dtype), x[:, 1:]
        mask_token = self.param("mask_token", nn.initializers.normal(0.02), (self.embed_dim,))
        x = restore(x, kept, mask_token.astype(x.dtype)) + positions[None, 1:].astype(x.dtype)
        if not self.send_class_token:
            cls = self.param("cls_token", nn.initializers.normal(0.02), (self.embed_dim,)) + positions[0]
            cls = jnp.broadcast_to(cls.astype(x.dtype), (x.shape[0], 1, self.embed_dim))
        x = apply_blocks(
            jnp.concatenate([cls, x], axis=1),
            num_heads=self.num_heads,
            depth=self.depth,
            scan=self.scan,
            remat=self.remat,
            zero_residual=self.linear_path,
            attention=self.attention,
            dtype=self.dtype,
        )
        x = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, dtype=self.dtype, name="norm")(x)[:, 1:]
        last = nn.initializers.zeros if self.linear_path else init
        pixels = nn.Dense(self.patch_dim, dtype=self.dtype, kernel_init=last, name="pred")(x)
        pixels = pixels.astype(jnp.promote_types(pixels.dtype, tokens.dtype))
        return pixels if linear is None else pixels + linear
