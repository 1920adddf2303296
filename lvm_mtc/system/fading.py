"""What the names of a ``LinkConfig`` stand for: samplers of the fading, and what a receiver knows of it beforehand."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc import phy
from lvm_mtc.interop.sionna import channels, profiles
from lvm_mtc.system.link_config import LinkConfig


def flat_sampler(link: LinkConfig, k_factor_db: ArrayLike | None = None) -> Callable | None:
    """Fading on a single carrier, as ``phy.draw_link`` takes it; None for AWGN.

    Args:
        link: The link's kind.
        k_factor_db: Rician factor, dB, instead of the link's.
    """
    if link.is_awgn:
        return None
    if link.fading == "rayleigh_magnitude":
        return phy.rayleigh_magnitude
    if link.fading == "nakagami":
        return functools.partial(phy.nakagami, m=link.nakagami_m)
    if link.fading == "fisher_snedecor":
        return functools.partial(phy.fisher_snedecor, m_f=link.m_f, m_s=link.m_s)
    options = {}
    if link.fading == "rician":
        options["k_factor_db"] = link.k_factor_db if k_factor_db is None else k_factor_db
    if link.rx_corr:
        options["rx_corr"] = phy.exp_corr_mat(link.rx_corr, link.num_rx_ant)
    if link.tx_corr:
        options["tx_corr"] = phy.exp_corr_mat(link.tx_corr, link.num_tx_ant)
    sampler = {"rayleigh": phy.rayleigh, "rician": phy.rician, "sionna_rayleigh": channels.flat}[link.fading]
    return functools.partial(sampler, **options)


def flat_prior(link: LinkConfig) -> phy.ChannelPrior | None:
    """What a receiver knows of the channel on a single carrier; None is the i.i.d. unit prior.

    Under Rician fading the angles of the line of sight are drawn, and the receiver does not know them. A receiver that
    estimates magnitudes knows their mean, and takes the spread around it for complex.
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
    link: LinkConfig, k_factor_db: ArrayLike | None = None, max_doppler: ArrayLike | None = None
) -> Callable:
    """Fading on a resource grid, as ``phy.draw_ofdm`` takes it.

    Args:
        link: The link's kind.
        k_factor_db: Rician factor, dB, instead of the link's.
        max_doppler: Largest Doppler shift, Hz, instead of that of the link's speed.
    """
    numbers = {"max_doppler": link.max_doppler if max_doppler is None else max_doppler}
    if link.fading == "rayleigh":
        return functools.partial(phy.rayleigh_path, **numbers)
    if link.fading == "rician":
        k_factor_db = link.k_factor_db if k_factor_db is None else k_factor_db
        return functools.partial(phy.rician_path, k_factor_db=k_factor_db, **numbers)
    if link.fading == "exponential":
        taps = dict(num_taps=link.ofdm.cyclic_prefix_length + 1, sample_duration=link.ofdm.sample_duration)
        return functools.partial(phy.exponential, delay_spread=link.delay_spread, **taps, **numbers)
    if link.has_profile:
        numbers["delay_spread"] = link.delay_spread
    return channels.sampler(link.fading, carrier_frequency=link.carrier_frequency, **numbers)


def grid_statistics(link: LinkConfig, max_doppler: jax.Array | None = None) -> phy.GridStatistics:
    """What a receiver on a resource grid knows of the channel: its delay profile and its largest Doppler shift.

    The system-level models draw their delays; there the receiver assumes all delays of the prefix equally likely.
    """
    max_doppler = link.max_doppler if max_doppler is None else max_doppler
    if link.fading in ("rayleigh", "rician"):
        return phy.GridStatistics((0.0,), (1.0,), max_doppler)
    if link.fading == "exponential":
        taps = (link.ofdm.cyclic_prefix_length + 1, link.ofdm.sample_duration)
        return phy.GridStatistics(*phy.exponential_profile(*taps, link.delay_spread), max_doppler)
    if link.has_profile:
        return phy.GridStatistics(*profiles.delay_profile(link.fading, link.delay_spread), max_doppler)
    return phy.default_statistics(link.ofdm)._replace(max_doppler=max_doppler)
