"""Channel, CSI draw and noise of a link: drawn, or brought along by the caller, and fitted to their shapes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc.phy.draws import Fading, LinkDraws, draw_link
from lvm_mtc.phy.kernels import unrolls
from lvm_mtc.phy.linalg import batch_contiguous
from lvm_mtc.phy.numerics import align, fit, real_dtype, require_given, standard_deviation, weighted_sum


class Setting(NamedTuple):
    """The static part of a link."""

    fading: Fading
    block_length: int | None
    total_slots: int | None
    csi: str
    num_pilots: int | None
    equalizer: str
    drop_silent: bool


class Injected(NamedTuple):
    """What the caller brings along instead of having it drawn."""

    draws: LinkDraws | None
    h: jax.Array | None
    h_hat: jax.Array | None
    h_hat_error_var: ArrayLike | None
    noise: jax.Array | None


class Realised(NamedTuple):
    """Channel, CSI draw and noise in their final shapes; None where the caller made them unnecessary."""

    h: jax.Array
    csi: jax.Array | None
    noise: jax.Array


def realise(key, x, no, setting: Setting, injected: Injected, num_rx_ant: int, num_blocks: int) -> Realised:
    """Draw what is missing, fit everything to its shape, scale the noise."""
    *lead, num_slots, num_tx_ant = x.shape
    awgn = setting.fading is None
    if awgn and injected.h is not None:
        raise ValueError(f"h of shape {injected.h.shape} was given, but fading=None (AWGN) has h = 1")
    draws = injected.draws
    needs_draw = (injected.h is None and not awgn) or injected.h_hat is None or injected.noise is None
    if draws is None and needs_draw:
        if key is None:
            raise ValueError("key is None: give a key, or draws, or all of h, h_hat and noise")
        draws = draw_link(
            key,
            tuple(lead),
            num_slots,
            num_tx_ant=num_tx_ant,
            num_rx_ant=num_rx_ant,
            fading=setting.fading,
            block_length=setting.block_length,
            total_slots=setting.total_slots,
            csi=setting.csi,
            num_pilots=setting.num_pilots,
            dtype=x.dtype,
        )
    h_shape = (*lead, num_blocks, num_tx_ant) if awgn else (*lead, num_blocks, num_rx_ant, num_tx_ant)
    if awgn:
        h = jnp.ones(h_shape, x.dtype)
    elif injected.h is not None:
        h = fit("h", injected.h, h_shape, x.dtype)
    elif require_given("draws", draws).h is None:
        raise ValueError("draws.h is None (made for AWGN), but fading is not None")
    else:
        h = fit("draws.h", require_given("draws", draws).h, h_shape, x.dtype)
    many = not awgn and unrolls(h)
    noise_shape = (*lead, num_slots, num_rx_ant)
    if injected.noise is not None:
        noise = fit("noise", injected.noise, noise_shape, x.dtype)
    else:
        level = standard_deviation(align("no", no, tuple(lead), 2, real_dtype(x)))
        noise = fit("draws.noise", require_given("draws", draws).noise, noise_shape, x.dtype)
        noise = weighted_sum((level, batch_contiguous(noise, 1) if many else noise))
    csi = None if injected.h_hat is not None else fit("draws.csi", require_given("draws", draws).csi, h_shape, x.dtype)
    if many:
        h = batch_contiguous(h, 2)
        csi = None if csi is None else batch_contiguous(csi, 2)
    return Realised(h=h, csi=csi, noise=noise)
