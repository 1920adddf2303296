"""Everything random in a link, drawn once at unit variance for all operating points."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lvm_mtc.phy.blocks import block_layout, pilots_per_block
from lvm_mtc.phy.fading import rayleigh
from lvm_mtc.phy.keys import Stream, require_key, stream_key
from lvm_mtc.phy.numerics import complex_normal, require_count

Fading = Callable[..., jax.Array] | None


class LinkDraws(NamedTuple):
    """Everything random in a link, at unit variance. ``[...]`` ends with the UAV axis under ``broadcast``.

    Attributes:
        h: Channel, ``[..., num_blocks, num_rx_ant, num_tx_ant]`` complex; None under AWGN.
        csi: CN(0, 1) draw behind the estimation error, shape of ``h``; ``[..., num_blocks, num_tx_ant]`` under AWGN.
            None where the estimate comes from elsewhere.
        noise: CN(0, 1), ``[..., num_slots, num_rx_ant]``.
        demodulation: CN(0, 1), noise of the demodulation pilots, ``[..., num_blocks, num_rx_ant, demodulation_slots]``;
            None without.
    """

    h: jax.Array | None
    csi: jax.Array | None
    noise: jax.Array
    demodulation: jax.Array | None = None


def require_sampler(fading: Fading) -> None:
    """Raise ``ValueError`` unless fading is a function or None."""
    if fading is not None and not callable(fading):
        raise ValueError(f"fading must be a sampler such as phy.rayleigh, or None for AWGN, got {fading!r}")


def draw_link(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    num_slots: int,
    *,
    num_tx_ant: int,
    num_rx_ant: int | None = None,
    fading: Fading = rayleigh,
    block_length: int | None = None,
    total_slots: int | None = None,
    csi: str = "additive",
    num_pilots: int | None = None,
    demodulation_slots: int = 0,
    dtype: DTypeLike = jnp.complex64,
) -> LinkDraws:
    """Draw everything random in a link once, for any number of operating points.

    ``broadcast(key, x, ...)`` draws ``draw_link(split(key, num_uavs), x.shape[:-2], ...)``; ``joint(key, x, ...)``
    draws ``draw_link(key, x.shape[:-2], ...)``.

    Args:
        key: Typed key: a scalar, or one key per entry of the last axis of ``batch_shape`` (one per UAV). Then the
            draws of a UAV depend on its key and on the other axes only, not on how many UAVs there are.
        batch_shape: Leading axes, ``(..., num_uavs)`` for ``broadcast``.
        num_slots: Slots that each link hears.
        num_tx_ant: Streams of a slot.
        num_rx_ant: Receive antennas; None: as many as streams.
        fading: Sampler (see ``phy.fading``), or None for AWGN.
        block_length: Slots of a coherence block, pilots included; None: one block.
        total_slots: Slots of data on the absolute time axis; None: ``num_slots``.
        csi: One of ``CSI_MODELS``; all of them use the same draws.
        num_pilots: Pilots per block and antenna, for pilot-based ``csi``.
        demodulation_slots: Slots of demodulation pilots in each block, for ``mu_mimo``.
        dtype: Complex dtype.

    Returns:
        The draws.

    Raises:
        ValueError: on counts, lengths, names or key shapes that do not fit.
    """
    num_rx_ant = num_tx_ant if num_rx_ant is None else num_rx_ant
    require_count("num_tx_ant", num_tx_ant)
    require_count("num_rx_ant", num_rx_ant)
    require_count("num_slots", num_slots)
    require_sampler(fading)
    if fading is None and num_rx_ant != num_tx_ant:
        raise ValueError(f"AWGN needs num_rx_ant == num_tx_ant, got num_rx_ant={num_rx_ant}, num_tx_ant={num_tx_ant}")
    require_count("demodulation_slots", demodulation_slots, 0)
    pilots = pilots_per_block(csi, num_pilots, num_tx_ant, demodulation_slots)
    num_blocks, _ = block_layout(num_slots if total_slots is None else total_slots, block_length, pilots)

    def draw(one_key: jax.Array, lead: tuple[int, ...]) -> LinkDraws:
        entries = (num_tx_ant,) if fading is None else (num_rx_ant, num_tx_ant)
        h = None
        if fading is not None:
            h = fading(
                stream_key(one_key, Stream.FADING),
                (*lead, num_blocks),
                num_rx_ant=num_rx_ant,
                num_tx_ant=num_tx_ant,
                dtype=dtype,
            )
        demodulation = None
        if demodulation_slots:
            demodulation_key = stream_key(one_key, Stream.DEMODULATION)
            demodulation = complex_normal(
                demodulation_key, (*lead, num_blocks), (num_rx_ant, demodulation_slots), dtype
            )
        return LinkDraws(
            demodulation=demodulation,
            h=h,
            csi=complex_normal(stream_key(one_key, Stream.CSI), (*lead, num_blocks), entries, dtype),
            noise=complex_normal(stream_key(one_key, Stream.NOISE), (*lead, num_slots), (num_rx_ant,), dtype),
        )

    if require_key(key).ndim == 0:
        return draw(key, tuple(batch_shape))
    if not batch_shape or key.shape != tuple(batch_shape[-1:]):
        raise ValueError(f"key must be a scalar or have shape {tuple(batch_shape[-1:])}, got {key.shape}")
    lead = tuple(batch_shape[:-1])
    return jax.vmap(lambda one_key: draw(one_key, lead), out_axes=len(lead))(key)
