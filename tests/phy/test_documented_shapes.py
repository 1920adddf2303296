"""The check of documented shapes finds what a docstring has wrong."""

from typing import NamedTuple

import numpy as np
import pytest
from documented_shapes import checked, held


class Pair(NamedTuple):
    """Two arrays.

    Attributes:
        first: ``[..., num_rx_ant]``.
        second: Shape of ``first``; ``[num_rx_ant]`` for a single one.
    """

    first: np.ndarray
    second: np.ndarray


def gives(first, second):
    """A function that gives what it is told to, of an array with as many antennas."""

    def function(x, scale=1.0, num_rx_ant=3):
        """Nothing.

        Args:
            x: ``[..., num_rx_ant]``.
            scale: Scalar or broadcasting against ``[...]``.
            num_rx_ant: A number.

        Returns:
            See :class:`Pair`.
        """
        return Pair(np.zeros(first), np.zeros(second))

    return checked(function)


def test_right_shapes_pass():
    gives((2, 3), (2, 3))(np.zeros((2, 3)), np.ones(2))
    gives((2, 3), (3,))(np.zeros((5, 3)), np.ones((1, 1))[0])
    gives((3,), (3,))(np.zeros(3))


@pytest.mark.parametrize(
    ("first", "second", "x", "scale", "words"),
    [
        ((2, 3), (2, 3), (2, 4), (), r"function: x has shape \(2, 4\); documented: ..., num_rx_ant"),
        ((2, 3), (2, 3), (2, 3), (4,), r"function: scale has shape \(4,\)"),
        ((2, 4), (2, 4), (2, 3), (2,), r"function gives first, which has shape \(2, 4\)"),
        ((2, 3), (5, 3), (2, 3), (2,), r"function gives second, which has shape \(5, 3\)"),
    ],
)
def test_wrong_ones_are_found(first, second, x, scale, words):
    with pytest.raises(AssertionError, match=words):
        gives(first, second)(np.zeros(x), np.ones(scale))


class Parts(NamedTuple):
    """A tuple in a tuple.

    Attributes:
        pair: ``[batch, num_rx_ant, ...]``.
        count: ``[batch]``.
    """

    pair: NamedTuple
    count: np.ndarray


class Leaves(NamedTuple):
    """Two of one rank and one.

    Attributes:
        symbols: ``[..., num_rx_ant, C]``.
        sent: ``[..., num_rx_ant]``.
    """

    symbols: np.ndarray
    sent: np.ndarray


class Sums(NamedTuple):
    """Costs; every entry is ``[batch]``."""

    uses: np.ndarray


@pytest.mark.parametrize(
    ("symbols", "sent", "count", "uses", "words"),
    [
        ((2, 3, 5), (2, 3), (2,), (2,), None),
        ((2, 3, 5), (2, 4), (2,), (2,), r"Leaves.sent has shape \(2, 4\)"),
        ((7, 2, 3, 5), (7, 2, 3), (2,), (2,), r"Parts.pair has shape \(7, 2, 3, 5\)|Parts.count"),
        ((2, 3, 5), (2, 3), (4,), (2,), r"Parts.count has shape \(4,\)"),
        ((2, 3, 5), (2, 3), (2,), (2, 1), r"Sums.uses has shape \(2, 1\)"),
    ],
)
def test_named_tuples_are_held_to_their_attributes(symbols, sent, count, uses, words):
    parts = Parts(Leaves(np.zeros(symbols), np.ones(sent)), np.ones(count))
    book = held(lambda parts: (Sums(np.zeros(uses)), None), Parts, Sums)
    if words is None:
        assert isinstance(book(parts)[0], Sums)
    else:
        with pytest.raises(AssertionError, match=words):
            book(parts)
