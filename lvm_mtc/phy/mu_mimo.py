"""The downlink with many antennas: private streams to all UAVs at the same time, kept apart by precoding.

In every slot the base station sends ``W x``, one beam and one symbol per UAV, and UAV k hears
``y_k = h_k W x + n_k`` with its one antenna. The beams come from an imperfect estimate, so a UAV also hears the others,
which it takes for noise. Public symbols are sent in slots of their own (``common``), with the beams added up.

Every slot, of whatever kind, spends the power P = ``total_power``. What the two ends know is paid for:

* The base station precodes with an estimate of all rows h_k, of error variance ``tx_csi_error_var``, or with what
  orthogonal pilots give: in ``num_pilots`` slots all M = ``num_tx_ant`` antennas share P, so that their error variance
  is ``no M / (num_pilots P)``.
* A UAV divides by the gain ``g_kk = h_k w_k`` of its beam. It measures the gains ``g_kj`` of all beams in T slots of
  orthogonal demodulation pilots, one sequence on each beam with the power of its data, and that of the common beam in T
  more. The error variance of each is ``s = no / T``. (``demodulation="genie"`` gives it the true ones for nothing.)

Then ``x_hat = y_k / g_hat_kk``, and ``no_eff`` is what the UAV takes for the variance of ``y_k - g_hat_kk x_k``, over
``|g_hat_kk|^2``. For ``robust`` that variance is ``no + s + sum over j != k of (|g_hat_kj|^2 - s)``, at least
``2 no / T``; its mean over the pilot noise is the true one, whatever the gains. The other receivers trust what they
measured: ``no + sum over j != k of |g_hat_kj|^2``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc.phy.beam_receiver import before_uavs, measure_gains, receive
from lvm_mtc.phy.blocks import block_grid, pilots_per_block
from lvm_mtc.phy.csi import ChannelPrior, pilot_error_var
from lvm_mtc.phy.draws import Fading, LinkDraws, draw_link
from lvm_mtc.phy.estimate import estimate_fading
from lvm_mtc.phy.fading import rayleigh
from lvm_mtc.phy.kernels import multiply, transmit
from lvm_mtc.phy.keys import uav_keys
from lvm_mtc.phy.mimo import EQUALIZERS
from lvm_mtc.phy.numerics import (
    align,
    fit,
    real_dtype,
    require_at_least,
    require_complex,
    require_count,
    require_given,
    standard_deviation,
    weighted_sum,
)
from lvm_mtc.phy.precoding import multicast_beam, precoder
from lvm_mtc.phy.realise import Injected

DEMODULATIONS = ("pilots", "genie")


class MuMimoOutput(NamedTuple):
    """What came through the downlink; the first five fields are those of ``LinkOutput``.

    Attributes:
        x_hat: Equalised symbols, ``[..., num_slots, num_uavs]`` complex; in a common slot every UAV's estimate of the
            one symbol. 0 where nothing was on air.
        no_eff: Variance of ``x_hat - x`` as the UAV believes it, linear, shape of ``x_hat``; 1 where nothing was on
            air. See the top of this module.
        h: Channel, row k is that of UAV k, ``[..., num_blocks, num_uavs, num_tx_ant]``.
        h_hat: What the base station estimated, shape of ``h``; before any shrinking to a posterior mean.
        y: Received symbols, ``[..., num_slots, num_uavs]`` complex.
        w: Private beams, ``[..., num_blocks, num_tx_ant, num_uavs]`` complex.
        gain_hat: What UAV k takes for the gains h_k w_j of the private beams and, with ``common``, for that of the
            common one behind them, ``[..., num_blocks, num_uavs, num_uavs or num_uavs + 1]`` complex.
    """

    x_hat: jax.Array
    no_eff: jax.Array
    h: jax.Array
    h_hat: jax.Array
    y: jax.Array
    w: jax.Array
    gain_hat: jax.Array


class _Sizes(NamedTuple):
    lead: tuple[int, ...]
    num_slots: int
    num_uavs: int
    num_tx_ant: int
    num_blocks: int
    demodulation_slots: int


class _Realised(NamedTuple):
    """Channel and CSI draw as links of one receive antenna, ``[..., num_uavs, num_blocks, 1, num_tx_ant]``; noise.

    The unit-variance noise of the demodulation pilots is ``[..., num_blocks, num_uavs, demodulation_slots]``, or None.
    """

    h: jax.Array
    csi: jax.Array | None
    noise: jax.Array
    demodulation: jax.Array | None


def _links_to_rows(a: jax.Array) -> jax.Array:
    """``[..., num_uavs, num_blocks, 1, num_tx_ant]`` to ``[..., num_blocks, num_uavs, num_tx_ant]``."""
    return jnp.swapaxes(a[..., 0, :], -3, -2)


def _rows_to_links(a: jax.Array) -> jax.Array:
    return jnp.swapaxes(a, -3, -2)[..., None, :]


def _realise(draw, no, sizes: _Sizes, injected: Injected, dtype) -> _Realised:
    """Draw what is missing, fit everything to its shape, scale the noise."""
    lead, num_slots, num_uavs, num_tx_ant, num_blocks, demodulation_slots = sizes
    draws = injected.draws
    given = (injected.h, injected.h_hat, injected.noise)
    if draws is None and (demodulation_slots or any(part is None for part in given)):
        draws = draw()
    h_shape = (*lead, num_uavs, num_blocks, 1, num_tx_ant)
    if injected.h is None:
        h = fit("draws.h", require_given("draws", draws).h, h_shape, dtype)
    else:
        h = _rows_to_links(fit("h", injected.h, (*lead, num_blocks, num_uavs, num_tx_ant), dtype))
    if injected.noise is None:
        drawn = require_given("draws", draws).noise
        noise = jnp.swapaxes(fit("draws.noise", drawn, (*lead, num_uavs, num_slots, 1), dtype)[..., 0], -1, -2)
        level = standard_deviation(align("no", no, (*lead, num_uavs), 0, real_dtype(noise)))
        noise = weighted_sum((before_uavs(level, 1), noise))
    else:
        noise = fit("noise", injected.noise, (*lead, num_slots, num_uavs), dtype)
    csi = None if injected.h_hat is not None else fit("draws.csi", require_given("draws", draws).csi, h_shape, dtype)
    demodulation = None
    if demodulation_slots:
        drawn = require_given("draws", draws).demodulation
        if drawn is None:
            raise ValueError(f"draws.demodulation is None: draw_link needs demodulation_slots={demodulation_slots}")
        shape = (*lead, num_uavs, num_blocks, 1, demodulation_slots)
        demodulation = _links_to_rows(fit("draws.demodulation", drawn, shape, dtype))
    return _Realised(h, csi, noise, demodulation)


def _know(realised: _Realised, no, tx_csi_error_var, power, csi, num_pilots, prior, sizes: _Sizes, injected: Injected):
    """What the base station knows: the estimate, its posterior mean (both as rows) and the posterior variance."""
    h, dtype = realised.h, real_dtype(realised.h)
    lead = (*sizes.lead, sizes.num_uavs)
    h_hat = injected.h_hat
    if h_hat is not None:
        h_hat = fit("h_hat", h_hat, (*sizes.lead, sizes.num_blocks, sizes.num_uavs, sizes.num_tx_ant), h.dtype)
    if injected.h_hat_error_var is not None:
        if h_hat is None:
            raise ValueError("h_hat_error_var was given without h_hat")
        return h_hat, h_hat, align("h_hat_error_var", injected.h_hat_error_var, h_hat.shape[:-1], 0, dtype)
    if csi.startswith("pilots"):
        antenna_power = (power if power.ndim == 0 else power[..., None]) / sizes.num_tx_ant
        error_var = pilot_error_var(align("no", no, lead, 1, dtype) / antenna_power, num_pilots)
    else:
        error_var = align("tx_csi_error_var", tx_csi_error_var, lead, 1, dtype)
    links = None if h_hat is None else _rows_to_links(h_hat)
    known = estimate_fading(h, realised.csi, error_var, csi=csi, prior=prior, h_hat=links)
    variance = known.error_var
    if known.error_cov is not None:
        # The 1x1 covariance of a row's error is the sum over its entries: the precoder takes their mean.
        variance = jnp.real(known.error_cov[..., 0, 0]) / sizes.num_tx_ant
    variance = variance if variance.ndim == 0 else jnp.swapaxes(variance, -1, -2)
    return _links_to_rows(known.h_hat), _links_to_rows(known.mean), variance


def _check(x, no, tx_csi_error_var, total_power, fading, active, common, demodulation, equalizer):
    require_complex("x", x)
    if x.ndim < 2:
        raise ValueError(f"x must be [..., num_slots, num_uavs], got shape {x.shape}")
    if fading is None:
        raise ValueError("mu_mimo needs fading: under AWGN (fading=None) all UAVs would have the same channel")
    if equalizer not in EQUALIZERS:
        raise ValueError(f"unknown equalizer {equalizer!r}; known: {', '.join(EQUALIZERS)}")
    if equalizer == "none":
        raise ValueError("equalizer 'none' does not go with mu_mimo, where every UAV divides by the gain of its beam")
    for name, mask, shape in (("active", active, x.shape), ("common", common, x.shape[:-1])):
        if mask is not None and (mask.shape != shape or mask.dtype != jnp.bool_):
            raise ValueError(f"{name} must be boolean of shape {shape} for x {x.shape}, got {mask.dtype} {mask.shape}")
    require_at_least("no", no, 0.0)
    require_at_least("tx_csi_error_var", tx_csi_error_var, 0.0)
    if demodulation not in DEMODULATIONS:
        raise ValueError(f"unknown demodulation {demodulation!r}; known: {', '.join(DEMODULATIONS)}")
    if total_power is not None:
        require_at_least("total_power", total_power, 0.0, strict=True)


def _num_tx_ant(num_tx_ant: int | None, num_uavs: int, injected: Injected) -> int:
    if num_tx_ant is not None:
        return num_tx_ant
    given = injected.h if injected.h is not None else injected.draws.h if injected.draws is not None else None
    return num_uavs if given is None else given.shape[-1]


def mu_mimo(
    key: jax.Array | None,
    x: jax.Array,
    *,
    no: ArrayLike,
    tx_csi_error_var: ArrayLike = 0.0,
    fading: Fading = rayleigh,
    num_tx_ant: int | None = None,
    method: str = "rzf",
    constraint: str = "total",
    csi_aware: bool = True,
    total_power: ArrayLike | None = None,
    block_length: int | None = None,
    total_slots: int | None = None,
    slot_index: jax.Array | None = None,
    active: jax.Array | None = None,
    common: jax.Array | None = None,
    csi: str = "additive",
    num_pilots: int | None = None,
    demodulation: str = "pilots",
    num_demodulation_pilots: int | None = None,
    equalizer: str = "robust",
    draws: LinkDraws | None = None,
    h: jax.Array | None = None,
    h_hat: jax.Array | None = None,
    h_hat_error_var: ArrayLike | None = None,
    noise: jax.Array | None = None,
    prior: ChannelPrior | None = None,
) -> MuMimoOutput:
    """Send a stream to every UAV in the same slots, from precoded antennas, and equalise.

    The beams are computed once per coherence block, from the estimate alone: they do not depend on which streams are
    silent, and a silent stream's power is not given to the others.

    Args:
        key: Typed key: a scalar, which is split into one key per UAV, or one key per UAV, ``[num_uavs]``. The channel
            and noise of a UAV depend on its key only. None if nothing has to be drawn.
        x: Stream k is UAV k's, ``[..., num_slots, num_uavs]`` complex, power 1 per active symbol.
        no: Noise variance per complex dimension at the UAVs, linear, >= 0; scalar or broadcasting against
            ``[..., num_uavs]``; traced; its gradient at 0 is NaN (see ``phy.link``). The base station knows it too.
        tx_csi_error_var: Variance of each entry of the base station's estimation error, linear, >= 0; scalar or
            broadcasting against ``[..., num_uavs]``; traced; its gradient at 0 is NaN. Pilot-based CSI takes it from
            ``no`` instead. What the UAVs know has errors of its own: see ``demodulation``.
        fading: Sampler of ``phy.fading`` with its numbers bound. It is called per UAV with one receive antenna, so that
            each UAV has angles and shadowing of its own.
        num_tx_ant: Antennas of the base station; None: those of ``h`` or ``draws``, else num_uavs.
        method: ``rzf``, ``zf`` or ``mf``; see :func:`precoder`.
        constraint: ``total`` or ``per_antenna``.
        csi_aware: Whether the base station knows the variance of its error: it then precodes with the posterior mean
            and variance (the mean over a row's entries, for a correlated prior), and with ``h_hat`` as it is otherwise.
        total_power: P, linear, > 0; scalar or broadcasting against ``[...]``; traced. None: num_uavs, so that the
            average power of a stream is 1 under ``total``, and ``no`` is that of convention ``esno``.
        block_length: Slots of a coherence block, pilots included; None: one block for everything.
        total_slots: Length of the time axis that the blocks divide, in slots of data; None: ``num_slots``.
        slot_index: Integer place of each slot on that axis, ``[..., num_slots]``, traced, in [0, total_slots). None:
            ``arange``. Across several blocks, a place beyond the axis gives NaN.
        active: Boolean, shape of ``x``: symbols on air. The rest is sent as 0 and comes back as 0 with ``no_eff`` 1;
            the UAVs do not know it and still count those streams as interference.
        common: Boolean, ``[..., num_slots]``: slots in which ``x[..., slot, 0]`` goes to all UAVs on the beam of
            :func:`multicast_beam`, with the whole power and without interference (``active[..., slot, 0]`` then says
            whether it is on air, and the rest of ``x`` is not sent). None: no such slot.
        csi: ``additive``, ``mmse``, ``pilots_ls`` or ``pilots_lmmse`` (see ``phy.csi``). With pilots, every UAV
            estimates its row and the base station learns it without further error.
        num_pilots: Pilots per block and antenna, >= num_tx_ant, for the two pilot-based models.
        demodulation: ``pilots``: the UAVs measure the gains of the beams. ``genie``: they know them, in no slots.
        num_demodulation_pilots: T, pilots per block and beam, >= num_uavs; None: num_uavs. They take T slots of each
            block, and T more with ``common``.
        equalizer: A name of ``EQUALIZERS`` but ``none``. For one stream on one antenna all of them divide by the gain,
            but ``paper``, which is biased: ``conj(g) y / (|g|^2 + interference + no)``, ``no_eff`` its MSE. ``robust``
            alone knows how wrong the measured gains are.
        draws: Unit-variance draws to use: ``draw_link(keys, (..., num_uavs), num_slots, num_rx_ant=1, num_tx_ant=...,
            demodulation_slots=...)`` with one key per UAV.
        h: Channel to use, ``[..., num_blocks, num_uavs, num_tx_ant]`` complex.
        h_hat: Estimate to use, shape of ``h``; what the estimator named by ``csi`` returned.
        h_hat_error_var: What the base station believes of the error of every entry of ``h_hat``, linear; scalar or
            broadcasting against ``h.shape[:-1]``. Then ``h_hat`` is the posterior mean, whatever ``csi`` says.
        noise: Noise to add as it is (not scaled by ``no``), ``[..., num_slots, num_uavs]`` complex.
        prior: What the base station knows about the channel beforehand, for ``csi_aware``, ``mmse`` and
            ``pilots_lmmse``; a mean broadcasts against ``[..., num_uavs, num_blocks, 1, num_tx_ant]``.

    Returns:
        See :class:`MuMimoOutput`.

    Raises:
        ValueError: on unknown names, shapes or counts that do not fit, ``zf`` with more UAVs than antennas, AWGN, a
            coherence block shorter than its pilots plus 1, or a missing key.
    """
    _check(x, no, tx_csi_error_var, total_power, fading, active, common, demodulation, equalizer)
    injected = Injected(draws, h, h_hat, h_hat_error_var, noise)
    *lead, num_slots, num_uavs = x.shape
    num_tx_ant = _num_tx_ant(num_tx_ant, num_uavs, injected)
    timing = {"block_length": block_length, "total_slots": total_slots}
    demodulation_slots = 0
    if demodulation == "pilots":
        num_demodulation_pilots = num_uavs if num_demodulation_pilots is None else num_demodulation_pilots
        require_count("num_demodulation_pilots", num_demodulation_pilots, num_uavs)
        demodulation_slots = num_demodulation_pilots * (1 if common is None else 2)
    pilots = pilots_per_block(csi, num_pilots, num_tx_ant, demodulation_slots)
    grid = block_grid(x, slot_index, pilots=pilots, **timing)
    sizes = _Sizes(tuple(lead), num_slots, num_uavs, num_tx_ant, grid.num_blocks, demodulation_slots)

    def draw() -> LinkDraws:
        if key is None:
            raise ValueError(
                "key is None: give a key, or draws, or all of h, h_hat and noise together with demodulation='genie'"
            )
        kind = {"fading": fading, "csi": csi, "num_pilots": num_pilots, "demodulation_slots": demodulation_slots}
        antennas = {"num_tx_ant": num_tx_ant, "num_rx_ant": 1}
        keys = uav_keys(key, num_uavs)
        return draw_link(keys, (*lead, num_uavs), num_slots, dtype=x.dtype, **antennas, **timing, **kind)

    realised = _realise(draw, no, sizes, injected, x.dtype)
    power = align("total_power", num_uavs if total_power is None else total_power, sizes.lead, 1, real_dtype(x))
    h_hat, mean, variance = _know(realised, no, tx_csi_error_var, power, csi, num_pilots, prior, sizes, injected)
    no = align("no", no, (*lead, num_uavs), 0, real_dtype(x))
    w = precoder(
        mean if csi_aware else h_hat,
        no=before_uavs(no, 1),
        total_power=power,
        method=method,
        error_var=variance if csi_aware else 0.0,
        constraint=constraint,
    )
    h = _links_to_rows(realised.h)
    gains = multiply(h, w)
    if common is not None:
        beam = multicast_beam(w, total_power=power, constraint=constraint)
        gains = jnp.concatenate([gains, transmit(h, beam)[..., None]], axis=-1)
        active = active if active is None else jnp.where(common[..., None], active[..., :1], active)
    if active is not None:
        x = jnp.where(active, x, 0)
    gain_hat, gain_error_var = gains, jnp.zeros_like(no)
    if demodulation == "pilots":
        count = require_given("num_demodulation_pilots", num_demodulation_pilots)
        gain_error_var = pilot_error_var(no, count)
        per_gain = gain_error_var if no.ndim == 0 else gain_error_var[..., None, :, None]
        gain_hat = measure_gains(gains, realised.demodulation, per_gain, count)
    y, x_hat, no_eff = receive(
        x, no, common, grid, gains, gain_hat, gain_error_var, realised.noise, equalizer=equalizer
    )
    if active is not None:
        x_hat, no_eff = jnp.where(active, x_hat, 0), jnp.where(active, no_eff, 1)
    return MuMimoOutput(x_hat=x_hat, no_eff=no_eff, h=h, h_hat=h_hat, y=y, w=w, gain_hat=gain_hat)
