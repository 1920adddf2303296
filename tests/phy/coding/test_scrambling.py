"""Scrambling: the same for a seed, half of it ones, undone by itself."""

import numpy as np
import pytest

from lvm_mtc.phy import coding


def test_both_ends_have_the_same_and_other_seeds_others():
    bits = coding.scrambling(4096, 7)
    np.testing.assert_array_equal(bits, np.random.default_rng(7).integers(0, 2, 4096, np.uint8))
    assert bits.dtype == np.uint8 and not np.array_equal(bits, coding.scrambling(4096, (5, 0)))
    assert abs(bits.mean() - 0.5) < 5 * 0.5 / 4096**0.5
    payload = np.random.default_rng(0).integers(0, 2, 4096, np.uint8)
    np.testing.assert_array_equal(payload ^ bits ^ bits, payload)


def test_nobody_can_change_what_others_get():
    with pytest.raises(ValueError, match="read-only"):
        coding.scrambling(8, 1)[0] = 1
