"""Draco's clouds: the grid's error, order, what fits, and what is counted, against its own whole files."""

import sys

import numpy as np
import pytest

from lvm_mtc.data import draco
from lvm_mtc.data.draco import DracoCode, draco_payload, draco_points

RNG = np.random.default_rng(3)
POINTS = RNG.normal(size=(300, 3))
CLOUD = POINTS / np.linalg.norm(POINTS, axis=-1, keepdims=True) * RNG.uniform(0.5, 1, (300, 1))


@pytest.fixture(autouse=True)
def package():
    """Draco itself; the tests are skipped without it, which CI does not allow."""
    return pytest.importorskip("DracoPy", reason="needs DracoPy (extra draco)")


def cells(points, quantization_bits):
    return np.unique(np.round((np.float64(points) + 1) / 2 * (2**quantization_bits - 1)), axis=0)


@pytest.mark.parametrize("quantization_bits", [2, 4, 8, 12])
def test_points_move_by_half_a_step_at_most(quantization_bits):
    told = draco_points(draco_payload(CLOUD, quantization_bits))
    assert told.dtype == np.float32 and len(told) == len(cells(CLOUD, quantization_bits))
    # Largest coordinate, both ways; float32 rounds coordinates below 1 by 2^-24 and Draco scales them twice.
    gaps = np.abs(CLOUD[:, None] - told[None]).max(-1)
    assert max(gaps.min(0).max(), gaps.min(1).max()) <= 1 / (2**quantization_bits - 1) + 2**-22
    np.testing.assert_array_equal(cells(told, quantization_bits), cells(CLOUD, quantization_bits))


def test_order_and_copies_of_points_change_nothing():
    shuffled = RNG.permutation(np.concatenate([CLOUD, CLOUD[:50]]))
    assert draco_payload(shuffled, 6) == draco_payload(CLOUD, 6)


def test_a_payload_is_the_file_without_what_both_ends_know(package):
    for bits in (2, 7):
        grid = cells(CLOUD, bits) / (2**bits - 1) * 2 - 1
        file = package.encode(np.float32(grid), quantization_bits=bits, compression_level=1, quantization_range=2.0,
                              quantization_origin=-np.ones(3))  # fmt: skip
        payload = draco_payload(CLOUD, bits)
        assert len(file) == len(payload) + 45
        whole, told = np.asarray(package.decode(file).points), draco_points(payload)
        np.testing.assert_array_equal(whole, told)


def test_the_finest_grid_that_fits_is_taken():
    code, sizes = DracoCode(), [8 * len(draco_payload(CLOUD, bits)) + 1 for bits in (2, 3, 4, 5, 6)]
    assert sizes == sorted(sizes)
    for bits, size in enumerate(sizes, start=2):
        told = code.encode(CLOUD, size)
        assert told.shape == (size,) and told.dtype == np.uint8
        np.testing.assert_array_equal(code.decode(told), draco_points(draco_payload(CLOUD, bits)))
        fewer = code.decode(code.encode(CLOUD, size - 1))
        assert len(fewer) == (len(cells(CLOUD, bits - 1)) if bits > 2 else 0)
    assert not code.encode(CLOUD, 0).size and not code.encode(CLOUD, sizes[0] - 1).any()


def test_other_bits_are_no_cloud_or_some_cloud():
    code = DracoCode()
    for num_bits in (0, 1, 9, 60, 900):
        told = code.decode(RNG.integers(0, 2, num_bits).astype(np.uint8))
        assert told.shape[1] == 3
    for payload in (b"", b"\x04", b"\x0d\0\1\0", b"\x04\0\5abc"):
        with pytest.raises(ValueError, match=rf"payload of {len(payload)} bytes"):
            draco_points(payload)


@pytest.mark.parametrize(
    ("points", "bits", "message"),
    [
        (CLOUD * 3, 4, r"farthest coordinate is 2\."),
        (CLOUD * np.nan, 4, "farthest coordinate is nan"),
        (CLOUD[:, :2], 4, r"points must be \[n, 3\], got \(300, 2\)"),
        (CLOUD[:0], 4, r"points must be \[n, 3\], got \(0, 3\)"),
        (CLOUD, 1, r"quantization_bits must lie in 2 \.\.\. 12, got 1"),
        (RNG.uniform(-1, 1, (70000, 3)), 12, "65535 cells at most, got"),
    ],
)
def test_wrong_inputs_are_refused(points, bits, message):
    with pytest.raises(ValueError, match=message):
        draco_payload(points, bits)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    message = r"^point-cloud codec 'draco' needs DracoPy: pip install 'lvm-mtc\[draco\]'$"
    for work in (DracoCode, draco.import_draco, lambda: draco_points(b"\4\0\1\0")):
        with pytest.raises(ImportError, match=message):
            work()
