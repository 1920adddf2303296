"""Receivers of the digital system beside each other: the same bits, channels and code, other LLRs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, Mac, OperatingPoint, SingleCarrier, Slots, noise_variance
from lvm_mtc.phy import coding
from lvm_mtc.schemes.separation import digital
from lvm_mtc.schemes.separation.modulation_coding import Pair, SeparationScheme

pytestmark = pytest.mark.usefixtures("fast_compile")

SLOTS, BATCH, UAVS = 96, 60, 2
LINK = LinkConfig(num_rx_ant=2, num_tx_ant=2, carrier=SingleCarrier(block_length=8))
BLOCKS = coding.code_blocks(2 * SLOTS, 4, 1 / 2)
SCHEME = SeparationScheme(
    name="16-QAM", codec="webp", num_slots=SLOTS, bits_per_symbol=(4,), rates=(1 / 2,), num_iter=20
)
SCRAMBLE = digital.scrambling(BLOCKS.num_coded_bits)


def sent():
    payload = np.random.default_rng(0).integers(0, 2, (BATCH * UAVS, BLOCKS.payload_bits), np.uint8)
    bits = coding.encode_payload(payload, BLOCKS) ^ SCRAMBLE
    return payload, bits.reshape(BATCH, UAVS, -1)


def received(scheme, payload, bits, draws, snr_db=7.0):
    """First LLRs, and which words come through."""
    arrived = scheme.send(LINK, 4, bits, draws, snr_db, 0.0)

    def detect(prior):
        return scheme.detect(arrived.heard, 4, prior.reshape(bits.shape)).reshape(prior.shape)

    llr = np.asarray(arrived.llr).reshape(len(payload), -1)
    found = scheme.decode(llr, SCRAMBLE, Pair(4, 1 / 2, BLOCKS), detect)
    return llr, found.valid & (found.payload == payload).all(1)


@pytest.mark.slow
def test_more_is_heard_by_better_receivers_and_with_iterations():
    """2x2 16-QAM at 7 dB, 120 words of rate 1/2 over the same fading: each step brings words home, paired."""
    payload, bits = sent()
    draws = digital.draw_pictures(LINK, BATCH, UAVS, SLOTS, jax.random.key(1))
    steps = {
        "linear": {}, "pic, once": dict(detector="pic"), "pic": dict(detector="pic", num_detections=4),
        "exact, once": dict(detector="exact"), "exact": dict(detector="exact", num_detections=4),
    }  # fmt: skip
    found = {
        name: received(dataclasses.replace(SCHEME, **fields), payload, bits, draws) for name, fields in steps.items()
    }
    # One detection is what there was without.
    np.testing.assert_array_equal(found["pic, once"][0], found["linear"][0])
    np.testing.assert_array_equal(found["pic, once"][1], found["linear"][1])
    np.testing.assert_array_equal(found["exact, once"][0], found["exact"][0])
    for worse, better in (("linear", "pic"), ("linear", "exact, once"), ("exact, once", "exact"), ("pic", "exact")):
        gained, lost = (found[better][1] & ~found[worse][1]).sum(), (found[worse][1] & ~found[better][1]).sum()
        assert gained - lost > 3 * np.sqrt(gained + lost), (worse, better, gained, lost)
    assert 0.3 < found["linear"][1].mean() < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("fading", ["rayleigh", "awgn"])
def test_llrs_go_back_to_their_bits(fading):
    """Each detector on the observation that the link gives, slot by slot in plain NumPy; with CSI error."""
    carrier = SingleCarrier(block_length=5) if fading == "rayleigh" else SingleCarrier()
    link, s = dataclasses.replace(LINK, fading=fading, carrier=carrier), 0.02
    bits = np.random.default_rng(1).integers(0, 2, (2, 2, 12 * 2 * 2), np.uint8)
    draws = digital.draw_pictures(link, 2, 2, 12, jax.random.key(2))
    at = OperatingPoint(snr_db=np.float32(8.0), csi_error_var=np.float32(s))
    order = digital.symbol_order(24)
    x = phy.qam_map(bits, 2)[..., order].reshape(2, 2, 12, 2)
    index = jnp.broadcast_to(jnp.arange(24).reshape(1, 2, 12), (2, 2, 12))
    out = link.carrier.send(link, Slots(x, index=index, total=24), draws, at)
    no = float(noise_variance(link, at))
    if fading == "rayleigh":
        mean, variance = (np.asarray(a) for a in phy.csi_posterior(out.h_hat, s))
        h = np.stack([mean[:, k, (12 * k + np.arange(12)) // 5] for k in range(2)], axis=1)
        no = no + 2 * float(np.ravel(variance)[0])
    else:
        h, no = np.asarray(out.h_hat)[:, :, :, :, None] * np.eye(2), no + s
    heard = out.heard
    np.testing.assert_allclose(heard.y, np.asarray(out.y) / np.sqrt(no), rtol=1e-4)
    np.testing.assert_allclose(heard.h_hat, h / np.sqrt(no), rtol=1e-4, atol=1e-5)
    llr = {
        name: np.asarray(
            digital.send_bits(link, 2, bits, draws, at.snr_db, at.csi_error_var, detector=name, num_kept=16).llr
        )
        for name in digital.DETECTORS
    }
    y, h = np.asarray(out.y), np.broadcast_to(h, (2, 2, 12, 2, 2))
    points, labels = phy.qam_points(2), (np.arange(16)[:, None] >> np.arange(4)[::-1]) & 1
    vectors = points[np.stack([labels[:, :2] @ [2, 1], labels[:, 2:] @ [2, 1]], axis=1)]
    belief = -np.sum(np.abs(y[..., None, :] - np.einsum("bksmn,cn->bkscm", h, vectors)) ** 2, axis=-1) / no
    want = np.stack([np.logaddexp.reduce(belief[..., bit == 1], -1) for bit in labels.T], axis=-1)
    want -= np.stack([np.logaddexp.reduce(belief[..., bit == 0], -1) for bit in labels.T], axis=-1)
    on_air = np.empty((2, 2, 24, 2))
    on_air[:, :, order] = want.reshape(2, 2, 24, 2)
    for name in ("exact", "k_best"):  # of which all 16 vectors are kept
        np.testing.assert_allclose(llr[name], on_air.reshape(bits.shape), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(llr["pic"], llr["linear"], rtol=1e-4, atol=1e-4)
    # Streams that do not meet are detected alike by all of them; where they meet, not.
    for name in ("linear", "sic"):
        assert np.allclose(llr[name], llr["exact"], rtol=1e-2, atol=1e-2) == (fading == "awgn")


@pytest.mark.parametrize("access", ["superposed", "orthogonal"])
def test_an_uplink_is_detected_over_all_its_pictures(access):
    """Two devices, two antennas: LLRs of whole slots in plain NumPy; alone a picture has a slot and twice the power."""
    carrier = Mac(access=access, block_length=5)
    link = LinkConfig(num_rx_ant=2, num_tx_ant=1, carrier=carrier)
    bits = np.random.default_rng(2).integers(0, 2, (3, 2, 24), np.uint8)
    draws = digital.draw_pictures(link, 3, 2, 12, jax.random.key(4))
    found = {
        name: np.asarray(digital.send_bits(link, 2, bits, draws, np.float32(5), np.float32(0), detector=name).llr)
        for name in ("linear", "exact", "pic")
    }
    order, no = digital.symbol_order(12), 10**-0.5
    x = np.asarray(phy.qam_map(bits, 2))[..., order]
    h, noise = np.asarray(draws.h)[..., 0], np.sqrt(no) * np.asarray(draws.noise)
    points, labels = phy.qam_points(2), np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    want = np.empty((3, 2, 12, 2))
    for b, s in np.ndindex(3, 12):
        if access == "superposed":
            channel = h[b, :, s // 5].T
            y = channel @ x[b, :, s] + noise[b, s]
            belief = np.array([[-np.sum(np.abs(y - channel @ [p, q]) ** 2) / no for q in points] for p in points])
            beliefs = np.logaddexp.reduce(belief, axis=1), np.logaddexp.reduce(belief, axis=0)
        else:
            channel = [np.sqrt(2) * h[b, k, (2 * s + k) // 5] for k in range(2)]
            heard = [channel[k] * x[b, k, s] + noise[b, 2 * s + k] for k in range(2)]
            beliefs = [-np.sum(np.abs(heard[k] - np.outer(points, channel[k])) ** 2, axis=1) / no for k in range(2)]
        for k, belief in enumerate(beliefs):
            for i, bit in enumerate(labels.T):
                want[b, k, order[s], i] = np.logaddexp.reduce(belief[bit == 1]) - np.logaddexp.reduce(belief[bit == 0])
    np.testing.assert_allclose(found["exact"], want.reshape(bits.shape), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found["pic"], found["linear"], rtol=1e-4, atol=1e-4)
    assert np.allclose(found["linear"], found["exact"], rtol=1e-2, atol=1e-2) == (access == "orthogonal")
    ledger = digital.picture_ledger(link, 3, 2, 12)
    assert np.all(ledger.slots == (12 if access == "superposed" else 24)) and np.all(
        ledger.private_uses == 2 * ledger.slots
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(detector="viterbi"), "detector must be one of linear, sic, pic, k_best, exact, got 'viterbi'"),
        (dict(num_kept=0), "SeparationScheme.num_kept must be an integer >= 1, got 0"),
        (dict(num_detections=0), "SeparationScheme.num_detections must be an integer >= 1, got 0"),
        (
            dict(num_detections=2),
            "num_detections 2 needs a detector that can be told .* pic, k_best, exact, got",
        ),
    ],
)
def test_receivers_that_there_are_not(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SCHEME, **changes)
