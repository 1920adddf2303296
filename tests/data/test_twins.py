"""Nearest neighbours against distances in full, and noisy copies that are found among other pictures."""

import numpy as np
import pytest

from lvm_mtc.data import twins
from lvm_mtc.data.twins import find_twins, nearest_neighbours


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 5, 3), np.uint8)


def test_distances_are_those_in_full(monkeypatch):
    monkeypatch.setattr(twins, "_ROWS", 7)  # several blocks, the last one short
    some, among = pictures(4), pictures(31, 1)
    difference = np.float64(some)[:, None] - np.float64(among)[None]
    mse = (difference**2).mean((2, 3, 4))
    found, distance = nearest_neighbours(some, among, 3)
    np.testing.assert_array_equal(found, np.argsort(mse, axis=1)[:, :3])
    np.testing.assert_allclose(distance, np.sort(mse, axis=1)[:, :3], rtol=1e-12)


def test_copies_are_found_and_strangers_are_far():
    some, among = pictures(5), pictures(40, 1)
    noise = np.random.default_rng(2).integers(-8, 9, some.shape)
    places = np.array([3, 11, 39, 0, 20])
    among[places] = np.clip(some + noise, 0, 255)
    found, mse = nearest_neighbours(some, among)
    np.testing.assert_array_equal(found[:, 0], places)
    assert mse[:, 0].max() < 48 < 1000 < mse[:, 1].min()  # the noise has a variance of 24
    np.testing.assert_array_equal(nearest_neighbours(some, some)[1][:, 0], 0.0)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"pictures \(2, 6, 5, 3\) and among \(3, 5, 6, 3\) must agree"):
        nearest_neighbours(pictures(2), pictures(3).transpose(0, 2, 1, 3))
    with pytest.raises(ValueError, match="among holds 1 pictures, fewer than count = 2"):
        nearest_neighbours(pictures(2), pictures(1))


def test_twins_are_found_and_their_lack_is_an_error():
    lossless, copies = pictures(6, 0), pictures(20, 1)
    copies[[4, 9]] = np.clip(lossless[-2:] + np.random.default_rng(2).integers(-9, 10, lossless[-2:].shape), 0, 255)
    indices, mse = find_twins(lossless[-2:], copies)
    assert indices.tolist() == [4, 9] and mse[:, 0].max() < 60 < mse[:, 1].min()
    with pytest.raises(ValueError, match="held-out picture 0 has no twin: its nearest copy is"):
        find_twins(lossless[-2:], pictures(20, 1))
    with pytest.raises(ValueError, match="two held-out pictures have the same twin"):
        find_twins(np.repeat(lossless[-1:], 2, axis=0), copies)
