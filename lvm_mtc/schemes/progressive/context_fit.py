"""Rules and codebooks of ``context``, group after group: least squares, then Lloyd's algorithm on what is left."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.context_transform import Rule, channels, colours, energies, fit_line, known, predict
from lvm_mtc.models.vector_quantizer import fit_codebooks, nearest

_TINY = 1e-6
_predict = functools.partial(jax.jit, static_argnums=(1, 2))(predict)
_energies = functools.partial(jax.jit, static_argnums=(1, 2, 3))(energies)


def fit_groups(
    features: np.ndarray,
    sizes: Sequence[int],
    slices: tuple[int, ...],
    window: int,
    seed: int,
    rules: Sequence[Rule] | None = None,
) -> tuple[list[Rule], dict[int, list[dict[str, jax.Array]]]]:
    """All groups in their order, each on what the codebooks of all sizes have decoded before it.

    Args:
        features: ``[N, rows, columns, C]``.
        sizes: K of each codebook of a group.
        slices: Channels of each.
        window: Side of what is looked at, odd.
        seed: Of first codes.
        rules: That hold already, one a group; None: they are fitted.

    Returns:
        rules: One a group.
        books: Of each size one a group, ``codes [K, d]`` and ``log_use [K]``.
    """
    y_hat, books, fitted = {size: np.zeros_like(features) for size in sizes}, {size: [] for size in sizes}, []
    for group in range(2 * len(slices)):
        rule = fit_rule(features, list(y_hat.values()), slices, group, window) if rules is None else rules[group]
        fitted.append(rule)
        for size in sizes:
            book, y_hat[size] = code_group(rule, features, y_hat[size], slices, group, size, seed)
            books[size].append({name: jnp.asarray(value) for name, value in book.items()})
    return fitted, books


def fit_rule(
    features: np.ndarray, decoded: Sequence[np.ndarray], slices: tuple[int, ...], group: int, window: int
) -> Rule:
    """How a group follows from what is decoded of those before it.

    Args:
        features: ``[N, rows, columns, C]``.
        decoded: What is decoded, zero elsewhere, of every rate.
        slices: Channels of each.
        group: Its number.
        window: Side of what is looked at, odd.
    """
    here, part, mask = _places(features, group), channels(slices, group), known(slices, group, window)
    count = len(features) * here.sum()
    told = np.concatenate([_neighbours(y_hat, mask)[:, here].reshape(count, mask.sum()) for y_hat in decoded])
    wanted = np.tile(features[:, here, part].reshape(count, -1), (len(decoded), 1))
    weights, bias = fit_line(told, wanted)
    left = np.log(np.mean((wanted - told @ np.float32(weights) - np.float32(bias)) ** 2, axis=1) + _TINY)[:, None] / 2
    begun = group // 2 + group % 2
    loud = [np.asarray(_energies(jnp.asarray(y_hat), slices, group, window))[:, here, :begun] for y_hat in decoded]
    energy, scale = fit_line(np.concatenate(loud).reshape(len(left), begun), left)
    full, of_slices = np.zeros((*mask.shape, wanted.shape[1])), np.zeros(len(slices))
    full[mask], of_slices[:begun] = weights, energy[:, 0]
    return Rule(*map(jnp.float32, (full, bias, of_slices, scale[0])))


def code_group(
    rule: Rule, features: np.ndarray, y_hat: np.ndarray, slices: tuple[int, ...], group: int, size: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A group's codebook of one size, with the logarithm of its use, and what is decoded with it.

    Errors of vectors count as they do in the features: by the square of their scale.
    """
    here, part = _places(features, group), channels(slices, group)
    wanted = features[:, here, part]
    told = _predict(rule, slices, group, jnp.asarray(y_hat))
    mu, s = (np.asarray(a)[:, here].reshape(-1, a.shape[-1]) for a in told)
    rest = (wanted.reshape(mu.shape) - mu) * np.exp(-s)
    books, log_use = fit_codebooks(rest, 1, size, seed=seed + group, weights=np.exp(2 * s[:, 0]))
    decoded = y_hat.copy()
    decoded[:, here, part] = (mu + np.exp(s) * books[0][nearest(rest, books[0])]).reshape(wanted.shape)
    return {"codes": books[0], "log_use": log_use[0]}, decoded


def _places(features: np.ndarray, group: int) -> np.ndarray:
    """The group's squares, ``[rows, columns]`` bool."""
    return colours(*features.shape[1:3])[0, ..., 0] == group % 2


def _neighbours(y_hat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What the group may look at of each place's window, ``[N, rows, columns, mask.sum()]``."""
    half, (rows, columns) = len(mask) // 2, y_hat.shape[1:3]
    padded = np.pad(y_hat, [(0, 0), (half, half), (half, half), (0, 0)])
    found = [padded[:, i : i + rows, j : j + columns, mask[i, j]] for i in range(len(mask)) for j in range(len(mask))]
    return np.concatenate(found, axis=-1)
