"""Redundancy versions and HARQ: against one longer word, the standard's table, closed forms and Chase combining."""

import numpy as np
import pytest

from lvm_mtc.phy import coding
from lvm_mtc.phy.coding import LdpcCode


def noisy(coded, snr_db, rng):
    """LLRs of QPSK bits over AWGN."""
    no = 10 ** (-snr_db / 10)
    return np.float32(4 * (2.0 * coded - 1 + np.sqrt(no) * rng.normal(size=coded.shape)) / (2 * no))


@pytest.mark.parametrize(("k", "n", "graph"), [(40, 104, 2), (500, 800, 2), (1100, 1320, 1)])
def test_starts_are_the_standards(k, n, graph):
    code = LdpcCode(k, n, 2)
    assert code.base_graph == graph
    # The buffer as the standard has it, fillers as -1 in it: table 5.4.2.1-2, then bit selection that skips them.
    z, size = code.lifting, {1: 66, 2: 50}[graph] * code.lifting
    buffer = np.concatenate([np.arange(k - 2 * z), np.full(code.num_filler, -1), np.arange(k - 2 * z, code.longest)])
    assert buffer.size == size
    for version, columns in enumerate({1: (0, 17, 33, 56), 2: (0, 13, 25, 43)}[graph]):
        start = (columns * size) // ({1: 66, 2: 50}[graph] * z) * z
        around = np.roll(buffer, -start)
        chosen = around[around >= 0][:n].reshape(2, -1).T.reshape(-1)
        np.testing.assert_array_equal(coding.version_places(code, version), chosen)


ADJACENT = coding.CodeBlocks(1, 720, 936, 936, 2, base_graph=2)  # no filler, and version 1 begins where 0 ends
LONGER = coding.CodeBlocks(1, 720, 1872, 1872, 1, base_graph=2)


def test_versions_that_follow_each_other_are_one_longer_word():
    payload = np.random.default_rng(1).integers(0, 2, (20, ADJACENT.payload_bits), np.uint8)
    whole = coding.encode_payload(payload, LONGER)
    parts = [coding.encode_payload(payload, ADJACENT, version) for version in (0, 1)]
    llr = noisy(whole, 0.5, np.random.default_rng(2))
    places = [coding.version_places(ADJACENT.code, version) for version in (0, 1)]
    for part, place in zip(parts, places, strict=True):
        np.testing.assert_array_equal(part, whole[:, place])
    combined, blocks = coding.combine_versions(np.stack([llr[:, place] for place in places]), ADJACENT, (0, 1))
    assert blocks == LONGER
    np.testing.assert_array_equal(combined, llr)
    alone = coding.decode_payload(llr[:, places[0]], ADJACENT, num_iter=10)
    both = coding.decode_payload(combined, blocks, num_iter=10)
    assert not alone.valid.any() and both.valid.all() and (both.payload == payload).all()


def test_equal_versions_add_up_and_wrap_around():
    blocks = coding.code_blocks(203, 2, 0.6, crc="CRC16")
    assert blocks.num_coded_bits == 406
    llr = np.random.default_rng(3).normal(size=(2, 4, 406)).astype(np.float32)
    combined, longer = coding.combine_versions(llr, blocks, (3, 3))
    places = coding.version_places(blocks.code, 3)
    assert len(set(places)) == blocks.n and 0 in places and blocks.code.longest - 1 in places
    np.testing.assert_allclose(combined[:, places], llr.sum(0)[:, : blocks.n], rtol=1e-6)
    assert longer.num_coded_bits == blocks.code.longest and np.count_nonzero(combined[0]) == blocks.n


BLOCKS = coding.code_blocks(120, 2, 0.8, crc="CRC16")
SNR_DB, WORDS = -1.0, 240


def delivered(versions, seed, count=WORDS):
    rng = np.random.default_rng(seed)
    payload = rng.integers(0, 2, (count, BLOCKS.payload_bits), np.uint8)
    found = coding.deliver(
        payload, BLOCKS, lambda bits, rest, number: noisy(bits, SNR_DB, rng), versions=versions, num_iter=10
    )
    assert (found.payload == payload)[found.valid].all()
    return found


def test_throughput_is_that_of_the_word_error_rates():
    """Renewal and reward: error rates of words that are all sent t times, with noise of their own."""
    rng, errors, heard = np.random.default_rng(4), [], []
    payload = rng.integers(0, 2, (WORDS, BLOCKS.payload_bits), np.uint8)
    for number, version in enumerate(coding.VERSIONS):
        heard.append(noisy(coding.encode_payload(payload, BLOCKS, version), SNR_DB, rng))
        combined = coding.combine_versions(np.stack(heard), BLOCKS, coding.VERSIONS[: number + 1])
        errors.append(1 - coding.decode_payload(*combined, num_iter=10).valid.mean())
    transmissions, throughput = coding.expected_service(errors)
    assert errors[0] > 0.9 and 0.02 < errors[1] < 0.98
    found = delivered(coding.VERSIONS, 5)
    deviation = found.transmissions.std() * np.sqrt(2 / WORDS)
    assert abs(found.transmissions.mean() - transmissions) < 5 * deviation
    assert abs(found.valid.sum() / found.transmissions.sum() - throughput) < 5 * deviation / transmissions**2
    assert found.coded_bits == found.transmissions.sum() * BLOCKS.num_coded_bits
    # New parity bits are worth more than the old ones again.
    chase = delivered((0, 0, 0, 0), 6)
    assert chase.transmissions.mean() > found.transmissions.mean() + 5 * deviation


def test_one_transmission_is_plain_coding():
    found = delivered((0,), 7, count=30)
    rng = np.random.default_rng(7)
    payload = rng.integers(0, 2, (30, BLOCKS.payload_bits), np.uint8)
    plain = coding.decode_payload(noisy(coding.encode_payload(payload, BLOCKS), SNR_DB, rng), BLOCKS, num_iter=10)
    np.testing.assert_array_equal(found.valid, plain.valid)
    assert (found.transmissions == 1).all()


@pytest.mark.parametrize(
    ("errors", "expected"), [([0.25], (1, 0.75)), ([0.5, 0.1], (1.5, 0.6)), ([1.0, 1.0, 0.4], (3, 0.2))]
)
def test_closed_form(errors, expected):
    np.testing.assert_allclose(coding.expected_service(errors), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coding.version_places(LdpcCode(40, 96), 4), "version must be 0, 1, 2 or 3, got 4"),
        (lambda: coding.expected_service([]), "word_errors must be rates in"),
        (lambda: coding.combine_versions(np.zeros((1, 2, 240)), BLOCKS, (0, 2)), r"llr must be \[2, batch, 240\], got"),
        (lambda: delivered((), 0), "versions must name at least one"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
