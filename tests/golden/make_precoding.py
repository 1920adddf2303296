"""Write precoding.npz: beams of Sionna 1.2.2 for small channels. Needs the extra ``sionna``.

Run from anywhere: ``python tests/golden/make_precoding.py``.
"""

import os
from pathlib import Path

import numpy as np

SHAPES = ((2, 4), (4, 4), (3, 8))


def _normal(rng, *shape):
    parts = rng.normal(scale=0.5**0.5, size=(2, *shape))
    return parts[0] + 1j * parts[1]


def _matrices(rng, cases):
    from sionna.phy.mimo import rzf_precoding_matrix

    for num_uavs, num_tx_ant in SHAPES:
        name = f"{num_uavs}x{num_tx_ant}"
        h = _normal(rng, 4, num_uavs, num_tx_ant)
        alpha = np.array([0.0, 1e-3, 0.3, 10.0])
        cases[f"h_{name}"], cases[f"alpha_{name}"] = h, alpha
        cases[f"g_{name}"] = rzf_precoding_matrix(h, alpha, precision="double").numpy()


def _grid(rng, cases):
    from sionna.phy.mimo import StreamManagement
    from sionna.phy.ofdm import ResourceGrid, RZFPrecoder

    batch, num_uavs, num_tx_ant, symbols, carriers = 2, 3, 4, 2, 4
    grid = ResourceGrid(symbols, carriers, 15e3, num_tx=1, num_streams_per_tx=num_uavs, precision="double")
    streams = StreamManagement(np.ones((num_uavs, 1)), num_uavs)
    precoder = RZFPrecoder(grid, streams, return_effective_channel=True, precision="double")
    h = _normal(rng, batch, symbols, carriers, num_uavs, num_tx_ant)
    x = _normal(rng, batch, symbols, carriers, num_uavs)
    alpha = rng.uniform(0.01, 1, (batch, symbols, carriers))
    # Sionna's axes: [batch, num_rx, num_rx_ant, num_tx, num_tx_ant, symbols, carriers] and
    # [batch, num_tx, streams, symbols, carriers].
    channel = np.transpose(h, (0, 3, 4, 1, 2))[:, :, None, None]
    sent, gains = precoder(np.transpose(x, (0, 3, 1, 2))[:, None], channel, alpha[:, None])
    cases["grid_h"], cases["grid_x"], cases["grid_alpha"] = h, x, alpha
    cases["grid_precoded"] = np.transpose(sent.numpy()[:, 0], (0, 2, 3, 1))
    cases["grid_gains"] = np.transpose(gains.numpy()[:, :, 0, 0], (0, 3, 4, 1, 2))


def cases() -> dict[str, np.ndarray]:
    """Inputs and what Sionna makes of them, complex128, by name."""
    import sionna.phy
    import tensorflow as tf

    before = sionna.phy.config.precision
    # The OFDM precoder does not hand its own precision on: with "double" alone it computes in single precision.
    sionna.phy.config.precision = "double"
    try:
        return _all_cases(sionna.__version__, tf.__version__)
    finally:
        sionna.phy.config.precision = before


def _all_cases(sionna_version, tensorflow_version):
    rng = np.random.default_rng(20)
    found = {"sionna_version": np.array(sionna_version), "tensorflow_version": np.array(tensorflow_version)}
    _matrices(rng, found)
    _grid(rng, found)
    return found


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    np.savez_compressed(Path(__file__).with_name("precoding.npz"), **cases())
