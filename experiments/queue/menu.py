r"""Fits the menu codec: principal components, the values they have, codes of 1 to 5 symbols, and who gets which.

    python -m experiments.queue.mixture --data ../shared/data --out mixture.npz
    python -m experiments.queue.menu --mixture mixture.npz --out lvm_mtc/weights/menu.npz

Nothing is trained: codes come from a random search and their distortions from a simulation of one component. Ten
minutes on one core.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.queue.mixture import load_mixture
from experiments.script import parser_of, run
from lvm_mtc.models.patches import patchify
from lvm_mtc.schemes.menu.allocation import allocate
from lvm_mtc.schemes.menu.codes import Codes, posterior, symbols_of

PATCH_SIZE = 16
NUM_COMPONENTS = 512
BAND_EDGES = (0, 1, 3, 8, 24, 72, 200, NUM_COMPONENTS)
"""Components of a band have one distribution, in standard deviations of each."""
GRID = np.linspace(-6.0, 6.0, 193)
MOST_SYMBOLS = 5
SEARCH_DB = np.arange(2.0, 46.0, 2.0)
"""Powers over the noise of a real symbol for which codes of two symbols and more are searched for."""
POWER_DB = np.arange(-14.0, 46.0, 0.5)
SNR_DB = np.arange(-8, 21)
"""Whole dB for which allocations are kept."""
RATIOS = (256, 128, 64)
"""Complex symbols of a patch of 16 x 16 pixels: bandwidth ratios 1/3, 1/6 and 1/12."""
CANDIDATES, ROUNDS, KEPT = 256, 6, 16
SAMPLES, FINAL_SAMPLES = 512, 8192


class Components(NamedTuple):
    """Principal components of patches.

    Attributes:
        mean: ``[768]``.
        basis: ``[768, NUM_COMPONENTS]``, orthonormal columns.
        variance: ``[NUM_COMPONENTS]``.
        log_prior: Of the values ``GRID`` in each band, ``[bands, G]``.
    """

    mean: np.ndarray
    basis: np.ndarray
    variance: np.ndarray
    log_prior: np.ndarray


def fit_components(data: Mapping[str, np.ndarray]) -> Components:
    """Components of the lossless pictures and a part of the others, as many as they weigh in the mixture."""
    pictures = np.concatenate([data["lossless"], data["crops"][::40], data["copies"][::40]])
    patches = np.asarray(patchify(np.float32(pictures) / 255, PATCH_SIZE)).reshape(-1, 3 * PATCH_SIZE**2)
    mean = patches.mean(0, dtype=np.float64)
    variance, basis = np.linalg.eigh(np.cov((patches - mean).T))
    variance, basis = variance[::-1][:NUM_COMPONENTS], basis[:, ::-1][:, :NUM_COMPONENTS]
    values = (patches - mean) @ basis / np.sqrt(variance)
    bands = zip(BAND_EDGES[:-1], BAND_EDGES[1:], strict=True)
    return Components(mean, basis, variance, np.stack([log_density(values[:, a:b].ravel()) for a, b in bands]))


def log_density(values: np.ndarray) -> np.ndarray:
    """Logarithm of a smoothed histogram of values, and of their mirror images, on ``GRID``, ``[G]``."""
    step = GRID[1] - GRID[0]
    edges = np.append(GRID - step / 2, GRID[-1] + step / 2)
    values = np.clip(values, GRID[0], GRID[-1])
    counts = sum(np.histogram(sign * values, edges)[0] for sign in (-1, 1)) + 1e-4 * len(values) / len(GRID)
    smooth = np.convolve(np.pad(counts, 2, mode="edge"), np.array([1, 4, 6, 4, 1]) / 16, mode="valid")
    return np.log(smooth / smooth.sum())


def quantiles(log_prior: np.ndarray, count: int) -> np.ndarray:
    """Values at the middle of ``count`` equally likely intervals of a density on ``GRID``."""
    cumulative = np.cumsum(np.exp(log_prior))
    return np.interp((np.arange(count) + 0.5) / count, cumulative / cumulative[-1], GRID + (GRID[1] - GRID[0]) / 2)


@jax.jit
def distortions(codes: Codes, power: jax.Array, values: jax.Array, noise: jax.Array, log_prior: jax.Array) -> jax.Array:
    """Mean squared error of codes that are scaled to a power, over noise of variance 1.

    Args:
        codes: ``[C, J]``.
        power: Linear.
        values: Of the component, ``[S]``.
        noise: ``[S, J]``.
        log_prior: ``[G]``.

    Returns:
        ``[C]``.
    """

    def of_one(code):
        symbols = symbols_of(values, code)
        scale = jnp.sqrt(power / jnp.mean(jnp.sum(symbols**2, axis=-1)))
        scaled = code._replace(amplitude=code.amplitude * scale)
        estimate, _ = posterior(scale * symbols + noise, jnp.ones_like(noise), scaled, jnp.asarray(GRID), log_prior)
        return jnp.mean((estimate - values) ** 2)

    return jax.lax.map(of_one, codes)


def search(count: int, power: float, log_prior: np.ndarray, before: Codes | None, rng: np.random.Generator) -> Codes:
    """A code of ``count`` symbols for a power: random ones, the best of which are moved about and compared again.

    Args:
        count: Symbols, two or more.
        power: Over the noise of a real symbol, linear.
        log_prior: Distribution of the component, ``[G]``.
        before: Code for the next smaller power.
        rng: Draws candidates.

    Returns:
        ``[J]`` with J = ``MOST_SYMBOLS``.
    """
    rows = _random_rows(count, CANDIDATES, rng)
    if before is not None:
        rows = np.concatenate([rows, _to_rows(before, count)[None]])
    values = jnp.asarray(quantiles(log_prior, SAMPLES))
    noise = jnp.asarray(rng.standard_normal((SAMPLES, MOST_SYMBOLS)))
    measure = functools.partial(distortions, power=power, values=values, noise=noise, log_prior=jnp.asarray(log_prior))
    for number in range(ROUNDS):
        best = rows[np.argsort(measure(_to_codes(rows)))[:KEPT]]
        if number == ROUNDS - 1:
            return Codes(*(a[0] for a in _to_codes(best[:1])))
        moved = np.repeat(best, CANDIDATES // KEPT // 2, axis=0)
        rows = np.concatenate([best, moved + rng.standard_normal(moved.shape) * 0.3 / 2**number])
    raise AssertionError


def _random_rows(count: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """Log amplitudes, log periods (of all but the first symbol) and phases, ``[number, 3 count - 2]``."""
    amplitude = 0.5 * np.log(rng.dirichlet(np.ones(count), number) * np.append(1, np.full(count - 1, 3.0)))
    ratio = rng.uniform(0, np.log(6), (number, count - 1))
    ratio[:, 0] = -rng.uniform(0, np.log(8), number)
    return np.concatenate([amplitude, -np.cumsum(ratio, 1), rng.uniform(0, 1, (number, count - 1))], axis=1)


def _to_codes(rows: np.ndarray) -> Codes:
    count = (rows.shape[1] + 2) // 3
    codes = np.zeros((3, len(rows), MOST_SYMBOLS))
    codes[0, :, :count] = np.exp(rows[:, :count])
    codes[1, :, 1:count] = np.exp(rows[:, count : 2 * count - 1])
    codes[2, :, 1:count] = rows[:, 2 * count - 1 :]
    return Codes(*(jnp.asarray(a) for a in codes))


def _to_rows(codes: Codes, count: int) -> np.ndarray:
    amplitude, period, phase = (np.asarray(a)[:count] for a in codes)
    return np.concatenate([np.log(amplitude), np.log(period[1:]), phase[1:]])


def fit_codes(log_prior: np.ndarray, seed: int = 0) -> tuple[Codes, np.ndarray]:
    """Codes for every power, and their distortions in every band.

    Args:
        log_prior: ``[bands, G]``; codes are searched for with the mean of the bands.
        seed: Of the search.

    Returns:
        codes: Scaled to their power, ``[N, P, J]``.
        distortion: ``[bands, N, P]``; it never rises with the power.
    """
    rng = np.random.default_rng(seed)
    pooled = np.log(np.exp(log_prior).mean(0))
    names = [None] * len(SEARCH_DB)
    found = {1: [Codes(np.eye(MOST_SYMBOLS)[0], np.zeros(MOST_SYMBOLS), np.zeros(MOST_SYMBOLS))] * len(names)}
    for count in range(2, MOST_SYMBOLS + 1):
        before, found[count] = None, []
        for power_db in SEARCH_DB:
            before = search(count, 10 ** (power_db / 10), pooled, before, rng)
            found[count].append(before)
        print(f"codes of {count} symbols", flush=True)
    nearest = np.abs(POWER_DB[:, None] - SEARCH_DB).argmin(1)
    shapes = [[found[count][i] for i in nearest] for count in found]
    codes = Codes(*(np.array([[np.asarray(code[f]) for code in row] for row in shapes]) for f in range(3)))
    noise = jnp.asarray(rng.standard_normal((FINAL_SAMPLES, MOST_SYMBOLS)))
    distortion = np.empty((len(log_prior), *codes.amplitude.shape[:2]))
    for band, density in enumerate(log_prior):
        values = jnp.asarray(quantiles(density, FINAL_SAMPLES))
        for n, p in np.ndindex(distortion.shape[1:]):
            one = Codes(*(jnp.asarray(a[n, p][None]) for a in codes))
            distortion[band, n, p] = distortions(one, 10 ** (POWER_DB[p] / 10), values, noise, jnp.asarray(density))[0]
    return codes, distortion


def scaled(codes: Codes, log_prior: np.ndarray) -> Codes:
    """Codes of each band whose mean power is that of their place in ``POWER_DB``, ``[bands, N, P, J]``."""
    amplitude = np.empty((len(log_prior), *codes.amplitude.shape))
    for band, density in enumerate(log_prior):
        symbols = np.asarray(symbols_of(jnp.asarray(GRID), Codes(*(jnp.asarray(a[:, :, None]) for a in codes))))
        mean_power = np.einsum("npgj,g->np", symbols**2, np.exp(density))
        amplitude[band] = codes.amplitude * np.sqrt(10 ** (POWER_DB / 10) / mean_power)[..., None]
    return Codes(amplitude, codes.period, codes.phase)


def pack(components: Components, codes: Codes, distortion: np.ndarray) -> dict[str, np.ndarray]:
    """Everything that the codec needs, as small as it goes."""
    band = np.repeat(np.arange(len(BAND_EDGES) - 1), np.diff(BAND_EDGES))
    arrays = dict(
        mean=np.float32(components.mean),
        basis=np.float16(components.basis),
        variance=np.float32(components.variance),
        band=np.uint8(band),
        grid=np.float32(GRID),
        log_prior=np.float32(components.log_prior),
        amplitude=np.float32(scaled(codes, components.log_prior).amplitude),
        period=np.float32(codes.period),
        phase=np.float32(codes.phase),
        snr_db=np.float32(SNR_DB),
    )
    for num_symbols in RATIOS:
        budgets = [2 * num_symbols * 10 ** (snr_db / 10) for snr_db in SNR_DB]
        found = [
            allocate(components.variance, 10 ** (POWER_DB / 10), distortion[band], 2 * num_symbols, budget)
            for budget in budgets
        ]
        arrays[f"count_{num_symbols}"] = np.uint8([a.symbols for a in found])
        arrays[f"power_{num_symbols}"] = np.uint8([a.power for a in found])
        print(f"allocations for {num_symbols} symbols", flush=True)
    return arrays


def _fit(options: argparse.Namespace) -> None:
    data, _ = load_mixture(options.mixture)
    components = fit_components(data)
    codes, distortion = fit_codes(components.log_prior)
    arrays = pack(components, codes, distortion)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.out, **arrays)


def main(arguments: list[str] | None = None) -> int:
    """Fits and writes the table; returns the exit status."""
    parser = parser_of("queue.menu", "Fit the menu codec.")
    parser.add_argument("--mixture", type=Path, required=True, help="file of experiments.queue.mixture")
    parser.add_argument("--out", type=Path, default=Path("lvm_mtc/weights/menu.npz"), help="the .npz to write")
    return run(parser, _fit, arguments)


if __name__ == "__main__":
    sys.exit(main())
