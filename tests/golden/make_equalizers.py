"""Write equalizers.npz: what Sionna 1.2.2 makes of small channels, in double and single precision.

Needs the extra ``sionna``. Run from anywhere: ``python tests/golden/make_equalizers.py``.
"""

import os
from pathlib import Path

import numpy as np

SHAPES = ((1, 1), (2, 2), (4, 4), (4, 2), (8, 4))  # receive antennas x streams
CASES = 16


def _normal(rng, *shape):
    parts = rng.normal(scale=0.5**0.5, size=(2, *shape))
    return parts[0] + 1j * parts[1]


def inputs(num_rx_ant: int, num_tx_ant: int) -> dict[str, np.ndarray]:
    """Channels, noise powers over four decades and coloured noise, all exact in single precision."""
    rng = np.random.default_rng((20, num_rx_ant, num_tx_ant))
    h = _normal(rng, CASES, num_rx_ant, num_tx_ant)
    no = np.logspace(-4, 0, CASES)
    x = _normal(rng, CASES, num_tx_ant)
    y = np.einsum("bij,bj->bi", h, x) + np.sqrt(no)[:, None] * _normal(rng, CASES, num_rx_ant)
    # Multiplied in double precision: products in single precision round as the processor's library does.
    half = _normal(rng, CASES, num_rx_ant, max(1, num_rx_ant // 2)).astype(np.complex64).astype(np.complex128)
    colour = no[:, None, None] * (half @ half.conj().swapaxes(-1, -2))
    return {
        "h": h.astype(np.complex64),
        "y": y.astype(np.complex64),
        "no": no.astype(np.float32),
        "colour": ((colour + colour.conj().swapaxes(-1, -2)) / 2).astype(np.complex64),
    }


def _answers(given: dict[str, np.ndarray], precision: str) -> dict[str, np.ndarray]:
    from sionna.phy.mimo import lmmse_equalizer, mf_equalizer, zf_equalizer

    h, y = (given[name].astype(np.complex128) for name in ("h", "y"))
    white = given["no"].astype(np.float64)[:, None, None] * np.eye(h.shape[-2])
    found = {}
    for name, equalize, s in (
        ("zf", zf_equalizer, white),
        ("mf", mf_equalizer, white),
        ("lmmse", lmmse_equalizer, white),
        ("coloured", lmmse_equalizer, white + given["colour"]),
    ):
        x_hat, no_eff = equalize(y, h, s.astype(np.complex128), precision=precision)
        found[f"{name}_x"], found[f"{name}_no"] = x_hat.numpy(), no_eff.numpy()
    return found


def cases() -> dict[str, np.ndarray]:
    """Inputs and what Sionna makes of them, by name."""
    import sionna.phy
    import tensorflow as tf

    found = {"sionna_version": np.array(sionna.__version__), "tensorflow_version": np.array(tf.__version__)}
    before = sionna.phy.config.precision
    try:
        for num_rx_ant, num_tx_ant in SHAPES:
            size = f"{num_rx_ant}x{num_tx_ant}"
            given = inputs(num_rx_ant, num_tx_ant)
            found |= {f"{size}_{name}": array for name, array in given.items()}
            for precision in ("double", "single"):
                # Not every function hands its own precision on.
                sionna.phy.config.precision = precision
                answers = _answers(given, precision)
                found |= {f"{size}_{precision}_{name}": array for name, array in answers.items()}
    finally:
        sionna.phy.config.precision = before
    return found


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    np.savez_compressed(Path(__file__).with_name("equalizers.npz"), **cases())
