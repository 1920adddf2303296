"""A scheme over the points of a constellation: another scheme makes the symbols, each is sent as the point next to it.

The receiver takes the posterior of the points, knowing how often each is used and what symbols lie around it. The other
scheme's receiver gets its moments in the form that it knows, as an equalised symbol and its error variance.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lvm_mtc.config import to_dict
from lvm_mtc.link import Frames, LinkConfig, OperatingPoint, Received
from lvm_mtc.models.receivers import GAIN_BITS, as_sent
from lvm_mtc.phy.constellation import NUM_POINTS, apsk_points, nearest_point, posterior
from lvm_mtc.phy.mimo import UNBIASED
from lvm_mtc.schemes import make_scheme, name_of
from lvm_mtc.schemes.losses import picture_loss
from lvm_mtc.schemes.scheme import Estimate, Knob, Scheme, Sent, Source, Stage, check_link

_LEAST_VARIANCE = 1e-9
_LEAST_KNOWN = 1e-4


class _Fields(dict):
    """Fields of a configuration, which do not change."""

    def __hash__(self):
        return hash(json.dumps(self, sort_keys=True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConstellationConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        scheme: What makes the symbols, a name in ``schemes.SCHEMES``, or ``"module:class"``.
        config: Its configuration, as fields.
        num_points: K, in ``phy.constellation.NUM_POINTS``.
    """

    scheme: str = "token2"
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    num_points: int = 64

    def __post_init__(self):
        if self.num_points not in NUM_POINTS:
            known = ", ".join(map(str, NUM_POINTS))
            raise ValueError(f"{type(self).__name__}.num_points must be one of {known}, got {self.num_points!r}")
        inner = make_scheme(self.scheme, self.config, where="ConstellationConfig.config")
        if getattr(inner, "per_uav", ()):
            raise ValueError("ConstellationConfig.config must not have UAVs with parameters of their own")
        object.__setattr__(self, "config", _Fields(to_dict(inner.config)))


@dataclasses.dataclass(frozen=True)
class Constellation:
    """Another scheme's symbols as points of a constellation, over any link with an unbiased equaliser.

    Parameters are ``{"scheme": those of the other, "book": ...}``. The book has ``points`` ``[K, 2]`` (real and
    imaginary part, in the scale of the other's symbols), ``log_use`` ``[K]``, the logarithm of how often each is sent,
    and of the symbols that it stands for the mean, ``means`` ``[K, 2]``, and the variance, ``spread`` ``[K]``. All of
    it belongs to the codec, so nothing of it is side information. ``training.constellation`` fits it.

    Attributes:
        config: Shapes.
    """

    config: ConstellationConfig
    reports: ClassVar[tuple[str, ...]] = ()

    @property
    def inner(self) -> Scheme:
        """What makes the symbols."""
        return make_scheme(self.config.scheme, self.config.config)

    @property
    def modality(self) -> str:
        """That of the other scheme."""
        return self.inner.modality

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """Those of the other scheme."""
        return self.inner.knobs

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Draws the other's parameters; the points lie on rings and are used alike."""
        count, points = self.config.num_points, jnp.asarray(apsk_points(self.config.num_points))
        pairs = jnp.stack([points.real, points.imag], -1).astype(float)
        book = {"points": pairs, "log_use": jnp.full(count, -jnp.log(float(count))), "means": pairs}
        return {"scheme": self.inner.init(key, num_uavs), "book": book | {"spread": jnp.zeros(count)}}

    def frames(self) -> tuple[int, int]:
        """Those of the other scheme."""
        return self.inner.frames()

    def check_link(self, link: LinkConfig) -> None:
        """``ValueError`` unless what the equaliser gives is a point in noise, as the posterior takes it to be."""
        if link.equalizer not in UNBIASED:
            raise ValueError(
                f"LinkConfig.equalizer {link.equalizer!r} does not go with scheme {name_of(self)!r}, whose receiver "
                f"expects x_hat = point + error of variance no_eff; use one of {', '.join(UNBIASED)}"
            )
        check_link(self.inner, link)

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Any:
        """As the other scheme does."""
        return self.inner.encode(params["scheme"], source, key, knobs)

    def modulate(self, params: dict, encoded: Any, point: OperatingPoint) -> Sent:
        """Points of average power exactly 1 over each picture, or each group of UAVs with public frames.

        The gain that makes them so is side information of 16 bits a UAV. Gradients pass a decision as if it were the
        identity, and reach the points that were chosen.
        """
        sent = self.inner.modulate(params["scheme"], encoded, point)
        points, signal = complex_of(params["book"]["points"]), sent.signal
        private = choose_points(signal.private, points)
        public = None if signal.public is None else choose_points(signal.public, points)
        gain = _unit_gain(private, public)
        private = private._replace(symbols=private.symbols * gain[..., None, None])
        if public is not None:
            public = public._replace(symbols=public.symbols * gain[:, 0, None, None])
        lead = private.symbols.shape[:2]
        side = (jnp.broadcast_to(as_sent(gain), lead), sent.side)
        bits = sent.side_bits + GAIN_BITS * lead[1]
        return Sent(signal._replace(private=private, public=public), side, bits, sent.tells)

    def decode(self, params: dict, received: Received, side: Any, point: OperatingPoint) -> Estimate:
        """What the other scheme makes of the symbols' posterior moments; ``side``: the gains, and the other's side."""
        gain, of_inner = side
        gain, book = gain[..., None, None], params["book"]
        symbols, noise = received.symbols / gain, received.no_eff / gain**2
        likely = posterior(symbols, noise, complex_of(book["points"]), book["log_use"])
        return self.inner.decode(params["scheme"], as_equalized(*moments(likely, book)), of_inner, point)

    def stages(self) -> tuple[Stage, ...]:
        """The other's stages from end to end; what learns in them, and the book."""
        return tuple(
            stage._replace(trainable=_with_book(stage.trainable))
            for stage in self.inner.stages()
            if stage.loss is picture_loss
        )


