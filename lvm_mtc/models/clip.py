"""CLIP: an image tower and a text tower whose outputs are compared by their cosine.

The activation is a field: OpenAI's weights were trained with QuickGELU, most of OpenCLIP's with the exact GELU, and the
wrong one still gives plausible scores. No weights come with the library; ``interop.clip_weights`` reads them.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision (2021).
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.patches import patchify

ACTIVATIONS = {
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
}
"""QuickGELU and the exact GELU, by the names that configurations of CLIP use."""

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


def _base(patch_size: int) -> ClipVariant:
    return ClipVariant(image_size=224, patch_size=patch_size, image_width=768, image_depth=12, image_heads=12,
                       text_width=512, text_depth=12, text_heads=8, embed_dim=512)  # fmt: skip


def _large(image_size: int) -> ClipVariant:
    return ClipVariant(image_size=image_size, patch_size=14, image_width=1024, image_depth=24, image_heads=16,
                       text_width=768, text_depth=12, text_heads=12, embed_dim=768)  # fmt: skip


CLIP_VARIANTS = {
    # Radford et al. (2021), Table 20; OpenCLIP's models of the same names have the same sizes.
    "vit-b/32": _base(32),
    "vit-b/16": _base(16),
    "vit-l/14": _large(224),
    "vit-l/14@336": _large(336),
    # For tests.
    "tiny": ClipVariant(image_size=32, patch_size=8, image_width=48, image_depth=2, image_heads=3,
                        text_width=32, text_depth=2, text_heads=2, embed_dim=24),
}  # fmt: skip


def clip(variant: str | ClipVariant, activation: str) -> "Clip":
    """The module of a size and an activation.

    Args:
        variant: A name in :data:`CLIP_VARIANTS`, or sizes.
        activation: A name in :data:`ACTIVATIONS`.

    Raises:
        ValueError: if a name is not known, or heads do not divide a width, or patches the picture.
    """
    if isinstance(variant, str):
        if variant not in CLIP_VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(CLIP_VARIANTS)}, got {variant!r}")
        variant = CLIP_VARIANTS[variant]
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    for whole, part in (
        ("image_size", "patch_size"), ("image_width", "image_heads"), ("text_width", "text_heads")
    ):  # fmt: skip
        if getattr(variant, whole) % getattr(variant, part):
            raise ValueError(
                f"{whole} {getattr(variant, whole)} is no multiple of {part} {getattr(variant, part)}: {variant}"
            )
    return Clip(**dataclasses.asdict(variant), activation=activation)


def normalize_pixels(images: jax.Array) -> jax.Array:
    """Pictures in [0, 1], ``[..., 3]``, as CLIP's image tower wants them."""
    shape = (1,) * (images.ndim - 1) + (3,)
    mean, std = (jnp.asarray(values, images.dtype).reshape(shape) for values in (PIXEL_MEAN, PIXEL_STD))
    return (images - mean) / std


def cosine(a: jax.Array, b: jax.Array) -> jax.Array:
    """Cosine of the angle between all rows (Eq. 12): ``a [m, width]``, ``b [n, width]`` -> ``[m, n]`` in [-1, 1]."""
    return _unit(a) @ _unit(b).T


class ClipBlock(nn.Module):
    """Self-attention and a two-layer MLP of four times the width, each behind a LayerNorm and added to its input.

    Attributes:
        num_heads: Attention heads; divides the width.
        activation: A name in :data:`ACTIVATIONS`.
        causal: Each token sees only those before it and itself.
        attention: Implementation of ``jax.nn.dot_product_attention``.
    """

    num_heads: int
    activation: str
    causal: bool
    attention: str = "xla"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``x [batch, num_tokens, width]`` to its own shape."""
        batch, num_tokens, width = x.shape
        y = nn.LayerNorm(epsilon=_NORM_EPSILON, name="norm1")(x)
        qkv = nn.Dense(3 * width, name="qkv")(y)
        query, key, value = jnp.moveaxis(qkv.reshape(batch, num_tokens, 3, self.num_heads, -1), 2, 0)
        y = jax.nn.dot_product_attention(query, key, value, is_causal=self.causal, implementation=self.attention)
        x = x + nn.Dense(width, name="proj")(y.reshape(x.shape))
        y = nn.LayerNorm(epsilon=_NORM_EPSILON, name="norm2")(x)
        y = ACTIVATIONS[self.activation](nn.Dense(4 * width, name="fc1")(y))
        return x + nn.Dense(width, name="fc2")(y)


class ImageTower(nn.Module):
    """Pictures to features: a ViT with a LayerNorm before its blocks, read at its class token.

    Attributes:
        patch_size: Side of a patch, pixels.
        width: Token width.
        depth: Layers.
        num_heads: Attention heads.
        embed_dim: Features of the output.
        activation: A name in :data:`ACTIVATIONS`.
        attention: Implementation of ``jax.nn.dot_product_attention``.
    """

    patch_size: int
    width: int
    depth: int
    num_heads: int
    embed_dim: int
    activation: str
    attention: str = "xla"

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Normalised pictures ``[batch, height, width, 3]`` to ``[batch, embed_dim]``, not of unit length."""
        x = nn.Dense(self.width, use_bias=False, name="patch_embed")(patchify(images, self.patch_size))
        cls = self.param("cls_token", nn.initializers.normal(0.02), (self.width,))
        x = jnp.concatenate([jnp.broadcast_to(cls, (x.shape[0], 1, self.width)).astype(x.dtype), x], axis=1)
        positions = self.param("pos_embed", nn.initializers.normal(0.02), (x.shape[1], self.width))
        x = nn.LayerNorm(epsilon=_NORM_EPSILON, name="norm_pre")(x + positions[None])
        for i in range(self.depth):
            x = ClipBlock(self.num_heads, self.activation, False, self.attention, name=f"block{i}")(x)
        x = nn.LayerNorm(epsilon=_NORM_EPSILON, name="norm")(x[:, 0])
        return nn.Dense(self.embed_dim, use_bias=False, name="head")(x)


