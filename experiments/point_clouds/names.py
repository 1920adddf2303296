"""What the study of point clouds calls its schemes and sweeps, where it measures, and how bits are sent."""

from typing import NamedTuple

import numpy as np

from lvm_mtc.schemes.separation.clouds import CloudCode

NAME, BITS, TURNED = "point clouds", "octree as bits", "point clouds, turned"
DRACO, CSI_ERROR = "Draco as bits", "point clouds, CSI error"
OFDM, VARIED, MODULATORS = "point clouds, OFDM", "point clouds, varied", "point clouds, modulators"
CLEAN, EQUAL = "point clouds, not sent", "point clouds, symbols at equal D1"
LEARNED, MOMENTS, POINTS = "learned", "moments", "uncoded points"
LINEAR, CODED = (MOMENTS, POINTS), (BITS, DRACO)
OTHERS = (*LINEAR, *CODED)
SYMBOLS = 320
SNR_DB = (0.0, 5.0, 10.0, 20.0)
MODES = ((2, 1 / 5), (2, 1 / 3), (2, 1 / 2), (2, 2 / 3), (4, 1 / 3), (4, 1 / 2), (4, 2 / 3), (4, 5 / 6), (6, 1 / 2),
         (6, 2 / 3), (6, 5 / 6), (8, 2 / 3))  # fmt: skip
# No file is so short that it fits into either of the first two modes, so one stands for both.
DRACO_MODES = (MODES[0], *MODES[2:])
LOW_SNR_DB, CSI_ERROR_VAR, MOST_SYMBOLS = SNR_DB[:3], 0.05, 8000


class Coded(NamedTuple):
    """A code of clouds: the scheme's name, the code, what is shown where nothing arrives, what the code is, modes."""

    name: str
    code: CloudCode
    lost: np.ndarray
    source: str
    modes: tuple[tuple[int, float], ...] = MODES


def is_below_capacity(mode: tuple[int, float], snr_db: float) -> bool:
    """Whether a mode asks for less than log2(1 + SNR) bits a symbol."""
    return bool(mode[0] * mode[1] < np.log2(1 + 10 ** (snr_db / 10)))
