"""Networks of the text transceiver: noise attention, the semantic codec's layers, the channel codec.

Source: the paper's Eq. 1, 3 and 17-21. Positions are sines and cosines (Vaswani et al., Attention Is All You Need,
2017), blocks are pre-norm.
"""

import flax.linen as nn
import jax
import numpy as np

from lvm_mtc.models.transformer import Block, CrossAttention

GAINS = {"gain": 2.0, "literal": 1.0, "none": 0.0}
"""Largest gate of the noise attention by its name; 0: there is none."""
_SNR_SCALE_DB = 10.0
_XAVIER = nn.initializers.xavier_uniform()


class NoiseAttention(nn.Module):
    r"""Gates features by what they are and by the SNR: A = gain K * G, K = sigmoid(W_4 G * v + b_4 * v) (Eq. 17-21).

    v = sigmoid(W_3 relu(W_2 relu(W_1 r))), with biases, and r the SNR over 10 dB. Hidden widths are the paper's 56 and
    128; the last two are the features' own, for the printed 56 could not multiply them. With ``gain`` 2 and W_4 = 0,
    where it starts, it is the identity; 1 is the printed form, which starts by halving what goes through.
    """

    gain: float

    @nn.compact
    def __call__(self, x: jax.Array, snr_db: jax.Array) -> jax.Array:
        """Maps ``x [n, num_words, width]`` at ``snr_db [n]`` to its own shape."""
        width = x.shape[-1]
        v = snr_db[:, None] / _SNR_SCALE_DB
        for number, features in enumerate((56, 128), start=1):
            v = nn.relu(nn.Dense(features, kernel_init=_XAVIER, name=f"snr{number}")(v))
        v = nn.sigmoid(nn.Dense(width, kernel_init=_XAVIER, name="snr3")(v))[:, None]
        gate = nn.Dense(width, kernel_init=nn.initializers.zeros, name="gate")(x) * v
        return self.gain * nn.sigmoid(gate) * x


def attend_to_noise(x: jax.Array, snr_db: jax.Array, gain: float, name: str) -> jax.Array:
    """Noise attention as a submodule of the calling one; ``x`` itself where ``gain`` is 0."""
    return NoiseAttention(gain, name=name)(x, snr_db) if gain else x


class Layers(nn.Module):
    """Transformer layers over words with noise attention behind each: the semantic encoder, or either decoder.

    Attributes:
        depth: Layers.
        num_heads: Attention heads; divides the width.
        mlp_ratio: Hidden width over the width.
        gain: Of the noise attention.
    """

    depth: int
    num_heads: int
    mlp_ratio: float
    gain: float

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, snr_db: jax.Array, memory: jax.Array | None = None) -> jax.Array:
        """Maps ``x [n, num_words, width]`` to its own shape.

        Args:
            valid: Which words there are, ``[n, num_words]`` bool.
            snr_db: ``[n]``, nominal.
            memory: What was received, shape of ``x``: each layer asks it first, and a word sees only those before it
                and itself. None: all words see each other.
        """
        for i in range(self.depth):
            if memory is not None:
                x = CrossAttention(self.num_heads, name=f"cross{i}")(x, memory, valid)
            block = Block(self.num_heads, self.mlp_ratio, causal=memory is not None, name=f"block{i}")
            x = attend_to_noise(block(x, valid), snr_db, self.gain, f"noise{i}")
        return x


class Perceptron(nn.Module):
    """Linear layers with ReLU and noise attention behind the hidden ones: the channel encoder or decoder.

    Attributes:
        hidden: Widths of the hidden layers.
        features: Width of the result.
        gain: Of the noise attention.
    """

    hidden: tuple[int, ...]
    features: int
    gain: float

    @nn.compact
    def __call__(self, x: jax.Array, snr_db: jax.Array) -> jax.Array:
        """Maps ``[n, num_words, any width]`` at ``snr_db [n]`` to ``[n, num_words, features]``."""
        for i, width in enumerate(self.hidden):
            x = nn.relu(nn.Dense(width, kernel_init=_XAVIER, name=f"hidden{i}")(x))
            x = attend_to_noise(x, snr_db, self.gain, f"noise{i}")
        return nn.Dense(self.features, kernel_init=_XAVIER, name="out")(x)


def word_positions(num_words: int, width: int) -> np.ndarray:
    """Fixed sines and cosines, ``[1, num_words, width]`` float32; ``width`` is even."""
    angle = np.arange(num_words)[:, None] / 10000.0 ** (np.arange(width // 2) / (width / 2))
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)[None]
