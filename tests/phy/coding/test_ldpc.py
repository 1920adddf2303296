"""Every code of both base graphs satisfies its checks; geometry and rate matching are the standard's."""

import jax
import numpy as np
import pytest

from lvm_mtc.phy.coding import LIFTING_SIZES, LdpcCode, interleaver, ldpc_encode, parity_check_matrix
from lvm_mtc.phy.coding.base_graphs import INFO_COLUMNS, NUM_ROWS, edges, lifting_set
from lvm_mtc.phy.coding.ldpc import add_parity

pytestmark = pytest.mark.usefixtures("fast_compile")

# Table 5.3.2-1.
SETS = [
    (2, 4, 8, 16, 32, 64, 128, 256),
    (3, 6, 12, 24, 48, 96, 192, 384),
    (5, 10, 20, 40, 80, 160, 320),
    (7, 14, 28, 56, 112, 224),
    (9, 18, 36, 72, 144, 288),
    (11, 22, 44, 88, 176, 352),
    (13, 26, 52, 104, 208),
    (15, 30, 60, 120, 240),
]


def _unsatisfied(base_graph, lifting, word):
    rows, columns = parity_check_matrix(base_graph, lifting)
    return np.bincount(rows, weights=word[columns]) % 2


def _mother_word(base_graph, lifting, rng):
    first = INFO_COLUMNS[base_graph]
    info = rng.integers(0, 2, (first, lifting, 3), np.uint8)
    columns = dict(enumerate(info))
    add_parity(np, columns, edges(base_graph, lifting), first)
    assert sorted(columns) == list(range(first + NUM_ROWS[base_graph]))
    return np.concatenate([columns[c] for c in sorted(columns)]).T


@pytest.mark.parametrize("base_graph", [1, 2])
@pytest.mark.parametrize("lifting", LIFTING_SIZES)
def test_all_checks_hold(base_graph, lifting):
    words = _mother_word(base_graph, lifting, np.random.default_rng(lifting))
    for word in words:
        assert not _unsatisfied(base_graph, lifting, word).any()
        word[np.random.default_rng(0).integers(word.size)] ^= 1
        assert _unsatisfied(base_graph, lifting, word).any()


def test_sets_of_lifting_sizes():
    assert sorted(size for one in SETS for size in one) == list(LIFTING_SIZES) and len(LIFTING_SIZES) == 51
    assert [lifting_set(size) for one in SETS for size in one] == [i for i, one in enumerate(SETS) for _ in one]
    with pytest.raises(ValueError, match="lifting must be one of the 51 sizes of TS 38.212 from 2 to 384, got 17"):
        edges(1, 17)


def test_shapes_of_the_base_graphs():
    """Number of ones in the tables, and every extension row with a parity bit of its own."""
    assert [sum(map(len, edges(graph, 384))) for graph in (1, 2)] == [316, 197]
    for graph in (1, 2):
        rows, first = edges(graph, 384), INFO_COLUMNS[graph]
        for number, row in enumerate(rows[4:], 4):
            assert [entry for entry in row if entry[0] >= first + 4] == [(first + number, 0)]
        meets = np.bincount([c for row in rows for c, _ in row])
        assert meets.size == first + NUM_ROWS[graph] and np.all(meets[: first + 4] >= 2)


@pytest.mark.parametrize(
    ("k", "n", "base_graph", "lifting"),
    [
        (12, 60, 2, 2),
        (192, 400, 2, 32),
        (193, 400, 2, 26),
        (292, 307, 2, 40),
        (293, 400, 1, 14),
        (560, 1000, 2, 72),
        (561, 1000, 2, 64),
        (640, 1000, 2, 72),
        (641, 1000, 2, 72),
        (3824, 5708, 2, 384),
        (3824, 5707, 1, 176),
        (3825, 7650, 1, 176),
        (3824, 19120, 2, 384),
        (8448, 16896, 1, 384),
        (8448, 25344, 1, 384),
    ],
)
def test_base_graph_and_lifting(k, n, base_graph, lifting):
    code = LdpcCode(k, n)
    assert (code.base_graph, code.lifting) == (base_graph, lifting)
    assert code.num_filler == (22, 10)[base_graph - 1] * lifting - k
    # The bits on air end in the last of the rows.
    assert code.num_rows == 4 or 0 <= code.num_rows * lifting - (n - k + 2 * lifting) < lifting
    assert 4 <= code.num_rows <= NUM_ROWS[base_graph]


