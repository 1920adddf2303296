"""What it costs to tell which chunks of a frame are sent: the length of an arithmetic code with a static model.

Bits are coded feature after feature. The probability of each depends on the kind of frame, on how many chunks it sends
(known beforehand), on the feature, and on bits that were coded before: those of the two features before it in the same
place, and that of the place before it of its own feature. No bit of another frame is used: a lost frame costs itself.
"""

import jax
import jax.numpy as jnp
import numpy as np

DENSITIES, BUCKETS, BESIDE = 6, 16, 6
SHAPE = (2, DENSITIES, BUCKETS, BESIDE)
"""Of a model: intra frames or not, density, feature, bits beside; log-odds of a bit that is 1."""


def contexts(mask: jax.Array, predicted: jax.Array) -> jax.Array:
    """Which number of a model, flattened, each bit has.

    Args:
        mask: ``[C, n]`` bool, the chunks that are sent.
        predicted: 0 for a frame that stands for itself, 1 for one that refers to another.

    Returns:
        ``[C, n]`` int32.
    """
    bits = mask.astype(jnp.int32)
    share = jnp.maximum(bits.sum(), 1) / bits.size
    density = jnp.clip(jnp.round(-jnp.log2(share)), 0, DENSITIES - 1).astype(jnp.int32)
    buckets = np.minimum(np.floor(2 * np.log2(np.arange(bits.shape[0]) + 1)), BUCKETS - 1).astype(np.int32)
    above = jnp.pad(bits, [(2, 0), (0, 0)])
    before = jnp.pad(bits, [(0, 0), (1, 0)])[:, :-1]
    beside = 2 * (above[1:-1] + above[:-2]) + before
    kind = (predicted * DENSITIES + density) * BUCKETS
    return (kind + jnp.asarray(buckets)[:, None]) * BESIDE + beside


def code_length(model: jax.Array, mask: jax.Array, predicted: jax.Array) -> jax.Array:
    """Bits of a frame's mask under a model of ``SHAPE``, whole, the one included by which arithmetic codes end.

    0 where nothing is sent, for the receiver knows how many chunks there are.
    """
    odds = model.reshape(-1)[contexts(mask, predicted)]
    bits = jax.nn.softplus(jnp.where(mask, -odds, odds)).sum() / jnp.log(2.0)
    return jnp.where(mask.any(), jnp.ceil(bits) + 1, 0.0)


def fit_model(masks: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Log-odds of ``SHAPE`` from masks of training frames ``[F, C, n]`` and their kinds ``[F]``, add-half counts."""
    places = np.asarray(jax.vmap(contexts)(jnp.asarray(masks), jnp.asarray(predicted)))
    ones, all_of = (np.bincount(places.ravel(), weight, np.prod(SHAPE)) for weight in (masks.ravel(), None))
    return np.log((ones + 0.5) / (all_of - ones + 0.5)).reshape(SHAPE)
