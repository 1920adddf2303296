"""BLIP's captioner: a ViT sees a picture, and a decoder says words one after the other and looks at it for each.

The ViT is pre-norm (``models.transformer``), the decoder post-norm as BERT is, with attention to the picture's places
in every layer and the words' embedding as its output layer. A pass over a whole sentence and one over its next word are
the same function: keys and values of the words before are its state. No weights come with the library;
``interop.blip_weights`` reads them.

Source: Li et al., BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language Understanding and
Generation (2022), section 3; Devlin et al., BERT (2019).
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.config import require_number
from lvm_mtc.models.patches import patchify
from lvm_mtc.models.transformer import ACTIVATIONS, apply_blocks

PAD = 0
"""Number of the token that stands behind a sentence's end."""

# As transformers has them; Salesforce's own ViT has 1e-6.
_IMAGE_EPSILON, _TEXT_EPSILON = 1e-5, 1e-12

KeysValues = tuple[jax.Array, jax.Array]
"""Keys and values of a layer, ``[batch, places or words, heads, features]`` each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlipVariant:
    """Sizes in pixels, features, layers, heads and tokens; of the tokens the last two are ``[DEC]`` and ``[ENC]``."""

    image_size: int = 384
    patch_size: int = 16
    image_width: int = 768
    image_depth: int = 12
    image_heads: int = 12
    text_width: int = 768
    text_depth: int = 12
    text_heads: int = 12
    context_length: int = 512
    vocab_size: int = 30524

    def __post_init__(self):
        for whole, part in (
            ("image_size", "patch_size"), ("image_width", "image_heads"), ("text_width", "text_heads"),
        ):  # fmt: skip
            if getattr(self, whole) % getattr(self, part):
                wanted = f"a multiple of BlipVariant.{part} {getattr(self, part)}"
                raise ValueError(f"BlipVariant.{whole} must be {wanted}, got {getattr(self, whole)}")

    @property
    def start_token(self) -> int:
        """Number of ``[DEC]``, which begins every sentence."""
        return self.vocab_size - 2


BLIP_VARIANTS = {
    "base": BlipVariant(),
    "large": BlipVariant(image_width=1024, image_depth=24, image_heads=16),
}
"""The published captioners: ViT-B/16 and ViT-L/16 at 384 pixels, both with a decoder of BERT base's size."""


class ImageEncoder(nn.Module):
    """Pictures to features of their places: a class token and patches, all of them behind the last norm."""

    sizes: BlipVariant

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        sizes, width = self.sizes, self.sizes.image_width
        x = nn.Dense(width, name="patch_embed")(patchify(images, sizes.patch_size))
        cls = self.param("cls_token", nn.initializers.normal(0.02), (width,))
        x = jnp.concatenate([jnp.broadcast_to(cls, (x.shape[0], 1, width)).astype(x.dtype), x], axis=1)
        positions = self.param("pos_embed", nn.initializers.normal(0.02), (x.shape[1], width))
        options = {"num_heads": sizes.image_heads, "depth": sizes.image_depth, "norm_epsilon": _IMAGE_EPSILON}
        return nn.LayerNorm(epsilon=_IMAGE_EPSILON, name="norm")(apply_blocks(x + positions[None], **options))


