"""What the UAVs have to be told besides the symbols, in bits."""

import math

import jax
import jax.numpy as jnp

from lvm_mtc.link.signal import heard_by
from lvm_mtc.models.receivers import GAIN_BITS
from lvm_mtc.schemes.lvm_mtc.comparator import num_groups


def side_information_bits(
    public: jax.Array,
    epsilon: jax.Array,
    *,
    num_uavs: int,
    num_patches: int,
    masked: bool,
    alignment: str,
    gains: bool,
    worst_snr: bool = False,
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
        worst_snr: Whether the group's smallest SNR is sent, for the public symbols' power allocation.
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
            num_told = num_public * num_uavs if members is None else heard_by(public, members).sum((-2, -1))
            bits = bits + num_told * math.ceil(math.log2(max(num_tokens, 2)))
    if gains:
        bits = bits + GAIN_BITS * (num_uavs + (num_public > 0))
    if worst_snr:
        bits = bits + GAIN_BITS * (num_public > 0)
    return bits
