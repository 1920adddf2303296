"""A grid of operating points (SNR x CSI error) as one compiled program, over independent channel realisations.

All points of a realisation, and all schemes, share its draws (common random numbers): fading, CSI error and noise of
unit variance are drawn once and scaled per point, so that curves are smooth and differences between schemes paired.
Pictures and masks stay the same in all realisations: intervals over realisations speak of the channel, for this set of
pictures.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.evaluation import programs
from lvm_mtc.evaluation.any_link import AnySystem, measures_snr
from lvm_mtc.evaluation.programs import DrawShape, Items, SendProgram
from lvm_mtc.system import Ledger, LinkConfig, PictureCodecSystem

METRICS = ("psnr_db", "psnr_inside_db", "psnr_background_db", "ssim", "ssim_inside", "mse")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scheme:
    """A way to send pictures: a system with its parameters, and the two thresholds that are traced.

    Attributes:
        name: In tables and legends.
        system: The token system, or a codec for whole pictures.
        params: Its parameters.
        mask_prob: P_r in (0, 1); 0.5 chooses patches uniformly. A codec for whole pictures does not look at it.
        epsilon: Threshold of the token comparator, linear, >= 0; 0 shares nothing. Likewise.
        swept: Which of the two a sweep over them changes; the scheme keeps its own value of the other. ``()`` for a
            codec for whole pictures.
    """

    name: str
    system: AnySystem
    params: Any
    mask_prob: float = 0.25
    epsilon: float = 0.0
    swept: tuple[str, ...] = ("mask_prob", "epsilon")

    def __post_init__(self):
        if not 0.0 < self.mask_prob < 1.0:
            raise ValueError(f"Scheme.mask_prob must lie in (0, 1), got {self.mask_prob!r}")
        if not self.epsilon >= 0.0:
            raise ValueError(f"Scheme.epsilon must be >= 0, got {self.epsilon!r}")
        if self.swept and isinstance(self.system, PictureCodecSystem):
            raise ValueError(f"Scheme.swept must be () for a codec for whole pictures, which neither masks nor shares, "
                             f"got {self.swept!r}")


class GridResult(NamedTuple):
    """What one scheme did on one channel. R realisations, P points, B groups of K pictures.

    Attributes:
        scheme: The scheme.
        link: The channel.
        snr_db: ``[P]``, nominal, dB under ``link.convention``.
        csi_error_var: ``[P]``, linear.
        metrics: Name in ``METRICS`` to ``[R, P, B, K]`` float64; pictures are clipped to [0, 1] before.
        has_object: ``[B, K]`` bool, False where the view does not hold the object that is measured, and "inside" means
            nothing.
        realised_snr_db: ``[P]``, measured on the signals over all realisations, dB under ``link.convention``; None
            where it is not measured: with silent streams, several fading blocks or another topology than broadcast.
        ledger: What each group costs; every entry ``[B]``.
        public_share: ``[B]``, share of the token slots that are public.
        keep_rate_inside: ``[B, K]``, share of the patches in ``loc`` that were kept.
        keep_rate_outside: ``[B, K]``.
        mask: ``[B, K, num_patches]``, 1 = removed.
        pictures: ``[P, B, K, height, width, 3]`` uint8, received in the first realisation; None
            where they were dropped.
    """

    scheme: Scheme
    link: LinkConfig
    snr_db: np.ndarray
    csi_error_var: np.ndarray
    metrics: dict[str, np.ndarray]
    has_object: np.ndarray
    realised_snr_db: np.ndarray | None
    ledger: Ledger
    public_share: np.ndarray
    keep_rate_inside: np.ndarray
    keep_rate_outside: np.ndarray
    mask: np.ndarray
    pictures: np.ndarray | None


def run_grid(
    scheme: Scheme,
    images: np.ndarray,
    loc: np.ndarray,
    key: jax.Array,
    link: LinkConfig,
    *,
    snr_db: Sequence[float],
    csi_error_var: Sequence[float],
    num_realisations: int,
    metric_loc: np.ndarray | None = None,
    max_pictures: int = 32,
    progress: Callable[[], Any] = lambda: None,
) -> GridResult:
    """Sends pictures at every SNR and CSI error over independent channel realisations.

    Args:
        scheme: What is sent, and how.
        images: ``[B, K, height, width, 3]`` float in [0, 1], B groups of K UAVs' pictures.
        loc: The object's box, ``[B, K, 4]``, (x, y, w, h), centre, pixels; w or h of 0 where a view lacks the object.
        key: Equal keys give equal masks and channels to every scheme.
        link: The channel.
        snr_db: SNRs, dB under ``link.convention``.
        csi_error_var: Variances of the CSI error, linear; the points are the product with ``snr_db``, SNR fastest.
        num_realisations: Independent channel realisations.
        metric_loc: The box that "inside" and "background" are measured by, as ``loc``; None: ``loc``, by which the
            patches are chosen. It changes nothing of what is sent.
        max_pictures: Pictures that are in memory together; groups are never split.
        progress: Called after each realisation of each chunk.

    Returns:
        The result.

    Raises:
        ValueError: if there is no point, no realisation or no picture, ``metric_loc`` is of another shape than ``loc``,
            the scheme is a codec for whole pictures, which has no mask (see ``run_sweep``), or what the system refuses.
    """
    if isinstance(scheme.system, PictureCodecSystem):
        raise ValueError(f"run_grid shows which patches a scheme keeps, and {scheme.name!r} is a codec for whole "
                         "pictures: use run_sweep")
    snr_db, csi_error_var = np.atleast_1d(np.float64(snr_db)), np.atleast_1d(np.float64(csi_error_var))
    if not snr_db.size or not csi_error_var.size or num_realisations < 1 or not images.size:
        raise ValueError(
            f"run_grid needs SNRs, CSI errors, realisations and pictures, got {snr_db.size}, {csi_error_var.size}, "
            f"{num_realisations} and pictures of shape {images.shape}"
        )
    points = tuple(np.float32(a).ravel() for a in np.meshgrid(snr_db, csi_error_var))
    metric_loc = loc if metric_loc is None else np.asarray(metric_loc)
    if metric_loc.shape != loc.shape:
        raise ValueError(f"metric_loc {metric_loc.shape} must have the shape of loc {loc.shape}")
    chunks = []
    for index, (start, stop, size) in enumerate(chunks_of(images.shape[0], max(1, max_pictures // images.shape[1]))):
        take = np.minimum(np.arange(start, start + size), stop - 1)
        chunk_key = jax.random.fold_in(jax.random.clone(key), index)
        parts = images[take], loc[take], metric_loc[take]
        chunk = _run_chunk(scheme, *parts, chunk_key, link, points, num_realisations, progress)
        chunks.append((chunk, stop - start))
    return _join(scheme, link, points, metric_loc, chunks)


def chunks_of(num_groups: int, most: int) -> list[tuple[int, int, int]]:
    """Start, stop and common size of chunks of nearly equal length; the last one is padded to the size."""
    count = -(-num_groups // most)
    size = -(-num_groups // count)
    return [(start, min(start + size, num_groups), size) for start in range(0, num_groups, size)]


def _run_chunk(scheme, images, loc, metric_loc, key, link, points, num_realisations, progress):
    images, loc, metric_loc = (jnp.asarray(a, jnp.float32) for a in (images, loc, metric_loc))
    mask_key, channel_key = jax.random.split(key)
    encoded = programs.encode(scheme.system, scheme.params, images, loc, mask_key, jnp.float32(scheme.mask_prob))
    shape = DrawShape((link,), *images.shape[:2], ((encoded.tokens.shape[2], scheme.system.config.num_symbols),))
    program = SendProgram(system=scheme.system, links=(link,), metrics=METRICS, pictures=True)
    size = len(points[0])
    zeros = np.zeros(size, np.int32)
    items = Items(*points, epsilon=np.full(size, scheme.epsilon, np.float32), link=zeros, unit=zeros)
    found = []
    for realisation in range(num_realisations):
        draws = programs.draw(shape, jax.random.clone(channel_key), np.array([realisation], np.uint32))
        result = programs.send(program, scheme.params, encoded, images, metric_loc, draws, items)
        if realisation:
            result = result._replace(pictures=None)  # one realisation's are shown
        found.append(jax.device_get(result))
        progress()
    return jax.device_get(encoded), found


def _join(scheme: Scheme, link: LinkConfig, points, metric_loc: np.ndarray, chunks) -> GridResult:
    """Puts chunks together along B and drops their padding."""
    realised_snr = None
    if measures_snr(scheme.system, link):
        realised_snr = 10 * np.log10(np.mean([one.realised_snr for (_, found), _ in chunks for one in found], axis=0))

    def of_metric(name):
        parts = [np.stack([one.metrics[name][..., :count, :] for one in found]) for (_, found), count in chunks]
        return np.concatenate(parts, axis=-2).astype(np.float64)

    def of_group(*of_chunks):
        # What a group costs depends on the tokens alone, never on the point or the channel.
        return np.concatenate([np.asarray(a)[0, :count] for a, (_, count) in zip(of_chunks, chunks, strict=True)])

    def of_encoder(values):
        return np.concatenate([np.asarray(value)[:count] for value, (_, count) in zip(values, chunks, strict=True)])

    encoded = [chunk[0] for chunk, _ in chunks]
    return GridResult(
        scheme=scheme,
        link=link,
        snr_db=points[0].astype(np.float64),
        csi_error_var=points[1].astype(np.float64),
        metrics={name: of_metric(name) for name in METRICS},
        has_object=np.min(metric_loc[..., 2:], axis=-1) > 0,
        realised_snr_db=realised_snr,
        ledger=jax.tree.map(of_group, *(found[0].ledger for (_, found), _ in chunks)),
        public_share=of_group(*(found[0].public_share for (_, found), _ in chunks)),
        keep_rate_inside=of_encoder([e.keep_rate_inside for e in encoded]),
        keep_rate_outside=of_encoder([e.keep_rate_outside for e in encoded]),
        mask=of_encoder([e.kept.mask for e in encoded]),
        pictures=np.concatenate([found[0].pictures[:, :count] for (_, found), count in chunks], axis=1),
    )
