"""Point clouds as files of Draco (the extra ``draco``), of which what both ends know is not sent.

Points lie on a grid of 2^b levels an axis over the cube [-1, 1]^3, each cell once, in Draco's kd-tree code at its
compression level 1, which is the shortest for clouds of a few hundred points. Sent are b (8 bits), the number of points
(16 bits), and the file's body. Magic, version, flags, the attribute's description, the second copies of b and of the
number of points, and the grid's origin and range stand in every such file (45 bytes with the first copies) and are put
back by the receiver. A one behind the last bit says where the file ends.
"""

import functools
from types import ModuleType

import numpy as np

QUANTIZATION_BITS = tuple(range(2, 13))
"""Four to 4,096 levels an axis; with one bit there would be the corners of the cube alone."""
# Places in a file: number of points from 11, description from 15, bits of the grid from 23, number of points again
# from 27, body from 31, the grid's origin, range and bits in the last 17 bytes (little endian).
_NUMBER, _DESCRIBED, _BITS, _BODY, _GRID = 11, 15, 23, 31, 17


def import_draco() -> ModuleType:
    """DracoPy; ``ImportError`` in one line where it is missing."""
    try:
        import DracoPy
    except ImportError as error:
        raise ImportError("point-cloud codec 'draco' needs DracoPy: pip install 'lvm-mtc[draco]'") from error
    return DracoPy


class DracoCode:
    """Draco as a code of clouds in the cube [-1, 1]^3, of the finest grid whose file fits.

    Source: Google, Draco bitstream specification, version 2.3: sequential header and kd-tree attributes.

    Raises:
        ImportError: without DracoPy.
    """

    def __init__(self):
        import_draco()

    def encode(self, points: np.ndarray, num_bits: int) -> np.ndarray:
        """``[num_bits]`` uint8 that tell the points ``[n, 3]`` on the finest grid that fits; zeros where none does.

        Raises:
            ValueError: if points are not ``[n, 3]`` in the cube [-1, 1]^3, or lie in more than 65,535 cells.
        """
        told = np.zeros(num_bits, np.uint8)
        for quantization_bits in QUANTIZATION_BITS:
            bits = np.unpackbits(np.frombuffer(draco_payload(points, quantization_bits), np.uint8))
            if bits.size + 1 > num_bits:
                break  # a finer grid is no shorter
            told[: bits.size], told[bits.size], told[bits.size + 1 :] = bits, 1, 0
        return told

    def decode(self, bits: np.ndarray) -> np.ndarray:
        """The points that bits tell, ``[m, 3]`` float32 in no order; none, m = 0, where they tell no file."""
        ones = np.flatnonzero(bits)
        payload = np.packbits(bits[: ones[-1]]).tobytes() if ones.size else b""
        try:
            return draco_points(payload)
        except ValueError:
            return np.zeros((0, 3), np.float32)


def draco_payload(points: np.ndarray, quantization_bits: int) -> bytes:
    """What is sent of the file of points ``[n, 3]`` on a grid of ``2^quantization_bits`` levels an axis.

    No coordinate moves by more than half a step of the grid, ``1 / (2^quantization_bits - 1)``.

    Raises:
        ImportError: without DracoPy.
        ValueError: for a grid not in ``QUANTIZATION_BITS``, and as :meth:`DracoCode.encode`.
    """
    if quantization_bits not in QUANTIZATION_BITS:
        limits = f"{QUANTIZATION_BITS[0]} ... {QUANTIZATION_BITS[-1]}"
        raise ValueError(f"quantization_bits must lie in {limits}, got {quantization_bits!r}")
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise ValueError(f"points must be [n, 3], got {points.shape}")
    if not (np.abs(points) <= 1).all():
        raise ValueError(f"points must lie in the cube [-1, 1]^3, the farthest coordinate is {np.abs(points).max():g}")
    step = 2 / (2**quantization_bits - 1)
    cells = np.unique(np.round((points + 1) / step), axis=0)
    if len(cells) >= 2**16:
        raise ValueError(f"points must lie in 65535 cells at most, got {len(cells)}")
    file = _file((cells * step - 1).astype(np.float32), quantization_bits)
    return bytes([quantization_bits]) + len(cells).to_bytes(2, "big") + file[_BODY:-_GRID]


def draco_points(payload: bytes) -> np.ndarray:
    """The points of a payload of :func:`draco_payload`, ``[m, 3]`` float32.

    Raises:
        ImportError: without DracoPy.
        ValueError: if it is none.
    """
    draco = import_draco()
    if len(payload) < 4 or payload[0] not in QUANTIZATION_BITS:
        raise ValueError(f"payload of {len(payload)} bytes {payload[:3]!r}... is none of Draco's")
    known, number = _known(payload[0]), payload[2:0:-1] + bytes(2)
    head = known[:_NUMBER] + number + known[_DESCRIBED:_BITS] + payload[0].to_bytes(4, "little") + number
    try:
        points = draco.decode(head + payload[3:] + known[-_GRID:]).points
    except Exception as error:  # Draco's own, and whatever a damaged body leads to
        raise ValueError(f"payload of {len(payload)} bytes does not decode with Draco: {error}") from error
    return np.asarray(points, np.float32).reshape(-1, 3)


def _file(points: np.ndarray, quantization_bits: int) -> bytes:
    return import_draco().encode(
        points, quantization_bits=quantization_bits, compression_level=1, quantization_range=2.0,
        quantization_origin=-np.ones(3),
    )  # fmt: skip


@functools.cache
def _known(quantization_bits: int) -> bytes:
    """A file of one point: what both ends know before anything is sent."""
    return _file(np.zeros((1, 3), np.float32), quantization_bits)
