"""A whole grid of SNRs and CSI errors over one set of draws, with everything computed as rarely as it changes.

With ``y = H x + sqrt(no) n`` the matched filter is ``H_hat^H y = H_hat^H H x + sqrt(no) H_hat^H n``. Neither of its two
parts nor the Gram matrix ``H_hat^H H_hat`` depends on the SNR: they are computed once per CSI error, and a point of the
grid is one factorisation and two triangular solves on the side of the streams.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.phy.draws import LinkDraws
from lvm_mtc.phy.linalg import (
    MAX_UNROLLED,
    Entry,
    cholesky,
    conj_times_vector,
    gram,
    inverse_diagonal,
    join_real,
    join_vector,
    solve_lower,
    solve_lower_hermitian,
    split_matrix,
    split_vector,
    times_vector,
)
from lvm_mtc.phy.mimo import LMMSE_VARIANTS, unbias
from lvm_mtc.phy.numerics import require_complex, require_given, standard_deviation


def _combine(a: Entry, weight: jax.Array, b: Entry) -> Entry:
    return Entry(a.re + weight * b.re, a.im + weight * b.im)


def _check(x: jax.Array, draws: LinkDraws, no: jax.Array, csi_error_var: jax.Array, variant: str) -> None:
    require_complex("x", x)
    if variant not in LMMSE_VARIANTS:
        raise ValueError(f"unknown LMMSE variant {variant!r}; known: {', '.join(LMMSE_VARIANTS)}")
    if draws.h is None:
        raise ValueError("draws.h is None (made for AWGN): sweep_lmmse needs fading")
    num_rx_ant, num_tx_ant = draws.h.shape[-2:]
    if draws.h.shape[:-2] != x.shape[:-1] or num_tx_ant != x.shape[-1]:
        raise ValueError(f"draws.h {draws.h.shape} must hold one channel for each slot of x {x.shape}: block_length=1")
    if not num_tx_ant <= num_rx_ant <= MAX_UNROLLED:
        raise ValueError(
            f"sweep_lmmse needs num_tx_ant <= num_rx_ant <= {MAX_UNROLLED}, got {num_tx_ant} and {num_rx_ant}"
        )
    if no.ndim != 1 or csi_error_var.ndim != 1:
        raise ValueError(f"no {no.shape} and csi_error_var {csi_error_var.shape} must have one axis each")


def sweep_lmmse(
    x: jax.Array,
    draws: LinkDraws,
    no: jax.Array,
    csi_error_var: jax.Array,
    reduce: Callable[[jax.Array, jax.Array], Any],
    *,
    variant: str = "robust",
) -> Any:
    """All points of a grid SNR x CSI error over per-slot fading, each reduced as soon as it is computed.

    The same numbers as :func:`lvm_mtc.phy.joint` with ``block_length=1`` and ``draws`` at each point, up to rounding;
    additive CSI error, i.i.d. unit prior.

    Args:
        x: Sent symbols, ``[..., num_slots, num_tx_ant]`` complex, power 1 per stream.
        draws: Of ``draw_link`` with ``block_length=1``: one channel for each slot.
        no: Noise variances per complex dimension, linear, > 0, ``[num_snr]``; traced.
        csi_error_var: Variances of the CSI error, linear, >= 0, ``[num_csi]``; traced. The gradient of 0 is NaN.
        reduce: Called with ``x_hat`` and ``no_eff`` of a point, shapes of ``x``; returns a pytree of arrays, such as
            means. Under a device mesh it should leave an axis for the devices, or all of them wait at every point.
        variant: ``paper``, ``unbiased`` or ``robust``; see :func:`lvm_mtc.phy.lmmse_equalizer`.

    Returns:
        What ``reduce`` returns, with leading axes ``[num_csi, num_snr]``.

    Raises:
        ValueError: if ``x`` is real, shapes do not fit, there are fewer receive than transmit antennas or more than 8,
            or the variant is unknown.
    """
    _check(x, draws, no, csi_error_var, variant)
    rows, errors = (split_matrix(require_given(f"draws.{name}", getattr(draws, name))) for name in ("h", "csi"))
    received, noise = times_vector(rows, split_vector(x)), split_vector(draws.noise)
    num_tx_ant = x.shape[-1]

    def of_csi_error(s):
        # The posterior mean is a multiple of h_hat, the posterior variance adds to the noise of every antenna.
        shrink = 1 / (1 + s) if variant == "robust" else jnp.ones_like(s)
        extra = num_tx_ant * s * shrink if variant == "robust" else jnp.zeros_like(s)
        level = standard_deviation(s)
        estimate = [
            [_combine(entry, level, error) for entry, error in zip(row, drawn, strict=True)]
            for row, drawn in zip(rows, errors, strict=True)
        ]
        estimate = [[Entry(shrink * entry.re, shrink * entry.im) for entry in row] for row in estimate]
        estimate = jax.lax.optimization_barrier(estimate)
        below, diagonal = gram(estimate)
        parts = conj_times_vector(estimate, received), conj_times_vector(estimate, noise)
        # Kept in memory for all SNRs: fused into the loop below they would be computed again at every one of them.
        below, diagonal, (signal, noisy) = jax.lax.optimization_barrier((below, diagonal, parts))

        def of_no(no):
            ridge = no + extra
            factor = cholesky(below, [power + ridge for power in diagonal])
            matched = [_combine(a, jnp.sqrt(no), b) for a, b in zip(signal, noisy, strict=True)]
            solution = join_vector(solve_lower_hermitian(factor, solve_lower(factor, matched)))
            mse = ridge * join_real(inverse_diagonal(factor))
            return reduce(*((solution, mse) if variant == "paper" else unbias(solution, mse, 1 - mse)))

        return jax.lax.map(of_no, no)

    return jax.lax.map(of_csi_error, csi_error_var)
