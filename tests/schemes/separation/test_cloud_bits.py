"""Clouds as bits: what fits, what comes back, what is shown where nothing arrives; rates that the decoder reaches."""

import dataclasses

import jax
import numpy as np
import pytest

from lvm_mtc.data.draco import DracoCode
from lvm_mtc.data.octree import OctreeCode
from lvm_mtc.phy.modulation import qam_llr, qam_map
from lvm_mtc.schemes.separation.clouds import CloudBits

RNG = np.random.default_rng(8)


def spheres(count):
    points = RNG.normal(size=(count, 96, 3))
    return np.float32(points / np.linalg.norm(points, axis=-1, keepdims=True) * RNG.uniform(0.5, 1, (count, 1, 1)))


SENDER, CLOUDS = CloudBits(OctreeCode(spheres(30)), spheres(1)[0], num_symbols=120), spheres(6)


def test_bits_fill_the_symbols_and_come_back():
    coded = SENDER.encode(CLOUDS)
    assert coded.bits.shape == (6, 1, 240) and SENDER.blocks.payload_bits == 120 - 16 and SENDER.side_bits(1) == 0
    assert 0.4 < coded.bits.mean() < 0.6  # scrambled
    found = SENDER.decode(8.0 * (2.0 * coded.bits - 1), coded)
    for cloud, shown in zip(CLOUDS, found, strict=True):
        told = SENDER.source.decode(SENDER.source.encode(cloud, 104))
        np.testing.assert_array_equal(np.unique(shown, axis=0), np.unique(told, axis=0))
        _, counts = np.unique(shown, axis=0, return_counts=True)
        assert counts.max() - counts.min() <= 1
    noise = RNG.normal(size=coded.bits.shape)
    assert (SENDER.decode(noise, coded) == SENDER.lost).all(axis=(1, 2)).mean() > 0.5


@pytest.mark.parametrize(("bits", "rate", "snr_db"), [(2, 1 / 3, 2.0), (4, 1 / 2, 9.5)])
def test_rates_are_reached_over_noise(bits, rate, snr_db):
    sender = dataclasses.replace(SENDER, bits_per_symbol=bits, rate=rate, num_symbols=320)
    coded, no = sender.encode(CLOUDS), 10 ** (-snr_db / 10)
    symbols = qam_map(coded.bits, bits)
    noise = RNG.normal(scale=np.sqrt(no / 2), size=(2, *symbols.shape))
    llr = qam_llr(symbols + jax.numpy.asarray(noise[0] + 1j * noise[1], symbols.dtype), no, bits)
    arrived = sender.decode(np.asarray(llr), coded)
    assert np.isfinite(arrived).all() and (arrived != sender.lost).any(axis=(1, 2)).all()


def test_draco_fits_or_the_cloud_that_stands_for_all_arrives():
    pytest.importorskip("DracoPy", reason="needs DracoPy (extra draco)")
    for num_symbols, fits in ((800, True), (120, False)):
        sender = dataclasses.replace(SENDER, source=DracoCode(), num_symbols=num_symbols)
        coded = sender.encode(CLOUDS)
        found = sender.decode(8.0 * (2.0 * coded.bits - 1), coded)
        for cloud, shown in zip(CLOUDS, found, strict=True):
            told = sender.source.decode(sender.source.encode(cloud, sender.blocks.payload_bits))
            assert bool(len(told)) == fits
            np.testing.assert_array_equal(np.unique(shown, axis=0), np.unique(told if fits else sender.lost, axis=0))


@pytest.mark.parametrize(("fields", "message"), [(dict(rate=0.1), "rate must"), (dict(crc="CRC8"), "CRC8")])
def test_wrong_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SENDER, **fields)
