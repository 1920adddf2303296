"""Linear MIMO receivers for ``y = H x + n``: matched filter, zero forcing, LMMSE and none at all, by name.

What ``no_eff`` means: it is the variance of ``x_hat - x`` per stream **as the receiver believes it**, given its
estimate ``h_hat``:

============  ====================================================  ==================================================
name          x_hat                                                 no_eff
============  ====================================================  ==================================================
``paper``     Eq. 5 of LVM-MTC, takes h_hat for the channel:        its mean squared error if h_hat were exact,
              biased towards zero                                   bias included: [(I + H^H H / no)^-1]_nn, <= 1
``unbiased``  the same, divided by its gain: E[x_hat | x] = x       its error variance if h_hat were exact
``robust``    unbiased, knows the CSI error: h_hat is the           its true error variance, given h_hat
              posterior mean, csi_error_var the posterior variance
``zf``        inverts h_hat                                         noise after the inverse, if h_hat were exact
``mf``        matched filter, divided by its gain                   interference and noise, if h_hat were exact
``none``      y; looks at no estimate                               that of the noise: as if H were I
============  ====================================================  ==================================================

So ``no_eff`` equals the measured error variance for all of them but ``none`` under perfect CSI, and for ``robust``
whenever the mean and variance that it was given are those of the channel given the estimate. That of ``none`` is the
measured one under AWGN only; under fading the error has E|H - I|^2 on top, which that receiver does not know.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc.phy.kernels import matched_filter, sequential_solve, stream_solve, whiten
from lvm_mtc.phy.numerics import align, lift, real_dtype, require_at_least, require_complex, weighted_sum

LMMSE_VARIANTS = ("paper", "unbiased", "robust")
UNBIASED = ("robust", "unbiased", "zf", "mf")
"""Equalisers whose x_hat is the symbol and an error of mean 0, of which no_eff is the variance."""


def prepare(y, h_hat, no, csi_error_var, active, noise_cov):
    """Check an equaliser's arguments and give them all leading axes of one rank, without broadcasting them."""
    require_complex("y", y)
    require_complex("h_hat", h_hat)
    if h_hat.ndim < 2 or y.ndim < 1 or h_hat.shape[-2] != y.shape[-1]:
        raise ValueError(
            f"the antenna axes of y {y.shape} and h_hat {h_hat.shape} differ: expected [..., num_rx_ant] "
            "and [..., num_rx_ant, num_tx_ant]"
        )
    try:
        lead = jnp.broadcast_shapes(y.shape[:-1], h_hat.shape[:-2])
    except ValueError as error:
        raise ValueError(f"the leading axes of y {y.shape} and h_hat {h_hat.shape} do not broadcast") from error
    num_rx_ant, num_tx_ant = h_hat.shape[-2:]
    require_at_least("no", no, 0.0)
    require_at_least("csi_error_var", csi_error_var, 0.0)
    dtype = jnp.promote_types(y.dtype, h_hat.dtype)
    y, h_hat = lift(y.astype(dtype), lead, 1), lift(h_hat.astype(dtype), lead, 2)
    no = align("no", no, lead, 0, real_dtype(y))
    csi_error_var = align("csi_error_var", csi_error_var, lead, 0, real_dtype(y))
    if active is not None:
        if active.shape[-1:] != (num_tx_ant,) or active.dtype != jnp.bool_ or active.ndim > len(lead) + 1:
            raise ValueError(
                f"active must be boolean [..., {num_tx_ant}] for h_hat {h_hat.shape}, got {active.dtype} {active.shape}"
            )
        active = lift(active, lead, 1)
    if noise_cov is not None:
        if noise_cov.shape[-2:] != (num_rx_ant, num_rx_ant) or noise_cov.ndim > len(lead) + 2:
            raise ValueError(
                f"noise_cov must be [..., {num_rx_ant}, {num_rx_ant}] for y {y.shape}, got {noise_cov.shape}"
            )
        noise_cov = lift(jnp.asarray(noise_cov, dtype), lead, 2)
    return y, h_hat, no, csi_error_var, active, noise_cov


