"""The bandwidth ledger: what a transmission costs, in complex symbols and in bits of side information."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.phy.resource_grid import ResourceGrid

BITS_PER_USE = 1.0  # QPSK at rate 1/2, booked as error-free


class Ledger(NamedTuple):
    """Costs of one group of K pictures; every entry is ``[batch]`` float32.

    Attributes:
        private_uses: Complex symbols of private tokens, pads included.
        public_uses: Complex symbols of public tokens, counted once for all UAVs, pads included; under ``"mu_mimo"`` K
            for a symbol, which has the power of K private ones.
        pilot_uses: Pilot symbols, counted once for all UAVs, a slot like one of public tokens; an embedded pilot and
            the cells that it keeps empty.
        prefix_uses: Cyclic-prefix samples of all antennas; 0 without OFDM.
        idle_uses: Resource elements that carry neither: guards, and the empty end of the last grid; 0 without OFDM.
        side_information_bits: Masks, sharing map and gains, bits; and an order of streams that is fed back.
        slots: Vector uses of the MIMO channel by tokens, pilots not included.
    """

    private_uses: jax.Array
    public_uses: jax.Array
    pilot_uses: jax.Array
    prefix_uses: jax.Array
    idle_uses: jax.Array
    side_information_bits: jax.Array
    slots: jax.Array

    def channel_uses(self) -> jax.Array:
        """Complex symbols sent, side information left out, ``[batch]``."""
        return self.private_uses + self.public_uses + self.pilot_uses + self.prefix_uses + self.idle_uses

    def cbr(self, source_samples: int, *, side_information: bool = False) -> jax.Array:
        """Channel bandwidth ratio: symbols per source sample, ``[batch]``; with side information counted or without.

        ``source_samples`` are the numbers in the K pictures together, ``K * height * width * 3``.
        """
        side = self.side_information_bits / BITS_PER_USE if side_information else 0.0
        return (self.channel_uses() + side) / source_samples


def book_frames(
    private: jax.Array,
    public: jax.Array,
    num_symbols: int,
    num_streams: int,
    *,
    joint: bool,
    uses_per_slot: int | None = None,
) -> Ledger:
    """Books the tokens themselves; pilots, prefix and side information are 0.

    Args:
        private: Private tokens that are sent, ``[batch, num_uavs, num_tokens]`` bool.
        public: Public tokens, ``[batch, num_tokens]`` bool.
        num_symbols: Complex symbols per token, C.
        num_streams: Different symbols that a slot carries, of public tokens in any case.
        joint: UAV k's private symbols go one by one over stream k; otherwise each token fills whole slots.
        uses_per_slot: What a slot of public symbols costs, where one takes the power of all streams.
    """
    slots_per_token = math.ceil(num_symbols / num_streams)
    uses_per_token = slots_per_token * (uses_per_slot or num_streams)
    num_private = private.sum((-2, -1)).astype(jnp.float32)
    num_public = public.sum(-1).astype(jnp.float32)
    if joint:
        private_slots = private.any(-2).sum(-1).astype(jnp.float32) * num_symbols
        private_uses = num_private * num_symbols
    else:
        private_slots = num_private * slots_per_token
        private_uses = num_private * uses_per_token
    slots = private_slots + num_public * slots_per_token
    none = jnp.zeros_like(num_public)
    return Ledger(private_uses, num_public * uses_per_token, none, none, none, none, slots)


def book_pilots(ledger: Ledger, num_pilots: int, uses_per_slot: int, block_length: int | None) -> Ledger:
    """Adds ``num_pilots`` slots of pilots in every coherence block that carries tokens.

    A block of ``block_length`` slots holds its pilots and ``block_length - num_pilots`` slots of tokens.
    """
    blocks = jnp.ones_like(ledger.slots)
    if block_length is not None:
        blocks = jnp.ceil(ledger.slots / (block_length - num_pilots))
    return ledger._replace(pilot_uses=blocks * num_pilots * uses_per_slot)


def book_grid(ledger: Ledger, grid: ResourceGrid, num_tx_ant: int, cells: int | None = None) -> Ledger:
    """Adds pilots, cyclic prefix and idle elements of the whole grids that the tokens begin.

    Every sample of every antenna is one channel use, ``num_tx_ant (fft_size + cyclic_prefix_length)`` for a symbol:
    what carries neither tokens nor pilots nor prefix is idle. ``cells`` of a grid carry data, None: all but the
    pilot symbols; what the others of these are kept for counts as pilots.
    """
    cells = grid.slots_per_grid if cells is None else cells
    grids = jnp.ceil(ledger.slots / cells) * num_tx_ant
    pilots = grid.num_ofdm_symbols * grid.num_carriers - cells
    elements = grid.num_ofdm_symbols * grid.fft_size
    return ledger._replace(
        pilot_uses=grids * pilots,
        prefix_uses=grids * grid.num_ofdm_symbols * grid.cyclic_prefix_length,
        idle_uses=grids * (elements - pilots) - ledger.private_uses - ledger.public_uses,
    )
