"""Write coding.npz: codewords, symbols, LLRs and error rates of Sionna 1.2.2. Needs the extra ``sionna``.

Run from anywhere: ``python tests/golden/make_coding.py`` (about 20 seconds).
"""

import os
from pathlib import Path

import numpy as np

# 120 symbols of QPSK at rate 1/2.
K, N, BITS = 120, 240, 2
ESNO_DB = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
NUM_BLOCKS = 4000


def _bits(rng, *shape):
    return rng.integers(0, 2, shape).astype(np.float32)


def _codewords(rng, cases):
    from sionna.phy.fec.crc import CRCEncoder
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder

    encoder = LDPC5GEncoder(K, N, num_bits_per_symbol=BITS)
    rows, columns = encoder.pcm.nonzero()
    cases["pcm"] = np.stack([rows, columns]).astype(np.int16)
    cases["lifting"], cases["k_ldpc"] = np.array(encoder.z), np.array(encoder.k_ldpc)
    payload = _bits(rng, 6, K - 24)
    protected = CRCEncoder("CRC24A")(payload)
    coded = encoder(protected).numpy()
    # From certain to hopeless.
    no = 10 ** (-np.array([6, 4, 3, 2, 1, -3]) / 10)[:, None]
    received = (2 * coded - 1) / np.sqrt(2) + np.sqrt(no / 2) * rng.normal(size=coded.shape)
    llr = 4 / np.sqrt(2) * received / no
    cases["payload"], cases["protected"], cases["coded"] = payload, protected.numpy(), coded
    cases["llr"] = np.float32(llr)
    cases["decoded"] = LDPC5GDecoder(encoder, num_iter=20)(cases["llr"]).numpy()
    return encoder


def _symbols(rng, cases):
    from sionna.phy.mapping import Demapper, Mapper

    for bits_per_symbol in (2, 4, 6, 8):
        bits = _bits(rng, 3, 16 * bits_per_symbol)
        x = Mapper("qam", bits_per_symbol, precision="double")(bits).numpy()
        no = rng.uniform(0.02, 1.0, x.shape)
        y = x + np.sqrt(no / 2) * (rng.normal(size=x.shape) + 1j * rng.normal(size=x.shape))
        name = f"qam{bits_per_symbol}"
        cases[f"{name}_bits"], cases[f"{name}_x"], cases[f"{name}_y"], cases[f"{name}_no"] = bits, x, y, no
        for method in ("app", "maxlog"):
            demap = Demapper(method, "qam", bits_per_symbol, precision="double")
            cases[f"{name}_{method}"] = demap(y, no).numpy()


def _error_rates(encoder, cases):
    import sionna.phy
    from sionna.phy.channel import AWGN
    from sionna.phy.fec.ldpc import LDPC5GDecoder
    from sionna.phy.mapping import BinarySource, Demapper, Mapper

    sionna.phy.config.seed = 20
    source, mapper, channel = BinarySource(), Mapper("qam", BITS), AWGN()
    demapper, decoder = Demapper("app", "qam", BITS), LDPC5GDecoder(encoder, num_iter=20)
    wrong = []
    for esno_db in ESNO_DB:
        no = 10 ** (-esno_db / 10)
        bits = source([NUM_BLOCKS, K])
        found = decoder(demapper(channel(mapper(encoder(bits)), no), no))
        wrong.append((found.numpy() != bits.numpy()).mean(-1))
    cases["esno_db"], cases["num_blocks"] = np.array(ESNO_DB), np.array(NUM_BLOCKS)
    cases["bler"] = np.array([(one > 0).mean() for one in wrong])
    cases["ber"] = np.array([one.mean() for one in wrong])


def cases() -> dict[str, np.ndarray]:
    """Inputs and what Sionna makes of them, by name."""
    import sionna.phy
    import tensorflow as tf

    rng = np.random.default_rng(20)
    found = {"sionna_version": np.array(sionna.__version__), "tensorflow_version": np.array(tf.__version__)}
    encoder = _codewords(rng, found)
    _symbols(rng, found)
    _error_rates(encoder, found)
    return found


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    np.savez_compressed(Path(__file__).with_name("coding.npz"), **cases())