def _finish(x_hat, no_eff, lead, num_tx_ant, active):
    """Broadcast to one shape, and give silent streams the values 0 and 1."""
    shape = (*lead, num_tx_ant)
    x_hat, no_eff = jnp.broadcast_to(x_hat, shape), jnp.broadcast_to(no_eff, shape)
    if active is None:
        return x_hat, no_eff
    return jnp.where(active, x_hat, jnp.zeros_like(x_hat)), jnp.where(active, no_eff, jnp.ones_like(no_eff))


def _extra_noise(csi_error_var, active, num_tx_ant):
    """Noise that the CSI error adds on each antenna: its variance times the number of streams on air."""
    if active is None:
        return num_tx_ant * csi_error_var
    return jnp.sum(active, axis=-1).astype(csi_error_var.dtype) * csi_error_var


@functools.partial(jax.jit, static_argnames=("variant",))
def _lmmse(y, h_hat, no, csi_error_var, active, noise_cov, *, variant):
    """Estimates and their believed error variance, for arguments that went through ``prepare``."""
    lead = jnp.broadcast_shapes(y.shape[:-1], h_hat.shape[:-2])
    num_rx_ant, num_tx_ant = h_hat.shape[-2:]
    if variant == "robust":
        no = no + _extra_noise(csi_error_var, active, num_tx_ant)
    if noise_cov is not None:
        y, h_hat = whiten(y, h_hat, no, noise_cov)
        no = jnp.ones_like(no)
    if num_rx_ant >= num_tx_ant:
        x_hat, mse = stream_solve(y, h_hat, no, active, ridge=1.0)
        gain = 1 - mse
    else:
        x_hat, mse, gain = sequential_solve(y, h_hat, no, active)
    if variant == "paper":
        return _finish(x_hat, mse, lead, num_tx_ant, active)
    return _finish(*unbias(x_hat, mse, gain), lead, num_tx_ant, active)


