"""CRC, LDPC code, rate matching and QAM, ours against Sionna's; without it, against what it once gave.

The goldens (``tests/golden/make_coding.py``) hold a small code's parity-check matrix, so that a decoder of our own, in
NumPy, can take the LLRs of our demapper where Sionna is not installed.
"""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sionna_coding
from golden import stored

from lvm_mtc.interop.sionna import runtime
from lvm_mtc.phy import coding as phy_coding
from lvm_mtc.phy.coding import CodeBlocks, code_blocks, decode_payload, encode_payload
from lvm_mtc.phy.modulation import qam_llr, qam_map

pytestmark = pytest.mark.usefixtures("fast_compile")

SMALL = code_blocks(120, 2, 0.5)


@pytest.fixture(scope="module")
def golden():
    return stored("coding")


def _crc24a(bits):
    """Remainder of polynomial division, bit by bit (TS 38.212, section 5.1)."""
    powers = (24, 23, 18, 17, 14, 11, 10, 7, 6, 5, 4, 3, 1, 0)
    divisor = np.isin(np.arange(24, -1, -1), powers)
    word = np.concatenate([np.asarray(bits, bool), np.zeros(24, bool)])
    for i in range(len(bits)):
        if word[i]:
            word[i : i + 25] ^= divisor
    return word[-24:]


def _deinterleaved(coded, bits_per_symbol):
    """Inverse of the bit interleaver of TS 38.212, section 5.4.2.2."""
    return np.swapaxes(coded.reshape(*coded.shape[:-1], -1, bits_per_symbol), -1, -2).reshape(coded.shape)


def _channel_llr(golden, llr):
    """LLRs of the mother code's bits: 2 Z punctured, filler known to be 0, the end punctured; ``[batch, n_ldpc]``."""
    z, k_ldpc = int(golden["lifting"]), int(golden["k_ldpc"])
    full = np.zeros((len(llr), golden["pcm"][1].max() + 1))
    llr = _deinterleaved(np.float64(llr), 2)
    full[:, 2 * z : SMALL.k] = llr[:, : SMALL.k - 2 * z]
    full[:, SMALL.k : k_ldpc] = -20
    full[:, k_ldpc : k_ldpc + SMALL.n - SMALL.k + 2 * z] = llr[:, SMALL.k - 2 * z :]
    return full


def _checks_on_air(golden):
    """The checks all of whose bits are sent or known; the others hold a punctured bit of their own and say nothing."""
    last = int(golden["k_ldpc"]) + SMALL.n - SMALL.k + 2 * int(golden["lifting"])
    rows, columns = golden["pcm"].astype(int)
    known = np.bincount(rows, weights=columns >= last) == 0
    return rows[known[rows]], columns[known[rows]], last


def _belief_propagation(golden, llr, num_iter=20):
    """Flooding sum-product decoder in float64; ``llr`` is log P(1)/P(0), bits out ``[batch, k]``."""
    rows, columns, last = _checks_on_air(golden)
    channel = np.clip(-_channel_llr(golden, llr)[:, :last], -20, 20).T
    order = np.argsort(rows, kind="stable")
    rows, columns = rows[order], columns[order]
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    by_column = np.argsort(columns, kind="stable")
    column_starts = np.flatnonzero(np.diff(columns[by_column], prepend=-1))
    to_checks = channel[columns]
    for _ in range(num_iter):
        halves = np.tanh(np.clip(to_checks, -20, 20) / 2)
        halves = np.where(np.abs(halves) < 1e-12, 1e-12, halves)
        product = np.multiply.reduceat(halves, starts, axis=0)[np.searchsorted(rows[starts], rows)]
        to_bits = 2 * np.arctanh(np.clip(product / halves, -1 + 1e-12, 1 - 1e-12))
        total = channel + np.add.reduceat(to_bits[by_column], column_starts, axis=0)
        to_checks = total[columns] - to_bits
    return np.uint8(total[: SMALL.k].T < 0)


def test_crc_by_long_division(golden):
    payload = golden["payload"]
    for bits, protected in zip(payload, golden["protected"], strict=True):
        np.testing.assert_array_equal(protected[-24:], _crc24a(bits))
    wrong = payload[0].copy()
    wrong[3] = 1 - wrong[3]
    assert np.any(_crc24a(wrong) != golden["protected"][0, -24:])