@pytest.mark.parametrize(("k", "n", "m"), [(100, 210, 2), (120, 240, 1), (3000, 3160, 4), (300, 330, 6), (20, 96, 8)])
def test_codeword_on_air(k, n, m):
    """Systematic behind the first 2 Z bits, interleaved, and a part of a word of the mother code."""
    code = LdpcCode(k, n, m)
    bits = np.random.default_rng(k).integers(0, 2, (2, 3, k), np.uint8)
    coded = ldpc_encode(bits, code)
    assert coded.shape == (2, 3, n) and coded.dtype == np.uint8
    plain = np.swapaxes(coded.reshape(2, 3, n // m, m), -1, -2).reshape(2, 3, n)
    z = code.lifting
    np.testing.assert_array_equal(plain[..., : k - 2 * z], bits[..., 2 * z :])
    np.testing.assert_array_equal(plain, ldpc_encode(bits, LdpcCode(k, n)))
    rows, columns = parity_check_matrix(code.base_graph, z)
    known = code.info_columns * z
    parity = plain[..., k - 2 * z :].reshape(6, -1)
    full = np.concatenate([bits.reshape(6, k), np.zeros((6, code.num_filler), np.uint8), parity], axis=1)
    on_air = np.bincount(rows, weights=columns >= known + parity.shape[1]) == 0
    assert on_air.sum() > 0
    for word in np.pad(full, [(0, 0), (0, columns.max() + 1 - full.shape[1])]):
        assert not (np.bincount(rows, weights=word[columns]) % 2)[on_air].any()


def test_interleaver():
    np.testing.assert_array_equal(interleaver(8, 2), [0, 4, 1, 5, 2, 6, 3, 7])
    np.testing.assert_array_equal(interleaver(6, 1), np.arange(6))


def test_jax_gives_the_same():
    code = LdpcCode(60, 160, 4)
    bits = np.random.default_rng(3).integers(0, 2, (5, 60), np.uint8)
    want = ldpc_encode(bits, code)
    np.testing.assert_array_equal(ldpc_encode(jax.numpy.asarray(bits), code), want)
    np.testing.assert_array_equal(jax.jit(jax.vmap(lambda one: ldpc_encode(one, code)))(bits), want)


def test_codes_are_values():
    assert (
        LdpcCode(100, 200) == LdpcCode(100, np.int64(200), 1, 2) and len({LdpcCode(100, 200), LdpcCode(100, 200)}) == 1
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LdpcCode(8500, 17000), "k 8500 exceeds 8448, the largest block$"),
        (
            lambda: LdpcCode(8448, 25345),
            "n 25345 needs repetition: base graph 1 with Z 384 has at most 25344 coded bits",
        ),
        (lambda: LdpcCode(100, 2000), "n 2000 needs repetition: base graph 2 with Z 18 has at most 820 coded bits"),
        (lambda: LdpcCode(5000, 20000), "k 5000 exceeds 3840, the largest block of base graph 2"),
        (lambda: LdpcCode(500, 1000, 6), "bits_per_symbol 6 does not divide n 1000"),
        (lambda: LdpcCode(11, 100), "k 11 is below 12, the smallest block"),
        (lambda: LdpcCode(100, 100), "n 100 must exceed k 100"),
        (lambda: LdpcCode(100.5, 200), "k must be an integer >= 1, got 100.5"),
        (lambda: LdpcCode(100, 200, 0), "bits_per_symbol must be an integer >= 1, got 0"),
        (lambda: LdpcCode(100, 200, base_graph=3), "base_graph must be 1 or 2, got 3"),
        (lambda: ldpc_encode(np.zeros((2, 99)), LdpcCode(100, 200)), r"bits must be \[..., 100\], got \(2, 99\)"),
        (lambda: ldpc_encode(np.full(100, 0.5), LdpcCode(100, 200)), "bits must be zeros and ones, got 0.5"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
