"""The decoder against a plain one on the explicit matrix, Sionna's error rates, and itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import stored

from lvm_mtc.phy.coding import LdpcCode, interleaver, ldpc_decode, ldpc_encode, parity_check_matrix

pytestmark = pytest.mark.usefixtures("fast_compile")

SMALL = LdpcCode(40, 96, 2)


def _received(code, snr_db, num_words, seed=0):
    """Information bits and LLRs of BPSK at an Es/N0 in dB per real dimension of variance 1/2."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (num_words, code.k), np.uint8)
    no = 10 ** (-snr_db / 10)
    y = 2.0 * ldpc_encode(bits, code) - 1 + np.sqrt(no / 2) * rng.normal(size=(num_words, code.n))
    return bits, np.float32(4 * y / no)


def _plain_flooding(code, llr, num_iter, coded=False):
    """Sum-product in float64 on the lifted matrix, edge by edge; ``[words, k or n]`` log P(1)/P(0)."""
    z, first = code.lifting, code.info_columns * code.lifting
    rows, columns = parity_check_matrix(code.base_graph, z)
    kept = rows < code.num_rows * z
    rows, columns = rows[kept], columns[kept]
    channel = np.zeros((columns.max() + 1, len(llr)))
    sent = np.empty(llr.T.shape)
    sent[interleaver(code.n, code.bits_per_symbol)] = -np.clip(llr, -20, 20).T
    channel[2 * z : code.k] = sent[: code.k - 2 * z]
    channel[code.k : first] = 20
    channel[first : first + code.n - code.k + 2 * z] = sent[code.k - 2 * z :]
    to_checks = channel[columns]
    for _ in range(num_iter):
        factors, to_bits = np.tanh(to_checks / 2), np.empty_like(to_checks)
        for row in np.unique(rows):
            (mine,) = np.nonzero(rows == row)
            for edge in mine:
                product = np.prod(factors[mine[mine != edge]], axis=0)
                to_bits[edge] = 2 * np.arctanh(np.clip(product, -(1 - 1e-7), 1 - 1e-7))
        total = channel.copy()
        np.add.at(total, columns, to_bits)
        to_checks = total[columns] - to_bits
    if coded:
        sent = np.concatenate([total[2 * z : code.k], total[first : first + code.n - code.k + 2 * z]])
        return -sent[interleaver(code.n, code.bits_per_symbol)].T
    return -total[: code.k].T


def _agree(ours, theirs):
    """As probabilities: the last digits of LLRs beyond 10 are those of 1 - 1e-7 in float32."""
    np.testing.assert_allclose(np.tanh(np.asarray(ours) / 2), np.tanh(np.asarray(theirs) / 2), atol=2e-3)


def test_flooding_is_the_plain_decoder():
    bits, llr = _received(SMALL, -2.5, 12)
    found = ldpc_decode(llr, SMALL, num_iter=6, schedule="flooding", engine="numpy")
    _agree(found, _plain_flooding(SMALL, llr, 6))
    assert 0 < ((found > 0) != bits).any(1).sum() < 12
    # An iteration less would be seen.
    assert np.abs(np.tanh(found / 2) - np.tanh(_plain_flooding(SMALL, llr, 5) / 2)).max() > 0.1


def test_coded_bits_are_the_plain_decoders():
    """Parity bits of extension rows take what their checks say last, half an iteration after the others."""
    bits, llr = _received(SMALL, -2.5, 12)
    found = ldpc_decode(llr, SMALL, num_iter=6, schedule="flooding", engine="numpy", coded=True)
    before, after = (np.tanh(_plain_flooding(SMALL, llr, n, coded=True) / 2) for n in (6, 7))
    nearest = np.minimum(*(np.abs(np.tanh(found / 2) - one).max(0) for one in (before, after)))
    assert found.shape == (12, 96) and nearest.max() < 2e-3
    late = np.abs(np.tanh(found / 2) - before).max(0) > 2e-3
    core = (SMALL.info_columns + 4) * SMALL.lifting - SMALL.num_filler - 2 * SMALL.lifting
    assert late.any() and not late[interleaver(96, 2) < core].any()
    traced = ldpc_decode(jnp.asarray(llr), SMALL, num_iter=6, schedule="flooding", coded=True)
    _agree(traced, found)
    # Where the information is found, the codeword is.
    right = ((ldpc_decode(llr, SMALL, num_iter=6, schedule="flooding") > 0) == bits).all(1)
    np.testing.assert_array_equal(found[right] > 0, ldpc_encode(bits, SMALL)[right] == 1)
    assert 0 < right.sum() < 12


@pytest.mark.parametrize("schedule", ["layered", "flooding"])
def test_engines_agree(schedule):
    bits, llr = _received(SMALL, -2.0, 70, seed=1)
    found = [ldpc_decode(llr, SMALL, num_iter=5, schedule=schedule, engine=engine) for engine in ("numpy", "jax")]
    assert all(isinstance(one, np.ndarray) and one.shape == (70, 40) for one in found)
    _agree(*found)
    traced = ldpc_decode(jnp.asarray(llr), SMALL, num_iter=5, schedule=schedule)
    assert isinstance(traced, jax.Array)
    _agree(traced, found[1])
    # A word alone, and mapped, is what it is among others.
    _agree(ldpc_decode(llr[5], SMALL, num_iter=5, schedule=schedule, engine="numpy"), found[0][5])
    mapped = jax.vmap(lambda one: ldpc_decode(one, SMALL, num_iter=5, schedule=schedule))(jnp.asarray(llr[:3]))
    _agree(mapped, found[1][:3])
    assert 0.1 < ((found[0] > 0) == bits).all(1).mean() < 1


