"""References of a picture codec with ideal channel codes."""

import dataclasses

import jax
import numpy as np
import pytest

from lvm_mtc.data.picture_codecs import best_fit
from lvm_mtc.link import LinkConfig, SingleCarrier
from lvm_mtc.report.references import (
    RateDistortion,
    _slots_per_block,
    picture_capacities,
    rate_distortion,
    separation_references,
)

pytestmark = pytest.mark.usefixtures("fast_compile")

AWGN = LinkConfig(fading="awgn", num_rx_ant=2, num_tx_ant=2)
SCALAR = LinkConfig(num_rx_ant=1, num_tx_ant=1)
RAYLEIGH = LinkConfig(num_rx_ant=2, num_tx_ant=2)
# A made-up codec: 10 dB without bits, then 3 dB for each doubling.
CURVE = RateDistortion(np.concatenate([[0], 2 ** np.arange(6, 14)]), np.concatenate([[10.0], 13 + 3.0 * np.arange(8)]))


def test_staircase_is_the_mean_over_best_fits(small_pictures):
    images = np.float32(np.round(small_pictures[0] * 255) / 255)
    mean = np.full((32, 32, 3), 0.5)
    curve = rate_distortion(images, "webp", mean)
    assert np.all(np.diff(curve.bits) > 0)
    for budget in (0, 500, int(curve.bits[3]), int(curve.bits[3]) - 1, 900, 2000, 10**6):
        want = []
        for picture in images.reshape(-1, 32, 32, 3):
            found = best_fit(np.uint8(np.round(picture * 255)), "webp", budget)
            shown = mean if found is None else found.picture / 255
            want.append(-10 * np.log10(np.mean((np.float64(picture) - shown) ** 2)))
        np.testing.assert_allclose(curve.at(budget), np.mean(want), rtol=1e-5)


def test_awgn_references_are_d_of_c():
    found = separation_references(CURVE, AWGN, jax.random.key(0), snr_db=(0.0, 10.0), num_slots=100, num_draws=4)
    bits = 100 * 2 * np.log2(1 + np.array([1.0, 10.0]))
    np.testing.assert_allclose(found.mean_capacity_bits, bits, rtol=1e-6)
    for one in (found.outage, found.known_channel):
        np.testing.assert_allclose(one.mean, CURVE.at(bits + 1e-3))
        np.testing.assert_allclose(one.half_width, 0, atol=1e-12)


def test_capacities_of_one_antenna_are_rayleighs():
    """P(C < R) = 1 - exp(-(2^(R/S) - 1) / snr), S slots that share a block."""
    num_slots, snr = 50, 10.0
    unknown, known = picture_capacities(SCALAR, jax.random.key(1), snr_db=10.0, num_slots=num_slots, num_draws=2000)
    np.testing.assert_allclose(unknown, known, rtol=1e-4, atol=1e-3)  # one antenna has nothing to share out
    for bits in (50, 150, 200):
        want = 1 - np.exp(-(2 ** (bits / num_slots) - 1) / snr)
        assert abs(np.mean(unknown < bits) - want) < 5 * np.sqrt(want * (1 - want) / len(unknown))
        assert abs(np.mean(2 * unknown < bits) - want) > 5 * np.sqrt(want * (1 - want) / len(unknown))


def test_outage_is_the_best_fixed_rate():
    """Against the closed form over one antenna, maximised on a fine grid of rates."""
    num_slots, snr = 50, 10.0
    found = separation_references(CURVE, SCALAR, jax.random.key(2), snr_db=10.0, num_slots=num_slots, num_draws=2000)
    rates = np.arange(1, 600)
    out = 1 - np.exp(-(2 ** (rates / num_slots) - 1) / snr)
    values = (1 - out) * CURVE.at(rates) + out * CURVE.at(0)
    best = int(np.argmax(values))
    gain = CURVE.at(rates[best]) - CURVE.at(0)
    spread = gain * np.sqrt(out[best] * (1 - out[best]) / 2000)
    assert abs(found.outage.mean[0] - values[best]) < 5 * spread
    # The same step of the staircase, just behind its edge.
    assert CURVE.at(found.outage_rate_bits[0]) == CURVE.at(rates[best])
    assert found.outage.mean[0] <= found.known_channel.mean[0]


def test_outage_rate_is_not_chosen_on_what_is_reported():
    """Few draws, many times: on average no fixed rate is beaten. Chosen on its own draws, the best of them would be."""
    num_slots, snr = 50, 10.0
    rates = np.arange(1, 600)
    out = 1 - np.exp(-(2 ** (rates / num_slots) - 1) / snr)
    best = np.max((1 - out) * CURVE.at(rates) + out * CURVE.at(0))
    found = [
        separation_references(CURVE, SCALAR, jax.random.key(i), snr_db=10.0, num_slots=num_slots, num_draws=20)
        for i in range(100)
    ]
    means = np.array([one.outage.mean[0] for one in found])
    assert means.mean() <= best + 3 * means.std() / np.sqrt(len(means))
    for one in found:  # the rate is a capacity of other draws
        assert 0 <= one.outage_probability[0] <= 1
    own, _ = picture_capacities(SCALAR, jax.random.key(0), snr_db=10.0, num_slots=num_slots, num_draws=20)
    assert found[0].outage_rate_bits[0] not in own


def test_knowing_the_channel_helps():
    unknown, known = picture_capacities(RAYLEIGH, jax.random.key(3), snr_db=(-5.0, 15.0), num_slots=10, num_draws=200)
    assert np.all(known >= unknown * (1 - 1e-5)) and known[:, 0].mean() > 1.2 * unknown[:, 0].mean()


def test_slots_are_counted_in_the_blocks_that_they_lie_in():
    link = dataclasses.replace(RAYLEIGH, carrier=SingleCarrier(block_length=4))
    counts = _slots_per_block(link, 2, 6, 3)[0, 0]
    np.testing.assert_array_equal(counts, [[4, 2, 0], [0, 2, 4]])
    with_pilots = dataclasses.replace(link, csi="pilots_ls", carrier=SingleCarrier(block_length=4, num_pilots=2))
    np.testing.assert_array_equal(_slots_per_block(with_pilots, 1, 5, 3)[0, 0], [[2, 2, 1]])
    # More blocks in a picture, less spread of what it can carry: the variance of a mean of independent blocks.
    spreads = []
    for block_length in (None, 5):
        link = dataclasses.replace(RAYLEIGH, carrier=SingleCarrier(block_length=block_length))
        unknown, _ = picture_capacities(link, jax.random.key(4), snr_db=10.0, num_slots=20, num_draws=500)
        spreads.append(unknown.std())
    # Standard error of a standard deviation of 500 draws: about 1 / sqrt(1000) of it.
    assert abs(spreads[0] / spreads[1] - 2) < 5 * 2 * np.sqrt(2 / 1000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: picture_capacities(
                dataclasses.replace(RAYLEIGH, carrier=SingleCarrier(topology="joint")),
                jax.random.key(0),
                snr_db=0.0,
                num_slots=4,
            ),
            "topology 'broadcast', got 'joint'",
        ),
        (
            lambda: picture_capacities(RAYLEIGH, jax.random.key(0), snr_db=0.0, num_slots=4, num_draws=1),
            "num_draws must be 2 or more",
        ),
        (
            lambda: rate_distortion(np.zeros((2, 8, 8, 3)), "webp", np.zeros((4, 4, 3))),
            r"images \(2, 8, 8, 3\) and mean_picture \(4, 4, 3\)",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