class TextTower(nn.Module):
    """Token numbers to features: a causal transformer, read at the first end token.

    Attributes:
        vocab_size: Number of tokens; the last one is the end token.
        width: Token width.
        depth: Layers.
        num_heads: Attention heads.
        embed_dim: Features of the output.
        activation: A name in :data:`ACTIVATIONS`.
        attention: Implementation of ``jax.nn.dot_product_attention``.
    """

    vocab_size: int
    width: int
    depth: int
    num_heads: int
    embed_dim: int
    activation: str
    attention: str = "xla"

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Token numbers ``[batch, context_length]`` to ``[batch, embed_dim]``, not of unit length.

        What stands behind the first end token has no influence: attention is causal. A row without an end token, which
        the tokenizer never makes, is read at its first token.
        """
        x = nn.Embed(self.vocab_size, self.width, name="token_embed")(tokens)
        positions = self.param("pos_embed", nn.initializers.normal(0.01), (tokens.shape[1], self.width))
        x = x + positions[None]
        for i in range(self.depth):
            x = ClipBlock(self.num_heads, self.activation, True, self.attention, name=f"block{i}")(x)
        end = jnp.argmax(tokens == self.vocab_size - 1, axis=1)
        x = jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]
        x = nn.LayerNorm(epsilon=_NORM_EPSILON, name="norm")(x)
        return nn.Dense(self.embed_dim, use_bias=False, name="head")(x)


class Clip(nn.Module):
    """Both towers and the scale of their scores; the attributes are those of :class:`ClipVariant`.

    Attributes:
        image_size: Side of the pictures, pixels.
        patch_size: Side of a patch, pixels.
        image_width: Token width of the image tower.
        image_depth: Its layers.
        image_heads: Its attention heads.
        text_width: Token width of the text tower.
        text_depth: Its layers.
        text_heads: Its attention heads.
        embed_dim: Features that the towers share.
        context_length: Tokens of a text.
        vocab_size: Number of different tokens.
        activation: A name in :data:`ACTIVATIONS`.
        attention: Implementation of ``jax.nn.dot_product_attention``.
    """

    image_size: int
    patch_size: int
    image_width: int
    image_depth: int
    image_heads: int
    text_width: int
    text_depth: int
    text_heads: int
    embed_dim: int
    context_length: int
    vocab_size: int
    activation: str
    attention: str = "xla"

    def setup(self):
        """Makes the towers."""
        self.image = ImageTower(
            self.patch_size, self.image_width, self.image_depth, self.image_heads, self.embed_dim, self.activation,
            self.attention, name="image",
        )  # fmt: skip
        self.text = TextTower(
            self.vocab_size, self.text_width, self.text_depth, self.text_heads, self.embed_dim, self.activation,
            self.attention, name="text",
        )  # fmt: skip
        self.logit_scale = self.param("logit_scale", nn.initializers.constant(np.log(1 / 0.07)), ())

    def __call__(self, images: jax.Array, tokens: jax.Array) -> jax.Array:
        """Scores ``[num_images, num_texts]``: the cosine times exp(logit_scale), as CLIP's softmax takes them.

        Args:
            images: Normalised pictures, ``[num_images, image_size, image_size, 3]``.
            tokens: ``[num_texts, context_length]`` integers.
        """
        return jnp.exp(self.logit_scale) * cosine(self.image_features(images), self.text_features(tokens))

    def image_features(self, images: jax.Array) -> jax.Array:
        """Features of normalised pictures, ``[num_images, embed_dim]``, not of unit length.

        Raises:
            ValueError: if the pictures are not ``[num_images, image_size, image_size, 3]``.
        """
        expected = (self.image_size, self.image_size, 3)
        if images.ndim != 4 or images.shape[1:] != expected:
            raise ValueError(f"images {images.shape} do not fit this CLIP: expected (num_images, {expected})")
        return self.image(images)

    def text_features(self, tokens: jax.Array) -> jax.Array:
        """Features of texts, ``[num_texts, embed_dim]``, not of unit length.

        Raises:
            ValueError: if the tokens are not ``[num_texts, context_length]``.
        """
        if tokens.ndim != 2 or tokens.shape[1] != self.context_length:
            raise ValueError(f"tokens {tokens.shape} do not fit this CLIP: expected (num_texts, {self.context_length})")
        return self.text(tokens)


def _unit(x: jax.Array) -> jax.Array:
    # The root of a floor and not the floor of a root: the gradient is finite at zero.
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-24))
