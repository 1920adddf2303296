"""Residual vector quantisation with free Euclidean codebooks: indices, exact bits, and posteriors of soft bits.

An index of a codebook of K vectors costs exactly ``log2 K`` bits; there is no entropy coder. Source: Juang and Gray,
Multiple stage vector quantization for speech coding (1982); van den Oord et al., Neural discrete representation
learning (2017).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LARGEST_BOOK = 65536


def index_bits(codebook_size: int) -> int:
    """Bits of an index, ``log2 K``; ``ValueError`` unless K is a power of two in 2..65536."""
    size = codebook_size
    if isinstance(size, bool) or int(size) != size or not 2 <= size <= LARGEST_BOOK or size & (size - 1):
        raise ValueError(f"codebook_size must be a power of two in 2..{LARGEST_BOOK}, got {size!r}")
    return int(size).bit_length() - 1


class Quantized(NamedTuple):
    """Vectors after T stages.

    Attributes:
        indices: ``[..., T]`` int32.
        parts: The chosen vectors, whose first t sum up to what t stages give, ``[..., T, d]``.
    """

    indices: jax.Array
    parts: jax.Array


def quantize(vectors: jax.Array, codebooks: jax.Array) -> Quantized:
    """The nearest vector of each stage's codebook to what the stages before have left.

    Args:
        vectors: ``[..., d]``.
        codebooks: ``[T, K, d]``. With the zero vector in a codebook, its stage enlarges no error.
    """

    def stage(rest, book):
        index = nearest_code(rest, book)
        part = book[index]
        return rest - part, (index, part)

    _, (indices, parts) = jax.lax.scan(stage, vectors, codebooks)
    return Quantized(jnp.moveaxis(indices, 0, -1), jnp.moveaxis(parts, 0, -2))


def nearest_code(vectors: jax.Array, book: jax.Array) -> jax.Array:
    """Index of the code of ``book [K, d]`` next to each of ``vectors [..., d]``, the first of several, int32."""
    # |vector|^2 is the same for all. Two minima are several times as fast as argmin on a CPU.
    squares = jnp.sum(book**2, -1).reshape((1,) * (vectors.ndim - 1) + (-1,)) - 2 * vectors @ book.T
    places = jnp.arange(len(book), dtype=jnp.int32).reshape((1,) * (squares.ndim - 1) + (-1,))
    return jnp.where(squares == squares.min(-1, keepdims=True), places, len(book) - 1).min(-1)


def look_up(indices: jax.Array, codebooks: jax.Array) -> jax.Array:
    """``Quantized.parts`` of indices ``[..., T]``; ``ValueError`` for host arrays with one outside of its codebook."""
    size = codebooks.shape[1]
    if isinstance(indices, np.ndarray) and indices.size and not 0 <= indices.min() <= indices.max() < size:
        raise ValueError(f"index {indices.min() if indices.min() < 0 else indices.max()} outside codebook of {size}")
    return codebooks[jnp.arange(codebooks.shape[0]).reshape((1,) * (indices.ndim - 1) + (-1,)), indices]


def indices_to_bits(indices: jax.Array, codebook_size: int) -> jax.Array:
    """Bits of each index, the most significant first: ``[...]`` to ``[..., log2 K]`` uint8; NumPy's or JAX's."""
    shifts = np.arange(index_bits(codebook_size))[::-1].reshape((1,) * indices.ndim + (-1,))
    return ((indices[..., None] >> shifts) & 1).astype(np.uint8)


def bits_to_indices(bits: jax.Array) -> jax.Array:
    """Inverse of :func:`indices_to_bits`, int32."""
    return (bits.astype(np.int32) << np.arange(bits.shape[-1])[::-1].reshape((1,) * (bits.ndim - 1) + (-1,))).sum(
        -1, dtype=np.int32
    )


def index_posterior(llr: jax.Array, log_use: jax.Array) -> jax.Array:
    """Probability of each index whose bits are known softly, ``[..., K]``; arguments as for :func:`posterior_mean`."""
    labels = indices_to_bits(np.arange(len(log_use)), len(log_use)).astype(llr.dtype)
    return jax.nn.softmax(llr @ labels.T + log_use.reshape((1,) * (llr.ndim - 1) + (-1,)), axis=-1)


def posterior_mean(llr: jax.Array, codebook: jax.Array, log_use: jax.Array) -> jax.Array:
    """Mean of the vector behind an index whose bits are known softly: ``sum_k P(k) c_k``.

    Args:
        llr: ``log P(bit = 1) - log P(bit = 0)`` under alike bits, ``[..., log2 K]``.
        codebook: ``[K, d]``.
        log_use: Natural logarithm of how often each index is used, up to a constant, ``[K]``.

    Returns:
        ``[..., d]``.
    """
    return index_posterior(llr, log_use) @ codebook


def index_entropy(indices: np.ndarray, codebook_size: int) -> float:
    """Entropy of indices by their counts, bits; at most ``log2 K``, and too small where there are few of them."""
    counts = np.bincount(np.ravel(indices), minlength=codebook_size)
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def fit_codebooks(
    vectors: np.ndarray,
    num_stages: int,
    codebook_size: int,
    *,
    seed: int = 0,
    num_iter: int = 15,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Codebooks by Lloyd's algorithm, stage by stage on what the stages before leave.

    The first codebook starts from samples drawn by k-means++. Code 0 of all later ones is the zero vector and stays it.
    Codes that nothing is nearest to move to samples drawn at random. At the end each codebook is labelled along its
    first principal axis by a Gray code, so that labels of one bit's difference lie near each other.

    Args:
        vectors: Samples, ``[N, d]``, at least K.
        num_stages: T.
        codebook_size: K.
        num_iter: Of Lloyd's algorithm.
        weights: Of each sample's squared error, ``[N]``; None: all alike.

    Returns:
        codebooks: ``[T, K, d]`` float32.
        log_use: Natural logarithm of how often each code is used, ``[T, K]`` float32; of codes that are not, of half a
            sample.
    """
    index_bits(codebook_size)
    if vectors.ndim != 2 or len(vectors) < codebook_size:
        raise ValueError(f"vectors must be [N, d] with N of {codebook_size} or more, got {vectors.shape}")
    rng, rest = np.random.default_rng(seed), np.float32(vectors)
    books, uses = [], []
    for stage in range(num_stages):
        book = _start(rest, codebook_size, rng)
        for _ in range(num_iter):
            if stage:
                book[0] = 0
            index = nearest(rest, book)
            counts = np.bincount(index, weights, codebook_size)
            weighted = rest if weights is None else rest * weights[:, None]
            sums = np.stack([np.bincount(index, column, codebook_size) for column in weighted.T], axis=1)
            dead = counts == 0
            book = np.float32(sums / np.where(dead, 1, counts)[:, None])
            book[dead] = rest[rng.integers(0, len(rest), dead.sum())]
        if stage:
            book[0] = 0
        book = book[gray_order(book, keep_first=stage > 0)]
        index = nearest(rest, book)
        books.append(book)
        uses.append(np.log(np.maximum(np.bincount(index, minlength=codebook_size), 0.5) / len(rest)))
        rest = rest - book[index]
    return np.stack(books), np.float32(uses)