@pytest.mark.parametrize(
    ("k", "n", "m"),
    [(12, 60, 2), (100, 210, 2), (300, 330, 6), (500, 752, 4), (1000, 3000, 2), (3000, 3150, 2), (8448, 16896, 8)],
)
def test_no_noise_no_errors(k, n, m):
    code = LdpcCode(k, n, m)
    bits = np.random.default_rng(0).integers(0, 2, (2, k), np.uint8)
    llr = 20 * (2.0 * ldpc_encode(bits, code) - 1)
    for schedule, num_iter in (("layered", 4), ("flooding", 8)):
        found = ldpc_decode(llr, code, num_iter=num_iter, schedule=schedule, engine="numpy")
        np.testing.assert_array_equal(found > 0, bits == 1)


def test_nothing_known_is_nothing_said():
    found = ldpc_decode(np.zeros((2, 96)), SMALL, engine="numpy")
    np.testing.assert_allclose(found, 0, atol=1e-6)
    with np.errstate(all="raise"):
        huge = ldpc_decode(np.full((1, 96), -np.inf), SMALL, engine="numpy")
    assert np.all(np.isfinite(huge)) and np.all(huge < 0)


def test_errors_do_not_depend_on_the_word():
    """The same noise on another word, its LLRs flipped with it, ends in the same errors."""
    bits, llr = _received(SMALL, -2.5, 40, seed=2)
    other = np.random.default_rng(5).integers(0, 2, bits.shape, np.uint8)
    flip = ldpc_encode(bits, SMALL) != ldpc_encode(other, SMALL)
    found = ldpc_decode(llr, SMALL, num_iter=5, engine="numpy") * np.where(bits == 1, 1, -1)
    again = ldpc_decode(np.where(flip, -llr, llr), SMALL, num_iter=5, engine="numpy") * np.where(other == 1, 1, -1)
    # Filler is zero in every word, so that this is exact.
    _agree(found, again)
    assert 0 < (found < 0).any(1).sum() < 40


@pytest.mark.slow
def test_gradient_is_the_difference_quotient():
    with jax.enable_x64(True):
        _, llr = _received(SMALL, 0.0, 1, seed=3)
        llr = jnp.asarray(llr[0] / 4, jnp.float64)
        towards = jnp.asarray(np.random.default_rng(0).normal(size=96))

        def loss(values):
            return jnp.sum(jnp.tanh(ldpc_decode(values, SMALL, num_iter=3)))

        slope = jnp.vdot(jax.grad(loss)(llr), towards)
        step = 1e-6
        quotient = (loss(llr + step * towards) - loss(llr - step * towards)) / (2 * step)
        assert abs(quotient) > 0.01
        np.testing.assert_allclose(slope, quotient, rtol=1e-5)


def test_sixteen_bits_are_taken():
    bits, llr = _received(SMALL, 4.0, 3)
    found = ldpc_decode(jnp.asarray(llr, jnp.bfloat16), SMALL)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found > 0, bits == 1)


def _differ(p, num_p, q, num_q):
    both = (p * num_p + q * num_q) / (num_p + num_q)
    return abs(p - q) > 5 * np.sqrt(both * (1 - both) * (1 / num_p + 1 / num_q))


@pytest.mark.slow
def test_error_rates_are_sionnas():
    """Flooding, 20 iterations, QPSK over AWGN: the golden file's waterfall, of 4000 words a point."""
    code, num_words, seen = LdpcCode(120, 240, 2), 1500, 0
    golden = stored("coding")
    for esno_db, bler in zip(golden["esno_db"], golden["bler"], strict=True):
        if not 0.02 < bler < 0.98:
            continue
        bits, llr = _received(code, esno_db - 10 * np.log10(2), num_words, seed=int(10 * esno_db))
        wrong = ((ldpc_decode(llr, code, num_iter=20, schedule="flooding", engine="numpy") > 0) != bits).any(1).mean()
        assert not _differ(wrong, num_words, bler, 4000)
        seen += 1
    assert seen >= 3


def test_distance_from_capacity():
    """Rate 1/2, 4096 bits: BPSK's limit is 0.187 dB Eb/N0; half of the words come through within 1.2 dB of it."""
    code = LdpcCode(2048, 4096)
    lost = []
    for ebno_db in (0.187, 1.387):
        bits, llr = _received(code, ebno_db - 10 * np.log10(2), 64, seed=7)
        lost.append(((ldpc_decode(llr, code, num_iter=20, engine="numpy") > 0) != bits).any(1).mean())
    assert lost[0] == 1 and lost[1] < 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ldpc_decode(np.zeros((2, 95)), SMALL), r"llr must be \[..., 96\], got \(2, 95\)"),
        (lambda: ldpc_decode(jnp.zeros((2, 95)), SMALL), r"llr must be \[..., 96\], got \(2, 95\)"),
        (lambda: ldpc_decode(np.full((2, 96), np.nan), SMALL), "llr is NaN in 2 of 2 words"),
        (lambda: ldpc_decode(np.zeros(96), SMALL, engine="cuda"), "unknown engine 'cuda'; known: auto, jax, numpy"),
        (lambda: ldpc_decode(np.zeros(96), SMALL, schedule="x"), "unknown schedule 'x'; known: layered, flooding"),
        (lambda: ldpc_decode(np.zeros(96), SMALL, num_iter=0), "num_iter must be an integer >= 1, got 0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
