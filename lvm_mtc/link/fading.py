"""What the names of fading stand for: samplers, and what a receiver knows of the channel beforehand."""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeGuard

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lvm_mtc import phy
from lvm_mtc.interop.sionna import CHANNELS as SIONNA_CHANNELS
from lvm_mtc.interop.sionna import channels, profiles
from lvm_mtc.link.carrier import Link
from lvm_mtc.link.signal import Sight

FLAT = ("awgn", "rayleigh", "rician", "nakagami", "fisher_snedecor", "rayleigh_magnitude")
SELECTIVE = ("exponential", *phy.DELAY_LINES)
FADINGS = (*FLAT, *SELECTIVE, *SIONNA_CHANNELS)
_ACTS_ON = {
    "k_factor_db": ("rician",),
    "nakagami_m": ("nakagami",),
    "m_f": ("fisher_snedecor",),
    "m_s": ("fisher_snedecor",),
}
"""Fields of ``LinkConfig`` and the fading that they belong to."""
# Flat fading that a resource grid can carry: one path, whose Doppler is that of the speed.
FLAT_ON_GRID = ("rayleigh", "rician")


def has_profile(fading: str | Callable) -> TypeGuard[str]:
    """Whether fading is a model with a fixed power-delay profile, stretched by the link's ``delay_spread``."""
    return not callable(fading) and (fading in SELECTIVE or "_tdl_" in fading or "_cdl_" in fading)


def acts(field: str, fading: str | Callable) -> bool:
    """Whether a field of ``LinkConfig`` that belongs to some fading acts on this one; any other field does."""
    if field == "delay_spread":
        return fading in SELECTIVE or has_profile(fading)
    return fading in _ACTS_ON.get(field, (fading,))


def error_exponent(link: Link) -> float:
    """Exponent d of the tail P(|x_hat - x|^2 > t) ~ t^-d of a symbol over fading: only moments below d exist.

    Who divides by the channel has an error that is unbounded where the channel vanishes: with num_rx_ant antennas, of
    which ZF spends num_tx_ant - 1, its inverse gain is that of a gamma variable of as many degrees. Gains that are 0
    with a density like |h|^2^(m - 1), m < 1, count m each. Infinite under AWGN and for receivers that do not divide.

    With one antenna the mean of the error is infinite, with two its variance: no mean of a sample says anything of the
    first, and no interval of the second. Line of sight and AWGN with an imperfect estimate have such a tail too, of
    probability e^-K and e^(-1/csi_error_var): it is left out under AWGN.
    """
    if link.is_awgn or link.equalizer in ("paper", "none"):
        return math.inf
    antennas = link.num_rx_ant - (link.num_tx_ant - 1 if link.equalizer == "zf" else 0)
    return antennas * min(1.0, {"nakagami": link.nakagami_m, "fisher_snedecor": link.m_f}.get(link.fading, 1.0))


def sight_matrices(sight: Sight, **options: Any) -> Array:
    """``phy.geometric_line_of_sight``, ``[..., num_times, num_rx_ant, num_tx_ant]``."""
    at_origin = np.zeros(3, np.float32)
    frequency = phy.SPEED_OF_LIGHT  # of the wavelength 1, in which sights are measured
    return phy.geometric_line_of_sight(
        sight.position, at_origin, carrier_frequency=frequency, velocity=sight.velocity, **options
    )


def _seen(key: Array, batch_shape: tuple[int, ...], *, sight: Sight, **options: Any) -> phy.Paths:
    """``phy.rician_path`` along a sight."""
    los = sight_matrices(sight, **{name: options[name] for name in ("times", "num_rx_ant", "num_tx_ant")})
    return phy.rician_path(key, batch_shape, los=los, **options)


def flat_sampler(link: Link, k_factor_db: ArrayLike | None = None, sight: Sight | None = None) -> Callable | None:
    """Fading on a single carrier, as ``phy.draw_link`` takes it, with this Rician factor if any; None for AWGN.

    Along a sight, with an axis for blocks, the line of sight is that of the beginning.
    """
    if link.is_awgn:
        return None
    if callable(link.fading):
        return link.fading
    if link.fading == "rayleigh_magnitude":
        return phy.rayleigh_magnitude
    if link.fading == "nakagami":
        return functools.partial(phy.nakagami, m=link.nakagami_m)
    if link.fading == "fisher_snedecor":
        return functools.partial(phy.fisher_snedecor, m_f=link.m_f, m_s=link.m_s)
    options = {}
    if link.fading == "rician":
        options["k_factor_db"] = link.k_factor_db if k_factor_db is None else k_factor_db
        if sight is not None:
            antennas = dict(num_rx_ant=link.num_rx_ant, num_tx_ant=link.num_tx_ant)
            options["los"] = sight_matrices(sight, **antennas)[..., 0, :, :]
    if (doppler := getattr(link.carrier, "block_doppler", None)) is not None:
        path = {"rayleigh": phy.rayleigh_path, "rician": phy.rician_path}[link.fading]
        return functools.partial(_moving, path, max_doppler=doppler, **options)
    if link.rx_corr:
        options["rx_corr"] = phy.exp_corr_mat(link.rx_corr, link.num_rx_ant)
    if link.tx_corr:
        options["tx_corr"] = phy.exp_corr_mat(link.tx_corr, link.num_tx_ant)
    sampler = {"rayleigh": phy.rayleigh, "rician": phy.rician, "sionna_rayleigh": channels.flat}[link.fading]
    return functools.partial(sampler, **options)


