"""Arithmetic coding in exact integers: a message is an interval of [0, 1) as wide as it is likely. NumPy only.

Source: Witten, Neal and Cleary, Arithmetic coding for data compression (1987).
"""

import numpy as np


class Interval:
    """The interval of the symbols so far, ``[low, low + width) / whole``."""

    def __init__(self):
        self.low, self.width, self.whole = 0, 1, 1

    def add(self, below: int, above: int, total: int) -> None:
        """Goes on with a symbol that has the share ``[below, above) / total``."""
        self.low, self.width = self.low * total + self.width * below, self.width * (above - below)
        self.whole *= total

    def shortest(self) -> np.ndarray:
        """The shortest binary fraction inside, ``[num_bits]`` uint8, maybe none; zeros behind it change nothing."""
        num_bits = 0
        while (value := -(-(self.low << num_bits) // self.whole)) * self.whole >= (self.low + self.width) << num_bits:
            num_bits += 1
        return bits_of(value, num_bits)

    def narrower_than(self, num_bits: int) -> bool:
        """Whether no more symbols can be told by so many bits."""
        return self.width << num_bits < self.whole

    def cut(self, num_bits: int) -> np.ndarray:
        """``num_bits`` bits that tell as many of the symbols as they can, ``[num_bits]`` uint8."""
        value = -(-(self.low << num_bits) // self.whole)
        if (value + 1) * self.whole > (self.low + self.width) << num_bits:
            value = (self.low << num_bits) // self.whole
        return bits_of(value, num_bits)


class Reader:
    """Takes symbols from the bits of :meth:`Interval.cut` or :meth:`Interval.shortest`."""

    def __init__(self, bits: np.ndarray):
        self.offset = int("0" + "".join(map(str, np.asarray(bits).tolist())), 2)
        self.span, self.width = 1, 1 << len(bits)

    def next(self, limits: np.ndarray, *, sure: bool = False) -> int | None:
        """Place of the next symbol, whose share is ``[limits[i], limits[i + 1]) / limits[-1]``.

        Args:
            limits: ``[num_symbols + 1]`` int, rising from 0.
            sure: Give None where the bits, whatever follows them, do not tell it.
        """
        total = int(limits[-1])
        symbol = int(np.searchsorted(limits, self.offset * total // self.width, side="right")) - 1
        below, above = int(limits[symbol]), int(limits[symbol + 1])
        if sure and (self.offset + self.span) * total > self.width * above:
            return None
        self.offset, self.span = self.offset * total - self.width * below, self.span * total
        self.width *= above - below
        return symbol


def bits_of(value: int, num_bits: int) -> np.ndarray:
    """A whole number in binary, most significant bit first, ``[num_bits]`` uint8."""
    return np.array([value >> i & 1 for i in reversed(range(num_bits))], np.uint8)


def shares(own: np.ndarray, common: np.ndarray, scale: int) -> np.ndarray:
    """Limits of symbols' intervals from how often they were seen here, ``own``, and everywhere, ``common``.

    The probability of symbol s is (c(s) + T p(s)) / (C + T): c counts it here, C all, T is the number of different
    ones, at least 1, and p is ``common``, which sums to 1.

    Returns:
        ``[num_symbols + 1]`` int64, rising from 0 to about ``scale``.

    Source: Witten and Bell, The zero-frequency problem (1991).
    """
    kinds = max(np.count_nonzero(own), 1)
    share = (own + common * kinds) / (own.sum() + kinds)
    return np.concatenate([[0], np.cumsum(1 + np.int64(share * scale))])
