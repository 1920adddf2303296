"""Link adaptation and HARQ: targets on fresh channels, counts of bits, closed forms, and the limits of short codes."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig
from lvm_mtc.phy import coding
from lvm_mtc.schemes.separation.adaptation import AdaptiveLink

pytestmark = pytest.mark.usefixtures("fast_compile")

AWGN = LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)
RAYLEIGH = LinkConfig(num_rx_ant=2, num_tx_ant=1)
SLOTS, WORDS = 240, 150


@functools.cache
def adaptive(fading):
    link = AWGN if fading == "awgn" else RAYLEIGH
    return AdaptiveLink(link=link, num_slots=SLOTS, bits_per_symbol=(2, 4), num_iter=10)


@functools.cache
def chosen(fading, snr_db):
    return adaptive(fading).choose(jax.random.key(1), snr_db, WORDS)


@functools.cache
def served(fading, snr_db):
    return adaptive(fading).serve(chosen(fading, snr_db), jax.random.key(2), snr_db, WORDS)


@pytest.mark.parametrize("fading", ["awgn", "rayleigh"])
def test_target_is_kept_on_other_channels_and_the_next_pair_misses_it(fading):
    snr_db, link = 7.0, adaptive(fading)
    pair, pairs = chosen(fading, snr_db), adaptive(fading).pairs()
    # Both are chosen and judged by as many draws.
    error = np.sqrt(2 * 0.1 * 0.9 / WORDS)
    assert served(fading, snr_db).first_errors < link.target_error + 4 * error
    faster = pairs[pairs.index(pair) + 1]
    assert link.serve(faster, jax.random.key(3), snr_db, WORDS).first_errors > link.target_error - 4 * error


def test_more_snr_carries_more_and_never_more_than_short_codes_can():
    snr_db = (-30.0, 1.0, 7.0, 13.0)
    payloads = [chosen("awgn", snr).blocks.payload_bits for snr in snr_db]
    assert np.all(np.diff(payloads) > 0)
    assert chosen("awgn", -30.0) == adaptive("awgn").pairs()[0]
    for snr in snr_db[1:]:
        no, service = 10 ** (-snr / 10), served("awgn", snr)
        limit = phy.finite_rate(phy.awgn_capacity(no), phy.awgn_dispersion(no), SLOTS, 0.1)
        assert service.pair.blocks.payload_bits / SLOTS < limit
        assert 0.5 * limit < service.goodput < phy.awgn_capacity(no)


@pytest.mark.parametrize("fading", ["awgn", "rayleigh"])
def test_every_bit_is_counted(fading):
    service = served(fading, 7.0)
    blocks = service.pair.blocks
    assert service.coded_bits == service.transmissions.sum() * blocks.num_coded_bits
    assert service.ledger.channel_uses().sum() * service.pair.bits_per_symbol == service.coded_bits
    np.testing.assert_array_equal(service.ledger.slots, service.transmissions * SLOTS)
    np.testing.assert_array_equal(service.ledger.side_information_bits, service.transmissions)
    assert service.payload_bits == service.delivered.sum() * blocks.payload_bits
    np.testing.assert_array_equal(service.latency_slots, SLOTS + (service.transmissions - 1) * (SLOTS + 8))
    errors = [service.first_errors, *[np.mean(service.transmissions > t) for t in (2, 3)], 1 - service.delivered.mean()]
    transmissions, throughput = coding.expected_service(errors)
    np.testing.assert_allclose(service.transmissions.mean(), transmissions)
    np.testing.assert_allclose(service.goodput, throughput * blocks.payload_bits / SLOTS)


def test_repeats_bring_words_through_fades():
    plain = dataclasses.replace(adaptive("rayleigh"), versions=(0,))
    pair = chosen("rayleigh", 13.0)
    once = plain.serve(pair, jax.random.key(4), 7.0, WORDS)
    often = adaptive("rayleigh").serve(pair, jax.random.key(4), 7.0, WORDS)
    assert once.first_errors == often.first_errors > 0.2
    assert often.delivered.mean() > 0.98 > once.delivered.mean() + 0.15
    assert often.latency_slots.mean() > once.latency_slots.mean() == SLOTS


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(target_error=1.0), r"AdaptiveLink.target_error must lie in \(0, 1\), got 1.0"),
        (dict(versions=(0, 4)), "AdaptiveLink.versions must be of 0, 1, 2 and 3, got 4"),
        (dict(rates=()), "AdaptiveLink.rates must name at least one"),
        (dict(feedback_slots=-1), "AdaptiveLink.feedback_slots"),
        (dict(link=dataclasses.replace(AWGN, equalizer="paper")), "is biased"),
    ],
)
def test_errors(fields, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveLink(**dict(link=AWGN, num_slots=SLOTS) | fields)
