"""The uplink: devices of one antenna send at the same time (multiple access channel), one receiver detects them all."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc.phy.blocks import BlockGrid, block_grid, pilots_per_block
from lvm_mtc.phy.csi import ChannelPrior, pilot_error_var, require_pilots
from lvm_mtc.phy.draws import Fading, LinkDraws, draw_link
from lvm_mtc.phy.estimate import Estimate, estimate_fading
from lvm_mtc.phy.fading import rayleigh
from lvm_mtc.phy.kernels import transmit, unit_noise
from lvm_mtc.phy.keys import Stream, require_key, stream_key, uav_keys
from lvm_mtc.phy.link import LinkOutput, Observation
from lvm_mtc.phy.mimo import EQUALIZERS
from lvm_mtc.phy.numerics import (
    align,
    complex_normal,
    fit,
    real_dtype,
    require_at_least,
    require_complex,
    safe_sqrt,
    standard_deviation,
    weighted_sum,
)


def draw_mac(key: jax.Array, batch_shape: tuple[int, ...], num_slots: int, num_devices: int, **options) -> LinkDraws:
    """Draw everything random in an uplink once, for any number of operating points.

    Args:
        key: Typed key: a scalar, which is split into one key per device, or one key per device, ``[num_devices]``. The
            channel of a device depends on its key only, the noise on that of the first.
        batch_shape: Leading axes.
        num_slots: Slots that the receiver hears.
        num_devices: K.
        **options: Of :func:`draw_link`: ``num_rx_ant`` (None: 1), ``fading``, ``block_length``, ``total_slots``,
            ``csi``, ``num_pilots``, ``dtype``.

    Returns:
        The draws; ``h`` and ``csi`` are ``[*batch_shape, num_devices, num_blocks, num_rx_ant, 1]``, ``noise`` is
        ``[*batch_shape, num_slots, num_rx_ant]``.

    Raises:
        ValueError: as :func:`draw_link`.
    """
    keys = uav_keys(key, num_devices)
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    draws = draw_link(keys, (*batch_shape, num_devices), 1, num_tx_ant=1, **{"total_slots": num_slots, **given})
    noise = complex_normal(
        stream_key(keys[0], Stream.NOISE), (*batch_shape, num_slots), draws.noise.shape[-1:], draws.noise.dtype
    )
    return draws._replace(noise=noise)


def _as_columns(a: jax.Array, power: jax.Array) -> jax.Array:
    """Channels of devices, ``[..., num_devices, num_blocks, num_rx_ant, 1]``, as columns that carry their power."""
    return weighted_sum((safe_sqrt(power)[..., None, None, :], jnp.moveaxis(a[..., 0], -3, -1)))


def _unknown(known: Estimate, weight: jax.Array, grid: BlockGrid) -> tuple[jax.Array, jax.Array | None]:
    """Noise that the errors of the estimates make in each slot: the variance of white one, or 0 and a covariance.

    ``weight`` is the power of each device on air, ``[..., 1 or num_slots, num_devices]``.
    """

    def per_slot(a):
        if a.shape[-2] == 1:
            return a[..., None, :, :]
        return grid.slots(a)

    if known.error_cov is None:
        white = jnp.sum(weight * known.error_var[..., 0][..., None, :], axis=-1, keepdims=True)
        return per_slot(white)[..., 0], None
    of_each = known.error_cov[..., 0, :, :]
    cov = jnp.einsum("...sk,...kij->...sij", weight.astype(of_each.dtype), of_each)
    in_slots = per_slot(cov.reshape(*cov.shape[:-2], -1))
    return known.error_var, in_slots.reshape(*in_slots.shape[:-1], *cov.shape[-2:])


def mac(
    key: jax.Array | None,
    x: jax.Array,
    *,
    no: ArrayLike,
    power: ArrayLike = 1.0,
    pilot_power: ArrayLike | None = None,
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
    prior: ChannelPrior | None = None,
) -> LinkOutput:
    """All devices send into the same slots, and one receiver detects their streams jointly.

    ``y = sum_k sqrt(power_k) h_k x_k + n``. Every device has a channel, an estimate and an error of its own.

    Args:
        key: Typed key: a scalar, which is split into one key per device, or one key per device. None with ``draws``.
        x: Stream k is device k's, ``[..., num_slots, num_devices]`` complex, power 1 per active symbol.
        no: Noise variance per complex dimension, linear, >= 0; scalar or broadcasting against ``[...]``; traced. Its
            gradient at 0 is NaN; see ``phy.link``.
        power: Of each device as it is received, linear, >= 0; scalar or broadcasting against ``[..., num_devices]``;
            traced. The receiver knows it.
        pilot_power: Likewise while it sends pilots; None: ``power``.
        csi_error_var: Variance of each entry of the error of h_k, linear, >= 0; scalar or broadcasting against
            ``[..., num_devices]``; traced. Pilots take it from ``no`` and ``power`` instead.
        fading: Sampler of ``phy.fading`` with its numbers bound, called per device with one transmit antenna; no AWGN,
            in which the devices could not be told apart.
        num_rx_ant: Antennas of the receiver; None: those of ``draws``, else num_devices. Fewer than devices will do.
        block_length: Slots of a coherence block, pilots included; None: one block for everything.
        total_slots: Length of the time axis that the blocks divide, in slots of data; None: ``num_slots``.
        slot_index: Integer place of each slot on that axis, broadcasting against ``[..., num_slots]``, traced; None:
            ``arange``.
        active: Boolean, shape of ``x``: symbols on air. The rest is sent as 0 and comes back as 0 with ``no_eff`` 1;
            the receiver knows it and drops its columns.
        csi: ``additive``, ``mmse``, ``pilots_ls`` or ``pilots_lmmse`` (see ``phy.csi``).
        num_pilots: Pilots T per block, in which all devices send orthogonal sequences, >= num_devices.
        equalizer: A name of ``EQUALIZERS`` but ``none``.
        draws: Of :func:`draw_mac`.
        prior: What the receiver knows about the channel of each device; see ``phy.broadcast``.

    Returns:
        See ``phy.LinkOutput``; ``h`` and ``h_hat`` are ``[..., num_blocks, num_rx_ant, num_devices]`` and hold the
        roots of the powers.

    Raises:
        ValueError: on unknown names, shapes or counts that do not fit, or a missing key.
    """
    require_complex("x", x)
    if x.ndim < 2:
        raise ValueError(f"x must be [..., num_slots, num_devices], got shape {x.shape}")
    if fading is None:
        raise ValueError("mac needs fading: under AWGN the devices' channels are all alike")
    if equalizer not in EQUALIZERS or equalizer == "none":
        known = ", ".join(name for name in EQUALIZERS if name != "none")
        raise ValueError(f"equalizer {equalizer!r} does not separate devices; known: {known}")
    for name, value in (("no", no), ("power", power), ("csi_error_var", csi_error_var)):
        require_at_least(name, value, 0.0)
    if active is not None:
        if active.shape != x.shape or active.dtype != jnp.bool_:
            raise ValueError(f"active must be boolean with the shape of x {x.shape}, got {active.dtype} {active.shape}")
        x = jnp.where(active, x, jnp.zeros_like(x))
    *lead, num_slots, num_devices = x.shape
    dtype, timing = real_dtype(x), {"block_length": block_length, "total_slots": total_slots}
    grid = block_grid(x, slot_index, pilots=pilots_per_block(csi, num_pilots, num_devices), **timing)
    if draws is None:
        antennas = num_devices if num_rx_ant is None else num_rx_ant
        kind: dict[str, Any] = {"fading": fading, "csi": csi, "num_pilots": num_pilots, "dtype": x.dtype}
        draws = draw_mac(require_key(key), tuple(lead), num_slots, num_devices, num_rx_ant=antennas, **timing, **kind)
    num_rx_ant = draws.noise.shape[-1] if num_rx_ant is None else num_rx_ant
    channels = (*lead, num_devices, grid.num_blocks, num_rx_ant, 1)
    h, error = (fit(f"draws.{name}", getattr(draws, name), channels, x.dtype) for name in ("h", "csi"))
    noise = fit("draws.noise", draws.noise, (*lead, num_slots, num_rx_ant), x.dtype)
    no, power = align("no", no, tuple(lead), 2, dtype), fit("power", power, (*lead, num_devices), dtype)
    if csi.startswith("pilots"):
        pilot_power = power if pilot_power is None else fit("pilot_power", pilot_power, power.shape, dtype)
        error_var = pilot_error_var(
            (no if no.ndim == 0 else no[..., 0]) / pilot_power, require_pilots(num_pilots, num_devices)
        )
    else:
        error_var = fit("csi_error_var", csi_error_var, (*lead, num_devices), dtype)
    known = estimate_fading(h, error, error_var[..., None], csi=csi, prior=prior)
    y = transmit(grid.channel(_as_columns(h, power), 2), grid.slots(x))
    level = standard_deviation(no)
    y = weighted_sum((1, y), (level if level.ndim == 0 else level[..., None], grid.slots(noise)))
    robust, total, noise_cov = equalizer == "robust", no, None
    if robust:
        weight = power[..., None, :] if active is None else jnp.where(active, power[..., None, :], 0)
        white, noise_cov = _unknown(known, weight, grid)
        total = no + white
    channel = grid.channel(_as_columns(known.mean if robust else known.h_hat, power), 2)
    dropped = None if active is None else grid.slots(active)
    x_hat, no_eff = EQUALIZERS[equalizer](y, channel, total, active=dropped, noise_cov=noise_cov)
    heard, seen = unit_noise(y, channel, total, noise_cov)
    return LinkOutput(
        x_hat=grid.flat(x_hat),
        no_eff=grid.flat(no_eff),
        h=_as_columns(h, power),
        h_hat=_as_columns(known.h_hat, power),
        y=grid.flat(y),
        heard=Observation(grid.flat(heard), grid.per_slot(seen)),
    )
