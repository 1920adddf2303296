"""How many iterations the LDPC decoder needs: words lost after 10 to 100 of them, on the same LLRs, as a table.

    python -m experiments.coding.iterations [--words 1024]

384 symbols a block over AWGN, in the middle of each code's waterfall; a minute a code on one core.
"""

import sys

import jax
import numpy as np

from experiments.script import script
from lvm_mtc.phy.coding import code_blocks, ldpc_decode, ldpc_encode
from lvm_mtc.phy.modulation import qam_llr, qam_map

# Bits a symbol, rate, Es/N0 in dB.
POINTS = ((2, 0.2, -4.6), (2, 0.5, 0.8), (2, 5 / 6, 5.2), (4, 1 / 3, 3.0), (6, 0.75, 14.9), (8, 0.5, 14.1))
SCHEDULES = (("flooding", 20), ("flooding", 50), ("layered", 10), ("layered", 20), ("layered", 50), ("layered", 100))


def lost(bits_per_symbol: int, rate: float, esno_db: float, num_words: int) -> list[np.ndarray]:
    """Which words are lost, ``[num_words]`` bool for each of ``SCHEDULES``."""
    code = code_blocks(384, bits_per_symbol, rate).code
    bits = np.random.default_rng(0).integers(0, 2, (num_words, code.k), np.uint8)
    x, no = qam_map(ldpc_encode(bits, code), bits_per_symbol), np.float32(10 ** (-esno_db / 10))
    y = x + np.sqrt(no) * jax.random.normal(jax.random.key(0), x.shape, x.dtype)
    llr = np.asarray(qam_llr(y, no, bits_per_symbol))
    return [
        ((ldpc_decode(llr, code, num_iter=num_iter, schedule=schedule, engine="numpy") > 0) != bits).any(axis=1)
        for schedule, num_iter in SCHEDULES
    ]


@script(words="of each code")
def main(words: int = 1024) -> None:
    """Print the table; the last column is the change from 50 to 100 layered iterations with its standard error."""
    heads = [f"{schedule} {num_iter}" for schedule, num_iter in SCHEDULES]
    print("|", " | ".join(["modulation, rate, Es/N0", *heads, "layered 100 against 50"]), "|")
    print("|" + "---|" * (len(heads) + 2))
    for bits_per_symbol, rate, esno_db in POINTS:
        wrong = lost(bits_per_symbol, rate, esno_db, words)
        change = wrong[-1].astype(float) - wrong[-2]
        cells = [f"{one.mean():.3f}" for one in wrong]
        cells.append(f"{change.mean():+.4f} ± {change.std() / np.sqrt(words):.4f}")
        print("|", " | ".join([f"{2**bits_per_symbol}-QAM, {rate:.3g}, {esno_db} dB", *cells]), "|", flush=True)


if __name__ == "__main__":
    sys.exit(main())
