"""CLIP: an image tower and a text tower whose outputs are compared by their cosine.

The activation is a field: OpenAI's weights were trained with QuickGELU, most of OpenCLIP's with the exact GELU, and the
wrong one still gives plausible scores. No weights come with the library; ``interop.clip_weights`` reads them.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision (2021).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.patches import patchify
from lvm_mtc.models.transformer import ACTIVATIONS, apply_blocks

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and deviation per channel that CLIP's pictures are normalised with, of values in [0, 1]."""

_NORM_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipVariant:
    """Sizes of the two towers, in pixels, tokens, features, layers and heads; ``embed_dim`` is what they share."""

    image_size: int
    patch_size: int
    image_width: int
    image_depth: int
    image_heads: int
    text_width: int
    text_depth: int
    text_heads: int
    embed_dim: int
    context_length: int = 77
    vocab_size: int = 49408


_BASE = {"image_size": 224, "image_width": 768, "image_depth": 12, "image_heads": 12,
         "text_width": 512, "text_depth": 12, "text_heads": 8, "embed_dim": 512}  # fmt: skip
_LARGE = {"patch_size": 14, "image_width": 1024, "image_depth": 24, "image_heads": 16,
          "text_width": 768, "text_depth": 12, "text_heads": 12, "embed_dim": 768}  # fmt: skip

CLIP_VARIANTS = {
    # Radford et al. (2021), Table 20; OpenCLIP's models of the same names have the same sizes.
    "vit-b/32": ClipVariant(patch_size=32, **_BASE),
    "vit-b/16": ClipVariant(patch_size=16, **_BASE),
    "vit-l/14": ClipVariant(image_size=224, **_LARGE),
    "vit-l/14@336": ClipVariant(image_size=336, **_LARGE),
    # For tests.
    "tiny": ClipVariant(image_size=32, patch_size=8, image_width=48, image_depth=2, image_heads=3,
                        text_width=32, text_depth=2, text_heads=2, embed_dim=24),
}  # fmt: skip


def clip(variant: str | ClipVariant, activation: str) -> "Clip":
    """The module of a size (or its name in :data:`CLIP_VARIANTS`) and an activation of ``transformer.ACTIVATIONS``.

    Raises:
        ValueError: if a name is not known, or heads do not divide a width, or patches the picture.
    """
    if isinstance(variant, str):
        if variant not in CLIP_VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(CLIP_VARIANTS)}, got {variant!r}")
        variant = CLIP_VARIANTS[variant]
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    for pair in (("image_size", "patch_size"), ("image_width", "image_heads"), ("text_width", "text_heads")):
        whole, part = (getattr(variant, name) for name in pair)
        if whole % part:
            raise ValueError(f"{pair[0]} {whole} is no multiple of {pair[1]} {part}: {variant}")
    return Clip(variant, activation)


def normalize_pixels(images: jax.Array) -> jax.Array:
    """Pictures in [0, 1], ``[..., 3]``, as CLIP's image tower wants them."""
    shape = (1,) * (images.ndim - 1) + (3,)
    mean, std = (jnp.asarray(values, images.dtype).reshape(shape) for values in (PIXEL_MEAN, PIXEL_STD))
    return (images - mean) / std


def cosine(a: jax.Array, b: jax.Array) -> jax.Array:
    """Cosine of the angle between all rows (Eq. 12): ``a [m, width]``, ``b [n, width]`` -> ``[m, n]`` in [-1, 1]."""
    return _unit(a) @ _unit(b).T