def choose_points(frames: Frames, points: jax.Array) -> Frames:
    """Frames of the points next to the symbols.

    The gradient passes to the symbols as it is, and to the points that are chosen, with the decisions held: a soft
    decision's gradient would draw points together.
    """
    chosen = points[nearest_point(jax.lax.stop_gradient(frames.symbols), points)]
    return frames._replace(symbols=chosen + frames.symbols - jax.lax.stop_gradient(frames.symbols))


def moments(likely: jax.Array, book: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of symbols whose points have the probabilities ``likely`` ``[..., K]``: each ``[...]``."""
    means = book["means"]
    columns = jnp.concatenate([means, (jnp.sum(means**2, -1) + book["spread"])[:, None]], axis=-1)
    real, imaginary, square = jnp.moveaxis(likely @ columns, -1, 0)
    return jax.lax.complex(real, imaginary), jnp.maximum(square - real**2 - imaginary**2, _LEAST_VARIANCE)


def as_equalized(mean: jax.Array, variance: jax.Array) -> Received:
    """The equalised symbol and its error variance behind which a Gaussian symbol has these moments.

    Its power is 1, or what the moments say where that is more: symbols of a scheme may be of unequal power.
    """
    power = jnp.maximum(1, jnp.real(mean) ** 2 + jnp.imag(mean) ** 2 + variance)
    known = jnp.maximum(1 - variance / power, _LEAST_KNOWN)
    return Received(mean / known, variance / known)


def complex_of(pairs: jax.Array) -> jax.Array:
    """Pairs of real and imaginary part, ``[K, 2]``, as complex numbers ``[K]``."""
    return jax.lax.complex(pairs[:, 0], pairs[:, 1])


def _unit_gain(private: Frames, public: Frames | None) -> jax.Array:
    """What gives the symbols that are sent power 1: ``[batch, num_uavs]``, or ``[batch, 1]`` with public frames."""
    power, count = _power_and_count(private)
    if public is not None:
        more = _power_and_count(public)
        power, count = (a.sum(1, keepdims=True) + b[:, None] for a, b in zip((power, count), more, strict=True))
    gain = jnp.sqrt(count / jnp.where(power > 0, power, 1))
    return jnp.where((power > 0) & (count > 0), jnp.minimum(gain, float(jnp.finfo(jnp.float16).max)), 1)


def _power_and_count(frames: Frames) -> tuple[jax.Array, jax.Array]:
    squares = jnp.real(frames.symbols) ** 2 + jnp.imag(frames.symbols) ** 2
    sent = frames.sent.astype(squares.dtype)
    return jnp.sum(squares.sum(-1) * sent, -1), sent.sum(-1) * frames.symbols.shape[-1]


def _with_book(trainable: Callable[[str], bool] | None) -> Callable[[str], bool] | None:
    if trainable is None:
        return None
    return lambda name: name.startswith("book/") or trainable(name.removeprefix("scheme/"))
