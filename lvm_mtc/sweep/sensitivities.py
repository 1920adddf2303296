"""How much an end metric gains or loses from a small change of a number: gradients of the whole chain, with intervals.

What enters the chain smoothly is differentiated along the path, with the draws held fixed. P_r decides which patches
are kept, and no picture is a smooth function of that: there the gradient is that of the masks' probability.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import link as links_room
from lvm_mtc.config import unknown_name_message
from lvm_mtc.link import LinkConfig, OperatingPoint, uav_keys
from lvm_mtc.metrics import pictures as metrics
from lvm_mtc.models.patches import patches_in_box
from lvm_mtc.results.intervals import Interval, student_interval
from lvm_mtc.schemes import simulate
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Scheme, Source
from lvm_mtc.sweep import programs
from lvm_mtc.sweep.mask_likelihood import mask_log_likelihood

METRICS = {"mse": metrics.mse, "psnr_db": metrics.psnr}
"""Name to metric of a picture; received pictures are clipped to [0, 1], as everywhere in the evaluation."""


def path_sensitivities(
    scheme: Scheme,
    params: dict,
    source: Source,
    key: jax.Array,
    link: LinkConfig,
    point: OperatingPoint,
    *,
    metric: str = "psnr_db",
    metric_loc: jax.Array | None = None,
    num_units: int = 32,
    level: float = 0.95,
) -> dict[str, Interval]:
    r"""Derivatives of the mean metric with respect to SNR, CSI error and each user's power.

    A unit is a channel realisation, ``f(theta; H, E, N)`` the mean metric of all pictures over it. The derivative is
    taken for fixed draws of unit variance (``link.draw``), which theta scales: d E f / d theta = E d f / d theta.
    Pictures and masks are held fixed, and so is the comparator's decision about what is public.

    More power for one user is a higher ``snr_db`` of that user, nominal too: a transmitter that allocates power by the
    nominal SNR follows. It allocates public tokens' power by the worst user's SNR; where several are the worst, each
    bears an equal share of that derivative. The derivative by the common SNR is the sum over users.

    Args:
        source: Pictures ``[batch, num_uavs, height, width, 3]`` in [0, 1], with the hints that the scheme wants.
        key: Of masks and channels.
        metric: Name in ``METRICS``.
        metric_loc: Box inside which the metric is taken, ``[batch, num_uavs, 4]``; None: the whole picture.
        num_units: Channel realisations, at least 2.

    Returns:
        Intervals of the derivative of the mean metric over all pictures, in the metric's unit per
        ``"snr_db"`` (dB, all users alike), ``"csi_error_std"`` (square root of ``csi_error_var``, linear; at 0 it is
        0, the mean being even in it; 0 with pilots) and, under the broadcast topology, ``"power_db"`` (dB,
        ``[num_uavs]``).
    """
    source, inside, point = _checked(scheme, source, point, metric, metric_loc, num_units)
    mask_key, channel_key = jax.random.split(key)
    early = {name: point.knobs[name] for name, knob in scheme.knobs.items() if knob.early}
    encoded = programs.encode(scheme, params, source, mask_key, early)
    keys = jax.random.split(channel_key, num_units)
    of_power, of_std = _path_gradients(scheme, link, metric, params, encoded, source.data, inside, keys, point)
    of_power, of_std = _finite(metric, of_power), _finite(metric, of_std)
    derivatives = {"snr_db": of_power.sum(axis=-1), "csi_error_std": of_std}
    derivatives |= {"power_db": of_power} if link.topology == "broadcast" else {}
    return {name: student_interval(values, level=level) for name, values in derivatives.items()}


def mask_sensitivity(
    scheme: LvmMtc,
    params: dict,
    source: Source,
    key: jax.Array,
    link: LinkConfig,
    point: OperatingPoint,
    *,
    metric: str = "psnr_db",
    metric_loc: jax.Array | None = None,
    num_units: int = 32,
    num_masks: int = 4,
    level: float = 0.95,
) -> Interval:
    r"""Derivative of the mean metric with respect to P_r, ``mask_prob``.

    Score function with a leave-one-out baseline: ``d E f / d P_r = E (f_m - b_m) d log p(mask_m; P_r) / d P_r``, where
    ``b_m`` is the mean of the other masks' metrics over the same channel. It has mean 0 against the score, so it takes
    variance away and adds no bias. Each group of UAVs has its own masks, metric and baseline.

    A unit is a channel realisation with ``num_masks`` masks of its own. The noise is that of masks, and often large:
    raise ``num_units`` until the interval is short enough.

    Source: Williams (1992), Simple statistical gradient-following algorithms; Kool, van Hoof, Welling (2019), Buy 4
    REINFORCE samples, get a baseline for free.

    Args:
        source: As in ``path_sensitivities``, and so are the others; with the hint ``"loc"``.
        num_masks: Masks for each channel realisation, at least 2.

    Returns:
        Interval of the derivative, in the metric's unit per unit of P_r.
    """
    source, inside, point = _checked(scheme, source, point, metric, metric_loc, num_units)
    if num_masks < 2:
        raise ValueError(f"mask_sensitivity needs num_masks >= 2, one to be the other's baseline, got {num_masks!r}")
    if shape := point.knobs["mask_prob"].shape:
        raise ValueError(f"mask_sensitivity needs one mask_prob for all pictures, got shape {shape}")
    mask_key, channel_key = jax.random.split(key)
    keys = jax.random.split(channel_key, num_units), jax.random.split(mask_key, (num_units, num_masks))
    gradients = _mask_gradients(scheme, link, metric, params, source, inside, keys, point)
    return student_interval(_finite(metric, gradients), level=level)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _path_gradients(scheme, link, metric, params, encoded, images, inside, keys, point):
    """Of each unit: with respect to every user's power, or the one SNR, ``[units, K or 1]``; and to the CSI error."""

    def of_unit(key):
        draws = _draws(scheme, link, images, key, point)

        def value(power_db, std):
            variance = (jnp.sqrt(point.csi_error_var) + std) ** 2
            moved = point._replace(
                snr_db=_raised(point.snr_db, power_db, link, images),
                csi_error_var=jnp.where(point.csi_error_var > 0, variance, 0),  # the slope of the link is NaN at 0
            )
            out = simulate.transmit(scheme, params, encoded, (link,), (draws,), moved)
            return jnp.mean(_measure(metric, images, out.estimate.data, inside))

        users = images.shape[1] if link.topology == "broadcast" else 1
        return jax.grad(value, argnums=(0, 1))(jnp.zeros(users), jnp.zeros(()))

    return jax.lax.map(of_unit, keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _mask_gradients(scheme, link, metric, params, source, inside, keys, point):
    """Of each unit, ``[units]``."""
    config, images = scheme.config, source.data
    owned = patches_in_box(source.hints["loc"], images.shape[2:4], config.patch_size)

    def score(mask):
        def log_likelihood(mask_prob):
            options = dict(masking=config.masking, capacity=config.capacity)
            return mask_log_likelihood(mask, owned, mask_prob, **options).sum(axis=-1)

        return jax.jacfwd(log_likelihood)(point.knobs["mask_prob"])

    def of_unit(keys):
        channel_key, mask_keys = keys
        draws = _draws(scheme, link, images, channel_key, point)

        def of_mask(key):
            encoded = simulate.encode(scheme, params, source, key, point.knobs)
            out = simulate.transmit(scheme, params, encoded, (link,), (draws,), point)
            return _measure(metric, images, out.estimate.data, inside).mean(axis=-1), score(encoded.kept.mask)

        value, of_value = jax.lax.map(of_mask, mask_keys)  # [masks, batch]
        # A metric less the mean of the others is M / (M - 1) times that less the mean of all.
        above = (value - value.mean(axis=0, keepdims=True)) * (len(mask_keys) / (len(mask_keys) - 1))
        return jnp.mean(above * of_value)

    return jax.lax.map(of_unit, keys)


def _draws(scheme, link, images, key, point):
    return links_room.draw(link, uav_keys(key, images.shape[1]), images.shape[0], *scheme.frames(), point)


def _raised(snr_db, power_db, link, images):
    """``snr_db`` in a shape that the link takes, plus the users' power."""
    if link.topology != "broadcast":
        return snr_db + power_db[0]
    snr_db = snr_db[:, None] if snr_db.ndim == 1 else snr_db
    return jnp.broadcast_to(snr_db, images.shape[:2]) + power_db[None]


def _measure(metric, images, images_hat, inside):
    """Of each picture, ``[batch, num_uavs]``."""
    return METRICS[metric](images, jnp.clip(images_hat, 0.0, 1.0), inside)


def _checked(scheme: Scheme, source: Source, point: OperatingPoint, metric: str, metric_loc, num_units: int):
    """Source, the metric's box and point as arrays of float32, with every knob."""
    if metric not in METRICS:
        raise ValueError(unknown_name_message(f"metric {metric!r}", metric, METRICS))
    if num_units < 2:
        raise ValueError(f"a sensitivity needs num_units >= 2, got {num_units!r}")
    given = source, metric_loc, point._replace(knobs=simulate.all_knobs(scheme, point.knobs))
    source, box, point = jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), given)
    return source, None if box is None else metrics.box_mask(box, *source.data.shape[2:4]), point


def _finite(metric: str, gradients) -> np.ndarray:
    gradients = np.asarray(gradients, np.float64)
    if not np.isfinite(gradients).all():
        reasons = "pictures or parameters are not, or a picture arrives without error"
        raise ValueError(f"the gradient of {metric} is not finite: {reasons}")
    return gradients
