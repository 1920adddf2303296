"""A transform conditioned on what is already decoded, around a vector quantiser of fixed length.

Features of a grid go in groups, one after the other: slice by slice of the channels, in each slice first the even and
then the odd squares of a checkerboard. Of a group j both ends know what is decoded of the groups before it,

    r_j = (y_j - mu_j) exp(-s_j),    y_hat_j = mu_j + exp(s_j) Q_j(r_j),

where mu_j is a linear function of the decoded features in a window around the place, and s_j one of the logarithms of
their energies. Q_j is a free codebook and costs ``log2 K`` bits a vector, exactly. The transmitter decodes as the
receiver does. Sources: EF-LIC (arXiv 2605.23323) for the idea, of which we know the abstract; checkerboard: He et al.
(2021); slices of channels: Minnen and Singh (2020), of growing size: He et al. (ELIC, 2022).
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LARGEST_SCALE = 3.0
"""``s`` lies between minus this and this."""
_TINY = 1e-4


class Rule(NamedTuple):
    """How a group of d channels follows from what is known of all C, in S slices.

    Attributes:
        weights: Of the window's features, ``[window, window, C, d]``; zero where nothing is decoded yet.
        bias: ``[d]``.
        energy: Of the logarithms of the slices' energies in the window, ``[S]``; zero for slices not begun.
        scale: ``[]``.
    """

    weights: jax.Array
    bias: jax.Array
    energy: jax.Array
    scale: jax.Array


def channels(slices: Sequence[int], group: int) -> slice:
    """Channels of a group, of which each slice has two."""
    ends = [0, *accumulate(slices)]
    return slice(ends[group // 2], ends[group // 2 + 1])


def known(slices: Sequence[int], group: int, window: int) -> np.ndarray:
    """What a group may look at, ``[window, window, C]`` bool; ``window`` is odd."""
    places = np.arange(window) - window // 2
    own, mask = channels(slices, group), np.zeros((window, window, sum(slices)), bool)
    mask[..., : own.start] = True
    mask[..., own] = ((places[:, None] + places) % 2 == 1)[..., None] & (group % 2 == 1)
    return mask


def no_rules(slices: Sequence[int], window: int) -> list[Rule]:
    """Of a transform without context, one a group."""
    count, total = len(slices), sum(slices)
    return [
        Rule(jnp.zeros((window, window, total, d)), jnp.zeros(d), jnp.zeros(count), jnp.zeros(()))
        for d in np.repeat(slices, 2)
    ]


def predict(rule: Rule, slices: Sequence[int], group: int, y_hat: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What is expected of a group everywhere.

    Args:
        rule: The group's.
        slices: Channels of each.
        group: Its number.
        y_hat: What is decoded, zero elsewhere, ``[batch, rows, columns, C]``.

    Returns:
        mu: ``[batch, rows, columns, d]``.
        s: ``[batch, rows, columns, 1]``.
    """
    mu = _windows(y_hat, rule.weights) + rule.bias.reshape(1, 1, 1, -1)
    s = energies(y_hat, slices, group, len(rule.weights)) @ rule.energy[:, None] + rule.scale
    return mu, jnp.clip(s, -LARGEST_SCALE, LARGEST_SCALE)


def energies(y_hat: jax.Array, slices: Sequence[int], group: int, window: int) -> jax.Array:
    """Half the logarithm of each slice's mean square over what a group may look at, ``[batch, rows, columns, S]``."""
    seen = known(slices, group, window)
    of_slice = np.repeat(np.arange(len(slices)), slices)[:, None] == np.arange(len(slices))
    kernel = seen[..., None] & of_slice
    share = np.float32(kernel / np.maximum(kernel.sum((0, 1, 2)), 1))
    return 0.5 * jnp.log(_windows(y_hat**2, share) + _TINY)


def _windows(features: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        features, jnp.asarray(kernel, features.dtype), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def colours(rows: int, columns: int) -> np.ndarray:
    """The checkerboard, ``[1, rows, columns, 1]``: 0 on even squares, 1 on odd ones."""
    return ((np.arange(rows)[:, None] + np.arange(columns)) % 2)[None, :, :, None]


def compress(
    rules: Sequence[Rule], books: Sequence[jax.Array], slices: Sequence[int], features: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Indices of features, and the features that a receiver has of them.

    Args:
        rules: One a group.
        books: Codebooks, ``[K, d]`` each.
        slices: Channels of each.
        features: ``[batch, rows, columns, C]``.

    Returns:
        indices: ``[batch, S, rows, columns]`` int32.
        y_hat: As ``features``.
    """
    colour, y_hat, found = colours(*features.shape[1:3]), jnp.zeros_like(features), []
    for group, (rule, book) in enumerate(zip(rules, books, strict=True)):
        part = channels(slices, group)
        mu, s = predict(rule, slices, group, y_hat)
        rest = (features[..., part] - mu) * jnp.exp(-s)
        lengths = jnp.sum(book**2, -1).reshape(1, 1, 1, -1)
        index = jnp.argmin(lengths - 2 * rest @ book.T, axis=-1).astype(jnp.int32)
        here = colour == group % 2
        y_hat = y_hat.at[..., part].set(jnp.where(here, mu + jnp.exp(s) * book[index], y_hat[..., part]))
        found.append(index if group % 2 == 0 else jnp.where(here[..., 0], index, found.pop()))
    return jnp.stack(found, axis=1), y_hat


def expand(rules: Sequence[Rule], slices: Sequence[int], vectors: Sequence[jax.Array]) -> jax.Array:
    """Features as :func:`compress` has them, ``[batch, rows, columns, C]``.

    ``vectors`` are what each group's codebook gives, ``[batch, rows, columns, d]`` each; of the squares of the other
    colour any.
    """
    batch, rows, columns, _ = vectors[0].shape
    colour, y_hat = colours(rows, columns), jnp.zeros((batch, rows, columns, sum(slices)), vectors[0].dtype)
    for group, (rule, vector) in enumerate(zip(rules, vectors, strict=True)):
        part = channels(slices, group)
        mu, s = predict(rule, slices, group, y_hat)
        told = mu + jnp.exp(s) * vector
        y_hat = y_hat.at[..., part].set(jnp.where(colour == group % 2, told, y_hat[..., part]))
    return y_hat


def fit_line(inputs: np.ndarray, outputs: np.ndarray, ridge: float = 1e-4) -> tuple[np.ndarray, np.ndarray]:
    """Least squares with a little ridge: weights ``[inputs, outputs]`` and bias, float64, from samples ``[N, ...]``.

    The ridge is relative to the mean square of the inputs.
    """
    mean_in, mean_out = inputs.mean(0, dtype=float), outputs.mean(0, dtype=float)
    centred = inputs - np.float32(mean_in)
    gram = np.float64(centred.T @ centred)
    gram += ridge * max(np.trace(gram) / max(len(gram), 1), 1e-12) * np.eye(len(gram))
    weights = np.linalg.solve(gram, np.float64(centred.T @ (outputs - np.float32(mean_out))))
    return weights, mean_out - mean_in @ weights
