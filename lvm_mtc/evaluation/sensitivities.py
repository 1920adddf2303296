"""How much an end metric gains or loses from a small change of a number: gradients of the whole chain, with intervals.

What enters the chain smoothly is differentiated along the path, with the draws held fixed. P_r decides which patches
are kept, and no picture is a smooth function of that: there the gradient is that of the masks' probability.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.config import unknown_name_message
from lvm_mtc.evaluation import metrics, programs
from lvm_mtc.evaluation.intervals import Interval, student_interval
from lvm_mtc.evaluation.mask_likelihood import mask_log_likelihood
from lvm_mtc.models.masking import patches_in_box
from lvm_mtc.system import LinkConfig, OperatingPoint, System, draw_channel, uav_keys

METRICS = {"mse": metrics.mse, "psnr_db": metrics.psnr}
"""Name to metric of a picture; received pictures are clipped to [0, 1], as everywhere in the evaluation."""


def path_sensitivities(
    system: System,
    params: dict,
    images: jax.Array,
    loc: jax.Array,
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
    taken for fixed draws of unit variance (``draw_channel``), which theta scales: d E f / d theta = E d f / d theta.
    Pictures and masks are held fixed, and so is the comparator's decision about what is public.

    More power for one user is a higher ``snr_db`` of that user, nominal too: a transmitter that allocates power by the
    nominal SNR follows. It allocates public tokens' power by the worst user's SNR; where several are the worst, each
    bears an equal share of that derivative. The derivative by the common SNR is the sum over users.

    Args:
        system: The system.
        params: Its parameters.
        images: ``[batch, num_uavs, height, width, 3]`` in [0, 1].
        loc: Box that the masks follow, ``[batch, num_uavs, 4]``, ``(x, y, w, h)``, centre, pixels.
        key: Of masks and channels.
        link: The channel.
        point: Where the derivatives are taken.
        metric: Name in ``METRICS``.
        metric_loc: Box inside which the metric is taken, shape of ``loc``; None: the whole picture.
        num_units: Channel realisations, at least 2.
        level: Confidence level in (0, 1).

    Returns:
        Intervals of the derivative of the mean metric over all pictures, in the metric's unit per
        ``"snr_db"`` (dB, all users alike), ``"csi_error_std"`` (square root of ``csi_error_var``, linear; at 0 it is
        0, the mean being even in it; 0 with pilots) and, under the broadcast topology, ``"power_db"`` (dB,
        ``[num_uavs]``).

    Raises:
        ValueError: for an unknown metric, fewer than two units or a metric that is not finite, or as ``System``.
    """
    _check(metric, num_units)
    mask_key, channel_key = jax.random.split(key)
    images, loc, inside = _pictures(images, loc, metric_loc)
    encoded = programs.encode(system, params, images, loc, mask_key, jnp.asarray(point.mask_prob, jnp.float32))
    keys = jax.random.split(channel_key, num_units)
    of_power, of_std = _path_gradients(system, link, metric, params, encoded, images, inside, keys, _traced(point))
    of_power = _finite(metric, of_power)
    found = {"snr_db": student_interval(of_power.sum(axis=-1), level=level),
             "csi_error_std": student_interval(_finite(metric, of_std), level=level)}  # fmt: skip
    if link.topology == "broadcast":
        found["power_db"] = student_interval(of_power, level=level)
    return found


