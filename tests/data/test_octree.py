"""Octrees as bits: what full and cut codes tell, against cubes counted in NumPy, and against the code's entropy."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from lvm_mtc.data import octree
from lvm_mtc.data.arithmetic import Interval, Reader, shares
from lvm_mtc.data.octree import DEPTH, OctreeCode

RNG = np.random.default_rng(5)


def spheres(count):
    points = RNG.normal(size=(count, 120, 3))
    return points / np.linalg.norm(points, axis=-1, keepdims=True) * RNG.uniform(0.5, 1, (count, 1, 1))


CODE, CLOUD = OctreeCode(spheres(40)), spheres(1)[0]


def cubes(points, level):
    cells = np.minimum(np.int64((points + 1) / 2 * 2**level), 2**level - 1)
    return (np.unique(cells, axis=0) + 0.5) / 2**level * 2 - 1


def information(level):
    """Bits of all cubes down to a level under the code's model."""
    bits = 0.0
    for number, codes, symbols, parents in octree._levels(CLOUD):
        if number < level:
            for context, symbol in zip(octree._contexts(number, codes, parents), symbols, strict=True):
                limits = CODE._limits(context)
                bits -= np.log2((limits[symbol] - limits[symbol - 1]) / limits[-1])
    return bits


def same_set(a, b):
    return len(a) == len(b) and np.abs(a[np.lexsort(np.round(a, 5).T)] - b[np.lexsort(np.round(b, 5).T)]).max() < 1e-6


def test_all_bits_tell_the_smallest_cubes():
    told = CODE.decode(CODE.encode(CLOUD, 6000))
    assert same_set(told, cubes(CLOUD, DEPTH))
    assert cKDTree(told).query(CLOUD)[0].max() <= np.sqrt(3) / 2**DEPTH


@pytest.mark.parametrize("level", [2, 3, 4])
def test_a_level_takes_its_information(level):
    needed = information(level)
    wanted, told = cubes(CLOUD, level), CODE.decode(CODE.encode(CLOUD, int(np.ceil(needed)) + 2))
    # Two bits more than the information always tell it; cubes of the level below may be told besides.
    assert (
        len(told) >= len(cubes(CLOUD, level))
        and cKDTree(cubes(CLOUD, level)).query(told)[0].max() <= np.sqrt(3) / 2**level
    )
    fewer = CODE.decode(CODE.encode(CLOUD, int(needed) - 2))
    assert len(fewer) < len(wanted)


def test_more_bits_tell_more_and_each_point_lies_in_a_cube():
    errors, counts = [], []
    for num_bits in (0, 1, 20, 60, 150, 400, 900):
        bits = CODE.encode(CLOUD, num_bits)
        told = CODE.decode(bits)
        assert bits.shape == (num_bits,) and set(bits.tolist()) <= {0, 1}
        errors.append((cKDTree(told).query(CLOUD)[0] ** 2).mean())
        counts.append(len(told))
    assert counts[0] == 1 and counts == sorted(counts) and counts[-1] > 60
    assert all(later < before for before, later in zip(errors[1:], errors[2:], strict=False))


def test_any_bits_are_some_cloud():
    for num_bits in (0, 7, 300):
        told = CODE.decode(RNG.integers(0, 2, num_bits).astype(np.uint8))
        assert len(told) and np.abs(told).max() <= 1


def test_a_cut_interval_tells_what_a_reader_takes():
    limits = shares(np.array([5, 0, 2, 1]), np.full(4, 0.25), 2**12)
    assert limits[0] == 0 and np.all(np.diff(limits) > 0)
    message = RNG.integers(0, 4, 60)
    for num_bits in (0, 3, 40, 200):
        interval = Interval()
        for symbol in message:
            interval.add(int(limits[symbol]), int(limits[symbol + 1]), int(limits[-1]))
        reader, read = Reader(interval.cut(num_bits)), []
        while len(read) < 60 and (symbol := reader.next(limits, sure=True)) is not None:
            read.append(symbol)
        assert read == message[: len(read)].tolist()
        told = -np.log2(np.diff(limits)[message[: len(read) + 1]] / limits[-1]).sum()
        assert len(read) == 60 or told > num_bits - 8
    assert len(interval.shortest()) <= told + 2


def test_points_outside_of_the_cube_are_refused():
    with pytest.raises(ValueError, match=r"farthest coordinate is 1\.5"):
        CODE.encode(CLOUD * 0 + 1.5, 10)
