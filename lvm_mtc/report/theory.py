"""Analytic mean squared error after detection, to be laid over the simulated one of a store."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, OperatingPoint, SingleCarrier, Slots, error_exponent, noise_variance


class Analytic(NamedTuple):
    """Mean squared error after detection, per symbol of power 1, linear, ``[num_points]``, averaged over channels.

    The standard error is NaN where the variance is infinite.
    """

    mse: np.ndarray
    standard_error: np.ndarray
    num_channels: int


def post_detection_mse(
    link: LinkConfig,
    snr_db: Sequence[float],
    csi_error_var: Sequence[float],
    *,
    num_channels: int = 4096,
    seed: int = 0,
) -> Analytic:
    """E ||x_hat - x||^2 / num_tx_ant over channels and channel estimates, without sending a symbol.

    Whatever its equaliser and its channel estimate, the receiver is linear, x_hat = G y. Sent nothing and hearing one
    antenna at a time, it tells the columns of its G. Given H and G the error is ||G H - I||_F^2 + no ||G||_F^2
    (``phy.post_detection_mse``), with E[x x^H] = I; the mean over H and its estimate is taken over draws that all
    points share. Under AWGN with perfect CSI there is nothing to average, and the result is exact.

    It is to be compared with ``nmse_symbols``, the error over the power of the symbols that were sent, all of them
    together. Streams of a learned codec are neither equally strong nor uncorrelated; under fading that looks the same
    from every direction, and with one symbol after the other on all streams in turn, that changes no mean.

    Args:
        link: The channel: broadcast topology, single carrier. A block's length changes nothing.
        snr_db: dB under the link's convention, ``[num_points]``.
        csi_error_var: Linear, ``[num_points]``; unused with pilots.
        num_channels: Channels to average over, >= 2.

    Raises:
        ValueError: for another topology or a resource grid, and where the mean is infinite.
    """
    if link.topology != "broadcast" or type(link.carrier) is not SingleCarrier:
        raise ValueError(
            f"the analytic error is that of the broadcast topology on a single carrier, got topology "
            f"{link.topology!r}, carrier {type(link.carrier).__name__}, fading {link.fading!r}"
        )
    exponent = error_exponent(link)
    if exponent <= 1:
        raise ValueError(
            f"the mean error of the {link.equalizer} equaliser is infinite with num_rx_ant={link.num_rx_ant}, "
            f"num_tx_ant={link.num_tx_ant} under {link.label}: deep fades decide it; equaliser 'paper' has a finite one"
        )
    points = jnp.float32(snr_db), jnp.float32(csi_error_var)
    link = dataclasses.replace(link, carrier=dataclasses.replace(link.carrier, block_length=None))
    errors = np.float64(_over_channels(link, num_channels, jax.random.key(seed), points))
    spread = errors.std(axis=-1, ddof=1) if exponent > 2 else np.full(len(errors), np.nan)
    return Analytic(errors.mean(axis=-1), spread / np.sqrt(num_channels), num_channels)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _over_channels(link: LinkConfig, num_channels: int, key: jax.Array, points) -> jax.Array:
    """``[num_points, num_channels]``."""
    num_rx_ant, num_tx_ant = link.num_rx_ant, link.num_tx_ant
    keys = jax.random.split(key, 1)
    draws = link.carrier.draw(link, keys, num_channels, num_rx_ant, num_rx_ant, OperatingPoint())
    probes = jnp.broadcast_to(jnp.eye(num_rx_ant, dtype=draws.noise.dtype), draws.noise.shape)
    nothing = jnp.zeros((num_channels, 1, num_rx_ant, num_tx_ant), draws.noise.dtype)

    def of_point(point):
        at = OperatingPoint(snr_db=point[0], csi_error_var=point[1])
        no = noise_variance(link, at)
        out = link.carrier.send(link, Slots(nothing), draws._replace(noise=probes), at)
        # The link scales the probes by sqrt(no), as it does noise.
        g = jnp.swapaxes(out.x_hat[:, 0], -1, -2) / jnp.sqrt(no)
        h = out.h[:, 0, 0]
        h = h[..., None] * jnp.eye(num_tx_ant, dtype=h.dtype)[None] if link.is_awgn else h
        return jnp.mean(phy.post_detection_mse(g, h, no), axis=-1)

    return jax.lax.map(of_point, points)
