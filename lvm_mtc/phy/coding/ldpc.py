"""5G's LDPC code of one block: geometry, encoder and rate matching (3GPP TS 38.212, sections 5.3.2 and 5.4.2).

Columns of the lifted code are arrays ``[Z, words]``: every block of the parity-check matrix is a roll of the first
axis, and the words are contiguous.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.coding.base_graphs import CORE_ROWS, INFO_COLUMNS, LIFTING_SIZES, NUM_ROWS, edges
from lvm_mtc.phy.numerics import require_bits

SMALLEST_BLOCK, LARGEST_BLOCK = 12, {1: 8448, 2: 3840}


@dataclasses.dataclass(frozen=True)
class LdpcCode:
    """A code of ``k`` information and ``n`` transmitted bits; hashable, static under ``jit``.

    Its lifting size is the smallest that holds ``k`` bits. Filler bits stand behind the information and are not sent,
    nor are the first 2 Z bits. There is no repetition.

    Attributes:
        k: Information bits, CRC included, 12 to 8448.
        n: Coded bits on air.
        bits_per_symbol: Of the modulation that the bits are interleaved for (section 5.4.2.2); 1 leaves their order.
        base_graph: 1 or 2; by default what section 7.2.2 says for ``k`` and ``k / n``.

    Raises:
        ValueError: if no such code exists.
    """

    k: int
    n: int
    bits_per_symbol: int = 1
    base_graph: int | None = None

    def __post_init__(self):
        for name in ("k", "n", "bits_per_symbol"):
            value = getattr(self, name)
            if isinstance(value, bool) or int(value) != value or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
            object.__setattr__(self, name, int(value))
        if self.base_graph is None:
            object.__setattr__(self, "base_graph", self._graph)
        if self.base_graph not in NUM_ROWS:
            raise ValueError(f"base_graph must be 1 or 2, got {self.base_graph!r}")
        if self.k < SMALLEST_BLOCK:
            raise ValueError(f"k {self.k} is below {SMALLEST_BLOCK}, the smallest block")
        largest = LARGEST_BLOCK[self.base_graph]
        if self.k > largest:
            which = "" if self.base_graph == 1 else " of base graph 2"
            raise ValueError(f"k {self.k} exceeds {largest}, the largest block{which}")
        if self.n <= self.k:
            raise ValueError(f"n {self.n} must exceed k {self.k}")
        if self.n % self.bits_per_symbol:
            raise ValueError(f"bits_per_symbol {self.bits_per_symbol} does not divide n {self.n}")
        if self.n > self.longest:
            raise ValueError(
                f"n {self.n} needs repetition: base graph {self.base_graph} with Z {self.lifting} has at most "
                f"{self.longest} coded bits for k {self.k}"
            )

    @property
    def _graph(self) -> int:
        return self.base_graph or _base_graph(self.k, self.k / self.n)

    @functools.cached_property
    def lifting(self) -> int:
        """Z, bits in a column."""
        columns = self.info_columns
        if self.base_graph == 2:
            columns = 10 if self.k > 640 else 9 if self.k > 560 else 8 if self.k > 192 else 6
        return next(size for size in LIFTING_SIZES if columns * size >= self.k)

    @property
    def info_columns(self) -> int:
        """Columns of information and filler."""
        return INFO_COLUMNS[self._graph]

    @property
    def num_filler(self) -> int:
        """Bits that are known to be zero behind the information."""
        return self.info_columns * self.lifting - self.k

    @property
    def longest(self) -> int:
        """Bits that there are to send: the length of the circular buffer, filler left out."""
        return (self.info_columns + NUM_ROWS[self._graph] - 2) * self.lifting - self.num_filler

    @property
    def num_rows(self) -> int:
        """Rows of the base graph that the bits on air need, the core's always."""
        return max(CORE_ROWS, -(-(self.n - self.k + 2 * self.lifting) // self.lifting))

    def rows(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """The first ``num_rows`` rows of :func:`~lvm_mtc.phy.coding.base_graphs.edges`."""
        return edges(self._graph, self.lifting)[: self.num_rows]


def _base_graph(k: int, rate: float) -> int:
    return 2 if k <= 292 or (k <= 3824 and rate <= 0.67) or rate <= 0.25 else 1


def interleaver(n: int, bits_per_symbol: int) -> np.ndarray:
    """Which bit of the code each place on air carries, ``[n]`` (section 5.4.2.2)."""
    return np.arange(n).reshape(bits_per_symbol, -1).T.reshape(-1)


def ldpc_encode(bits: ArrayLike, code: LdpcCode) -> np.ndarray | jax.Array:
    """Encodes blocks, matches the rate and interleaves.

    Args:
        bits: Zeros and ones of any dtype, ``[..., k]``.
        code: Static.

    Returns:
        Coded bits, ``[..., n]`` uint8; NumPy for host arrays, JAX for JAX's.

    Raises:
        ValueError: if ``bits`` has another length, or an entry is neither 0 nor 1 (traced ones pass).
    """
    array = require_last("bits", bits if isinstance(bits, jax.Array) else np.asarray(bits), code.k)
    require_bits("bits", array)
    return _encode_jax(array, code) if isinstance(array, jax.Array) else _encode(np, array, code)


def require_last(name: str, array, length: int):
    """Raise unless the last axis has this length."""
    if array.ndim == 0 or array.shape[-1] != length:
        raise ValueError(f"{name} must be [..., {length}], got {array.shape}")
    return array


def _encode(xp, bits, code: LdpcCode):
    words = bits.reshape(-1, code.k).T.astype(xp.uint8)
    known = xp.zeros((code.num_filler, words.shape[1]), xp.uint8)
    columns = dict(enumerate(xp.concatenate([words, known]).reshape(code.info_columns, code.lifting, -1)))
    add_parity(xp, columns, code.rows(), code.info_columns)
    parity = xp.concatenate([columns[code.info_columns + row] for row in range(code.num_rows)])
    sent = xp.concatenate([words[2 * code.lifting :], parity])[: code.n]
    return sent[interleaver(code.n, code.bits_per_symbol)].T.reshape(*bits.shape[:-1], code.n)


_encode_jax = jax.jit(functools.partial(_encode, jnp), static_argnums=1)


def add_parity(xp, columns: dict, rows: tuple, first: int) -> None:
    """Fills in the parity columns of some rows of :func:`~lvm_mtc.phy.coding.base_graphs.edges`, the core's or more.

    Args:
        xp: ``numpy`` or ``jax.numpy``.
        columns: Information columns, ``[Z, words]`` bits by number; afterwards parity columns too.
        rows: Of the base graph.
        first: Number of the first parity column.
    """
    known = [_sum(xp, [(columns[c], s) for c, s in row if c < first]) for row in rows[:CORE_ROWS]]
    # The sum of the core's rows holds the first parity column alone: its other shifts and all other columns come twice.
    shifts = [s for row in rows[:CORE_ROWS] for c, s in row if c == first]
    (odd,) = {s for s in shifts if shifts.count(s) % 2}
    columns[first] = xp.roll(functools.reduce(xp.bitwise_xor, known), odd, axis=0)
    for row, total in zip(rows[: CORE_ROWS - 1], known, strict=False):
        (new,) = [(c, s) for c, s in row if c >= first and c not in columns]
        solved = [(columns[c], s) for c, s in row if c >= first and c in columns]
        columns[new[0]] = xp.roll(_sum(xp, [(total, 0), *solved]), new[1], axis=0)
    for number, row in enumerate(rows[CORE_ROWS:], CORE_ROWS):
        columns[first + number] = _sum(xp, [(columns[c], s) for c, s in row if c != first + number])


def _sum(xp, terms):
    return functools.reduce(xp.bitwise_xor, [xp.roll(column, -shift, axis=0) for column, shift in terms])
