"""The bandwidth ledger: what a transmission costs, in complex symbols and in bits of side information."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.models.groups import num_groups, of_members
from lvm_mtc.phy.resource_grid import ResourceGrid

GAIN_BITS = 16
BITS_PER_USE = 1.0  # QPSK at rate 1/2, booked as error-free


class Ledger(NamedTuple):
    """Costs of one group of K pictures; every entry is ``[batch]`` float32.

    Attributes:
        private_uses: Complex symbols of private tokens, pads included.
        public_uses: Complex symbols of public tokens, counted once for all UAVs, pads included.
        pilot_uses: Pilot symbols, counted once for all UAVs.
        prefix_uses: Cyclic-prefix samples of all antennas; 0 without OFDM.
        idle_uses: Resource elements that carry neither: guards, and the empty end of the last grid; 0 without OFDM.
        side_information_bits: Masks, sharing map and gains, bits.
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

    def side_information_uses(self) -> jax.Array:
        """Channel uses that the side information is booked at, ``[batch]``."""
        return self.side_information_bits / BITS_PER_USE

    def cbr(self, source_samples: int, *, side_information: bool = False) -> jax.Array:
        """Channel bandwidth ratio: symbols per source sample.

        Args:
            source_samples: Numbers in the K pictures together, ``K * height * width * 3``.
            side_information: Count the side information too.

        Returns:
            ``[batch]``.
        """
        uses = self.channel_uses() + (self.side_information_uses() if side_information else 0.0)
        return uses / source_samples


def book_tokens(private: jax.Array, public: jax.Array, num_symbols: int, num_streams: int, *, joint: bool) -> Ledger:
    """Books the tokens themselves; pilots, prefix and side information are 0.

    Args:
        private: Private tokens that are sent, ``[batch, num_uavs, num_tokens]`` bool.
        public: Public tokens, ``[batch, num_tokens]`` bool.
        num_symbols: Complex symbols per token, C.
        num_streams: Different symbols that a slot carries, of public tokens in any case.
        joint: UAV k's private symbols go one by one over stream k; otherwise each token fills whole slots.
    """
    slots_per_token = math.ceil(num_symbols / num_streams)
    padded = slots_per_token * num_streams
    num_private = private.sum((-2, -1)).astype(jnp.float32)
    num_public = public.sum(-1).astype(jnp.float32)
    if joint:
        private_slots = private.any(-2).sum(-1).astype(jnp.float32) * num_symbols
        private_uses = num_private * num_symbols
    else:
        private_slots = num_private * slots_per_token
        private_uses = num_private * padded
    zero = jnp.zeros_like(num_public)
    slots = private_slots + num_public * slots_per_token
    return Ledger(private_uses, num_public * padded, zero, zero, zero, zero, slots)


def book_pilots(ledger: Ledger, num_pilots: int | None, num_tx_ant: int, block_length: int | None) -> Ledger:
    """Adds ``num_pilots`` symbols per antenna in every coherence block that carries tokens.

    A block of ``block_length`` slots holds its pilots and ``block_length - num_pilots`` slots of tokens.
    """
    if num_pilots is None:
        return ledger
    blocks = jnp.ones_like(ledger.slots)
    if block_length is not None:
        blocks = jnp.ceil(ledger.slots / (block_length - num_pilots))
    return ledger._replace(pilot_uses=blocks * num_pilots * num_tx_ant)


def book_grid(ledger: Ledger, grid: ResourceGrid, num_tx_ant: int) -> Ledger:
    """Adds pilots, cyclic prefix and idle elements of the whole grids that the tokens begin.

    Every sample of every antenna is one channel use, ``num_tx_ant (fft_size + cyclic_prefix_length)`` for a symbol:
    what carries neither tokens nor pilots nor prefix is idle.
    """
    grids = jnp.ceil(ledger.slots / grid.slots_per_grid) * num_tx_ant
    pilots = len(grid.pilot_symbols) * grid.num_carriers
    elements = grid.num_ofdm_symbols * grid.fft_size
    return ledger._replace(
        pilot_uses=grids * pilots,
        prefix_uses=grids * grid.num_ofdm_symbols * grid.cyclic_prefix_length,
        idle_uses=grids * (elements - pilots) - ledger.private_uses - ledger.public_uses,
    )


def side_information_bits(
    public: jax.Array,
    epsilon: jax.Array,
    *,
    num_uavs: int,
    num_patches: int,
    masked: bool,
    alignment: str,
    gains: bool,
    members: jax.Array | None = None,
) -> jax.Array:
    """Bits that tell the UAVs what the symbols are: masks, sharing map, gains.

    Args:
        public: ``[batch, num_tokens]`` bool.
        epsilon: ``[batch]``; sharing is off, and has no map, where it is 0.
        num_uavs: K; a single UAV has no map.
        num_patches: N: a mask costs N bits per UAV.
        masked: Whether patches are left out at all.
        alignment: ``"index"``: the map costs one bit per token slot; ``"sorted"``: plus ceil(log2 L) bits per public
            token and UAV that it is for; ``"position"``: one bit per patch, for a UAV doesn't know which patches the
            others keep.
        gains: Whether each picture's gain is sent (and one for the public symbols, if there are any).
        members: Whom each token is public for, ``[batch, num_uavs, num_tokens]`` bool: one of the 2^K - K - 1 sets of
            two or more UAVs, ceil(log2) bits per public token. None: for all, which costs nothing.

    Returns:
        ``[batch]`` float32.
    """
    num_tokens = public.shape[-1]
    num_public = public.sum(-1).astype(jnp.float32)
    bits = jnp.full(num_public.shape, float(num_uavs * num_patches if masked else 0))
    if num_uavs > 1:
        bits = bits + jnp.where(epsilon > 0, float(num_patches if alignment == "position" else num_tokens), 0.0)
        if members is not None:
            bits = bits + num_public * (num_groups(num_uavs) - 1).bit_length()
        if alignment == "sorted":
            num_told = num_public * num_uavs if members is None else of_members(public, members).sum((-2, -1))
            bits = bits + num_told * math.ceil(math.log2(max(num_tokens, 2)))
    if gains:
        bits = bits + GAIN_BITS * (num_uavs + (num_public > 0))
    return bits
