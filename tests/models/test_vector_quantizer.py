"""Residual vector quantisation: brute force, exact bits, Lloyd-Max's table, Bayes, and what bit errors cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.vector_quantizer import (
    bits_to_indices,
    fit_codebooks,
    gray_order,
    index_bits,
    index_entropy,
    indices_to_bits,
    look_up,
    nearest,
    nearest_code,
    posterior_mean,
    quantize,
)

RNG = np.random.default_rng(0)
VECTORS = np.float32(RNG.normal(size=(3000, 4)) * [3, 1, 0.5, 0.5])
CODES, LOG_USE = fit_codebooks(VECTORS, 3, 16, seed=1, num_iter=8)


def test_of_equal_codes_the_first_is_nearest():
    book = jnp.array([[3.0], [0], [0], [2]])
    np.testing.assert_array_equal(nearest_code(jnp.array([[0.1], [9], [2]]), book), [1, 0, 3])


def test_each_stage_is_the_nearest_code_of_what_is_left():
    found = jax.jit(quantize)(jnp.asarray(VECTORS), jnp.asarray(CODES))
    rest = np.float64(VECTORS)
    for stage, book in enumerate(np.float64(CODES)):
        index = ((rest[:, None] - book) ** 2).sum(-1).argmin(1)
        assert (index == found.indices[:, stage]).mean() > 0.999
        rest = rest - book[found.indices[:, stage]]
    np.testing.assert_allclose(VECTORS - found.parts.sum(-2), rest, atol=1e-5)
    np.testing.assert_array_equal(look_up(found.indices, jnp.asarray(CODES)), found.parts)
    # Of every vector, for the zero vector is in all codebooks but the first.
    errors = np.linalg.norm(VECTORS[:, None] - np.cumsum(found.parts, axis=1), axis=-1)
    assert np.all(np.diff(errors) < 1e-5) and np.all(errors.mean(0)[1:] < 0.8 * errors.mean(0)[:-1])
    assert not np.all(np.linalg.norm(VECTORS, axis=-1) >= errors[:, 0])  # the first has none
    # The reported use is that of the fit, whose vectors these are.
    counts = np.stack([np.bincount(column, minlength=16) for column in np.asarray(found.indices).T])
    np.testing.assert_allclose(np.exp(LOG_USE), np.maximum(counts, 0.5) / len(VECTORS), atol=0.002)


def test_a_permuted_codebook_changes_indices_alone():
    order = RNG.permutation(16)
    one, other = (quantize(jnp.asarray(VECTORS), jnp.asarray(books)) for books in (CODES[:1], CODES[:1, order]))
    np.testing.assert_array_equal(one.parts, other.parts)
    np.testing.assert_array_equal(order[other.indices], one.indices)


@pytest.mark.parametrize("size", [2, 16, 1024, 65536])
def test_bits_are_exact_and_come_back(size):
    indices = RNG.integers(0, size, (100, 50)).astype(np.int32)
    bits = indices_to_bits(indices, size)
    assert bits.shape == (100, 50, int(np.log2(size))) and bits.dtype == np.uint8
    np.testing.assert_array_equal(bits_to_indices(bits), indices)
    np.testing.assert_array_equal(bits_to_indices(indices_to_bits(jnp.asarray(indices), size)), indices)
    assert bits[0, 0, 0] == indices[0, 0] // (size // 2)


def test_lloyd_max_for_a_gaussian():
    """Max (1960), table I: 16 levels have the error 0.009497 and the entropy 3.765 bits."""
    samples = np.random.default_rng(2).normal(size=(100_000, 1))
    codes, _ = fit_codebooks(samples, 1, 16, num_iter=150)
    index = nearest(np.float32(samples), codes[0])
    error = ((samples - codes[0][index]) ** 2).mean()
    assert abs(error / 0.009497 - 1) < 0.02
    assert abs(index_entropy(index, 16) - 3.765) < 0.02
    # A flat histogram proves nothing: quantiles have all 4 bits and a larger error.
    quantiles = np.quantile(samples, (np.arange(16) + 0.5) / 16)[:, None]
    flat = np.searchsorted(np.sort(samples[:, 0]), samples[:, 0]) * 16 // len(samples)
    assert index_entropy(flat, 16) > 3.9999 and ((samples - quantiles[flat]) ** 2).mean() > 1.3 * error


def test_no_codebook_beats_the_rate_distortion_bound():
    samples = np.random.default_rng(3).normal(size=(20_000, 2))
    codes, _ = fit_codebooks(samples, 2, 16, num_iter=20)
    found = quantize(jnp.float32(samples), jnp.asarray(codes))
    errors = ((samples[:, None] - np.cumsum(found.parts, axis=1)) ** 2).mean((0, 2))
    sqnr, bound = -10 * np.log10(errors), 20 * np.log10(2) * np.array([2.0, 4.0])
    assert np.all(sqnr < bound) and np.all(sqnr > bound - np.array([3.0, 6.0]))


def test_posterior_mean_is_bayes():
    llr = np.float32(RNG.normal(size=(5, 4)) * 2)
    bits = np.array([[index >> shift & 1 for shift in (3, 2, 1, 0)] for index in range(16)])
    one = 1 / (1 + np.exp(-np.float64(llr)))
    likely = np.prod(np.where(bits[None] == 1, one[:, None], 1 - one[:, None]), axis=-1) * np.exp(LOG_USE[0])
    expected = (likely / likely.sum(-1, keepdims=True)) @ CODES[0]
    found = posterior_mean(jnp.asarray(llr), jnp.asarray(CODES[0]), jnp.asarray(LOG_USE[0]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    certain = 40 * (2.0 * indices_to_bits(np.arange(16), 16) - 1)
    found = posterior_mean(jnp.float32(certain), jnp.asarray(CODES[0]), jnp.asarray(LOG_USE[0]))
    np.testing.assert_allclose(found, CODES[0], atol=1e-5)


def test_labels_along_the_first_axis_make_bit_errors_cheaper():
    book = CODES[0]
    np.testing.assert_array_equal(np.sort(gray_order(book)), np.arange(16))
    flips = np.arange(16)[:, None] ^ (1 << np.arange(4))
    use = np.exp(LOG_USE[0])

    def cost(labelled, share):
        return (share[:, None] * ((labelled[:, None] - labelled[flips]) ** 2).sum(-1)).sum()

    random = []
    for _ in range(20):
        order = RNG.permutation(16)
        random.append(cost(book[order], use[order]))
    assert cost(book, use) < min(random)
    line = RNG.permutation(np.arange(8.0))[:, None]
    labels = np.argsort(line[gray_order(line)][:, 0])  # in the order of the line
    assert {int(a ^ b).bit_count() for a, b in zip(labels[1:], labels, strict=False)} == {1}
    assert gray_order(line, keep_first=True)[0] == 0


def test_errors():
    for size in (1000, 1, 131072):
        with pytest.raises(ValueError, match=f"codebook_size must be a power of two in 2..65536, got {size}"):
            index_bits(size)
    with pytest.raises(ValueError, match="index 300 outside codebook of 16"):
        look_up(np.array([[0, 1, 300]]), jnp.asarray(CODES))
    with pytest.raises(ValueError, match=r"vectors must be \[N, d\] with N of 16 or more, got \(3, 4\)"):
        fit_codebooks(VECTORS[:3], 1, 16)
