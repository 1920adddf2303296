"""Checksums by long division, against a catalogue's values, and what they catch."""

import jax
import numpy as np
import pytest

from lvm_mtc.phy.coding import CRC_POLYNOMIALS, crc_attach, crc_bits, crc_holds, crc_length

# The generator polynomials of TS 38.212, section 5.1, as numbers.
DIVISORS = {
    "CRC24A": 0x1864CFB,
    "CRC24B": 0x1800063,
    "CRC24C": 0x1B2B117,
    "CRC16": 0x11021,
    "CRC11": 0xE21,
    "CRC6": 0x61,
}
# Of the nine bytes "123456789", in the catalogue of CRC algorithms under CRC-24/LTE-A, CRC-24/LTE-B and CRC-16/XMODEM.
CHECKS = {"CRC24A": 0xCDE703, "CRC24B": 0x23EF52, "CRC16": 0x31C3}


def _number(bits):
    return int("".join(str(int(bit)) for bit in bits), 2)


def _divided(bits, name):
    word, length = _number(bits) << crc_length(name), crc_length(name)
    for i in range(len(bits) + length - 1, length - 1, -1):
        if word >> i & 1:
            word ^= DIVISORS[name] << (i - length)
    return word


@pytest.mark.parametrize("name", CHECKS)
def test_check_values(name):
    bits = np.unpackbits(np.frombuffer(b"123456789", np.uint8))
    assert _number(crc_bits(bits, name)) == CHECKS[name]


@pytest.mark.parametrize("name", CRC_POLYNOMIALS)
def test_long_division(name):
    assert DIVISORS[name] == sum(1 << power for power in CRC_POLYNOMIALS[name])
    rng = np.random.default_rng(0)
    for num_bits in (1, 7, 40, 333):
        bits = rng.integers(0, 2, (3, num_bits), np.uint8)
        found = crc_bits(bits, name)
        assert found.dtype == np.uint8 and found.shape == (3, crc_length(name))
        assert [_number(one) for one in found] == [_divided(one, name) for one in bits]


@pytest.mark.parametrize("name", CRC_POLYNOMIALS)
def test_one_and_two_errors_are_caught(name):
    """Up to 200 bits, or the polynomial's period: every error has a remainder, and no two have the same."""
    total = min(200, 63 if name == "CRC6" else 200)
    length = crc_length(name)
    word = crc_attach(np.random.default_rng(1).integers(0, 2, total - length, np.uint8), name)
    assert crc_holds(word, name)
    wrong = word ^ np.eye(total, dtype=np.uint8)
    assert not crc_holds(wrong, name).any()
    errors = {tuple(crc_bits(one[:-length], name) ^ one[-length:]) for one in wrong}
    assert len(errors) == total
    pairs = wrong[3] ^ np.eye(total, dtype=np.uint8)
    assert crc_holds(pairs, name).sum() == 1  # the second error undid the first


def test_jax_gives_the_same():
    bits = np.random.default_rng(2).integers(0, 2, (2, 5, 100), np.uint8)
    for name in CRC_POLYNOMIALS:
        found = jax.jit(jax.vmap(lambda one, name=name: crc_attach(one, name)))(bits)
        np.testing.assert_array_equal(found, crc_attach(bits, name))
        assert jax.jit(lambda word, name=name: crc_holds(word, name))(found).all()


def test_errors():
    with pytest.raises(ValueError, match="unknown CRC 'CRC8'; known: CRC24A, CRC24B, CRC24C, CRC16, CRC11, CRC6"):
        crc_bits(np.zeros(8), "CRC8")
    with pytest.raises(
        ValueError, match=r"protected \(2, 16\): the last axis must hold more than the 16 bits of CRC16"
    ):
        crc_holds(np.zeros((2, 16)), "CRC16")
