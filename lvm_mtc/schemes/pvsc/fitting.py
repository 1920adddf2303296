"""The linear codec from training clips: components, how often chunks are sent, their energies, the leak."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import link as links_room
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.pca import fit_patches
from lvm_mtc.schemes import simulate
from lvm_mtc.schemes.pvsc import bitmap
from lvm_mtc.schemes.scheme import Source

LEAK_SNR_DB = (0.0, 5.0, 10.0, 15.0, 20.0)
"""SNRs of ``params["leak"]``; between them it is interpolated."""
LEAKS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
_RATES = (1.0, 0.5, 0.25)
_USUAL_LEAK = 0.85
_CLIPS = 44


def plain(size: int, features: int) -> dict:
    """Parameters that know of no clip, for patches of ``size`` numbers."""
    return {
        "linear": {"mean": jnp.full(size, 0.45), "basis": jnp.eye(size)},
        "energy": jnp.zeros((2, features)),
        "bitmap": jnp.zeros(bitmap.SHAPE),
        "leak": jnp.full(len(LEAK_SNR_DB), _USUAL_LEAK),
    }


def fit(scheme: Any, clips: np.ndarray, seed: int) -> dict:
    """Parameters of the linear codec.

    Args:
        scheme: ``Pvsc`` without a network.
        clips: ``[num, frames, height, width, 3]`` uint8.
        seed: Of the crops, and of the noise by which the leak is chosen.

    Returns:
        ``linear``: ``mean``, ``basis``; ``energy [2, C]``, log2 of what a sent chunk of each feature has in intra and
        other frames; ``bitmap``; ``leak``.
    """
    c = scheme.config
    pca = fit_patches(clips.reshape(-1, *clips.shape[2:]), min(c.size), 8, seed)
    params = scheme.init(jax.random.key(seed))
    params["linear"] = {"mean": np.float32(pca.mean), "basis": np.float32(pca.basis)}
    source = Source(cut(clips, c, seed)[:, None])
    encode = jax.jit(lambda params, source, rate: simulate.encode(
        scheme, params, source, jax.random.key(seed), {"rate": rate}))  # fmt: skip
    encoded = [jax.device_get(encode(params, source, rate)) for rate in _RATES]
    kind = np.arange(c.num_frames) % c.gop != 0
    masks = np.concatenate([e.mask.reshape(-1, *e.mask.shape[3:]) for e in encoded])
    kinds = np.tile(kind, len(masks) // c.num_frames).astype(np.int32)
    params["bitmap"] = np.float32(bitmap.fit_model(masks, kinds))
    log_energy = [np.log2(np.mean((e.features - _USUAL_LEAK * e.reference) ** 2, -1) + 1e-9) for e in encoded]
    log_energy = np.concatenate([a.reshape(-1, *masks.shape[1:]) for a in log_energy])
    params["energy"] = _energies(log_energy, masks, kinds)
    params = jax.tree.map(jnp.asarray, params)
    return params | {"leak": _best_leak(scheme, params, source, encoded[0], seed)}


def cut(clips: np.ndarray, config: Any, seed: int) -> np.ndarray:
    """Pieces at random of training clips, ``[pieces, frames, height, width, 3]`` float32 in [0, 1]."""
    rng, pieces = np.random.default_rng(seed), []
    for i in range(_CLIPS):
        clip = clips[i % len(clips)]
        room = [have - want for have, want in zip(clip.shape[:3], (config.num_frames, *config.size), strict=True)]
        if min(room) < 0:
            wanted = f"PvscConfig.num_frames {config.num_frames} of PvscConfig.size {config.size}"
            raise ValueError(f"training clips of shape {clip.shape} are smaller than {wanted}")
        first, top, left = (int(rng.integers(0, r + 1)) for r in room)
        piece = clip[first : first + config.num_frames, top : top + config.size[0], left : left + config.size[1]]
        pieces.append(piece)
    return np.asarray(pieces, np.float32) / 255


def _energies(log_energy: np.ndarray, masks: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Mean log2 energy of the sent chunks by kind of frame and feature, ``[2, C]``.

    Every frame's mean is taken off first, as amplitudes are relative; features that were hardly sent have what falls
    on with their number.
    """
    count = np.maximum(masks.sum((1, 2), keepdims=True), 1)
    centred = np.where(masks, log_energy - (log_energy * masks).sum((1, 2), keepdims=True) / count, 0.0)
    overall = [(log_energy * masks)[kinds == k].sum() / max(masks[kinds == k].sum(), 1) for k in (0, 1)]
    table, features = np.zeros((2, masks.shape[1])), np.log2(np.arange(masks.shape[1]) + 1.0)
    for k in (0, 1):
        own = masks[kinds == k].sum((0, 2))
        if not own.any():
            continue
        mean = centred[kinds == k].sum((0, 2)) / np.maximum(own, 1)
        line = np.polyfit(features, mean, 1, w=np.sqrt(own))
        table[k] = (own * mean + 20 * np.polyval(line, features)) / (own + 20) + overall[k]
    return np.asarray(table, np.float32)


def _best_leak(scheme: Any, params: dict, source: Source, encoded: Any, seed: int) -> jax.Array:
    """The leak of the least error at each SNR over AWGN, of ``LEAKS``."""
    link, lead = LinkConfig(fading="awgn"), source.lead()
    draws = links_room.draw(link, jax.random.split(jax.random.key(seed), 1), lead[0], *scheme.frames())

    @jax.jit
    def error(params, encoded, source, leak, snr_db):
        own = params | {"leak": jnp.full(params["leak"].shape, leak)}
        out = simulate.transmit(scheme, own, encoded, (link,), (draws,), OperatingPoint(snr_db=snr_db))
        return jnp.log(jnp.mean((out.estimate.data - source.data) ** 2, axis=(-3, -2, -1))).mean()

    def best(snr_db: float) -> float:
        return min(LEAKS, key=lambda leak: float(error(params, encoded, source, leak, snr_db)))

    return jnp.asarray([best(snr_db) for snr_db in LEAK_SNR_DB])
