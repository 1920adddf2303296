"""What goes over a link, at which point, and what comes out of it."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.phy.numerics import require_at_least


class Sight(NamedTuple):
    """The line of sight between the base station's antennas and a UAV's.

    Attributes:
        position: Of the UAV as seen from the base station at the beginning, wavelengths, ``[batch, num_uavs, 3]``.
        velocity: Wavelengths a second; along the line of sight it is the Doppler shift in Hz. Same shape.
    """

    position: jax.Array
    velocity: jax.Array


class OperatingPoint(NamedTuple):
    """The traced numbers of a run: a new value compiles nothing anew.

    Attributes:
        snr_db: SNR under the link's convention, dB; scalar or ``[batch]``, and under the topologies
            ``"broadcast"`` and ``"mac"`` ``[batch, num_uavs]``.
        csi_error_var: Variance of the CSI error, linear, >= 0; scalar or ``[batch]``. Unused with pilots. The error is
            the receivers', but under topology ``"mu_mimo"`` the base station's.
        knobs: The scheme's own numbers by name (``Scheme.knobs``); one that is left out has its default.
        k_factor_db: Rician factor, dB, under the broadcast topology; shapes as ``snr_db``. None: the link's.
        max_doppler: Largest Doppler shift of native fading on a resource grid, Hz; likewise. None: the link's.
        sight: A :class:`Sight`, under Rician fading and the broadcast topology. None: lines of sight are drawn.
    """

    snr_db: Any = 10.0
    csi_error_var: Any = 0.0
    knobs: Mapping[str, Any] = {}
    k_factor_db: Any = None
    max_doppler: Any = None
    sight: Sight | None = None


def check_point(point: OperatingPoint) -> None:
    """Raises ``ValueError`` for numbers of a point that no link can have, as far as they are known."""
    lows = {"snr_db": -300.0, "csi_error_var": 0.0, "k_factor_db": -math.inf, "max_doppler": 0.0}
    for name, low in lows.items():
        if (value := getattr(point, name)) is not None:
            require_at_least(f"OperatingPoint.{name}", value, low)


class Frames(NamedTuple):
    """Frames of C symbols, the smallest thing that is sent or not.

    Attributes:
        symbols: ``[..., num_frames, C]`` complex; their amplitude is their power, 1 on average over what is sent. Of
            frames that are not sent they only serve the gradient of a hard decision.
        sent: ``[..., num_frames]`` bool; a frame that is not sent takes no slot.
    """

    symbols: jax.Array
    sent: jax.Array


class Signal(NamedTuple):
    """What the base station sends to a group of UAVs.

    Attributes:
        private: For one UAV each, ``[batch, num_uavs, num_frames, ...]``.
        public: For several UAVs, ``[batch, num_frames, ...]``; a UAV that hears public frame i has no private one
            there. None: no frame is public.
        audience: Who hears each public frame, ``[batch, num_uavs, num_frames]`` bool; None: all.
        soft: ``public.sent`` as float, ``[batch, num_frames]``, with the gradient of a soft decision; None: hard.
        turns: The frames in the order in which they are sent, ``[batch, num_uavs, num_frames]`` int32; None: as they
            stand.
        power: Of each private frame, ``[batch, num_uavs, num_frames]``, linear, > 0, which its receiver knows:
            ``sqrt(power)`` times the symbols, of power 1, go on air, and what is received is of the symbols. None: 1.
    """

    private: Frames
    public: Frames | None = None
    audience: jax.Array | None = None
    soft: jax.Array | None = None
    turns: jax.Array | None = None
    power: jax.Array | None = None

    @property
    def shared(self) -> jax.Array:
        """Where a UAV listens to the public frame, ``[batch, num_uavs, num_frames]`` bool (1 for all UAVs alike)."""
        if self.public is None:
            raise ValueError("Signal.shared: no frame is public")
        return heard_by(self.public.sent, self.audience)


class Received(NamedTuple):
    """What a UAV has of its frames after the equaliser, private or public, in the order of ``Signal.private``.

    Attributes:
        symbols: ``[batch, num_uavs, num_frames, C]`` complex.
        no_eff: What the receiver believes of their error variance, ``[batch, num_uavs, num_frames, C]``, linear.
    """

    symbols: jax.Array
    no_eff: jax.Array


def heard_by(frames: jax.Array, audience: jax.Array | None) -> jax.Array:
    """What ``frames [..., num_frames]`` (bool or float) say to the UAVs that hear them, 0 to the others.

    ``[..., num_uavs, num_frames]``, the shape of ``audience``; ``[..., 1, num_frames]`` where all hear them (None).
    """
    frames = frames[..., None, :]
    return frames if audience is None else frames * audience


def in_turn(frames: jax.Array, turns: jax.Array | None) -> jax.Array:
    """Puts frames, ``[batch, num_uavs, num_frames, ...]``, into the order in which they are sent."""
    if turns is None:
        return frames
    return jnp.take_along_axis(frames, turns.reshape(*turns.shape, *(1,) * (frames.ndim - 3)), axis=2)


def out_of_turn(frames: jax.Array, turns: jax.Array | None) -> jax.Array:
    """The inverse of :func:`in_turn`."""
    return frames if turns is None else in_turn(frames, jnp.argsort(turns, axis=-1))