def unbias(x_hat: jax.Array, error: jax.Array, gain: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Divide by the gain; where it is zero (nothing was received), 0 with an error variance as large as can be.

    Args:
        x_hat: Biased estimates, ``[..., num_tx_ant]`` complex.
        error: Their error variance, real.
        gain: ``1 - error``, real.

    Returns:
        Unbiased estimates and their error variance.
    """
    heard = ~(gain <= 0)  # NaN stays visible
    safe = jnp.where(heard, gain, 1)
    worst = jnp.finfo(gain.dtype).max
    return jnp.where(heard, weighted_sum((1 / safe, x_hat)), 0), jnp.where(heard, error / safe, worst)


def lmmse_equalizer(
    y: jax.Array,
    h_hat: jax.Array,
    no: ArrayLike,
    csi_error_var: ArrayLike = 0.0,
    *,
    variant: str = "robust",
    active: jax.Array | None = None,
    noise_cov: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    r"""Linear minimum mean squared error equaliser, in three variants.

    Model of ``robust``: y = (H_hat + E) x + n with E[x x^H] = I, n ~ CN(0, no I) and E independent of H_hat with i.i.d.
    CN(0, csi_error_var) entries: posterior mean and variance (under the additive model pass
    ``*csi_posterior(h_hat, s)``). E acts as extra white noise, so with
    G = H_hat^H (H_hat H_hat^H + (no + num_tx_ant csi_error_var) I)^-1 the estimate is x_hat = diag(G H_hat)^-1 G y and
    no_eff = 1 / diag(G H_hat) - 1. ``unbiased`` is the same with E = 0 (Sionna's equaliser), ``paper`` is G y with
    E = 0 (Eq. 5 of LVM-MTC) and no_eff = 1 - diag(G H_hat), its mean squared error for a perfect estimate.

    Accuracy. The relative error of the mean squared error is a few times num_rx_ant eps sqrt(1 + |H_hat|^2 / no).
    But of 512 channels or more at once, with no more than 8 antennas on either side and num_rx_ant >= num_tx_ant,
    normal equations are solved: no result then has more digits than their condition number leaves, that of
    I + H_hat^H H_hat / no with its diagonal scaled to 1. Where that is none, in complex64 for nearly dependent columns
    above 50 dB, the results stay finite and no_eff positive.

    Args:
        y: Received symbols, ``[..., num_rx_ant]`` complex.
        h_hat: Channel estimate, ``[..., num_rx_ant, num_tx_ant]`` complex. Leading axes broadcast against those of
            ``y``; a channel that several slots share (size-1 axis) is factored once.
        no: Noise variance per complex dimension, linear, >= 0; scalar or broadcasting against ``[...]``.
        csi_error_var: Variance of each entry of E, linear, >= 0; scalar or broadcasting against ``[...]``. Only
            ``robust`` uses it.
        variant: ``paper``, ``unbiased`` or ``robust``.
        active: Boolean, broadcasting against ``[..., num_tx_ant]``: streams on air. The others are dropped from the
            detection.
        noise_cov: Covariance of further, coloured noise that comes on top of ``no I``, Hermitian positive
            semidefinite, broadcasting against ``[..., num_rx_ant, num_rx_ant]``, complex.

    Returns:
        x_hat: Symbol estimates, ``[..., num_tx_ant]`` complex; 0 on silent streams.
        no_eff: Believed variance of ``x_hat - x`` per stream, linear, ``[..., num_tx_ant]``; 1 on silent streams. See
            the table at the top of this module.

    Raises:
        ValueError: if shapes do not fit, ``y`` or ``h_hat`` is real, the variant is unknown, or a Python number
            ``no`` or ``csi_error_var`` is negative.

    Source: Bjornson, Hoydis, Sanguinetti, Massive MIMO Networks (2017), Lemma B.19.
    """
    if variant not in LMMSE_VARIANTS:
        raise ValueError(f"unknown LMMSE variant {variant!r}; known: {', '.join(LMMSE_VARIANTS)}")
    return _lmmse(*prepare(y, h_hat, no, csi_error_var, active, noise_cov), variant=variant)


@jax.jit
def _zf(y, h_hat, no, csi_error_var, active, noise_cov):
    lead = jnp.broadcast_shapes(y.shape[:-1], h_hat.shape[:-2])
    num_tx_ant = h_hat.shape[-1]
    no = no + _extra_noise(csi_error_var, active, num_tx_ant)
    if noise_cov is not None:
        y, h_hat = whiten(y, h_hat, no, noise_cov)
        no = jnp.ones_like(no)
    return _finish(*stream_solve(y, h_hat, no, active, ridge=0.0), lead, num_tx_ant, active)


def zf_equalizer(
    y: jax.Array,
    h_hat: jax.Array,
    no: ArrayLike,
    csi_error_var: ArrayLike = 0.0,
    *,
    active: jax.Array | None = None,
    noise_cov: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Zero-forcing equaliser, ``x_hat = (H_hat^H H_hat)^-1 H_hat^H y`` (for coloured noise after whitening).

    Args:
        y: Received symbols, ``[..., num_rx_ant]`` complex.
        h_hat: Channel estimate, ``[..., num_rx_ant, num_tx_ant]`` complex, num_rx_ant >= num_tx_ant.
        no: Noise variance per complex dimension, linear; scalar or broadcasting against ``[...]``.
        csi_error_var: Variance of each entry of an error of ``h_hat`` that is independent of ``h_hat``, linear; enters
            ``no_eff`` as noise.
        active: Boolean, broadcasting against ``[..., num_tx_ant]``: streams on air.
        noise_cov: Covariance of further, coloured noise, broadcasting against ``[..., num_rx_ant, num_rx_ant]``.

    Returns:
        x_hat: Symbol estimates, ``[..., num_tx_ant]`` complex; 0 on silent streams.
        no_eff: Believed variance of ``x_hat - x``, linear, ``[..., num_tx_ant]``; 1 on silent streams.

    Raises:
        ValueError: if there are fewer receive than transmit antennas, shapes do not fit or a number is negative.
    """
    if h_hat.ndim >= 2 and h_hat.shape[-2] < h_hat.shape[-1]:
        raise ValueError(f"zero forcing needs num_rx_ant >= num_tx_ant, got h_hat {h_hat.shape}")
    return _zf(*prepare(y, h_hat, no, csi_error_var, active, noise_cov))


@jax.jit
def _mf(y, h_hat, no, csi_error_var, active, noise_cov):
    lead = jnp.broadcast_shapes(y.shape[:-1], h_hat.shape[:-2])
    num_tx_ant = h_hat.shape[-1]
    no = no + _extra_noise(csi_error_var, active, num_tx_ant)
    if noise_cov is not None:
        y, h_hat = whiten(y, h_hat, no, noise_cov)
        no = jnp.ones_like(no)
    return _finish(*matched_filter(y, h_hat, no, active), lead, num_tx_ant, active)


def mf_equalizer(
    y: jax.Array,
    h_hat: jax.Array,
    no: ArrayLike,
    csi_error_var: ArrayLike = 0.0,
    *,
    active: jax.Array | None = None,
    noise_cov: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Matched filter, ``x_hat = diag(H_hat^H H_hat)^-1 H_hat^H y`` (for coloured noise after whitening).

    Args:
        y: Received symbols, ``[..., num_rx_ant]`` complex.
        h_hat: Channel estimate, ``[..., num_rx_ant, num_tx_ant]`` complex.
        no: Noise variance per complex dimension, linear; scalar or broadcasting against ``[...]``.
        csi_error_var: Variance of each entry of an error of ``h_hat`` that is independent of ``h_hat``, linear; enters
            ``no_eff`` as noise.
        active: Boolean, broadcasting against ``[..., num_tx_ant]``: streams on air.
        noise_cov: Covariance of further, coloured noise, broadcasting against ``[..., num_rx_ant, num_rx_ant]``.

    Returns:
        x_hat: Symbol estimates, ``[..., num_tx_ant]`` complex; 0 on silent streams.
        no_eff: Believed variance of ``x_hat - x``, interference of the other streams included, linear,
            ``[..., num_tx_ant]``; 1 on silent streams.

    Raises:
        ValueError: if shapes do not fit or a number is negative.
    """
    return _mf(*prepare(y, h_hat, no, csi_error_var, active, noise_cov))


def no_equalizer(
    y: jax.Array,
    h_hat: jax.Array,
    no: ArrayLike,
    csi_error_var: ArrayLike = 0.0,
    *,
    active: jax.Array | None = None,
    noise_cov: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """What arrived, as it is: ``x_hat = y``, for receivers that leave the channel to the decoder behind them.

    Args:
        y: Received symbols, ``[..., num_rx_ant]`` complex.
        h_hat: Says how many streams there are, ``[..., num_rx_ant, num_tx_ant]``; its values are not looked at.
        no: Noise variance per complex dimension, linear; scalar or broadcasting against ``[...]``.
        csi_error_var: Not used: no estimate, no error of it.
        active: Boolean, broadcasting against ``[..., num_tx_ant]``: streams on air.
        noise_cov: Covariance of further, coloured noise, broadcasting against ``[..., num_rx_ant, num_rx_ant]``.

    Returns:
        x_hat: ``y``, ``[..., num_tx_ant]`` complex; 0 on silent streams.
        no_eff: Variance of the noise alone, linear, ``[..., num_tx_ant]``; 1 on silent streams. The error ``x_hat - x``
            has that of ``(H - I) x`` as well: for h of :func:`rayleigh_magnitude` on one antenna E|h - 1|^2 =
            2 - sqrt(pi) = 0.228.

    Raises:
        ValueError: if num_rx_ant != num_tx_ant, shapes do not fit or a number is negative.
    """
    if h_hat.ndim >= 2 and h_hat.shape[-2] != h_hat.shape[-1]:
        raise ValueError(f"equalizer 'none' needs num_rx_ant == num_tx_ant, got h_hat {h_hat.shape}")
    y, h_hat, no, _, active, noise_cov = prepare(y, h_hat, no, csi_error_var, active, noise_cov)
    lead = jnp.broadcast_shapes(y.shape[:-1], h_hat.shape[:-2])
    variance = no if no.ndim == 0 else no[..., None]
    if noise_cov is not None:
        variance = variance + jnp.real(jnp.diagonal(noise_cov, axis1=-2, axis2=-1))
    return _finish(y, variance, lead, h_hat.shape[-1], active)


EQUALIZERS: dict[str, Callable[..., tuple[jax.Array, jax.Array]]] = {
    "paper": functools.partial(lmmse_equalizer, variant="paper"),
    "unbiased": functools.partial(lmmse_equalizer, variant="unbiased"),
    "robust": functools.partial(lmmse_equalizer, variant="robust"),
    "zf": zf_equalizer,
    "mf": mf_equalizer,
    "none": no_equalizer,
}
