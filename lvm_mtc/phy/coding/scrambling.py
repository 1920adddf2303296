"""Bits that make others look random: both ends add them, modulo 2."""

import functools

import numpy as np


@functools.lru_cache(maxsize=64)
def scrambling(num_bits: int, seed: int | tuple[int, ...]) -> np.ndarray:
    """Zeros and ones, equally likely, always the same for a seed: ``[num_bits]`` uint8, read-only.

    Coded bits to which they are added make symbols of average power 1, however the payload is filled. 5G adds a Gold
    sequence (TS 38.211, section 5.2.1), whose statistics are these.
    """
    bits = np.random.default_rng(seed).integers(0, 2, num_bits, np.uint8)
    bits.setflags(write=False)  # every caller gets the same array
    return bits
