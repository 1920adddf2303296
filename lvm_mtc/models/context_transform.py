"""A transform conditioned on what is already decoded, around a vector quantiser of fixed length.

Features of a grid go in groups, one after the other: slice by slice of the channels, in each slice first the even and
then the odd squares of a checkerboard. Of a group j both ends know what is decoded of the groups before it,

    r_j = (y_j - mu_j) exp(-s_j),    y_hat_j = mu_j + exp(s_j) Q_j(r_j),

where mu_j is a linear function of the decoded features in a window around the place, and s_j one of the logarithms of
their energies; a small network of the same window may add to both. Q_j is a free codebook and costs ``log2 K`` bits a
vector, exactly. The transmitter decodes as the receiver does. Sources: EF-LIC (arXiv 2605.23323) for the idea, of which
we know the abstract; checkerboard: He et al. (2021); slices of channels: Minnen and Singh (2020), of growing size: He
et al. (ELIC, 2022).
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.vector_quantizer import nearest_code

LARGEST_SCALE = 3.0
"""``s`` lies between minus this and this."""
_TINY = 1e-4


class Branch(NamedTuple):
    """What a network of one hidden layer adds to a rule; where nothing is decoded yet its inputs are zero.

    Attributes:
        gain: One over the deviation of each feature, ``[C]``.
        inner: ``[window, window, C, hidden]``.
        shift: ``[hidden]``.
        outer: To the mean, in units of the deviation that is expected, and to ``s``: ``[hidden, d + 1]``.
    """

    gain: jax.Array
    inner: jax.Array
    shift: jax.Array
    outer: jax.Array


class Rule(NamedTuple):
    """How a group of d channels follows from what is known of all C, in S slices.

    Attributes:
        weights: Of the window's features, ``[window, window, C, d]``; zero where nothing is decoded yet.
        bias: ``[d]``.
        energy: Of the logarithms of the slices' energies in the window, ``[S]``; zero for slices not begun.
        scale: ``[]``.
        branch: What a network adds; None: nothing.
    """

    weights: jax.Array
    bias: jax.Array
    energy: jax.Array
    scale: jax.Array
    branch: Branch | None = None


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


def no_branches(key: jax.Array, slices: Sequence[int], window: int, hidden: int) -> list[Branch]:
    """Networks that add nothing yet, one a group, their first layers drawn."""
    branches, total = [], sum(slices)
    for group, dim in enumerate(np.repeat(slices, 2)):
        mask = known(slices, group, window)
        drawn = jax.random.normal(jax.random.fold_in(key, group), (*mask.shape, hidden))
        inner = drawn * mask[..., None] / float(max(1, mask.sum())) ** 0.5
        branches.append(Branch(jnp.ones(total), inner, jnp.zeros(hidden), jnp.zeros((hidden, dim + 1))))
    return branches


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
    around, size = neighbours(y_hat, len(rule.weights)), len(rule.weights) ** 2 * y_hat.shape[-1]
    mu = around @ rule.weights.reshape(size, -1) + rule.bias.reshape(1, 1, 1, -1)
    s = energies(y_hat, slices, group, len(rule.weights)) @ rule.energy[:, None] + rule.scale
    if rule.branch is None:
        return mu, jnp.clip(s, -LARGEST_SCALE, LARGEST_SCALE)
    gain, inner, shift, outer = rule.branch
    inner = inner * gain.reshape(1, 1, -1, 1)
    told = nn.gelu(around @ inner.reshape(size, -1) + shift.reshape(1, 1, 1, -1)) @ outer
    s = jnp.clip(s + told[..., -1:], -LARGEST_SCALE, LARGEST_SCALE)
    return mu + jnp.exp(s) * told[..., :-1], s


def energies(y_hat: jax.Array, slices: Sequence[int], group: int, window: int) -> jax.Array:
    """Half the logarithm of each slice's mean square over what a group may look at, ``[batch, rows, columns, S]``.

    Zero for slices of which it may look at nothing.
    """
    seen = known(slices, group, window)
    of_slice = np.repeat(np.arange(len(slices)), slices)[:, None] == np.arange(len(slices))
    kernel = seen[..., None] & of_slice
    share = np.float32(kernel / np.maximum(kernel.sum((0, 1, 2)), 1))
    begun = kernel.any((0, 1, 2)).reshape(1, 1, 1, -1)
    square = neighbours(y_hat**2, window) @ share.reshape(-1, len(slices))
    return 0.5 * jnp.log(square + _TINY) * begun


def neighbours(features: jax.Array, window: int) -> jax.Array:
    """Windows of ``[batch, rows, columns, C]`` as rows of a product, ``[batch, rows, columns, window window C]``.

    Zeros are around. A CPU differentiates a product by its weights in far less time than a convolution.
    """
    half, (rows, columns) = window // 2, features.shape[1:3]
    padded = jnp.pad(features, [(0, 0), (half, half), (half, half), (0, 0)])
    shifted = [padded[:, i : i + rows, j : j + columns] for i in range(window) for j in range(window)]
    return jnp.concatenate(shifted, axis=-1)


def colours(rows: int, columns: int) -> np.ndarray:
    """The checkerboard, ``[1, rows, columns, 1]``: 0 on even squares, 1 on odd ones."""
    return ((np.arange(rows)[:, None] + np.arange(columns)) % 2)[None, :, :, None]


Choice = Callable[[int, jax.Array], tuple[jax.Array, jax.Array]]
"""A group's number and vectors ``[..., d]`` to indices ``[...]`` and codes ``[..., d]``."""


