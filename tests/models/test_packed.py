"""Tensors in fewer bits: bounds of errors, exact grids, bytes counted, truncated SVD, what is refused."""

import numpy as np
import pytest

from lvm_mtc.models.packed import (
    BITS,
    Packing,
    factors,
    pack,
    pack_codes,
    quantize,
    stored_bits,
    unpack,
    unpack_codes,
)  # fmt: skip

RNG = np.random.default_rng(0)
WHOLE = [bits for bits in BITS if bits < 16]


def held(stored) -> int:
    """Bits of the arrays themselves."""
    return 8 * stored.nbytes if isinstance(stored, np.ndarray) else sum(map(held, stored.values()))


@pytest.mark.parametrize("bits", WHOLE)
def test_errors_stay_within_half_a_step_and_codes_come_back(bits):
    tensor = RNG.normal(size=(3, 50, 7)) * np.logspace(-9, 3, 7)
    tensor[..., 2] = 0
    codes, scale = quantize(tensor, bits)
    assert np.abs(codes.astype(int)).max() == 2 ** (bits - 1) - 1
    assert (np.abs(tensor - codes * scale.astype(float)) <= scale.astype(float) / 2 * (1 + 1e-12)).all()
    np.testing.assert_array_equal(unpack_codes(pack_codes(codes, bits), bits, codes.shape), codes)


@pytest.mark.parametrize("bits", [8, 4])
def test_error_power_is_a_twelfth_of_the_squared_step(bits):
    tensor = RNG.uniform(-1, 1, size=(200_000, 1))
    codes, scale = quantize(tensor, bits)
    step = float(scale[0])
    assert abs(np.mean((tensor - codes * step) ** 2) / (step**2 / 12) - 1) < 0.03


def test_numbers_on_the_grid_are_exact():
    codes = RNG.integers(-7, 8, size=(40, 6))
    codes[0] = 7
    tensor = codes * np.float32(0.25)
    np.testing.assert_array_equal(unpack(pack(tensor, Packing(4)), Packing(4), tensor.shape), tensor)
    np.testing.assert_array_equal(unpack(pack(tensor, Packing()), Packing(), tensor.shape), tensor)


@pytest.mark.parametrize("packing", [*(Packing(bits) for bits in BITS), Packing(32, 3), Packing(16, 2), Packing(5, 4)])
def test_bits_are_those_of_the_bytes(packing):
    tensor = RNG.normal(size=(3, 3, 4, 9)).astype(np.float32)
    stored = pack(tensor, packing)
    assert held(stored) == stored_bits(tensor.shape, packing)
    again = unpack(stored, packing, tensor.shape)
    assert again.shape == tensor.shape and again.dtype == np.float32


def test_factors_discard_the_smallest_singular_values():
    tensor = RNG.normal(size=(2, 10, 8)).astype(np.float32)
    s = np.linalg.svd(tensor.reshape(20, 8).astype(float), compute_uv=False)
    for rank in (1, 3, 8):
        a, b = factors(tensor, rank)
        np.testing.assert_allclose(np.linalg.norm(tensor.reshape(20, 8) - a @ b), np.linalg.norm(s[rank:]), atol=1e-5)


def test_of_equal_storage_factors_beat_the_largest_weights_on_a_low_rank_matrix():
    """Eckart-Young; a weight that is left costs a bit for its place besides."""
    matrix = RNG.normal(size=(40, 3)) @ RNG.normal(size=(3, 30))
    a, b = factors(matrix, 3)
    room = stored_bits(matrix.shape, Packing(32, 3)) - matrix.size
    cut = np.sort(np.abs(matrix).ravel())[-(room // 32)]
    assert np.linalg.norm(matrix - a @ b) < 1e-4 < np.linalg.norm(np.where(np.abs(matrix) < cut, matrix, 0))


@pytest.mark.parametrize(
    ("packing", "shape", "message"),
    [
        (Packing(7), (4, 4), "Packing.bits must be one of 32, 16, 8, 6, 5, 4, 3, 2, got 7"),
        (Packing(8), (4,), r"is for matrices, got a tensor of shape \(4,\)"),
        (Packing(32, 5), (4, 9), r"Packing.rank must lie in 1 ... 4 for shape \(4, 9\), got 5"),
    ],
)
def test_wrong_packings_are_named(packing, shape, message):
    with pytest.raises(ValueError, match=message):
        pack(np.zeros(shape), packing)


@pytest.mark.parametrize(("bits", "largest"), [(16, 1e5), (8, 1e8), (4, np.inf)])
def test_numbers_that_are_too_large_are_refused(bits, largest):
    with pytest.raises(ValueError, match="do not fit half precision"):
        pack(np.full((4, 4), largest), Packing(bits))


def test_parts_of_another_tensor_are_refused():
    stored = pack(RNG.normal(size=(4, 5)), Packing(4))
    with pytest.raises(ValueError, match=r"is no tensor of shape \(5, 5\) packed as \(4, None\): 10 bytes"):
        unpack(stored, Packing(4), (5, 5))
