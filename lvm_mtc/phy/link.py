"""The link: symbols in, equalised symbols out, over block fading with an imperfect channel estimate.

Two topologies. In :func:`broadcast` every UAV hears the base station through a channel of its own; in :func:`joint`
all streams (stream k = UAV k) are detected from one observation. All points of a sweep can share their random draws
(``draws=``): results are then smooth in ``no`` and ``csi_error_var``.

Without noise (no = 0) the receivers still work: LMMSE is then zero forcing. Gradients with respect to ``no`` or
``csi_error_var`` at 0 are NaN, on purpose. Both act through their square root times a draw, so that the slope of a
realisation is infinite there, with a random sign, while that of the mean over the draws is finite:
:func:`lvm_mtc.phy.slope_at_zero` gives it. All other gradients are finite.

What the receiver is given: ``paper``, ``unbiased``, ``zf`` and ``mf`` take the estimate ``h_hat`` as it is and trust
it, ``none`` does without. ``robust`` knows the variance of its error: it works with the posterior mean and variance of
the channel. Under AWGN (``fading=None``) there are num_tx_ant parallel 1x1 links with h = 1 and ``h_hat = 1 + e``,
e ~ CN(0, s), for every CSI model (pilots: s = no / num_pilots); ``robust`` then adds s to the noise once and does not
shrink ``h_hat``, because the receiver does not know that the channel is 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc.phy.blocks import BlockGrid, block_grid, pilots_per_block
from lvm_mtc.phy.csi import ChannelPrior, pilot_error_var, require_pilots
from lvm_mtc.phy.draws import Fading, LinkDraws
from lvm_mtc.phy.estimate import Estimate, estimate_awgn, estimate_fading
from lvm_mtc.phy.fading import rayleigh
from lvm_mtc.phy.kernels import transmit, unit_noise
from lvm_mtc.phy.keys import uav_keys
from lvm_mtc.phy.mimo import EQUALIZERS
from lvm_mtc.phy.numerics import align, fit, lift, real_dtype, require_at_least, require_complex, weighted_sum
from lvm_mtc.phy.realise import Injected, Realised, Setting, realise


class Observation(NamedTuple):
    """What a detector of vectors works with, in noise of variance 1: ``y = h_hat x + n``, n ~ CN(0, I).

    What the receiver knows of its estimate's error is part of the noise, as its equaliser sees it: with ``robust`` the
    posterior mean stands for the channel, other equalisers trust the estimate.

    Attributes:
        y: ``[..., num_slots, num_rx_ant]`` complex.
        h_hat: ``[..., 1 or num_slots, num_rx_ant, num_tx_ant]`` complex.
    """

    y: jax.Array
    h_hat: jax.Array


class LinkOutput(NamedTuple):
    """What came through a link. ``[...]`` ends with the UAV axis under ``broadcast``.

    Attributes:
        x_hat: Equalised symbols, ``[..., num_slots, num_tx_ant]`` complex; 0 on silent streams.
        no_eff: Variance of ``x_hat - x`` as the receiver believes it, linear, shape of ``x_hat``; 1 on silent streams.
        h: Channel, ``[..., num_blocks, num_rx_ant, num_tx_ant]``; ones ``[..., num_blocks, num_tx_ant]`` under AWGN.
        h_hat: What the receiver estimated, shape of ``h``; before any shrinking to a posterior mean.
        y: Received symbols, ``[..., num_slots, num_rx_ant]`` complex.
        heard: The observation behind ``x_hat``, for other detectors; None where there is none.
    """

    x_hat: jax.Array
    no_eff: jax.Array
    h: jax.Array
    h_hat: jax.Array
    y: jax.Array
    heard: Observation | None = None


def _know(realised: Realised, no, csi_error_var, setting: Setting, injected: Injected, prior) -> Estimate:
    """What the receiver knows; ``no`` and ``csi_error_var`` as the caller gave them."""
    h = realised.h
    tail = 1 if setting.fading is None else 2
    lead, dtype = h.shape[: -tail - 1], real_dtype(h)
    h_hat = None if injected.h_hat is None else fit("h_hat", injected.h_hat, h.shape, h.dtype)
    if injected.h_hat_error_var is not None:
        if h_hat is None:
            raise ValueError("h_hat_error_var was given without h_hat")
        error_var = align("h_hat_error_var", injected.h_hat_error_var, h.shape[:-tail], 0, dtype)
        return Estimate(h_hat, h_hat, error_var, None)
    if setting.csi.startswith("pilots"):
        error_var = pilot_error_var(align("no", no, lead, 1, dtype), require_pilots(setting.num_pilots, h.shape[-1]))
    else:
        error_var = align("csi_error_var", csi_error_var, lead, 1, dtype)
    if setting.fading is None:
        return estimate_awgn(h, realised.csi, error_var, h_hat)
    return estimate_fading(h, realised.csi, error_var, csi=setting.csi, prior=prior, h_hat=h_hat)


def _link(
    key, x, *, no, csi_error_var, num_rx_ant, slot_index, active, setting, injected, prior, power=None
) -> LinkOutput:
    if setting.equalizer not in EQUALIZERS:
        raise ValueError(f"unknown equalizer {setting.equalizer!r}; known: {', '.join(EQUALIZERS)}")
    if active is not None:
        if active.shape != x.shape or active.dtype != jnp.bool_:
            raise ValueError(f"active must be boolean with the shape of x {x.shape}, got {active.dtype} {active.shape}")
        x = jnp.where(active, x, jnp.zeros_like(x))
    require_at_least("no", no, 0.0)
    require_at_least("csi_error_var", csi_error_var, 0.0)
    grid = block_grid(
        x,
        slot_index,
        block_length=setting.block_length,
        total_slots=setting.total_slots,
        pilots=pilots_per_block(setting.csi, setting.num_pilots, x.shape[-1]),
    )
    realised = realise(key, x, no, setting, injected, num_rx_ant, grid.num_blocks)
    if power is not None:
        # Over its known amplitude a slot has power 1 and noise of variance no / power; pilots keep their own.
        require_at_least("power", power, 0.0, strict=True)
        power = fit("power", power, x.shape[:-1], real_dtype(x))[..., None]
        realised = realised._replace(noise=weighted_sum((jax.lax.rsqrt(power), realised.noise)))
    known = _know(realised, no, csi_error_var, setting, injected, prior)
    robust = setting.equalizer == "robust"
    error_var = grid.number(known.error_var) if robust else jnp.zeros((), real_dtype(x))
    no = align("no", no, x.shape[:-2], 2, real_dtype(x))
    if power is not None:
        of_slots = grid.slots(power)[..., 0]
        no = no / jnp.where(of_slots > 0, of_slots, 1)  # where a block is padded
    y, x_hat, no_eff, heard = _receive(x, no, active, grid, realised, known, error_var, setting)
    if power is not None:
        y = weighted_sum((jnp.sqrt(power), y))
    if active is not None:
        x_hat = jnp.where(active, x_hat, jnp.zeros_like(x_hat))
        no_eff = jnp.where(active, no_eff, jnp.ones_like(no_eff))
    return LinkOutput(x_hat=x_hat, no_eff=no_eff, h=realised.h, h_hat=known.h_hat, y=y, heard=heard)


def _receive(x, no, active, grid: BlockGrid, realised: Realised, known: Estimate, error_var, setting: Setting):
    """Send and equalise; ``y``, ``x_hat`` and ``no_eff`` with the slots on one axis, and the observation.

    ``no`` is a scalar or ``[..., blocks, slots]``, either axis of size 1 where nothing varies.
    """
    awgn = setting.fading is None
    robust = setting.equalizer == "robust"
    equalize = EQUALIZERS[setting.equalizer]
    channel = grid.channel(known.mean if robust else known.h_hat, 1 if awgn else 2)
    if awgn and no.ndim:
        no = no[..., None]
    x_grid, noise_grid = grid.slots(x), grid.slots(realised.noise)
    if awgn:
        y = x_grid + noise_grid
        error_var = error_var[..., None] if error_var.ndim else error_var
        x_hat, no_eff = equalize(y[..., None], channel[..., None, None], no, error_var)
        x_hat, no_eff = x_hat[..., 0], no_eff[..., 0]
        total = (no + error_var)[..., 0] if no.ndim or error_var.ndim else no + error_var
        apart = lift(jnp.eye(x.shape[-1], dtype=total.dtype), channel.shape[:-1], 2)
        heard = unit_noise(y, weighted_sum((apart, channel[..., None, :])), total, None)
    else:
        y = weighted_sum((1, transmit(grid.channel(realised.h, 2), x_grid)), (1, noise_grid))
        dropped = grid.slots(active) if setting.drop_silent and active is not None else None
        noise_cov = None
        if robust and known.error_cov is not None:
            noise_cov = known.error_cov if known.error_cov.ndim == 2 else known.error_cov[..., None, :, :]
        x_hat, no_eff = equalize(y, channel, no, error_var, active=dropped, noise_cov=noise_cov)
        heard = unit_noise(y, channel, no + x.shape[-1] * error_var, noise_cov)
    heard = Observation(grid.flat(heard[0]), grid.per_slot(heard[1]))
    return *(grid.flat(array) for array in (y, x_hat, no_eff)), heard


def _num_rx_ant(x: jax.Array, num_rx_ant: int | None, injected: Injected) -> int:
    """The number asked for, else that of what was injected, else one antenna per stream."""
    if num_rx_ant is not None:
        return num_rx_ant
    if injected.h is not None and injected.h.ndim >= 2:
        return injected.h.shape[-2]
    if injected.draws is not None:
        return injected.draws.noise.shape[-1]
    return x.shape[-1]


def broadcast(
    key: jax.Array | None,
    x: jax.Array,
    *,
    no: ArrayLike,
    csi_error_var: ArrayLike = 0.0,
    fading: Fading = rayleigh,
    num_rx_ant: int | None = None,
    block_length: int | None = None,
    total_slots: int | None = None,
    slot_index: jax.Array | None = None,
    active: jax.Array | None = None,
    power: ArrayLike | None = None,
    csi: str = "additive",
    num_pilots: int | None = None,
    equalizer: str = "robust",
    draws: LinkDraws | None = None,
    h: jax.Array | None = None,
    h_hat: jax.Array | None = None,
    h_hat_error_var: ArrayLike | None = None,
    noise: jax.Array | None = None,
    prior: ChannelPrior | None = None,
) -> LinkOutput:
    """Send to every UAV through a channel of its own, and equalise.

    ``y = H_k x + n`` in every slot, for UAV k. The channel is constant within a coherence block; the estimation error
    is drawn as often as the channel.

    Args:
        key: Typed key: a scalar, which is split into one key per UAV, or one key per UAV, ``[num_uavs]``. The draws of
            a UAV depend on its key only. None if nothing has to be drawn.
        x: What each UAV is to hear, ``[..., num_uavs, num_slots, num_tx_ant]`` complex, power 1 per active symbol.
        no: Noise variance per complex dimension, linear, >= 0; scalar or broadcasting against
            ``[..., num_uavs]``; traced. Its gradient at 0 is NaN (``slope_at_zero``).
        csi_error_var: Variance of each entry of the estimation error, linear, >= 0; scalar or broadcasting against
            ``[..., num_uavs]``; traced. Its gradient at 0 is NaN (``slope_at_zero``). Pilot-based CSI takes it from
            ``no`` instead.
        fading: Sampler of ``phy.fading`` with its numbers bound, or None for AWGN.
        num_rx_ant: Receive antennas of each UAV; None: num_tx_ant.
        block_length: Slots of a coherence block, pilots included; None: one block for everything.
        total_slots: Length of the time axis that the blocks divide, in slots of data; None: ``num_slots``.
        slot_index: Integer place of each slot on that axis, broadcasting against ``[..., num_uavs, num_slots]``,
            traced, in [0, total_slots). None: ``arange``.
            Across several blocks, a place beyond the axis gives NaN.
        active: Boolean, shape of ``x``: symbols on air. The rest is sent as 0
            and comes back as 0 with ``no_eff`` 1; the receiver still counts its stream as interference.
        power: Power of each slot, linear, > 0, which the receivers know: ``sqrt(power) x`` is sent, and ``x_hat`` and
            ``no_eff`` are of ``x``, as with noise ``no / power``. Pilots have power 1. Scalar or broadcasting against
            ``[..., num_uavs, num_slots]``; None: 1.
        csi: ``additive``, ``mmse``, ``pilots_ls`` or ``pilots_lmmse`` (see ``phy.csi``).
        num_pilots: Pilots T per block and antenna, >= num_tx_ant, for the two pilot-based models.
        equalizer: A name of ``EQUALIZERS``; see the table in ``phy.mimo`` for what ``no_eff`` then means.
        draws: Unit-variance draws to use instead of drawing from ``key``; see :func:`draw_link`.
        h: Channel to use, ``[..., num_uavs, num_blocks, num_rx_ant, num_tx_ant]`` complex.
        h_hat: Estimate to use, shape of ``h``; what the estimator named by ``csi`` returned.
        h_hat_error_var: What the receiver believes of the error of every entry of ``h_hat``, linear; scalar or
            broadcasting against ``h.shape[:-2]``. Then ``h_hat`` is the posterior mean, whatever ``csi`` says.
        noise: Noise to add as it is (not scaled by ``no``), ``[..., num_uavs, num_slots, num_rx_ant]`` complex.
        prior: What the receiver knows about the channel, for ``robust``, ``mmse`` and ``pilots_lmmse``; a mean
            broadcasts against the channel. None is the i.i.d. unit prior: with it, the posterior is exact for Rayleigh,
            and for other fading the linear MMSE estimate that treats every entry by itself.

    Returns:
        See :class:`LinkOutput`.

    Raises:
        ValueError: on unknown names, shapes or counts that do not fit, AWGN with num_rx_ant != num_tx_ant, a coherence
            block shorter than ``num_pilots + 1``, or a missing key.
    """
    require_complex("x", x)
    if x.ndim < 3:
        raise ValueError(f"x must be [..., num_uavs, num_slots, num_tx_ant], got shape {x.shape}")
    if key is not None and draws is None:
        key = uav_keys(key, x.shape[-3])
    setting = Setting(fading, block_length, total_slots, csi, num_pilots, equalizer, drop_silent=False)
    injected = Injected(draws, h, h_hat, h_hat_error_var, noise)
    return _link(
        key,
        x,
        no=no,
        csi_error_var=csi_error_var,
        num_rx_ant=_num_rx_ant(x, num_rx_ant, injected),
        slot_index=slot_index,
        active=active,
        setting=setting,
        injected=injected,
        prior=prior,
        power=power,
    )


def joint(
    key: jax.Array | None,
    x: jax.Array,
    *,
    no: ArrayLike,
    csi_error_var: ArrayLike = 0.0,
    fading: Fading = rayleigh,
    num_rx_ant: int | None = None,
    block_length: int | None = None,
    total_slots: int | None = None,
    slot_index: jax.Array | None = None,
    active: jax.Array | None = None,
    csi: str = "additive",
    num_pilots: int | None = None,
    equalizer: str = "robust",
    draws: LinkDraws | None = None,
    h: jax.Array | None = None,
    h_hat: jax.Array | None = None,
    h_hat_error_var: ArrayLike | None = None,
    noise: jax.Array | None = None,
    prior: ChannelPrior | None = None,
) -> LinkOutput:
    """Detect all streams from one observation; stream k belongs to UAV k (Eq. 4-5 of LVM-MTC read literally).

    Args:
        key: Typed key, scalar. None if nothing has to be drawn.
        x: ``[..., num_slots, num_uavs]`` complex, power 1 per active symbol.
        no: Noise variance per complex dimension, linear, >= 0; scalar or broadcasting against ``[...]``; traced. Its
            gradient at 0 is NaN.
        csi_error_var: Variance of each entry of the estimation error, linear, >= 0; scalar or broadcasting against
            ``[...]``; traced. Its gradient at 0 is NaN (``slope_at_zero``). Pilot-based CSI takes it from ``no``
            instead.
        fading: Sampler of ``phy.fading`` with its numbers bound, or None for AWGN.
        num_rx_ant: Receive antennas; None: num_uavs.
        block_length: Slots of a coherence block, pilots included; None: one block for everything.
        total_slots: Length of the time axis that the blocks divide, in slots of data; None: ``num_slots``.
        slot_index: Integer place of each slot on that axis, broadcasting against ``[..., num_slots]``, traced, in
            [0, total_slots). None: ``arange``.
            Across several blocks, a place beyond the axis gives NaN.
        active: Boolean, shape of ``x``: symbols on air. The rest is sent as 0
            and comes back as 0 with ``no_eff`` 1; the detector knows it and drops its columns.
        csi: ``additive``, ``mmse``, ``pilots_ls`` or ``pilots_lmmse`` (see ``phy.csi``).
        num_pilots: Pilots T per block and antenna, >= num_tx_ant, for the two pilot-based models.
        equalizer: A name of ``EQUALIZERS``; see the table in ``phy.mimo`` for what ``no_eff`` then means.
        draws: Unit-variance draws to use instead of drawing from ``key``; see :func:`draw_link`.
        h: Channel to use, ``[..., num_blocks, num_rx_ant, num_uavs]`` complex.
        h_hat: Estimate to use, shape of ``h``; what the estimator named by ``csi`` returned.
        h_hat_error_var: What the receiver believes of the error of every entry of ``h_hat``, linear; scalar or
            broadcasting against ``h.shape[:-2]``. Then ``h_hat`` is the posterior mean, whatever ``csi`` says.
        noise: Noise to add as it is (not scaled by ``no``), ``[..., num_slots, num_rx_ant]`` complex.
        prior: What the receiver knows about the channel, for ``robust``, ``mmse`` and ``pilots_lmmse``; a mean
            broadcasts against the channel. None is the i.i.d. unit prior: with it, the posterior is exact for Rayleigh,
            and for other fading the linear MMSE estimate that treats every entry by itself.

    Returns:
        See :class:`LinkOutput`.

    Raises:
        ValueError: on unknown names, shapes or counts that do not fit, AWGN with num_rx_ant != num_tx_ant, a coherence
            block shorter than ``num_pilots + 1``, or a missing key.
    """
    require_complex("x", x)
    if x.ndim < 2:
        raise ValueError(f"x must be [..., num_slots, num_uavs], got shape {x.shape}")
    setting = Setting(fading, block_length, total_slots, csi, num_pilots, equalizer, drop_silent=True)
    injected = Injected(draws, h, h_hat, h_hat_error_var, noise)
    return _link(
        key,
        x,
        no=no,
        csi_error_var=csi_error_var,
        num_rx_ant=_num_rx_ant(x, num_rx_ant, injected),
        slot_index=slot_index,
        active=active,
        setting=setting,
        injected=injected,
        prior=prior,
    )