class ImageTower(nn.Module):
    """Pictures to features: a ViT with a LayerNorm before its blocks, read at its class token.

    Attributes:
        options: Of ``transformer.apply_blocks``, as in :class:`TextTower`.
        patches: Give what the last but one block makes of each patch, ``[num_images, num_patches, image_width]``, and
            have no parameters beyond.
    """

    sizes: ClipVariant
    options: Mapping[str, Any]
    patches: bool = False

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        sizes, width = self.sizes, self.sizes.image_width
        x = nn.Dense(width, use_bias=False, name="patch_embed")(patchify(images, sizes.patch_size))
        cls = self.param("cls_token", nn.initializers.normal(0.02), (width,))
        x = jnp.concatenate([jnp.broadcast_to(cls, (x.shape[0], 1, width)).astype(x.dtype), x], axis=1)
        positions = self.param("pos_embed", nn.initializers.normal(0.02), (x.shape[1], width))
        x = nn.LayerNorm(epsilon=_NORM_EPSILON, name="norm_pre")(x + positions[None])
        depth = sizes.image_depth - self.patches
        x = apply_blocks(x, num_heads=sizes.image_heads, depth=depth, **self.options)
        if self.patches:
            return x[:, 1:]
        x = nn.LayerNorm(epsilon=_NORM_EPSILON, name="norm")(x[:, 0])
        return nn.Dense(sizes.embed_dim, use_bias=False, name="head")(x)


class TextTower(nn.Module):
    """Token numbers to features: a causal transformer, read at the first end token, whose number is the last of all.

    What stands behind that token has no influence: attention is causal. A row without an end token, which the tokenizer
    never makes, is read at its first token.
    """

    sizes: ClipVariant
    options: Mapping[str, Any]

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        sizes = self.sizes
        x = nn.Embed(sizes.vocab_size, sizes.text_width, name="token_embed")(tokens)
        positions = self.param("pos_embed", nn.initializers.normal(0.01), (tokens.shape[1], sizes.text_width))
        x = x + positions[None]
        x = apply_blocks(x, num_heads=sizes.text_heads, depth=sizes.text_depth, causal=True, **self.options)
        end = jnp.argmax(tokens == sizes.vocab_size - 1, axis=1)
        x = jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]
        x = nn.LayerNorm(epsilon=_NORM_EPSILON, name="norm")(x)
        return nn.Dense(sizes.embed_dim, use_bias=False, name="head")(x)


class Clip(nn.Module):
    """Both towers and the scale of their scores.

    Attributes:
        activation: A name in ``transformer.ACTIVATIONS``.
        attention: Implementation of ``jax.nn.dot_product_attention``.
    """

    sizes: ClipVariant
    activation: str
    attention: str = "xla"

    def setup(self):
        """Makes the towers."""
        options = block_options(self.activation, self.attention)
        self.image = ImageTower(self.sizes, options, name="image")
        self.text = TextTower(self.sizes, options, name="text")
        self.logit_scale = self.param("logit_scale", nn.initializers.constant(np.log(1 / 0.07)), ())

    def __call__(self, images: jax.Array, tokens: jax.Array) -> jax.Array:
        """Scores ``[num_images, num_texts]``: the cosine times exp(logit_scale), as CLIP's softmax takes them."""
        return jnp.exp(self.logit_scale) * cosine(self.image_features(images), self.text_features(tokens))

    def image_features(self, images: jax.Array) -> jax.Array:
        """Features ``[num_images, embed_dim]``, not of unit length, of normalised square pictures of ``image_size``."""
        check_pictures(images, self.sizes)
        return self.image(images)

    def text_features(self, tokens: jax.Array) -> jax.Array:
        """Features ``[num_texts, embed_dim]``, not of unit length, of token numbers ``[num_texts, context_length]``."""
        length = self.sizes.context_length
        if tokens.ndim != 2 or tokens.shape[1] != length:
            raise ValueError(f"tokens {tokens.shape} do not fit this CLIP: expected (num_texts, {length})")
        return self.text(tokens)


def block_options(activation: str, attention: str) -> dict[str, Any]:
    """Of CLIP's blocks; names as in :class:`Clip`."""
    return {"activation": activation, "attention": attention, "norm_epsilon": _NORM_EPSILON}


def check_pictures(images: jax.Array, sizes: ClipVariant) -> None:
    """``ValueError`` for pictures of another size than the image tower takes."""
    expected = (sizes.image_size, sizes.image_size, 3)
    if images.ndim != 4 or images.shape[1:] != expected:
        raise ValueError(f"images {images.shape} do not fit this CLIP: expected (num_images, {expected})")


def _unit(x: jax.Array) -> jax.Array:
    # The root of a floor and not the floor of a root: the gradient is finite at zero.
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-24))
