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

from lvm_mtc.models.transformer import LAYER_NORM_EPSILON, apply_blocks, sincos_positions
from lvm_mtc.phy.numerics import require_given
from lvm_mtc.schemes.lvm_mtc.masking import KeptPatches, restore


class _TokenCodec(nn.Module):
    """What both ends have.

    Attributes:
        grid_rows: Rows of patches in the picture.
        grid_columns: Columns of patches in the picture.
        embed_dim: Width of the transformer; at the encoder also the tokens', D.
        depth: Transformer layers; 0 leaves the linear path alone.
        num_heads: Attention heads.
        linear_path: Add the linear map; residual branches and what follows the transformer then start at zero.
        attention: Implementation of ``jax.nn.dot_product_attention``.
        scan: Scan over the layers, whose parameters are stacked.
        remat: Compute activations again in the backward pass.
        dtype: Name of the type to compute in; None: the parameters'.
        send_class_token: The encoder's class token is handed on in front of the others, as in MAE; False drops it, and
            the decoder learns one of its own.
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


def _check_class_token(module: _TokenCodec) -> None:
    if module.send_class_token and module.depth == 0:
        raise ValueError("send_class_token True needs a transformer, got depth 0")


def _positions(module: _TokenCodec) -> jax.Array:
    grid = module.grid_rows, module.grid_columns
    return module.param("pos_embed", lambda _: jnp.asarray(sincos_positions(grid, module.embed_dim)))


def _class_token(module: _TokenCodec, positions: jax.Array, x: jax.Array) -> jax.Array:
    """A learned one in its place, ``[batch, 1, embed_dim]``, in the type of ``x``."""
    cls = module.param("cls_token", nn.initializers.normal(0.02), (module.embed_dim,)) + positions[0]
    return jnp.broadcast_to(cls.astype(x.dtype), (x.shape[0], 1, module.embed_dim))


def _transform(module: _TokenCodec, cls: jax.Array, x: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    options = {name: getattr(module, name) for name in ("num_heads", "depth", "scan", "remat", "attention", "dtype")}
    return apply_blocks(jnp.concatenate([cls, x], axis=1), valid, zero_residual=module.linear_path, **options)


class TokenEncoder(_TokenCodec):
    """Kept patches to tokens; the linear map is patch -> token."""

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
        """
        _check_class_token(self)
        patches = jnp.take_along_axis(patches, kept.ids_keep[..., None], axis=1)
        linear = nn.Dense(self.embed_dim, name="linear_path")(patches) if self.linear_path else None
        if self.depth == 0:
            linear = require_given("linear_path", linear)
            return linear, linear

        positions = _positions(self)
        init = nn.initializers.xavier_uniform()
        x = nn.Dense(self.embed_dim, dtype=self.dtype, kernel_init=init, name="patch_embed")(patches)
        x = x + positions[1:][kept.ids_keep].astype(x.dtype)
        valid = jnp.pad(kept.valid, ((0, 0), (1, 0)), constant_values=True)
        x = _transform(self, _class_token(self, positions, x), x, valid)
        scale = nn.initializers.zeros if self.linear_path else nn.initializers.ones
        tokens = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, scale_init=scale, name="norm")(x)
        x = x.astype(tokens.dtype)
        if not self.send_class_token:
            tokens, x = tokens[:, 1:], x[:, 1:]
        elif linear is not None:
            linear = jnp.pad(linear, ((0, 0), (1, 0), (0, 0)))
        return (tokens if linear is None else tokens + linear), x


class TokenDecoder(_TokenCodec, kw_only=True):
    """Received tokens to a picture's patches; the linear map is token -> patch.

    Attributes:
        patch_dim: Numbers in a patch, ``patch_size**2 * channels``.
    """

    patch_dim: int

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
        """
        _check_class_token(self)
        linear = None
        if self.linear_path:
            zero = jnp.zeros(tokens.shape[-1], tokens.dtype)
            patch_tokens = tokens[:, 1:] if self.send_class_token else tokens
            linear = nn.Dense(self.patch_dim, name="linear_path")(restore(patch_tokens, kept, zero))
        if self.depth == 0:
            return require_given("linear_path", linear)

        positions = _positions(self)
        init = nn.initializers.xavier_uniform()
        x = nn.Dense(self.embed_dim, dtype=self.dtype, kernel_init=init, name="decoder_embed")(tokens)
        if reliability is not None:
            zeros = nn.initializers.zeros
            told = nn.Dense(self.embed_dim, use_bias=False, dtype=self.dtype, kernel_init=zeros, name="reliability")
            x = x + told(reliability)
        cls = None
        if self.send_class_token:
            cls, x = x[:, :1] + positions[None, :1].astype(x.dtype), x[:, 1:]
        mask_token = self.param("mask_token", nn.initializers.normal(0.02), (self.embed_dim,))
        x = restore(x, kept, mask_token.astype(x.dtype)) + positions[None, 1:].astype(x.dtype)
        if cls is None:
            cls = _class_token(self, positions, x)
        x = _transform(self, cls, x)
        x = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, dtype=self.dtype, name="norm")(x)[:, 1:]
        last = nn.initializers.zeros if self.linear_path else init
        pixels = nn.Dense(self.patch_dim, dtype=self.dtype, kernel_init=last, name="pred")(x)
        pixels = pixels.astype(jnp.promote_types(pixels.dtype, tokens.dtype))
        return pixels if linear is None else pixels + linear
