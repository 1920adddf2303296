"""Redundancy versions: which bits of the circular buffer a transmission carries (TS 38.212, section 5.4.2.1).

The buffer holds all bits of the code that may be sent, information first. A version begins at a place of its own and
goes around; filler is left out. The buffer is not limited (N_cb = N).
"""

import dataclasses

import jax
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.coding.ldpc import LdpcCode, interleaver, ldpc_encode

# Of versions 0 to 3 in columns of Z bits, table 5.4.2.1-2; by columns of information: base graphs 1 and 2.
_STARTS = {22: (0, 17, 33, 56), 10: (0, 13, 25, 43)}


def version_places(code: LdpcCode, version: int) -> np.ndarray:
    """Which bit of the buffer each place on air carries, ``[n]``; all of them are different.

    Args:
        code: Of each transmission; its rate is the first one's.
        version: 0 to 3.

    Raises:
        ValueError: if there is no such version.
    """
    if version not in range(4):
        raise ValueError(f"version must be 0, 1, 2 or 3, got {version!r}")
    start = _STARTS[code.info_columns][version] * code.lifting
    start = min(start, max(code.k - 2 * code.lifting, start - code.num_filler))
    return ((start + np.arange(code.n)) % code.longest)[interleaver(code.n, code.bits_per_symbol)]


def encode_version(bits: ArrayLike, code: LdpcCode, version: int) -> np.ndarray | jax.Array:
    """As :func:`~lvm_mtc.phy.coding.ldpc_encode`, which is version 0, with another part of the buffer."""
    places = version_places(code, version)
    if version == 0:
        return ldpc_encode(bits, code)
    whole = dataclasses.replace(code, n=int(places.max()) + 1, bits_per_symbol=1)
    return ldpc_encode(bits, whole)[..., places]
