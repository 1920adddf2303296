"""Sentences as bits: which code each takes, and what comes back of them."""

import numpy as np
import pytest

from lvm_mtc.data.bigram_code import BigramCode
from lvm_mtc.phy import coding
from lvm_mtc.schemes.separation.captions import RATES, CaptionBits


@pytest.fixture(scope="module")
def coded():
    """Sentences of two to nine of 60 words, and one of one; the code has seen others, in which all are alike."""
    rng = np.random.default_rng(0)
    draw = lambda n: np.where(np.arange(9) < rng.integers(2, 10, n)[:, None], rng.integers(1, 61, (n, 9)), 0)  # noqa: E731
    sender = CaptionBits(BigramCode(draw(50), 61))
    words = draw(40)
    words[0] = [max(range(1, 61), key=lambda word: sender.source.encode([word]).size), *[0] * 8]
    return sender, words, sender.encode(words)


def test_each_sentence_takes_the_lowest_rate_that_holds_it(coded):
    sender, words, sent = coded
    for sentence, length, rate in zip(words, sent.length, sent.rate, strict=True):
        assert length == np.count_nonzero(sentence)
        size, rooms = sender.source.encode(sentence).size, []
        for tried in RATES:
            try:
                rooms.append(coding.code_blocks(8 * int(length), 2, tried, crc="CRC11").payload_bits)
            except ValueError:
                rooms.append(-1)
        assert [room >= size for room in rooms].index(True) == rate if max(rooms) >= size else rate == -1
    assert len(set(sent.rate)) > 4 and sent.rate[0] == -1  # a rare word alone has no room beside the CRC
    assert sender.side_bits(9) == 4 + 4


def test_all_that_fits_comes_back_without_noise_and_nothing_without_signal(coded):
    sender, words, sent = coded
    llr = 8.0 * (2.0 * sent.bits - 1)
    want = np.where((sent.rate >= 0)[:, None], words, 0)
    np.testing.assert_array_equal(sender.decode(llr, sent), want)
    noise = np.random.default_rng(1).normal(size=llr.shape)
    assert (sender.decode(noise, sent) > 0).any(-1).mean() < 0.1


def test_places_without_a_word_are_not_looked_at(coded):
    sender, words, sent = coded
    silent = (words == 0)[..., None]
    assert not np.where(silent, sent.bits, 0).any()
    llr = np.where(silent, 50.0, 8.0 * (2.0 * sent.bits - 1))
    np.testing.assert_array_equal(sender.decode(llr, sent), np.where((sent.rate >= 0)[:, None], words, 0))


@pytest.mark.parametrize(
    ("fields", "message"), [(dict(num_symbols=0), "CaptionBits.num_symbols"), (dict(crc="CRC8"), "CRC8")]
)
def test_wrong_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        CaptionBits(BigramCode(np.array([[1]]), 2), **fields)
