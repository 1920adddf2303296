"""Write ofdm.npz: a resource grid with comb pilots through Sionna 1.2.2's OFDM chain, in double precision.

Needs the extra ``sionna``. Run from anywhere: ``python tests/golden/make_ofdm.py``.
"""

import os
from pathlib import Path

import numpy as np

GRID = dict(
    fft_size=16,
    num_ofdm_symbols=6,
    cyclic_prefix_length=4,
    subcarrier_spacing=30e3,
    pilot_symbols=(1, 4),
    guard_carriers=(2, 1),
    dc_null=True,
)
NUM_RX_ANT, NUM_TX_ANT, NUM_PATHS, NUM_CARRIERS = 3, 2, 4, 12
NO = 0.05


def _normal(rng, *shape):
    parts = rng.normal(scale=0.5**0.5, size=(2, *shape))
    return parts[0] + 1j * parts[1]


def inputs() -> dict[str, np.ndarray]:
    """A channel that changes from symbol to symbol with delays inside the prefix, data and noise."""
    rng = np.random.default_rng(21)
    symbols = GRID["num_ofdm_symbols"]
    num_data = (symbols - len(GRID["pilot_symbols"])) * NUM_CARRIERS
    samples = symbols * (GRID["fft_size"] + GRID["cyclic_prefix_length"])
    return {
        "gains": _normal(rng, NUM_PATHS, symbols, NUM_RX_ANT, NUM_TX_ANT) * NUM_PATHS**-0.5,
        "delays": rng.uniform(0, 4 / (16 * 30e3), NUM_PATHS),
        "x": _normal(rng, num_data, NUM_TX_ANT),
        "noise": NO**0.5 * _normal(rng, symbols, NUM_CARRIERS, NUM_RX_ANT),
        "samples": _normal(rng, samples),
        "no": np.array(NO),
    }


def _resource_grid():
    from sionna.phy.ofdm import PilotPattern, ResourceGrid

    mask = np.zeros((1, NUM_TX_ANT, GRID["num_ofdm_symbols"], NUM_CARRIERS), bool)
    mask[:, :, GRID["pilot_symbols"]] = True
    # Antenna m sends sqrt(num_tx_ant) on carriers m, m + num_tx_ant, ..., and 0 on those of the others.
    own = np.arange(NUM_CARRIERS) % NUM_TX_ANT == np.arange(NUM_TX_ANT)[:, None]
    pilots = np.tile(own, (1, len(GRID["pilot_symbols"])))[None] * NUM_TX_ANT**0.5
    return ResourceGrid(
        GRID["num_ofdm_symbols"],
        GRID["fft_size"],
        GRID["subcarrier_spacing"],
        num_tx=1,
        num_streams_per_tx=NUM_TX_ANT,
        cyclic_prefix_length=GRID["cyclic_prefix_length"],
        num_guard_carriers=GRID["guard_carriers"],
        dc_null=GRID["dc_null"],
        pilot_pattern=PilotPattern(mask, pilots.astype(np.complex128), precision="double"),
        precision="double",
    )


def _chain(given):
    """Sionna's axes: [batch, rx, rx_ant, tx, tx_ant, paths or symbols, ...], batch, rx and tx of size 1."""
    from sionna.phy.channel import ApplyOFDMChannel, cir_to_ofdm_channel, subcarrier_frequencies
    from sionna.phy.mimo import StreamManagement
    from sionna.phy.ofdm import (
        LMMSEEqualizer,
        LSChannelEstimator,
        OFDMDemodulator,
        OFDMModulator,
        RemoveNulledSubcarriers,
        ResourceGridMapper,
    )

    double = dict(precision="double")
    grid = _resource_grid()
    gains = np.transpose(given["gains"], (2, 3, 0, 1))[None, None, :, None]
    frequencies = subcarrier_frequencies(GRID["fft_size"], GRID["subcarrier_spacing"], **double)
    h = cir_to_ofdm_channel(frequencies, gains, given["delays"][None, None, None])
    sent = ResourceGridMapper(grid, **double)(given["x"].T[None, None])
    y = ApplyOFDMChannel(add_awgn=False, **double)(sent, h).numpy()
    used = np.asarray(grid.effective_subcarrier_ind)
    y[..., used] += np.transpose(given["noise"], (2, 0, 1))[None, None]
    streams = StreamManagement(np.ones((1, 1)), NUM_TX_ANT)
    equalize = LMMSEEqualizer(grid, streams, **double)
    prefix = GRID["cyclic_prefix_length"]
    found = {
        "sent": np.transpose(sent.numpy()[0, 0], (1, 2, 0)),
        "modulated": OFDMModulator(prefix, **double)(sent).numpy()[0, 0],
        "demodulated": OFDMDemodulator(GRID["fft_size"], 0, prefix, **double)(given["samples"]).numpy(),
        "used": used,
        "h": np.transpose(RemoveNulledSubcarriers(grid, **double)(h).numpy()[0, 0, :, 0], (2, 3, 0, 1)),
        "y": np.transpose(y[0, 0][..., used], (1, 2, 0)),
    }
    for name, kind in (("nearest", "nn"), ("linear", "lin")):
        h_hat, _ = LSChannelEstimator(grid, interpolation_type=kind, **double)(y, given["no"])
        x_hat, no_eff = equalize(y, h_hat, np.zeros(()), given["no"])
        found[f"h_hat_{name}"] = np.transpose(h_hat.numpy()[0, 0, :, 0], (2, 3, 0, 1))
        found[f"x_hat_{name}"], found[f"no_eff_{name}"] = x_hat.numpy()[0, 0].T, no_eff.numpy()[0, 0].T
    return found


def cases() -> dict[str, np.ndarray]:
    """Inputs and what Sionna makes of them, by name, in our order of axes."""
    import sionna.phy
    import tensorflow as tf

    given = inputs()
    before = sionna.phy.config.precision
    # Not every block hands its own precision on.
    sionna.phy.config.precision = "double"
    try:
        found = _chain(given)
    finally:
        sionna.phy.config.precision = before
    versions = {"sionna_version": np.array(sionna.__version__), "tensorflow_version": np.array(tf.__version__)}
    return versions | given | found


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    np.savez_compressed(Path(__file__).with_name("ofdm.npz"), **cases())
