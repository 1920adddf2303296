"""What the steps of the token system hand on."""

from typing import NamedTuple

import jax

from lvm_mtc.schemes.lvm_mtc.masking import KeptPatches


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


class Side(NamedTuple):
    """What the UAVs are told besides the symbols; ``side_information_bits`` books it.

    Attributes:
        kept: The kept patches, leading axes ``[batch, num_uavs]``.
        order: The token of each UAV that stands in slot i, ``[batch, num_uavs, num_tokens]``.
        shared: Where a UAV listens to the public token, ``[batch, num_uavs or 1, num_tokens]`` bool.
        own_gain: Of each picture's private symbols, 16 bits, ``[batch, num_uavs]``; None but for ``"wiener"``.
        common_gain: Of the public symbols, ``[batch]``; likewise.
        worst_snr_db: Of the group's UAVs, ``[batch]``, 16 bits, by which the public symbols' power is allocated; None
            where all UAVs have one nominal SNR, or nothing is allocated.
    """

    kept: KeptPatches
    order: jax.Array
    shared: jax.Array
    own_gain: jax.Array | None
    common_gain: jax.Array | None
    worst_snr_db: jax.Array | None
