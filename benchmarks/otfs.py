"""Time of the L-MMSE receiver of OTFS: symbol by symbol, against one dense system for the whole frame.

A frame of 32 delays and 32 Dopplers, one antenna on each side, six taps that turn within a symbol. The dense receiver
solves for the 1024 cells at once and gives no error variance; that by symbols gives it for every cell. Channels and
received samples are given to both. Writes JSON:

    python benchmarks/otfs.py [--out FILE] [--repeats 20]

Nothing is reported unless the estimates by symbols are within 1e-4 of the dense ones in double precision.
"""

import argparse
import functools
import json
import os
import platform
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy

GRID = phy.ResourceGrid(fft_size=32, num_ofdm_symbols=33, cyclic_prefix_length=5, pilot_symbols=(0,))
NO, TOLERANCE = 0.01, 1e-4


def by_symbols(blocks: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of ``blocks [N, M, M]`` from delays to samples and ``y [N, M]``: cells and their error variance, ``[N, M]``."""
    x, mse = phy.block_lmmse(y, blocks, NO)
    return jnp.fft.fft(x, axis=0, norm="ortho"), jnp.broadcast_to(jnp.mean(mse, axis=0, keepdims=True), mse.shape)


def dense(matrix: jax.Array, y: jax.Array) -> jax.Array:
    """``matrix [N M, N M]`` from cells to samples; the cells, ``[N, M]``."""
    gram = matrix.conj().T @ matrix + NO * jnp.eye(len(matrix))
    return jax.scipy.linalg.solve(gram, matrix.conj().T @ y.ravel(), assume_a="pos").reshape(y.shape)


def frame() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A drawn frame: its blocks, its dense matrix, and what is received."""
    spread = dict(sample_duration=GRID.sample_duration, delay_spread=1.2 * GRID.sample_duration)
    profile = phy.GridStatistics(*phy.exponential_profile(6, *spread.values()))
    paths = functools.partial(phy.exponential, num_taps=6, max_doppler=0.1 * GRID.subcarrier_spacing, **spread)
    draws = phy.draw_sampled(
        jax.random.key(0), (), GRID.slots_per_grid, grid=GRID, paths=paths, statistics=profile, num_rx_ant=1,
        num_tx_ant=1,
    )  # fmt: skip
    taps, m = np.asarray(draws.gains)[..., 0, 0][:, GRID.data_symbols], GRID.fft_size
    n = taps.shape[1]
    blocks = np.zeros((n, m, m), np.complex64)
    for delay, of_tap in enumerate(taps):
        blocks[:, np.arange(m), (np.arange(m) - delay) % m] = of_tap
    across = np.fft.ifft(np.eye(n), axis=0, norm="ortho")
    matrix = np.einsum("nij,nk->nikj", blocks, across).reshape(n * m, n * m).astype(np.complex64)
    parts = np.random.default_rng(0).normal(scale=0.5**0.5, size=(2, 2, n * m))
    x, noise = parts[0] + 1j * parts[1]
    return blocks, matrix, np.complex64(matrix @ x + NO**0.5 * noise).reshape(n, m)


def median_time(program, arguments: tuple, repeats: int) -> tuple[float, jax.Array]:
    """Seconds of a compiled run, and what it gives."""
    times, result = [], jax.block_until_ready(program(*arguments))
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "otfs_cpu.json")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    blocks, matrix, y = frame()
    wide = np.complex128(matrix)
    exact = np.linalg.solve(wide.conj().T @ wide + NO * np.eye(len(wide)), wide.conj().T @ y.ravel()).reshape(y.shape)
    blocks, matrix, y = map(jnp.asarray, (blocks, matrix, y))
    fast, (x_hat, _) = median_time(jax.jit(by_symbols), (blocks, y), options.repeats)
    slow, whole = median_time(jax.jit(dense), (matrix, y), max(options.repeats // 4, 1))
    apart, dense_apart = (float(np.abs(estimate - exact).max()) for estimate in (x_hat, whole))
    if not apart < TOLERANCE:
        raise SystemExit(f"otfs.py: the receiver is {apart:.1e} off the dense one, more than {TOLERANCE:g}")
    result = {
        "delays": GRID.fft_size, "dopplers": len(blocks), "repeats": options.repeats, "by_symbols_s": fast,
        "dense_s": slow, "speedup": slow / fast, "largest_error": apart,
        "largest_error_dense": dense_apart, "jax": jax.__version__,
        "openblas_threads": os.environ.get("OPENBLAS_NUM_THREADS", "default"), "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)), "load_average_1_min": os.getloadavg()[0],
    }  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{fast * 1e3:.2f} ms by symbols, {slow * 1e3:.0f} ms dense: {slow / fast:.0f} times; {apart:.1e} off at most"
    )


if __name__ == "__main__":
    main()
