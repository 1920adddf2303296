"""Tokens of a picture and of a sentence, pooled by a sliding window, and a small transformer that reads both."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.models.transformer import Block, sincos_positions
from lvm_mtc.phy.numerics import known

MODALITIES = ("picture", "words")
_RMS_FLOOR = 1e-6


def pool_windows(tokens: jax.Array, valid: jax.Array, window: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Means of the tokens of each window; the last window has what is left.

    Args:
        tokens: ``[..., num_tokens, width]``.
        valid: Which of them there are, ``[..., num_tokens]`` bool.
        window: Tokens of a window, and from window to window, whole and >= 1, ``[...]`` or a number; traced.

    Returns:
        ``ceil(n / window)`` means of n valid tokens that stand first, the others 0, in the shape of ``tokens``; and
        which there are, ``[..., num_tokens]`` bool.

    Raises:
        ValueError: for a window that is known and no whole number of at least 1.
    """
    if (sizes := known(window)) is not None and not np.all((sizes >= 1) & (sizes == np.floor(sizes))):
        raise ValueError(f"window {window}: must be an integer >= 1")
    window = jnp.broadcast_to(jnp.asarray(window, jnp.int32), valid.shape[:-1])[..., None, None]
    at = jnp.arange(valid.shape[-1]).reshape((1,) * (valid.ndim - 1) + (1, -1))
    member = (at // window == jnp.swapaxes(at, -1, -2)) & valid[..., None, :]
    count = member.sum(-1, keepdims=True)
    weights = member.astype(tokens.dtype) / jnp.maximum(count, 1)
    return jnp.einsum("...oi,...id->...od", weights, tokens), count[..., 0] > 0


def unit_tokens(tokens: jax.Array) -> jax.Array:
    """Tokens ``[..., width]`` scaled to a mean square of 1 each; what is 0 stays 0."""
    return tokens * jax.lax.rsqrt(jnp.mean(tokens**2, axis=-1, keepdims=True) + _RMS_FLOOR)


class TokenEncoder(nn.Module):
    """Features of places and of words to tokens of one width, with their positions.

    Attributes:
        width: Of a token; a multiple of 4.
        grid: Rows and columns of places.
    """

    width: int
    grid: tuple[int, int]

    @nn.compact
    def __call__(self, picture: jax.Array, words: jax.Array) -> dict[str, jax.Array]:
        """``[..., places, features]`` and ``[..., words, word_width]`` to tokens by modality."""
        tokens = {}
        tables = {
            "picture": sincos_positions(self.grid, self.width)[1:],
            "words": sincos_positions((1, words.shape[-2]), self.width)[1:],
        }
        for name, given in zip(MODALITIES, (picture, words), strict=True):
            x = nn.Dense(self.width, name=name)(given)
            place = self.param(f"{name}_place", nn.initializers.constant(0.3), (1,))
            x = x + jnp.broadcast_to(place[0] * tables[name], x.shape)
            tokens[name] = nn.LayerNorm(name=f"{name}_norm")(x)
        return tokens


class Fusion(nn.Module):
    """Reads tokens of both modalities with a token of its own, and says the scores of the answers.

    Attributes:
        width: Of a token.
        depth: Blocks.
        num_heads: Of attention.
        num_answers: Scores.
    """

    width: int
    depth: int = 2
    num_heads: int = 4
    num_answers: int = 2

    @nn.compact
    def __call__(self, tokens: jax.Array, valid: jax.Array, num_places: int) -> jax.Array:
        """Scores ``[n, num_answers]`` of ``tokens [n, num_tokens, width]``, the picture's ``num_places`` first."""
        kinds = self.param("modality", nn.initializers.normal(0.5), (2, self.width))
        own = self.param("asks", nn.initializers.normal(0.5), (1, 1, self.width))
        kind = kinds[np.int32(np.arange(tokens.shape[1]) >= num_places)][None]
        x = nn.Dense(self.width, name="in")(tokens)
        x = x + jnp.broadcast_to(kind.astype(x.dtype), x.shape)
        x = jnp.concatenate([jnp.broadcast_to(own, (x.shape[0], 1, self.width)), x], axis=1)
        valid = jnp.pad(valid, ((0, 0), (1, 0)), constant_values=True)
        for i in range(self.depth):
            x = Block(num_heads=self.num_heads, mlp_ratio=2.0, name=f"block{i}")(x, valid)
        return nn.Dense(self.num_answers, name="answer")(nn.LayerNorm(name="norm")(x[:, 0]))


class Alignment(nn.Module):
    """Pictures and sentences as points of one sphere, and how sharply they are told apart.

    Attributes:
        width: Of a point.
    """

    width: int

    @nn.compact
    def __call__(self, picture: jax.Array, words: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Means of tokens, ``[n, width]`` each, to points of length 1 and the factor of their products, <= 100."""
        log_scale = self.param("log_scale", nn.initializers.constant(np.log(1 / 0.07)), (1,))
        points = (nn.Dense(self.width, name=name)(x) for name, x in zip(MODALITIES, (picture, words), strict=True))
        first, second = (x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + _RMS_FLOOR) for x in points)
        return first, second, jnp.minimum(jnp.exp(log_scale[0]), 100.0)


def info_nce(first: jax.Array, second: jax.Array, scale: ArrayLike, different: jax.Array | None = None) -> jax.Array:
    """Symmetric InfoNCE: the cross-entropy of finding the partner of each point among all others.

    Args:
        first: ``[n, width]`` of length 1; row i belongs to row i of ``second``.
        second: Likewise.
        scale: Factor of the products, one over the temperature.
        different: Whether rows i and j count as a wrong pair, ``[n, n]`` bool; None: all but i = j.

    Source: Radford et al., Learning Transferable Visual Models from Natural Language Supervision (2021), Fig. 3.
    """
    logits = scale * jnp.einsum("id,jd->ij", first, second, precision="highest")
    own = jnp.eye(len(first), dtype=bool)
    if different is not None:
        logits = jnp.where(different | own, logits, -1e9)
    by_row, by_column = (jnp.diagonal(jax.nn.log_softmax(logits, axis=axis)) for axis in (1, 0))
    return -(by_row.mean() + by_column.mean()) / 2