def _moving(path: Callable, key: Array, batch_shape: tuple[int, ...], **options: Any) -> Array:
    """Flat fading of consecutive blocks, the last axis of ``batch_shape``, as a path that is sampled once a block."""
    if jnp.ndim(k_factor_db := options.get("k_factor_db", 0.0)):
        options["k_factor_db"] = k_factor_db[..., 0]
    return path(key, batch_shape[:-1], times=np.arange(batch_shape[-1]), **options).gains[..., 0, :, :, :]


def flat_prior(link: Link) -> phy.ChannelPrior | None:
    """What a receiver knows of the channel on a single carrier; None is the i.i.d. unit prior.

    Under Rician fading the angles of the line of sight are drawn, and the receiver does not know them. A receiver that
    estimates magnitudes knows their mean, and takes the spread around it for complex. Of a user's own fading it is
    taken to know no more than the unit prior.
    """
    if link.fading == "rayleigh_magnitude":
        return phy.ChannelPrior(mean=jnp.asarray(0.5 * math.sqrt(math.pi)), scattered_power=1 - math.pi / 4)
    if link.fading == "rician" or not (link.rx_corr or link.tx_corr):
        return None
    return phy.ChannelPrior(
        rx_corr=phy.exp_corr_mat(link.rx_corr, link.num_rx_ant),
        tx_corr=phy.exp_corr_mat(link.tx_corr, link.num_tx_ant),
    )


def path_sampler(
    link: Link,
    grid: phy.ResourceGrid,
    *,
    max_doppler: ArrayLike,
    carrier_frequency: float,
    k_factor_db: ArrayLike | None = None,
    sight: Sight | None = None,
) -> Callable:
    """Fading on a resource grid, as ``phy.draw_ofdm`` takes it; Hz, and dB for a Rician factor not the link's."""
    numbers = {"max_doppler": max_doppler}
    if callable(link.fading):
        return functools.partial(link.fading, **numbers)
    if link.fading == "rayleigh":
        return functools.partial(phy.rayleigh_path, **numbers)
    if link.fading == "rician":
        k_factor_db = link.k_factor_db if k_factor_db is None else k_factor_db
        if sight is not None:
            return functools.partial(_seen, sight=sight, k_factor_db=k_factor_db, **numbers)
        return functools.partial(phy.rician_path, k_factor_db=k_factor_db, **numbers)
    if link.fading == "exponential":
        taps = dict(num_taps=grid.cyclic_prefix_length + 1, sample_duration=grid.sample_duration)
        return functools.partial(phy.exponential, delay_spread=link.delay_spread, **taps, **numbers)
    if has_profile(link.fading):
        numbers["delay_spread"] = link.delay_spread
    if link.fading in phy.DELAY_LINES:
        family, _, model = link.fading.partition("_")
        return functools.partial({"tdl": phy.tdl, "cdl": phy.cdl}[family], model=model, **numbers)
    return channels.sampler(link.fading, carrier_frequency=carrier_frequency, **numbers)


def grid_statistics(link: Link, grid: phy.ResourceGrid, num_tx_ant: int, max_doppler: ArrayLike) -> phy.GridStatistics:
    """What a receiver on a resource grid knows of the channel: its delay profile and its largest Doppler shift.

    The system-level models draw their delays; there the receiver assumes ``phy.default_statistics`` of the streams.
    """
    if hasattr(link.fading, "statistics"):
        return link.fading.statistics(max_doppler)
    if link.fading in ("rayleigh", "rician"):
        return phy.GridStatistics((0.0,), (1.0,), max_doppler)
    if link.fading == "exponential":
        taps = (grid.cyclic_prefix_length + 1, grid.sample_duration)
        return phy.GridStatistics(*phy.exponential_profile(*taps, link.delay_spread), max_doppler)
    if has_profile(link.fading):
        return phy.GridStatistics(*profiles.delay_profile(link.fading, link.delay_spread), max_doppler)
    return phy.default_statistics(grid, num_tx_ant)._replace(max_doppler=max_doppler)
