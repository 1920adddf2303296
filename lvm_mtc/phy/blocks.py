"""Coherence blocks: how many there are, and which slot lies in which.

The channel is constant over ``block_length`` slots of the absolute time axis and independent from block to block. With
pilot-based CSI the first ``num_pilots`` slots of each block are taken by pilots, so a block carries
``block_length - num_pilots`` of the slots of data that are counted here; :func:`block_layout` does that arithmetic.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.phy.csi import CSI_MODELS, require_pilots
from lvm_mtc.phy.numerics import ceil_div, fit, require_count


def block_layout(total_slots: int, block_length: int | None = None, num_pilots: int | None = None) -> tuple[int, int]:
    """Coherence blocks that carry ``total_slots`` slots of data, and the slots of data in each.

    Args:
        total_slots: Slots of data on the time axis.
        block_length: Slots of a coherence block, pilots included; None: one block holds everything.
        num_pilots: Slots of pilots in each block, or None.

    Returns:
        num_blocks: Number of blocks.
        slots_per_block: Slots of data in a block (the last one may carry fewer).

    Raises:
        ValueError: if a number is not an integer >= 1, or the block is shorter than ``num_pilots + 1``.
    """
    require_count("total_slots", total_slots)
    if block_length is None:
        return 1, total_slots
    require_count("block_length", block_length)
    pilots = 0 if num_pilots is None else num_pilots
    if block_length < pilots + 1:
        raise ValueError(f"block_length must be >= num_pilots + 1 = {pilots + 1}, got {block_length}")
    return ceil_div(total_slots, block_length - pilots), block_length - pilots


def pilots_per_block(csi: str, num_pilots: int | None, num_tx_ant: int, demodulation_slots: int = 0) -> int:
    """The slots of each block that pilots take: those of the CSI model, if it has any, and those for demodulation."""
    if csi not in CSI_MODELS:
        raise ValueError(f"unknown csi {csi!r}; known: {', '.join(CSI_MODELS)}")
    if not csi.startswith("pilots"):
        return demodulation_slots
    return require_pilots(num_pilots, num_tx_ant) + demodulation_slots


class BlockGrid(NamedTuple):
    """How slots meet blocks: ``[..., blocks, slots]`` when static, one channel per slot when placed by an index."""

    num_blocks: int
    slots_per_block: int
    num_slots: int
    block_index: jax.Array | None

    def slots(self, array: jax.Array) -> jax.Array:
        """``[..., num_slots, n]`` to ``[..., blocks, slots, n]``."""
        if self.block_index is not None or self.num_blocks == 1:
            return array[..., None, :, :]
        missing = self.num_blocks * self.slots_per_block - self.num_slots
        padded = jnp.pad(array, [(0, 0)] * (array.ndim - 2) + [(0, missing), (0, 0)])
        return padded.reshape(*array.shape[:-2], self.num_blocks, self.slots_per_block, array.shape[-1])

    def channel(self, array: jax.Array, tail: int) -> jax.Array:
        """``[..., num_blocks, *tail]`` to what broadcasts against the slots, ``[..., blocks, 1 or slots, *tail]``."""
        axis = array.ndim - tail - 1
        if self.block_index is None or self.num_blocks == 1:
            # By parts, because the estimate was made by parts: the compiler then never forms complex numbers.
            return jax.lax.complex(
                jnp.expand_dims(jnp.real(array), axis + 1), jnp.expand_dims(jnp.imag(array), axis + 1)
            )
        index = self.block_index.reshape(self.block_index.shape + (1,) * tail)
        return jnp.expand_dims(jnp.take_along_axis(array, index, axis=axis, mode="fill"), axis)

    def number(self, array: jax.Array) -> jax.Array:
        """A real number per block, ``[..., 1 or num_blocks]``, to ``[..., blocks, 1 or slots]``; scalars stay."""
        if array.ndim == 0:
            return array
        if self.block_index is None or self.num_blocks == 1 or array.shape[-1] == 1:
            return array[..., None]
        array = jnp.broadcast_to(array, (*self.block_index.shape[:-1], self.num_blocks))
        return jnp.take_along_axis(array, self.block_index, axis=-1, mode="fill")[..., None, :]

    def per_slot(self, array: jax.Array) -> jax.Array:
        """What ``channel`` gave, ``[..., blocks, 1 or slots, rows, columns]``, to ``[..., 1 or num_slots, ...]``."""
        if self.block_index is not None or self.num_blocks == 1:
            return array[..., 0, :, :, :]
        tail = array.shape[-2:]
        array = jnp.broadcast_to(array, (*array.shape[:-4], self.num_blocks, self.slots_per_block, *tail))
        return array.reshape(*array.shape[:-4], -1, *tail)[..., : self.num_slots, :, :]

    def flat(self, array: jax.Array) -> jax.Array:
        """Inverse of ``slots``."""
        merged = array.reshape(*array.shape[:-3], array.shape[-3] * array.shape[-2], array.shape[-1])
        return merged[..., : self.num_slots, :]


def block_grid(
    x: jax.Array, slot_index: jax.Array | None, *, block_length: int | None, total_slots: int | None, pilots: int
) -> BlockGrid:
    """Where the slots of a signal lie among the coherence blocks.

    Args:
        x: What is sent, ``[..., num_slots, num_streams]``.
        slot_index: Integer place of each slot on the time axis, ``[..., num_slots]``; None: ``arange``.
        block_length: Slots of a coherence block, pilots included; None: one block for everything.
        total_slots: Slots of data on the time axis; None: ``num_slots``.
        pilots: Slots of pilots in each block.

    Raises:
        ValueError: if lengths, shapes or dtypes do not fit.
    """
    *lead, num_slots, _ = x.shape
    num_blocks, slots_per_block = block_layout(num_slots if total_slots is None else total_slots, block_length, pilots)
    if slot_index is None:
        if num_blocks * slots_per_block < num_slots:
            raise ValueError(f"total_slots {total_slots} is less than the {num_slots} slots of x {x.shape}")
        return BlockGrid(num_blocks, slots_per_block, num_slots, None)
    if total_slots is None and block_length is not None:
        raise ValueError("slot_index with a block_length needs total_slots, got None")
    slot_index = jnp.asarray(slot_index)
    if not jnp.issubdtype(slot_index.dtype, jnp.integer):
        raise ValueError(f"slot_index must be integer, got {slot_index.dtype}")
    slot_index = fit("slot_index", slot_index, (*lead, num_slots), slot_index.dtype)
    return BlockGrid(num_blocks, slots_per_block, num_slots, slot_index // slots_per_block)
