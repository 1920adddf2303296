"""PSNR in double precision, for studies whose pictures are on the host."""

import numpy as np


def psnr_db(shown: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Of pictures in [0, 1], ``[..., height, width, 3]``, one a picture; what is shown is clipped; 120 dB at most."""
    error = np.mean((np.clip(np.float64(shown), 0, 1) - pictures) ** 2, axis=(-3, -2, -1))
    return -10 * np.log10(np.maximum(error, 1e-12))