class Coded(NamedTuple):
    """Features behind the quantiser; derivatives of ``y_hat`` are those of the codebooks alone.

    Attributes:
        indices: ``[batch, S, rows, columns]`` int32.
        y_hat: What a receiver has, ``[batch, rows, columns, C]``.
        mu: What was expected of each feature, as ``y_hat``, of what was decoded before it, which counts as given.
        s: The logarithm of the deviation that was expected, likewise.
    """

    indices: jax.Array
    y_hat: jax.Array
    mu: jax.Array
    s: jax.Array


def code(rules: Sequence[Rule], choose: Choice, slices: Sequence[int], features: jax.Array) -> Coded:
    """Codes features group by group.

    Args:
        rules: One a group.
        choose: Of a group's number and what its transform leaves, ``[batch, rows, columns, d]``, to indices and codes.
        slices: Channels of each.
        features: ``[batch, rows, columns, C]``.
    """
    fixed, colour, found = jax.lax.stop_gradient, colours(*features.shape[1:3]), []
    y_hat = expected = deviation = jnp.zeros_like(features)
    for group, rule in enumerate(rules):
        part, here = channels(slices, group), colour == group % 2
        mu, s = predict(rule, slices, group, fixed(y_hat))
        index, chosen = choose(group, fixed((features[..., part] - mu) * jnp.exp(-s)))
        told = fixed(mu) + fixed(jnp.exp(s)) * chosen
        y_hat, expected, deviation = (
            whole.at[..., part].set(jnp.where(here, new, whole[..., part]))
            for whole, new in ((y_hat, told), (expected, mu), (deviation, s))
        )
        found.append(index if group % 2 == 0 else jnp.where(here[..., 0], index, found.pop()))
    return Coded(jnp.stack(found, axis=1), y_hat, expected, deviation)


def nearest_of(books: Sequence[jax.Array]) -> Choice:
    """The nearest code of each group's codebook ``[K, d]``."""

    def choose(group, rest):
        index = nearest_code(rest, jax.lax.stop_gradient(books[group]))
        return index, books[group][index]

    return choose


def compress(
    rules: Sequence[Rule], books: Sequence[jax.Array], slices: Sequence[int], features: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Indices of features, and the features that a receiver has of them: of :func:`code` the first two."""
    return code(rules, nearest_of(books), slices, features)[:2]


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