def nearest(vectors: np.ndarray, book: np.ndarray, chunk: int = 8192) -> np.ndarray:
    """Index of the code next to each vector, NumPy, ``[N]``."""
    lengths = (book**2).sum(-1)
    parts = [vectors[i : i + chunk] for i in range(0, len(vectors), chunk)]
    return np.concatenate([np.argmin(lengths - 2 * part @ book.T, axis=1) for part in parts])


def _start(vectors: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Samples by k-means++ (Arthur and Vassilvitskii, 2007) from at most 64 K of them."""
    vectors = vectors[rng.permutation(len(vectors))[: 64 * count]]
    chosen = [vectors[0]]
    square = ((vectors - chosen[0]) ** 2).sum(-1)
    for _ in range(count - 1):
        total = square.sum(dtype=float)
        share = square.astype(float) / total if total > 0 else None
        chosen.append(vectors[rng.choice(len(vectors), p=share)])
        square = np.minimum(square, ((vectors - chosen[-1]) ** 2).sum(-1))
    return np.stack(chosen)


def gray_order(book: np.ndarray, *, keep_first: bool = False) -> np.ndarray:
    """Which code each label gets, ``[K]``, so that along the first principal axis neighbours differ in one bit.

    With ``keep_first`` code 0 keeps label 0: all labels are shifted by the same bits.
    """
    centred = book - book.mean(0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    rank = np.argsort(np.argsort(centred @ axis, kind="stable"), kind="stable")
    label = rank ^ (rank >> 1)
    if keep_first:
        label = label ^ label[0]
    order = np.empty(len(book), np.int64)
    order[label] = np.arange(len(book))
    return order
