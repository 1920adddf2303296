"""The receiver's buffer: features from what was heard and from what was there before."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.schemes.pvsc.chunks import on_grid

_AGEING = 1.5
_TINY = 1e-12


class Heard(NamedTuple):
    """What arrived of each frame's chunks, in the transmitter's scale.

    Attributes:
        features: Behind the equaliser, ``[frames, m, chunk^2]``.
        noise: Variance of their errors, ``[frames, m]``.
        places: Of the chunks, those that were sent first, ``[frames, m]`` int32.
    """

    features: jax.Array
    noise: jax.Array
    places: jax.Array


def shrink(features: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Scalar L-MMSE of chunks ``[..., chunk^2]`` whose energy is estimated from what arrived, and its error's variance.

    The energy is the received one less ``noise [...]``, but no less than a twentieth of it.
    """
    energy = jnp.maximum(jnp.mean(features**2, axis=-1) - noise, noise / 20) + _TINY
    weight = energy / (energy + noise)
    return features * weight[..., None], weight * noise


def follow(
    heard: Heard,
    mask: jax.Array,
    lost: jax.Array,
    intra: jax.Array,
    leak: jax.Array,
    prior: jax.Array,
    *,
    golden: bool,
) -> tuple[jax.Array, jax.Array]:
    """Frame after frame with the receiver's own reference.

    A frame that is lost shows what was shown before it and leaves the reference as it is; that a reference of another
    age is taken then, the receiver cannot help.

    Args:
        heard: What arrived.
        mask: Chunks that were sent, ``[frames, C, n]`` bool.
        lost: ``[frames]`` bool.
        intra: Frames that refer to no other, ``[frames]`` bool.
        leak: Which part of the reference a sent chunk goes by, a number.
        prior: Energy of chunks of frames that refer to none and of others, ``[2, C]``, for those that were never sent.
        golden: The reference is the last intra frame that arrived, not the last frame.

    Returns:
        Features, ``[frames, C, n, chunk^2]``, and the standard deviation of their errors as far as the receiver can
        know it, ``[frames, C, n]``.
    """
    shape = (*mask.shape[1:], heard.features.shape[-1])
    unsent = jnp.broadcast_to(prior[0][:, None], shape[:2])
    news, errors = shrink(heard.features, heard.noise)

    def put(values: jax.Array, places: jax.Array, like: tuple[int, ...]) -> jax.Array:
        whole = jnp.zeros((shape[0] * shape[1], *values.shape[1:]))
        return whole.at[places].set(values, unique_indices=True).reshape(like)

    def frame(carry: tuple, inputs: tuple) -> tuple:
        (reference, reference_error), (shown, shown_error) = carry
        new, error, places, mask, lost, intra = inputs
        new, error = put(new, places, shape), put(error, places, shape[:2])
        before = jnp.where(intra, 0.0, reference)
        after = jnp.where(mask[..., None], on_grid(leak * before + new), before)
        stale = jnp.where(intra, 0.0, reference_error)
        after_error = jnp.where(mask, leak**2 * stale + error, jnp.where(intra, unsent, reference_error))
        shown = jnp.where(lost, shown, after)
        shown_error = jnp.where(lost, _AGEING * shown_error, after_error)
        kept = ~lost & intra if golden else ~lost
        reference = jnp.where(kept, after, reference)
        reference_error = jnp.where(kept, after_error, jnp.where(lost, _AGEING * reference_error, reference_error))
        return ((reference, reference_error), (shown, shown_error)), (shown, jnp.sqrt(shown_error))

    empty = jnp.zeros(shape), unsent
    _, out = jax.lax.scan(frame, (empty, empty), (news, errors, heard.places, mask, lost, intra))
    return out
