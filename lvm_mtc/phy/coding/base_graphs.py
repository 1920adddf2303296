"""The two base graphs of 5G's LDPC codes and their lifting sizes (3GPP TS 38.212, section 5.3.2)."""

import functools
from pathlib import Path

import numpy as np

# Table 5.3.2-1: set i_LS holds first * 2^j up to 384.
_FIRST = (2, 3, 5, 7, 9, 11, 13, 15)
_LARGEST_LIFTING = 384
LIFTING_SIZES = tuple(sorted(first << j for first in _FIRST for j in range(8) if first << j <= _LARGEST_LIFTING))

# Base graph -> columns of information, rows; each row has one parity column of its own.
INFO_COLUMNS = {1: 22, 2: 10}
NUM_ROWS = {1: 46, 2: 42}
CORE_ROWS = 4


def lifting_set(lifting: int) -> int:
    """Index i_LS of the set that a lifting size belongs to, 0 to 7.

    Raises:
        ValueError: on a number that is none of ``LIFTING_SIZES``.
    """
    if lifting not in LIFTING_SIZES:
        raise ValueError(f"lifting must be one of the 51 sizes of TS 38.212 from 2 to 384, got {lifting!r}")
    odd = lifting // (lifting & -lifting)
    return _FIRST.index(odd if odd > 1 else 2)


@functools.cache
def _table(base_graph: int) -> np.ndarray:
    """Entries ``[row, column, V_0 ... V_7]``."""
    if base_graph not in NUM_ROWS:
        raise ValueError(f"base_graph must be 1 or 2, got {base_graph!r}")
    return np.loadtxt(Path(__file__).with_name(f"base_graph_{base_graph}.txt"), dtype=np.int32)


@functools.cache
def edges(base_graph: int, lifting: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Non-zero blocks of the parity-check matrix, row after row of the base graph.

    Args:
        base_graph: 1 or 2.
        lifting: Z, one of ``LIFTING_SIZES``.

    Returns:
        Rows of ``(column, shift)``: check ``i`` of a row meets bit ``(i + shift) mod Z`` of the column.

    Raises:
        ValueError: on another base graph or lifting size.
    """
    table, which = _table(base_graph), lifting_set(lifting)
    rows = [[] for _ in range(NUM_ROWS[base_graph])]
    for row, column, *shifts in table.tolist():
        rows[row].append((column, shifts[which] % lifting))
    return tuple(map(tuple, rows))


def parity_check_matrix(base_graph: int, lifting: int) -> np.ndarray:
    """Where the lifted parity-check matrix holds ones.

    Args:
        base_graph: 1 or 2.
        lifting: Z, one of ``LIFTING_SIZES``.

    Returns:
        Rows and columns, ``[2, ones]`` int32; the whole matrix is ``[46 Z, 68 Z]`` or ``[42 Z, 52 Z]``.

    Raises:
        ValueError: on another base graph or lifting size.
    """
    i = np.arange(lifting)
    blocks = [
        np.stack([row * lifting + i, column * lifting + (i + shift) % lifting])
        for row, entries in enumerate(edges(base_graph, lifting))
        for column, shift in entries
    ]
    return np.concatenate(blocks, axis=1).astype(np.int32)