class DecoderBlock(nn.Module):
    """Attention to the words before, attention to the picture, an MLP; a norm behind each sum."""

    width: int
    num_heads: int

    def setup(self):
        """Makes the layers."""
        norm = functools.partial(nn.LayerNorm, epsilon=_TEXT_EPSILON)
        self.qkv, self.proj, self.norm1 = nn.Dense(3 * self.width), nn.Dense(self.width), norm()
        self.query, self.key_value = nn.Dense(self.width), nn.Dense(2 * self.width)
        self.seen_proj, self.norm2 = nn.Dense(self.width), norm()
        self.fc1, self.fc2, self.norm3 = nn.Dense(4 * self.width), nn.Dense(self.width), norm()

    def look(self, places: jax.Array) -> KeysValues:
        """What is seen of places ``[batch, places, image width]``."""
        return self._heads(self.key_value(places), 2)

    def __call__(self, x: jax.Array, seen: KeysValues, said: KeysValues, at: jax.Array) -> tuple[jax.Array, KeysValues]:
        """Words ``[batch, words, width]`` from place ``at`` on; ``said`` comes back with theirs in it."""
        query, *new = self._heads(self.qkv(x), 3)
        said = tuple(jax.lax.dynamic_update_slice_in_dim(old, k, at, 1) for old, k in zip(said, new, strict=True))
        before = jnp.arange(said[0].shape[1])[None] <= at + jnp.arange(x.shape[1])[:, None]
        y = jax.nn.dot_product_attention(query, *said, mask=before[None, None])
        x = self.norm1(x + self.proj(y.reshape(x.shape)))
        y = jax.nn.dot_product_attention(*self._heads(self.query(x), 1), *seen)
        x = self.norm2(x + self.seen_proj(y.reshape(x.shape)))
        return self.norm3(x + self.fc2(ACTIVATIONS["gelu"](self.fc1(x)))), said

    def _heads(self, x: jax.Array, parts: int) -> tuple[jax.Array, ...]:
        *lead, features = x.shape
        x = x.reshape(*lead, parts, self.num_heads, features // parts // self.num_heads)
        return tuple(x[:, :, part] for part in range(parts))


class TextDecoder(nn.Module):
    """Scores of the next word from the words before it and what is seen of the picture."""

    sizes: BlipVariant

    def setup(self):
        """Makes the layers."""
        sizes, normal = self.sizes, nn.initializers.normal(0.02)
        norm = functools.partial(nn.LayerNorm, epsilon=_TEXT_EPSILON)
        self.token_embed = self.param("token_embed", normal, (sizes.vocab_size, sizes.text_width))
        self.pos_embed = self.param("pos_embed", normal, (sizes.context_length, sizes.text_width))
        self.norm = norm()
        self.block = [
            DecoderBlock(sizes.text_width, sizes.text_heads, name=f"block{i}") for i in range(sizes.text_depth)
        ]
        self.head, self.head_norm = nn.Dense(sizes.text_width), norm()
        self.head_bias = self.param("head_bias", nn.initializers.zeros, (sizes.vocab_size,))

    def look(self, places: jax.Array) -> list[KeysValues]:
        """What each layer sees of places ``[batch, places, image width]``."""
        return [block.look(places) for block in self.block]

    def __call__(
        self, tokens: jax.Array, seen: list[KeysValues], said: list[KeysValues], at: jax.Array
    ) -> tuple[jax.Array, list[KeysValues]]:
        """As :meth:`Blip.read`."""
        positions = jax.lax.dynamic_slice_in_dim(self.pos_embed, at, tokens.shape[1])
        x, kept = self.norm(self.token_embed[tokens] + positions[None]), []
        for block, *state in zip(self.block, seen, said, strict=True):
            x, words = block(x, *state, at)
            kept.append(words)
        x = self.head_norm(ACTIVATIONS["gelu"](self.head(x)))
        return x @ self.token_embed.T + self.head_bias[None, None], kept


class Blip(nn.Module):
    """Encoder and decoder."""

    sizes: BlipVariant

    def setup(self):
        """Makes both."""
        self.image, self.text = ImageEncoder(self.sizes), TextDecoder(self.sizes)

    def __call__(self, images: jax.Array, tokens: jax.Array) -> jax.Array:
        """Scores ``[batch, words, vocab_size]`` of the words that follow each of ``tokens [batch, words]``."""
        return self.read(tokens, self.look(images), self.silence(*tokens.shape), 0)[0]

    def look(self, images: jax.Array) -> list[KeysValues]:
        """What the decoder's layers see of square pictures of ``image_size``, normalised as CLIP's are.

        Raises:
            ValueError: if the pictures are of another size.
        """
        expected = (self.sizes.image_size, self.sizes.image_size, 3)
        if images.ndim != 4 or images.shape[1:] != expected:
            raise ValueError(f"images {images.shape} do not fit this BLIP: expected (batch, {expected})")
        return self.text.look(self.image(images))

    def read(
        self, tokens: jax.Array, seen: list[KeysValues], said: list[KeysValues], at: jax.Array | int
    ) -> tuple[jax.Array, list[KeysValues]]:
        """Scores of what follows each of ``tokens [batch, words]``, which stand from place ``at`` on.

        Args:
            seen: From :meth:`look`.
            said: Keys and values of the words before ``at``, with room for these.

        Returns:
            Scores ``[batch, words, vocab_size]``, and ``said`` with these words in it.
        """
        return self.text(tokens, seen, said, at)

    def silence(self, batch: int, length: int) -> list[KeysValues]:
        """State of the layers before the first word, with room for ``length`` words."""
        sizes = self.sizes
        shape = (batch, length, sizes.text_heads, sizes.text_width // sizes.text_heads)
        return [(jnp.zeros(shape), jnp.zeros(shape))] * sizes.text_depth


def caption(
    sizes: BlipVariant,
    params: Any,
    images: jax.Array,
    prompt: jax.Array,
    *,
    end_token: int,
    max_length: int = 20,
    min_length: int = 0,
    repetition_penalty: float = 1.0,
) -> jax.Array:
    """Captions, at each place the word of the best score: transformers' ``generate`` with one beam and no sampling.

    Args:
        params: Of :class:`Blip`.
        images: As :meth:`Blip.look` takes them.
        prompt: Tokens that every sentence begins with, ``[words]``, the start token first.
        end_token: Number of the token that ends a sentence.
        max_length: Tokens of the longest sentence, the prompt's among them.
        min_length: Sentences do not end before they have as many, the prompt's among them.
        repetition_penalty: What scores of tokens that stand in the sentence are divided by if positive, else
            multiplied with, > 0; 1 changes nothing.

    Returns:
        ``[batch, max_length]`` int32, prompt and end token included, :data:`PAD` behind the end.

    Raises:
        ValueError: if a length or the penalty is out of its range.
    """
    _check_lengths(sizes, prompt.shape[0], max_length, min_length, repetition_penalty)
    apply = functools.partial(Blip(sizes).apply, {"params": params})
    batch, given = images.shape[0], prompt.shape[0]
    seen = apply(images, method="look")

    def one_more(state: tuple) -> tuple:
        at, tokens, scores, said, ended = state
        scores = _ruled(scores, tokens, at, end_token, min_length, repetition_penalty)
        word = jnp.where(ended, PAD, jnp.argmax(scores, axis=-1).astype(jnp.int32))
        scores, said = apply(word[:, None], seen, said, at, method="read")
        return at + 1, tokens.at[:, at].set(word), scores[:, 0], said, ended | (word == end_token)

    tokens = jnp.full((batch, max_length), PAD, jnp.int32).at[:, :given].set(prompt[None])
    scores, said = apply(tokens[:, :given], seen, Blip(sizes).silence(batch, max_length), 0, method="read")
    state = given, tokens, scores[:, -1], said, jnp.zeros(batch, bool)
    return jax.lax.while_loop(lambda s: (s[0] < max_length) & ~jnp.all(s[-1]), one_more, state)[1]


def _ruled(
    scores: jax.Array, tokens: jax.Array, at: jax.Array, end_token: int, min_length: int, penalty: float
) -> jax.Array:
    """Scores ``[batch, vocab_size]`` of the word at ``at`` after the rules about repetition and shortest length."""
    said = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None] < at, tokens.shape)
    said = jnp.zeros(scores.shape, bool).at[jnp.arange(len(tokens))[:, None], tokens].max(said)
    scores = jnp.where(said, jnp.where(scores > 0, scores / penalty, scores * penalty), scores)
    return scores.at[:, end_token].set(jnp.where(at < min_length, -jnp.inf, scores[:, end_token]))


def _check_lengths(sizes: BlipVariant, given: int, max_length: int, min_length: int, penalty: float) -> None:
    if not 1 <= given < max_length <= sizes.context_length:
        wanted = f"more than the prompt's {given} tokens and {sizes.context_length} at most"
        raise ValueError(f"max_length must be {wanted}, got {max_length}")
    if not 0 <= min_length <= max_length:
        raise ValueError(f"min_length must lie in 0 to max_length {max_length}, got {min_length}")
    require_number("caption", "repetition_penalty", penalty, 0.0, strict=True)
