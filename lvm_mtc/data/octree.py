"""An octree of a point cloud as bits: which children of a cube hold points, cube after cube, from the coarsest on.

Arithmetic coding under what training clouds say of the children of a cube. Bits may end anywhere: a receiver takes as
many cubes apart as they tell, so every budget is used up. NumPy only.
"""

import collections
import functools

import numpy as np

from lvm_mtc.data.arithmetic import Interval, Reader, shares

DEPTH = 8
_SCALE = 2**20
_PLACED = 2  # levels whose cubes are known by their place
_POSITIONS = np.array([[child >> 2 & 1, child >> 1 & 1, child & 1] for child in range(8)])


class OctreeCode:
    """Code for clouds in the cube [-1, 1]^3.

    The children of a cube are a symbol of 255, those of them that hold points. It is told apart by the cube's level; on
    the first levels by its place, behind them by its place in its parent and by how many children that has.

    Args:
        clouds: To learn from, ``[n, num_points, 3]``.

    Source: Schnabel and Klein, Octree-based point-cloud compression (2006).
    """

    def __init__(self, clouds: np.ndarray):
        self._seen: dict[tuple, np.ndarray] = collections.defaultdict(lambda: np.zeros(255, np.int64))
        for cloud in clouds:
            for level, codes, symbols, parents in _levels(cloud):
                for key, symbol in zip(_contexts(level, codes, parents), symbols.tolist(), strict=True):
                    self._seen[key][symbol - 1] += 1
        self._common = {}
        for level in range(DEPTH):
            total = 1 + sum(counts for key, counts in self._seen.items() if key[0] == level)
            self._common[level] = np.ones(255) / 255 if np.ndim(total) == 0 else total / total.sum()
        self._limits = functools.lru_cache(maxsize=4096)(self._limits_of)

    def _limits_of(self, context: tuple) -> np.ndarray:
        return shares(self._seen.get(context, np.zeros(255, np.int64)), self._common[context[0]], _SCALE)

    def encode(self, points: np.ndarray, num_bits: int) -> np.ndarray:
        """``[num_bits]`` uint8 that tell as much of ``points [n, 3]`` as they can.

        Raises:
            ValueError: if a point is outside of the cube [-1, 1]^3.
        """
        interval = Interval()
        for level, codes, symbols, parents in _levels(points):
            for key, symbol in zip(_contexts(level, codes, parents), symbols.tolist(), strict=True):
                if interval.narrower_than(num_bits):
                    return interval.cut(num_bits)
                limits = self._limits(key)
                interval.add(int(limits[symbol - 1]), int(limits[symbol]), int(limits[-1]))
        return interval.cut(num_bits)

    def decode(self, bits: np.ndarray) -> np.ndarray:
        """Centres of the cubes that the bits tell, the smallest of each branch, ``[m, 3]`` float32."""
        reader, codes, parents, leaves = Reader(bits), np.zeros(1, np.int64), np.zeros(1, np.int64), []
        for level in range(DEPTH):
            children, siblings, told = [], [], len(codes)
            for place, key in enumerate(_contexts(level, codes, parents)):
                symbol = reader.next(self._limits(key), sure=True)
                if symbol is None:
                    told = place
                    break
                held = np.flatnonzero((symbol + 1) >> np.arange(8) & 1)
                children.append(8 * codes[place] + held)
                siblings.append(np.full(len(held), len(held)))
            leaves.append(_centres(codes[told:], level))
            if not children:
                return np.concatenate(leaves)
            # Where the bits end within a level, the cubes taken apart have no level below that could be told.
            codes, parents = np.concatenate(children), np.concatenate(siblings)
            if leaves[-1].size:
                break
        return np.concatenate([*leaves, _centres(codes, level + 1)])


def _levels(points: np.ndarray):
    """Of each level: its number, the cubes by their Morton codes, which children hold points, how many the parent has.

    Symbols are 1 to 255, bit i for child i.
    """
    points = np.asarray(points, np.float64)
    if not (np.abs(points) <= 1).all():
        raise ValueError(f"points must lie in the cube [-1, 1]^3, the farthest coordinate is {np.abs(points).max():g}")
    cells = np.minimum(np.int64((points + 1) / 2 * 2**DEPTH), 2**DEPTH - 1)
    leaf = np.zeros(len(cells), np.int64)
    for bit in reversed(range(DEPTH)):
        for axis in range(3):
            leaf = 2 * leaf + (cells[:, axis] >> bit & 1)
    parents = np.zeros(1, np.int64)
    for level in range(DEPTH):
        children = np.unique(leaf >> 3 * (DEPTH - level - 1))
        codes, start = np.unique(children >> 3, return_index=True)
        symbols = np.bitwise_or.reduceat(1 << (children & 7), start)
        yield level, codes, symbols, parents
        parents = np.repeat(np.bitwise_count(np.uint8(symbols)).astype(np.int64), np.diff([*start, len(children)]))


def _contexts(level: int, codes: np.ndarray, parents: np.ndarray) -> list[tuple]:
    if level <= _PLACED:
        return [(level, code) for code in codes.tolist()]
    return [(level, code & 7, count) for code, count in zip(codes.tolist(), parents.tolist(), strict=True)]


def _centres(codes: np.ndarray, level: int) -> np.ndarray:
    """Centres of cubes of a level, ``[n, 3]``."""
    cells = np.zeros((len(codes), 3), np.int64)
    for step in range(level):
        cells = 2 * cells + _POSITIONS[codes >> 3 * (level - 1 - step) & 7]
    return np.float32((cells + 0.5) / 2**level * 2 - 1)