def test_codewords_satisfy_the_parity_checks(golden):
    """Geometry and interleaver: the bits stand where the matrix wants them."""
    rows, columns, _ = _checks_on_air(golden)
    word = _channel_llr(golden, 2 * golden["coded"] - 1) > 0
    word[:, : SMALL.k] = golden["protected"] == 1
    assert np.unique(rows).size == SMALL.n - SMALL.k + 2 * golden["lifting"]

    def unsatisfied(word):
        return np.stack([np.bincount(rows, weights=one[columns]) % 2 for one in word])

    assert not unsatisfied(word).any()
    word[0, 50] ^= True
    assert unsatisfied(word).any()


@pytest.mark.parametrize("bits_per_symbol", [2, 4, 6, 8])
def test_symbols_and_llrs_are_sionnas(bits_per_symbol, golden):
    name = f"qam{bits_per_symbol}"
    x = qam_map(golden[f"{name}_bits"], bits_per_symbol)
    np.testing.assert_allclose(x, golden[f"{name}_x"], atol=2e-7)
    y, no = jnp.asarray(golden[f"{name}_y"], jnp.complex64), jnp.asarray(golden[f"{name}_no"], jnp.float32)
    for method in ("app", "maxlog"):
        want = golden[f"{name}_{method}"]
        np.testing.assert_allclose(qam_llr(y, no, bits_per_symbol, method), want, rtol=1e-4, atol=1e-4)
        # A factor of two in the noise is seen.
        assert np.abs(qam_llr(y, 2 * no, bits_per_symbol, method) - want).max() > 0.1


def test_decoder_finds_what_sionnas_found(golden):
    found = _belief_propagation(golden, golden["llr"])
    right = (golden["decoded"] == golden["protected"]).all(1)
    assert 2 <= right.sum() < len(right)
    np.testing.assert_array_equal(found[right], golden["protected"][right])
    assert (found[~right] != golden["protected"][~right]).any(1).all()


def _block_errors(golden, esno_db, num_words, *, seed, actual_db=None):
    """Which of some golden codewords our mapper, AWGN, demapper and the NumPy decoder lose."""
    rng = np.random.default_rng(seed)
    pick = rng.integers(0, len(golden["coded"]), num_words)
    x = np.asarray(qam_map(golden["coded"][pick], 2))
    no, actual = (10 ** (-db / 10) for db in (esno_db, esno_db if actual_db is None else actual_db))
    noise = rng.normal(size=x.shape) + 1j * rng.normal(size=x.shape)
    y = jnp.asarray(x + np.sqrt(actual / 2) * noise, jnp.complex64)
    llr = np.asarray(qam_llr(y, jnp.float32(no), 2))
    return (_belief_propagation(golden, llr) != golden["protected"][pick]).any(1)


def _differ(p, num_p, q, num_q):
    """By more than 5 standard errors of a difference of two shares."""
    both = (p * num_p + q * num_q) / (num_p + num_q)
    return abs(p - q) > 5 * np.sqrt(both * (1 - both) * (1 / num_p + 1 / num_q))


def test_waterfall_is_the_golden_one(golden):
    for esno_db, bler in zip(golden["esno_db"], golden["bler"], strict=True):
        if 0.2 < bler < 0.8:
            found = _block_errors(golden, esno_db, 150, seed=int(10 * esno_db))
            assert not _differ(found.mean(), found.size, bler, golden["num_blocks"])


@pytest.mark.parametrize("wrong_db", [-3.0, 3.0])
def test_three_db_are_seen_in_the_waterfall(golden, wrong_db):
    middle = int(np.argmin(np.abs(golden["bler"] - 0.5)))
    esno_db = golden["esno_db"][middle]
    found = _block_errors(golden, esno_db, 200, seed=3, actual_db=esno_db + wrong_db)
    assert _differ(found.mean(), found.size, golden["bler"][middle], golden["num_blocks"])


