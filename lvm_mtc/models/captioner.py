"""A small captioner of CIFAR-10 pictures: features of a classifier and pixels, then a transformer that says words.

The classifier (ResNet-20) is not trained here, and is another network than the one that judges (ResNet-56).
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.config import require_count
from lvm_mtc.models.cifar_resnet import CifarResNet, resnet_blocks
from lvm_mtc.models.transformer import apply_blocks

RESNET_DEPTH = 20
_GRID = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptionerConfig:
    """Shapes of :class:`CaptionDecoder`.

    Attributes:
        words: What it can say; word ``i`` has number ``i + 1``, and 0 ends a sentence.
        num_words: Words of a sentence.
        width: Features of a word or place.
        depth: Transformer layers.
        num_heads: Attention heads; divides the width.
    """

    words: tuple[str, ...]
    num_words: int = 7
    width: int = 64
    depth: int = 2
    num_heads: int = 4

    def __post_init__(self):
        for field in ("num_words", "width", "depth", "num_heads"):
            require_count("CaptionerConfig", field, getattr(self, field))
        if not self.words:
            raise ValueError("CaptionerConfig.words is empty: a captioner needs words")
        if self.width % self.num_heads:
            wanted = f"a multiple of CaptionerConfig.num_heads {self.num_heads}"
            raise ValueError(f"CaptionerConfig.width must be {wanted}, got {self.width}")


class CaptionDecoder(nn.Module):
    """Scores of the next word from a picture's places and the words before it."""

    config: CaptionerConfig

    @nn.compact
    def __call__(self, places: jax.Array, words: jax.Array) -> jax.Array:
        """Scores ``[n, num_words, vocabulary]`` from ``places [n, num_places, features]`` and ``words [n, num_words]``.

        The score of a word is blind to it and to those behind it.
        """
        c, normal = self.config, nn.initializers.normal(0.5)
        embedding = self.param("embedding", normal, (len(c.words) + 1, c.width))
        positions = self.param("positions", normal, (places.shape[1] + c.num_words, c.width))
        seen = nn.Dense(c.width, name="see")(places)
        before = jnp.pad(embedding[words], ((0, 0), (1, 0), (0, 0)))[:, :-1]
        x = jnp.concatenate([seen, before], axis=1) + positions[None]
        x = apply_blocks(x, depth=c.depth, num_heads=c.num_heads, mlp_ratio=2.0, causal=True)
        return nn.LayerNorm(name="norm")(x[:, places.shape[1] :]) @ embedding.T * c.width**-0.5


def see(resnet: Any, pictures: jax.Array) -> jax.Array:
    """Features of 64 places of pictures ``[n, 32, 32, 3]`` in [0, 1]: ResNet-20's last map, and mean colours.

    ``resnet`` are the classifier's parameters. ``[n, 64, 67]``.
    """
    stage, place, *_ = resnet_blocks(RESNET_DEPTH)[-1]
    last = f"stage{stage}_block{place}"
    _, kept = CifarResNet(RESNET_DEPTH).apply(
        {"params": resnet}, pictures, capture_intermediates=lambda module, _: module.name == last,
        mutable=["intermediates"],
    )  # fmt: skip
    (features,) = kept["intermediates"][last]["__call__"]
    n, side = pictures.shape[0], pictures.shape[1] // _GRID
    colours = pictures.reshape(n, _GRID, side, _GRID, side, 3).mean((2, 4))
    return jnp.concatenate([features, 2 * colours - 1], axis=-1).reshape(n, _GRID**2, -1)


def say(config: CaptionerConfig, params: Any, places: jax.Array) -> jax.Array:
    """The best word at each place, one after the other: ``[n, num_words]`` int32, 0 behind a sentence's end.

    ``params`` are the decoder's, ``places`` what :func:`see` gives.
    """

    def one_more(words: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        scores = CaptionDecoder(config).apply({"params": params}, places, words)[:, i]
        return words.at[:, i].set(jnp.argmax(scores, axis=-1).astype(jnp.int32)), None

    words = jnp.zeros((places.shape[0], config.num_words), jnp.int32)
    words, _ = jax.lax.scan(one_more, words, jnp.arange(config.num_words))
    return words * jnp.cumprod(words > 0, axis=1)
