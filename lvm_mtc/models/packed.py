"""Tensors in fewer bits: whole numbers with a scale for each output, and two thin factors for one matrix. NumPy only.

A tensor ``[inputs..., outputs]`` is the matrix of its outputs by all its inputs. What is packed here is unpacked before
anything computes with it: it saves storage and transport, no time.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

BITS = (32, 16, 8, 6, 5, 4, 3, 2)
"""Bits of a number: floating-point ones from 16 on, below that whole ones with a scale."""

SCALE_BITS = 16


class Packing(NamedTuple):
    """How a tensor is stored.

    Attributes:
        bits: One of ``BITS``.
        rank: Of the two factors that stand for it; None: itself.
    """

    bits: int = 32
    rank: int | None = None


def quantize(tensor: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric whole numbers of ``bits`` and, for each output, the size of a step.

    Returns:
        codes: int8, the tensor's shape, within ``2^(bits - 1) - 1`` of zero.
        scale: ``[outputs]`` float16, rounded up, so that ``|tensor - codes scale| <= scale / 2``.
    """
    most = 2 ** (bits - 1) - 1
    matrix = np.asarray(tensor, np.float64).reshape(-1, tensor.shape[-1])
    wanted = np.abs(matrix).max(0) / most
    with np.errstate(over="ignore"):
        scale = wanted.astype(np.float16)
    _check_finite(scale, tensor)
    scale = np.where(scale < wanted, np.nextafter(scale, np.float16(np.inf)), scale)
    codes = np.rint(matrix / np.where(scale > 0, scale, 1).astype(np.float64))
    return codes.astype(np.int8).reshape(tensor.shape), scale


def _check_finite(stored: np.ndarray, tensor: np.ndarray) -> None:
    if not np.isfinite(stored).all():
        raise ValueError(f"numbers up to {np.abs(tensor).max():g} do not fit half precision")


def pack_codes(codes: np.ndarray, bits: int) -> np.ndarray:
    """Whole numbers as ``ceil(size bits / 8)`` bytes, the lowest ``bits`` of each, highest first."""
    ones = np.unpackbits(codes.astype(np.int8).view(np.uint8).reshape(-1, 1), axis=1)
    return np.packbits(ones[:, 8 - bits :])


def unpack_codes(packed: np.ndarray, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of :func:`pack_codes`; int8."""
    size = math.prod(shape)
    ones = np.unpackbits(np.asarray(packed, np.uint8), count=size * bits).reshape(size, bits)
    sign = np.repeat(ones[:, :1], 8 - bits, axis=1)
    return np.packbits(np.concatenate([sign, ones], axis=1), axis=1).view(np.int8).reshape(shape)


def factors(tensor: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The best ``[inputs, rank]`` and ``[rank, outputs]`` for a tensor's matrix in the sense of squares, float32."""
    u, s, v = np.linalg.svd(np.asarray(tensor, np.float64).reshape(-1, tensor.shape[-1]), full_matrices=False)
    root = np.sqrt(s[:rank])
    return (u[:, :rank] * root).astype(np.float32), (root[:, None] * v[:rank]).astype(np.float32)


def pack(tensor: np.ndarray, packing: Packing) -> dict[str, Any] | np.ndarray:
    """A tensor as a weights file holds it: itself, or named parts of it.

    Raises:
        ValueError: for bits that there are not, a rank outside of the matrix, factors of a vector, or numbers that half
            precision cannot hold.
    """
    check(packing, tensor.shape)
    if packing.rank is not None:
        parts = (pack(part, Packing(packing.bits)) for part in factors(tensor, packing.rank))
        return dict(zip("ab", parts, strict=True))
    if packing.bits >= 16:
        with np.errstate(over="ignore"):
            stored = np.asarray(tensor, f"float{packing.bits}")
        _check_finite(stored, tensor)
        return stored
    codes, scale = quantize(tensor, packing.bits)
    return {"codes": pack_codes(codes, packing.bits), "scale": scale}


def unpack(stored: Mapping[str, Any] | np.ndarray, packing: Packing, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of :func:`pack` but for what was rounded or left out; float32.

    Raises:
        ValueError: if the parts are not those of such a tensor.
    """
    check(packing, shape)
    inputs, outputs = math.prod(shape[:-1]), shape[-1]
    try:
        if packing.rank is not None:
            sizes = {"a": (inputs, packing.rank), "b": (packing.rank, outputs)}
            a, b = (unpack(stored[part], Packing(packing.bits), size) for part, size in sizes.items())
            return (a @ b).reshape(shape)
        if packing.bits >= 16:
            return np.asarray(stored, np.float32).reshape(shape)
        if len(stored["codes"]) != math.ceil(inputs * outputs * packing.bits / 8):
            raise ValueError(f"{len(stored['codes'])} bytes")
        codes = unpack_codes(stored["codes"], packing.bits, shape)
        return codes * np.asarray(stored["scale"], np.float32)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"is no tensor of shape {shape} packed as {tuple(packing)}: {error}") from error


def stored_bits(shape: tuple[int, ...], packing: Packing) -> int:
    """Bits that :func:`pack` takes for a tensor, its scales included."""
    if packing.rank is not None:
        inputs, outputs = math.prod(shape[:-1]), shape[-1]
        parts = (inputs, packing.rank), (packing.rank, outputs)
        return sum(stored_bits(part, Packing(packing.bits)) for part in parts)
    numbers = math.prod(shape)
    if packing.bits >= 16:
        return numbers * packing.bits
    return 8 * math.ceil(numbers * packing.bits / 8) + SCALE_BITS * shape[-1]


def check(packing: Packing, shape: tuple[int, ...]) -> None:
    """``ValueError`` where a tensor of this shape cannot be packed so."""
    bits, rank = packing
    if bits not in BITS:
        raise ValueError(f"Packing.bits must be one of {', '.join(map(str, BITS))}, got {bits!r}")
    if len(shape) < 2 and (bits < 16 or rank is not None):
        raise ValueError(f"Packing {tuple(packing)} is for matrices, got a tensor of shape {shape}")
    most = min(math.prod(shape[:-1]), shape[-1]) if len(shape) > 1 else 0
    if rank is not None and not (isinstance(rank, int) and 1 <= rank <= most):
        raise ValueError(f"Packing.rank must lie in 1 ... {most} for shape {shape}, got {rank!r}")