def test_blocks_cover_the_symbols():
    for num_symbols in (96, 1536, 4608, 20_001):
        for bits in (2, 4, 6, 8):
            for rate in (0.2, 0.25, 0.3, 1 / 3, 0.5, 2 / 3, 0.75, 5 / 6, 0.95):
                found = code_blocks(num_symbols, bits, rate)
                assert found.n % bits == 0 and found.num_coded_bits == num_symbols * bits
                assert 0 <= found.num_coded_bits - found.num_blocks * found.n < found.num_blocks * bits
                assert found.k <= (8448 if rate >= 1 / 3 else 3824)
                assert 0.2 <= found.k / found.n <= 0.95 and abs(found.k / found.n - rate) < 1 / found.n
                assert found.payload_bits == found.num_blocks * found.k - 24
                if found.num_blocks > 1:  # one block fewer would be too long
                    n = num_symbols // (found.num_blocks - 1) * bits
                    assert rate * n > (8448 if rate >= 1 / 3 else 3824)
    assert code_blocks(120, 2, 0.5) == CodeBlocks(1, 120, 240, 240, 2)
    assert code_blocks(4608, 8, 5 / 6) == CodeBlocks(4, 7680, 9216, 36864, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: code_blocks(1536, 2, 0.19), r"rate must lie in \[0.2, 0.95\], got 0.19"),
        (lambda: code_blocks(1536, 2, 0.96), r"rate must lie in \[0.2, 0.95\], got 0.96"),
        (lambda: code_blocks(0, 2, 0.5), "num_symbols must be an integer >= 1, got 0"),
        (lambda: code_blocks(10, 2.5, 0.5), "bits_per_symbol must be an integer >= 1, got 2.5"),
        (lambda: code_blocks(20, 2, 0.5), "num_symbols 20 of 2 bits at rate 0.5 make a block of 20 bits"),
        (lambda: encode_payload(np.zeros((2, 95)), SMALL), r"payload must be \[batch, 96\], got \(2, 95\)"),
        (lambda: encode_payload(np.full((2, 96), 0.5), SMALL), "payload must be zeros and ones, got 0.5"),
        (lambda: decode_payload(np.zeros(240), SMALL), r"llr must be \[batch, 240\], got \(240,\)"),
        (lambda: decode_payload(np.full((2, 240), np.nan), SMALL), "llr is NaN in 2 of 2 words"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_missing_extra_is_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(runtime.SionnaUnavailable, match=r"not installed: pip install 'lvm-mtc\[sionna\]'") as error:
        sionna_coding.encode_payload(np.zeros((1, SMALL.payload_bits)), SMALL)
    assert "\n" not in str(error.value)


SIONNA = pytest.param(sionna_coding, marks=pytest.mark.sionna, id="sionna")


@pytest.mark.parametrize("chain", [phy_coding, SIONNA])
def test_chain_gives_the_goldens(golden, chain):
    coded = chain.encode_payload(golden["payload"], SMALL)
    np.testing.assert_array_equal(coded, golden["coded"])
    native = {"schedule": "flooding"} if chain is phy_coding else {}
    found = chain.decode_payload(golden["llr"], SMALL, num_iter=20, **native)
    right = (golden["decoded"] == golden["protected"]).all(1)
    np.testing.assert_array_equal(found.valid, right)
    np.testing.assert_array_equal(found.payload[right], golden["payload"][right])
    np.testing.assert_array_equal(found.blocks[right, 0], golden["decoded"][right])
    # A word that fails is nowhere near a codeword: a few of its bits hang on the last digits.
    assert (found.blocks[:, 0] != golden["decoded"]).mean() < 0.01


@pytest.mark.sionna
def test_goldens_are_made_anew(golden, monkeypatch):
    from golden import make_coding

    monkeypatch.setattr(make_coding, "NUM_BLOCKS", 200)
    cases = make_coding.cases()
    assert set(cases) == set(golden)
    for name, value in golden.items():
        if name in ("bler", "ber"):
            for found, want in zip(cases["bler"], golden["bler"], strict=True):
                assert not _differ(found, 200, want, golden["num_blocks"])
        elif name not in ("num_blocks", "sionna_version", "tensorflow_version"):
            np.testing.assert_allclose(cases[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("chain", [phy_coding, SIONNA])
def test_segmented_payload_comes_back(chain):
    """Three blocks and bits to spare; a block that is lost is noticed."""
    blocks = code_blocks(5000, 4, 0.9)
    assert blocks.num_blocks == 3 and blocks.num_coded_bits > 3 * blocks.n
    rng = np.random.default_rng(0)
    payload = rng.integers(0, 2, (3, blocks.payload_bits), np.uint8)
    coded = chain.encode_payload(payload, blocks)
    assert not coded[:, 3 * blocks.n :].any()
    llr = 20 * (2.0 * coded - 1)
    found = chain.decode_payload(llr, blocks, num_iter=5)
    assert found.valid.all()
    np.testing.assert_array_equal(found.payload, payload)
    llr[1, blocks.n : 2 * blocks.n] = rng.normal(size=blocks.n)
    found = chain.decode_payload(llr, blocks, num_iter=5)
    np.testing.assert_array_equal(found.valid, [True, False, True])
    wrong = found.payload[1] != payload[1]
    assert wrong[blocks.k : 2 * blocks.k].any() and not wrong[: blocks.k].any() and not wrong[2 * blocks.k :].any()


def _our_words(bits_per_symbol, blocks, esno_db, num_words, *, seed, wrong_no=1.0):
    """Error of each word of our chain: ``[num_words]`` share of wrong payload bits."""
    rng = np.random.default_rng(seed)
    payload = rng.integers(0, 2, (num_words, blocks.payload_bits), np.uint8)
    no = np.float32(10 ** (-esno_db / 10))
    x = qam_map(encode_payload(payload, blocks), bits_per_symbol)
    y = x + np.sqrt(no) * jax.random.normal(jax.random.key(seed), x.shape, jnp.complex64)
    llr = np.asarray(qam_llr(y, wrong_no * no, bits_per_symbol))
    found = decode_payload(llr, blocks, num_iter=20, schedule="flooding", engine="numpy")
    return (found.payload != payload).mean(-1)


def _sionnas_words(bits_per_symbol, blocks, esno_db, num_words):
    sionna = runtime.load().phy
    sionna.config.seed = 7
    no = 10 ** (-esno_db / 10)
    encoder = sionna.fec.ldpc.LDPC5GEncoder(blocks.k, blocks.n, num_bits_per_symbol=bits_per_symbol)
    decoder = sionna.fec.ldpc.LDPC5GDecoder(encoder, num_iter=20)
    bits = sionna.mapping.BinarySource()([num_words, blocks.k])
    x = sionna.mapping.Mapper("qam", bits_per_symbol)(encoder(bits))
    llr = sionna.mapping.Demapper("app", "qam", bits_per_symbol)(sionna.channel.AWGN()(x, no), no)
    return (decoder(llr).numpy() != bits.numpy()).mean(-1)


# Modulation, code rate and Es/N0 near the middle of the waterfall, for 384 symbols.
WATERFALLS = [(2, 0.5, 1.0), (4, 1 / 3, 3.3), (6, 0.75, 15.1), (8, 0.5, 14.3)]


@pytest.mark.sionna
@pytest.mark.parametrize(("bits_per_symbol", "rate", "middle"), WATERFALLS)
def test_error_rates_are_those_of_sionnas_simulation(bits_per_symbol, rate, middle):
    blocks, num_words = code_blocks(384, bits_per_symbol, rate), 256
    inside = False
    for esno_db in (middle - 0.3, middle, middle + 0.3):
        ours = _our_words(bits_per_symbol, blocks, esno_db, num_words, seed=1)
        theirs = _sionnas_words(bits_per_symbol, blocks, esno_db, num_words)
        assert not _differ((ours > 0).mean(), num_words, (theirs > 0).mean(), num_words)
        # Bits of a word fail together: the spread is that of the words' error rates.
        spread = np.sqrt((ours.var() + theirs.var()) / num_words)
        assert abs(ours.mean() - theirs.mean()) <= 5 * spread
        inside |= 0.05 < (theirs > 0).mean() < 0.95
    assert inside, "none of the points lies on the waterfall"


@pytest.mark.sionna
def test_a_factor_of_two_in_the_noise_moves_the_waterfall():
    bits_per_symbol, rate, middle = WATERFALLS[1]
    blocks = code_blocks(384, bits_per_symbol, rate)
    theirs = _sionnas_words(bits_per_symbol, blocks, middle, 256)
    for offset_db in (-3.0, 3.0):
        ours = _our_words(bits_per_symbol, blocks, middle + offset_db, 256, seed=1)
        assert _differ((ours > 0).mean(), 256, (theirs > 0).mean(), 256)
    # And so does a demapper that believes in half the noise.
    ours = _our_words(bits_per_symbol, blocks, middle, 256, seed=1, wrong_no=0.5)
    assert _differ((ours > 0).mean(), 256, (theirs > 0).mean(), 256)


def test_cliff_within_one_db():
    """1536 symbols of 16-QAM at rate 1/2: nothing, then everything."""
    blocks = code_blocks(1536, 4, 0.5)
    lost = [(_our_words(4, blocks, esno_db, 32, seed=2) > 0).mean() for esno_db in (5.6, 6.6)]
    assert lost == [1.0, 0.0]
