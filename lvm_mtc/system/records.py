"""What the chain's steps hand on to each other and to the caller."""

from typing import NamedTuple

import jax

from lvm_mtc import phy
from lvm_mtc.models.masking import KeptPatches
from lvm_mtc.system.bandwidth import Ledger
from lvm_mtc.system.transmission import Sent


class Encoded(NamedTuple):
    """What the base station knows of its pictures.

    Attributes:
        tokens: ``[batch, num_uavs, num_tokens, embed_dim]``.
        features: Same shape, of which the comparator takes the intensity; for the learned one its projection,
            ``[batch, num_uavs, num_tokens, width]``.
        kept: The kept patches, leading axes ``[batch, num_uavs]``.
        keep_rate_inside: Share of the object's patches that are kept, ``[batch, num_uavs]``.
        keep_rate_outside: Share of the other patches that are kept, ``[batch, num_uavs]``.
    """

    tokens: jax.Array
    features: jax.Array
    kept: KeptPatches
    keep_rate_inside: jax.Array
    keep_rate_outside: jax.Array


class Output(NamedTuple):
    """Everything that a forward pass of the chain tells.

    Attributes:
        images_hat: Reconstructions, ``[batch, num_uavs, height, width, 3]``, not clipped to [0, 1].
        tokens_own: Each UAV's own tokens, ``[batch, num_uavs, num_tokens, embed_dim]``.
        tokens_sent: What was sent for them: the public mean where shared.
        tokens_received: The channel decoder's estimates.
        ids_keep: ``[batch, num_uavs, num_tokens]`` int32.
        valid: ``[batch, num_uavs, num_tokens]`` bool.
        mask: ``[batch, num_uavs, num_patches]``, 1 = removed.
        overflow: ``[batch, num_uavs]`` int32, drawn patches beyond the capacity.
        keep_rate_inside: ``[batch, num_uavs]``.
        keep_rate_outside: ``[batch, num_uavs]``.
        public: ``[batch, num_tokens]`` bool, by aligned slot.
        score: ``[batch, num_tokens]``, the comparator's discrepancy by aligned slot.
        sent: The symbols, which of them are public and for whom.
        link: The channel's own output.
        ledger: Costs.
    """

    images_hat: jax.Array
    tokens_own: jax.Array
    tokens_sent: jax.Array
    tokens_received: jax.Array
    ids_keep: jax.Array
    valid: jax.Array
    mask: jax.Array
    overflow: jax.Array
    keep_rate_inside: jax.Array
    keep_rate_outside: jax.Array
    public: jax.Array
    score: jax.Array
    sent: Sent
    link: phy.LinkOutput
    ledger: Ledger
