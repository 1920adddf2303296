"""The conditioned transform: against a loop in float64, who may look at what, closed forms of prediction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models import context_transform
from lvm_mtc.models.context_transform import LARGEST_SCALE, Branch, Rule, channels, fit_line, known
from lvm_mtc.models.vector_quantizer import fit_codebooks
from lvm_mtc.schemes.progressive.context_fit import fit_rule

SLICES, WINDOW, ROWS, COLUMNS, SIZE = (1, 3), 3, 5, 6, 8
GROUPS = range(2 * len(SLICES))


def drawn(seed=0, *, branches=True):
    """Rules, codebooks and features."""
    rng, rules, books = np.random.default_rng(seed), [], []
    for group, dim in zip(GROUPS, np.repeat(SLICES, 2), strict=True):
        mask = known(SLICES, group, WINDOW)
        weights = rng.normal(scale=0.2, size=(*mask.shape, dim)) * mask[..., None]
        energy = rng.normal(scale=0.3, size=2) * [group >= 1, group >= 3]
        # What is not decoded is zero, and so the network needs no mask to keep the order.
        inner, outer = rng.normal(scale=0.3, size=(WINDOW, WINDOW, 4, 5)), rng.normal(scale=0.3, size=(5, dim + 1))
        branch = map(np.float32, (rng.uniform(0.5, 2, 4), inner, rng.normal(size=5), outer))
        line = map(np.float32, (weights, rng.normal(size=dim), energy, rng.normal(scale=0.3)))
        rules.append(Rule(*line, Branch(*branch) if branches else None))
        books.append(np.float32(rng.normal(size=(SIZE, dim))))
    return rules, books, np.float32(rng.normal(size=(2, ROWS, COLUMNS, 4)))


@jax.jit
def compress(rules, books, features):
    return context_transform.compress(rules, books, SLICES, features)


@jax.jit
def expand(rules, vectors):
    return context_transform.expand(rules, SLICES, vectors)


def by_hand(rules, books, features):
    """Both ends in plain loops and float64: indices and decoded features."""
    features = np.float64(features)
    y_hat, found = np.zeros(features.shape), np.zeros((len(features), len(SLICES), ROWS, COLUMNS), int)
    slice_of = np.repeat(np.arange(len(SLICES)), SLICES)
    for group in GROUPS:
        rule, book = (jax.tree.map(np.float64, rules[group]), np.float64(books[group]))
        before, part = y_hat.copy(), channels(SLICES, group)
        for b, i, j in np.ndindex(len(features), ROWS, COLUMNS):
            if (i + j) % 2 != group % 2:
                continue
            mu, squares, counts = rule.bias.copy(), np.zeros(len(SLICES)), np.zeros(len(SLICES))
            hidden = None if rule.branch is None else rule.branch.shift.copy()
            for di, dj, channel in np.ndindex(WINDOW, WINDOW, sum(SLICES)):
                y, x, own = i + di - 1, j + dj - 1, slice_of[channel]
                if hidden is not None and 0 <= y < ROWS and 0 <= x < COLUMNS:
                    hidden += rule.branch.inner[di, dj, channel] * before[b, y, x, channel] * rule.branch.gain[channel]
                if not (own < group // 2 or (own == group // 2 and group % 2 and (di + dj) % 2)):
                    continue
                counts[own] += 1
                if 0 <= y < ROWS and 0 <= x < COLUMNS:
                    mu += rule.weights[di, dj, channel] * before[b, y, x, channel]
                    squares[own] += before[b, y, x, channel] ** 2
            loud = 0.5 * np.log(squares / np.maximum(counts, 1) + 1e-4)
            told = np.zeros(len(mu) + 1)
            if hidden is not None:
                told = (
                    hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3))) / 2 @ rule.branch.outer
                )
            s = np.clip(rule.energy @ loud + rule.scale + told[-1], -LARGEST_SCALE, LARGEST_SCALE)
            mu += np.exp(s) * told[:-1]
            index = np.argmin(((book - (features[b, i, j, part] - mu) * np.exp(-s)) ** 2).sum(-1))
            found[b, group // 2, i, j] = index
            y_hat[b, i, j, part] = mu + np.exp(s) * book[index]
    return found, y_hat


@pytest.mark.parametrize("branches", [True, False])
def test_both_ends_are_the_loop(branches):
    rules, books, features = drawn(branches=branches)
    indices, y_hat = compress(rules, books, features)
    wanted, told = by_hand(rules, books, features)
    np.testing.assert_array_equal(indices, wanted)
    np.testing.assert_allclose(y_hat, told, atol=1e-5)
    vectors = [jnp.asarray(books[group])[indices[:, group // 2]] for group in GROUPS]
    np.testing.assert_allclose(expand(rules, vectors), y_hat, atol=1e-6)


def test_both_ends_agree_bit_for_bit_in_one_program():
    rules, books, features = drawn()

    @jax.jit
    def there_and_back(rules, books, features):
        indices, y_hat = context_transform.compress(rules, books, SLICES, features)
        vectors = [book[indices[:, group // 2]] for group, book in enumerate(books)]
        return y_hat, context_transform.expand(rules, SLICES, vectors)

    np.testing.assert_array_equal(*there_and_back(rules, [jnp.asarray(book) for book in books], features))


def test_derivatives_are_those_of_codes_and_of_what_is_expected():
    """By the codes those of the squared error, by the rules those of the Gaussian density, by what is decoded none."""
    rules, books, features = drawn()
    books = [jnp.asarray(book) for book in books]

    def error(rules, books, features):
        coded = context_transform.code(rules, context_transform.nearest_of(books), SLICES, features)
        return jnp.sum((features - coded.y_hat) ** 2)

    by_rules, by_books, by_features = jax.jit(jax.grad(error, (0, 1, 2)))(rules, books, jnp.asarray(features))
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(by_rules))
    coded = jax.jit(lambda *parts: context_transform.code(parts[0], context_transform.nearest_of(parts[1]), SLICES,
                                                          parts[2]))(rules, books, features)  # fmt: skip
    np.testing.assert_allclose(by_features, 2 * (features - coded.y_hat), atol=1e-5)
    odd, part = context_transform.colours(ROWS, COLUMNS)[0, ..., 0] == 1, channels(SLICES, 3)
    index, slope = coded.indices[:, 1][:, odd], -2 * (features - coded.y_hat) * np.exp(coded.s)
    wanted = np.zeros((SIZE, 3))
    np.add.at(wanted, np.ravel(index), np.asarray(slope)[:, odd, part].reshape(-1, 3))
    np.testing.assert_allclose(by_books[3], wanted, atol=1e-4)

    def expected(rules):
        coded = context_transform.code(rules, context_transform.nearest_of(books), SLICES, features)
        return jnp.sum((features - coded.mu) ** 2 * jnp.exp(-2 * coded.s) / 2 + coded.s)

    for group, slopes in enumerate(jax.jit(jax.grad(expected))(rules)):
        mask = known(SLICES, group, WINDOW)
        assert not np.any(np.asarray(slopes.weights)[~mask]) and not np.any(np.asarray(slopes.branch.inner)[~mask])
        assert not np.any(mask) or (np.any(slopes.weights) and np.any(slopes.branch.outer))
        assert np.any(slopes.scale)


@pytest.mark.parametrize("group", GROUPS)
def test_no_group_looks_at_a_later_one(group):
    rules, books, features = drawn()
    before, _ = compress(rules, books, features)
    colour = context_transform.colours(ROWS, COLUMNS)
    changed = features.copy()
    changed[..., channels(SLICES, group)] += 3 * (colour == group % 2)
    after, _ = compress(rules, books, changed)
    assert np.any(before != after)
    for earlier in range(group):
        own = colour[0, ..., 0] == earlier % 2
        np.testing.assert_array_equal(before[:, earlier // 2][:, own], after[:, earlier // 2][:, own])


@pytest.mark.parametrize(("rho", "gain_db"), [(0.9, 10 * np.log10(1.81 / 0.19)), (0.0, 0.0)])
def test_a_line_between_neighbours_gains_what_theory_says(rho, gain_db):
    """AR(1) along a row: a value between two known ones keeps (1 - rho^2) / (1 + rho^2) of its variance."""
    rng, rows = np.random.default_rng(1), np.zeros((1000, 1, 40, 1))
    rows[:, 0, 0, 0] = rng.normal(size=1000)
    for i in range(1, 40):
        rows[:, 0, i, 0] = rho * rows[:, 0, i - 1, 0] + np.sqrt(1 - rho**2) * rng.normal(size=1000)
    even = context_transform.colours(1, 40) == 0
    rule = fit_rule(np.float32(rows), [np.float32(rows * even)], (1,), 1, WINDOW)
    mu, s = context_transform.predict(rule, (1,), 1, jnp.asarray(rows * even, jnp.float32))
    inner = ~even & (np.arange(40) < 39)[:, None]
    left = (rows - mu)[np.broadcast_to(inner, rows.shape)]
    assert abs(-10 * np.log10(np.mean(left**2)) - gain_db) < 0.1
    normal = left * np.exp(-np.broadcast_to(s, rows.shape)[np.broadcast_to(inner, rows.shape)])
    # E ln |n| of a normal number is -(ln 2 + 0.5772) / 2.
    assert abs(np.mean(normal**2) / np.exp(np.log(2) + 0.5772) - 1) < 0.1


def test_the_scale_follows_the_neighbours_energy():
    """Numbers whose deviation differs from row to row: it is seen in what is decoded around them."""
    rng = np.random.default_rng(2)
    loud = np.exp(rng.uniform(-2, 0, (500, 1, 1, 1)))
    values = np.float32(loud * rng.normal(size=(500, 6, 6, 4)))
    even = context_transform.colours(6, 6) == 0
    rule = fit_rule(values, [values * even], (4,), 1, WINDOW)
    _, s = context_transform.predict(rule, (4,), 1, jnp.asarray(values * even))
    inner = np.asarray(s)[:, 1:-1, 1:-1, 0].mean((1, 2))
    assert np.corrcoef(inner, np.log(loud[:, 0, 0, 0]))[0, 1] > 0.98


def test_least_squares_and_weighted_codes():
    rng = np.random.default_rng(3)
    inputs, slope = rng.normal(size=(400, 3)), np.array([[1.0, 0], [2, -1], [0, 3]])
    weights, bias = fit_line(np.float32(inputs), np.float32(inputs @ slope + [5, -7]), ridge=1e-9)
    np.testing.assert_allclose(weights, slope, atol=1e-5)
    np.testing.assert_allclose(bias, [5, -7], atol=1e-5)
    vectors = np.array([[0.0], [1], [10], [12]] * 50, np.float32)
    share = np.array([1.0, 3, 1, 1] * 50)
    (book,), (log_use,) = fit_codebooks(vectors, 1, 2, weights=share)
    np.testing.assert_allclose(np.sort(book[:, 0]), [0.75, 11], rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_use), [0.5, 0.5])