def mask_sensitivity(
    system: System,
    params: dict,
    images: jax.Array,
    loc: jax.Array,
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
        system: The system.
        params: Its parameters.
        images: As in ``path_sensitivities``, and so are the others.
        loc: Box that the masks follow.
        key: Of masks and channels.
        link: The channel.
        point: Where the derivative is taken.
        metric: Name in ``METRICS``.
        metric_loc: Box inside which the metric is taken.
        num_units: Channel realisations, at least 2.
        num_masks: Masks for each of them, at least 2.
        level: Confidence level in (0, 1).

    Returns:
        Interval of the derivative, in the metric's unit per unit of P_r.

    Raises:
        ValueError: as ``path_sensitivities``, or for fewer than two masks.
    """
    _check(metric, num_units)
    if num_masks < 2:
        raise ValueError(f"mask_sensitivity needs num_masks >= 2, one to be the other's baseline, got {num_masks!r}")
    if np.ndim(point.mask_prob):
        raise ValueError("mask_sensitivity needs one OperatingPoint.mask_prob for all pictures, got shape "
                         f"{np.shape(point.mask_prob)}")
    mask_key, channel_key = jax.random.split(key)
    images, loc, inside = _pictures(images, loc, metric_loc)
    keys = jax.random.split(channel_key, num_units), jax.random.split(mask_key, (num_units, num_masks))
    found = _mask_gradients(system, link, metric, params, images, loc, inside, keys, _traced(point))
    return student_interval(_finite(metric, found), level=level)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _path_gradients(system, link, metric, params, encoded, images, inside, keys, point):
    """Of each unit: with respect to every user's power, or the one SNR, ``[units, K or 1]``; and to the CSI error."""

    def of_unit(key):
        keys, draws = _draws(system, link, images, key, point)

        def value(power_db, std):
            moved = point._replace(
                snr_db=_raised(point.snr_db, power_db, link, images),
                csi_error_var=(jnp.sqrt(point.csi_error_var) + std) ** 2,
            )
            out = system.transmit(params, encoded, keys, link, moved, draws)
            return jnp.mean(_measure(metric, images, out.images_hat, inside))

        users = images.shape[1] if link.topology == "broadcast" else 1
        return jax.grad(value, argnums=(0, 1))(jnp.zeros(users), jnp.zeros(()))

    return jax.lax.map(of_unit, keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _mask_gradients(system, link, metric, params, images, loc, inside, keys, point):
    """Of each unit, ``[units]``."""
    config = system.config
    owned = patches_in_box(loc, images.shape[2:4], config.patch_size)

    def score(mask):
        def log_likelihood(mask_prob):
            options = dict(masking=config.masking, capacity=config.capacity)
            return mask_log_likelihood(mask, owned, mask_prob, **options).sum(axis=-1)

        return jax.jacfwd(log_likelihood)(point.mask_prob)

    def of_unit(keys):
        channel_key, mask_keys = keys
        channel_keys, draws = _draws(system, link, images, channel_key, point)

        def of_mask(key):
            encoded = system.encode(params, images, loc, key, point)
            out = system.transmit(params, encoded, channel_keys, link, point, draws)
            return _measure(metric, images, out.images_hat, inside).mean(axis=-1), score(encoded.kept.mask)

        value, of_value = jax.lax.map(of_mask, mask_keys)  # [masks, batch]
        # A metric less the mean of the others is M / (M - 1) times that less the mean of all.
        above = (value - value.mean(axis=0, keepdims=True)) * (len(mask_keys) / (len(mask_keys) - 1))
        return jnp.mean(above * of_value)

    return jax.lax.map(of_unit, keys)


def _draws(system, link, images, key, point):
    """A key for each UAV, and what ``draw_channel`` makes of them."""
    keys = uav_keys(key, images.shape[1])
    size = system.config.capacity, system.config.num_symbols
    return keys, draw_channel(jax.random.clone(keys), link, images.shape[0], *size, point)


def _raised(snr_db, power_db, link, images):
    """``snr_db`` in a shape that the link takes, plus the users' power."""
    if link.topology != "broadcast":
        return snr_db + power_db[0]
    snr_db = snr_db[:, None] if snr_db.ndim == 1 else snr_db
    return jnp.broadcast_to(snr_db, images.shape[:2]) + power_db[None]


def _measure(metric, images, images_hat, inside):
    """Of each picture, ``[batch, num_uavs]``."""
    return METRICS[metric](images, jnp.clip(images_hat, 0.0, 1.0), inside)


def _check(metric: str, num_units: int) -> None:
    if metric not in METRICS:
        raise ValueError(unknown_name_message(f"metric {metric!r}", metric, METRICS))
    if num_units < 2:
        raise ValueError(f"a sensitivity needs num_units >= 2, got {num_units!r}")


def _pictures(images, loc, metric_loc):
    images, loc = jnp.asarray(images, jnp.float32), jnp.asarray(loc, jnp.float32)
    if metric_loc is None:
        return images, loc, None
    return images, loc, metrics.box_mask(jnp.asarray(metric_loc, jnp.float32), *images.shape[2:4])


def _traced(point: OperatingPoint) -> OperatingPoint:
    return OperatingPoint(*(None if value is None else jnp.asarray(value, jnp.float32) for value in point))


def _finite(metric: str, gradients) -> np.ndarray:
    gradients = np.asarray(gradients, np.float64)
    if not np.isfinite(gradients).all():
        raise ValueError(f"the gradient of {metric} is not finite: pictures or parameters are not, or a picture arrives"
                         " without error")
    return gradients
