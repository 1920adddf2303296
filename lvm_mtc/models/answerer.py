"""The answerer: asks patch features about what a question names, and says the scores of all answers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

_FREQUENCIES = 4
_RARE = 3.0  # at the start a counting head counts one patch in twenty
_NEVER = -1e9


class PatchAnswerer(nn.Module):
    """Reads patches twice with the question; each head takes a mean (softmax) and a sum (sigmoid), which counts.

    Attributes:
        num_questions: Kinds of question times subjects.
        num_answers: Answers.
        width: Features inside.
        num_heads: Attention heads; divides the width.
        num_reads: How often the patches are asked.
    """

    num_questions: int
    num_answers: int
    width: int = 96
    num_heads: int = 8
    num_reads: int = 2

    @nn.compact
    def __call__(self, features: jax.Array, places: jax.Array, valid: jax.Array, question: jax.Array) -> jax.Array:
        """Scores ``[n, num_answers]``.

        Args:
            features: ``[n, tokens, num_features]``.
            places: Left, top, right, bottom of each patch over the picture's sides, ``[n, tokens, 4]``.
            valid: Tokens that there are, ``[n, tokens]`` bool; the others are not looked at.
            question: ``[n]`` int.
        """
        place = nn.Dense(self.width, name="place")(place_features(places))
        x = nn.Dense(self.width, name="features")(features) + place
        x = nn.LayerNorm(name="norm")(_perceptron(self, x, "patches"))
        asked = nn.Embed(self.num_questions, self.width, name="question")(question)[:, None]
        for i in range(self.num_reads):
            asked = asked + self._read(x, valid, asked, f"read{i}")
            asked = _perceptron(self, asked, f"think{i}")
        return nn.Dense(self.num_answers, name="answer")(nn.LayerNorm(name="norm_answer")(asked[:, 0]))

    def _read(self, x: jax.Array, valid: jax.Array, asked: jax.Array, name: str) -> jax.Array:
        heads = (self.num_heads, self.width // self.num_heads)
        query = nn.Dense(self.width, name=f"{name}_query")(nn.LayerNorm(name=f"{name}_norm")(asked))
        key, value = (nn.Dense(self.width, name=f"{name}_{of}")(x) for of in ("key", "value"))
        query, key, value = (a.reshape(*a.shape[:2], *heads) for a in (query, key, value))
        logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(heads[1])
        logits = jnp.where(valid[:, None, None], logits, _NEVER)
        means, sums = (
            jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(asked.shape)
            for weights in (jax.nn.softmax(logits), jax.nn.sigmoid(logits - _RARE) / self.num_heads)
        )
        return nn.Dense(self.width, name=f"{name}_out")(jnp.concatenate([means, sums], axis=-1))


def _perceptron(module: nn.Module, x: jax.Array, name: str) -> jax.Array:
    width = x.shape[-1]
    hidden = nn.gelu(nn.Dense(2 * width, name=f"{name}_hidden")(nn.LayerNorm(name=f"{name}_norm")(x)))
    return x + nn.Dense(width, name=f"{name}_out")(hidden)


def place_features(places: jax.Array) -> jax.Array:
    """Sines and cosines of a patch's edges, and its size, ``[..., tokens, 33]``."""
    frequencies = np.float32(np.pi * 2.0 ** np.arange(_FREQUENCIES)).reshape((1,) * places.ndim + (-1,))
    angles = (places[..., None] * frequencies).reshape(*places.shape[:-1], -1)
    size = places[..., 2:3] - places[..., :1]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles), size], axis=-1)
