"""Superposed QAM with SIC, beside the superposed features: what arrives, and when."""

import jax
import numpy as np
import pytest

from experiments.sfma.digital import LINK, SHARES, Streams, choose, scheme_of, superposed, symbols_of
from experiments.sfma.measure import LINKS
from lvm_mtc.link import OperatingPoint
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.separation.digital import draw_pictures, send_bits
from lvm_mtc.schemes.sfma.scheme import Sfma, SfmaConfig
from lvm_mtc.schemes.simulate import forward

SCHEME = scheme_of(480)
PAIRS = {(pair.bits_per_symbol, pair.rate): pair for pair in SCHEME.pairs(1)}
QPSK, SIXTEEN = PAIRS[2, 1 / 2], PAIRS[4, 1 / 2]


def words(pairs, count=12, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, 2, (count, pair.blocks.payload_bits), np.uint8) for pair in pairs), rng


def arrive(pairs, share, snr_db):
    payloads, rng = words(pairs)
    return superposed(payloads, Streams(share, pairs), snr_db, rng).mean(1)


def test_both_arrive_above_and_only_the_stronger_below():
    """QPSK at 1/2 needs about 1.5 dB here: (a) 0.8 over 0.2 + no for the first, 0.2 over no for the second."""
    np.testing.assert_array_equal(arrive((QPSK, QPSK), 0.8, 12.0), 1.0)
    np.testing.assert_array_equal(arrive((QPSK, QPSK), 0.8, 6.0), [1.0, 0.0])
    np.testing.assert_array_equal(arrive((QPSK, QPSK), 0.5, 12.0), 0.0)  # nor the second, without the first
    np.testing.assert_array_equal(arrive((SIXTEEN, QPSK), 0.8, 12.0), 0.0)


def test_the_sum_has_power_one_for_equal_payloads_too():
    (payload, _), _ = words((QPSK, QPSK), 40)
    first, second = (symbols_of(payload, QPSK, user) for user in (0, 1))
    total = np.sqrt(0.8) * first + np.sqrt(0.2) * second
    assert np.mean(np.abs(total) ** 2) == pytest.approx(1, abs=0.02)
    assert np.abs(np.mean(first * np.conj(second))) < 0.03


@pytest.mark.slow
def test_the_choice_is_better_than_equal_streams_and_within_capacity():
    gained = np.array([pair.blocks.payload_bits for pair in SCHEME.pairs(1)]) / 100
    found = choose(SCHEME, gained, lost=0.0, snr_db=10.0, seed=0)
    sent = sum(pair.rate * pair.bits_per_symbol for pair in found.pairs)
    assert found.share in SHARES and 2.0 < sent < np.log2(1 + 10.0)
    np.testing.assert_array_equal(arrive(found.pairs, found.share, 10.5), 1.0)


@pytest.mark.slow
def test_all_ways_have_the_noise_of_the_snr():
    """Features over the study's link, QAM of users that take turns over theirs; superposed QAM adds ``1 / snr``."""
    scheme = Sfma(SfmaConfig(image_size=16, patch_size=4, num_symbols=8, width=16))
    params, source = scheme.init(jax.random.key(0)), Source(jax.random.uniform(jax.random.key(1), (2, 2, 16, 16, 3)))
    out = forward(scheme, params, source, jax.random.key(2), LINKS["awgn"], OperatingPoint(snr_db=10.0))
    np.testing.assert_allclose(out.received.no_eff, 0.1, rtol=1e-5)
    bits = np.random.default_rng(0).integers(0, 2, (1, 1, 4000), np.uint8)
    arrived = send_bits(LINK, 2, bits, draw_pictures(LINK, 1, 1, 2000, jax.random.key(0)), 10.0, 0.0)
    assert 10 * np.log10(arrived.snr) == pytest.approx(10.0, abs=0.3)
