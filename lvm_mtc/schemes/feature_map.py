"""Codecs for whole pictures whose feature map is sent, every position of it a frame: what DeepJSCC and WITT share.

A scheme takes these functions for its methods. Its ``codec`` is a Flax module with ``encode`` (blind to the SNR),
``modulate`` and ``decode``, its ``config`` has ``image_size``, ``num_symbols`` and ``receiver``:

* ``"shrunk"``: features / (1 + no_eff), no parameters;
* ``"log_no_eff"``: the features and the logarithm of no_eff, side by side;
* ``"wiener"``: features in the scale in which the encoder made them (each picture's gain is sent as 16 bits of side
  information) times p / (p + noise), with p the learned power of each feature.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal, per_link
from lvm_mtc.models.receivers import GAIN_BITS, RECEIVERS, as_sent, unit_power, wiener
from lvm_mtc.phy.numerics import require_given
from lvm_mtc.schemes.losses import IMAGE_LOSSES, picture_loss
from lvm_mtc.schemes.scheme import Estimate, Sent, Source, Stage


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureMapConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        codecs: Name to the function that makes a codec of ``num_features``.
        codec: One of the names.
        image_size: Side of the square pictures, pixels.
        num_symbols: Complex symbols at each position of the feature map.
        receiver: How the decoder learns of the noise.
    """

    codecs: ClassVar[Mapping[str, Callable[..., Any]]] = {}
    codec: str
    image_size: int = 32
    num_symbols: int = 16
    receiver: str = "wiener"

    def __post_init__(self):
        owner = type(self).__name__
        require_one_of(owner, "codec", self.codec, tuple(self.codecs))
        require_one_of(owner, "receiver", self.receiver, RECEIVERS)
        for field in ("image_size", "num_symbols"):
            require_count(owner, field, getattr(self, field))
        reduction = self.codecs[self.codec](num_features=2 * self.num_symbols).reduction
        if self.image_size % reduction:
            raise ValueError(
                f"{owner}.image_size {self.image_size} is no multiple of the {reduction} pixels of a position of codec "
                f"{self.codec!r}"
            )


@property
def codec(self) -> Any:
    """The codec's module."""
    return self.config.codecs[self.config.codec](num_features=2 * self.config.num_symbols)


@functools.partial(jax.jit, static_argnames=("self", "num_uavs"))
def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
    """Draws parameters, which all UAVs share: ``encoder``, ``decoder`` and, for ``"wiener"``, ``receiver``."""
    config, codec = self.config, self.codec
    keys = jax.random.split(phy.stream_key(key, phy.Stream.INIT))
    images, snr_db = jnp.zeros((1, config.image_size, config.image_size, 3)), jnp.zeros(1)
    encoder = codec.init(keys[0], images, snr_db)["params"]
    features = jax.eval_shape(lambda: codec.apply({"params": encoder}, images, snr_db))
    params = {"encoder": encoder}
    if config.receiver == "wiener":
        params["receiver"] = {"log_power": jnp.zeros(2 * config.num_symbols)}
    width = 2 * config.num_symbols + (config.num_symbols if config.receiver == "log_no_eff" else 0)
    received = jnp.zeros((*features.shape[:-1], width))
    return params | {"decoder": codec.init(keys[1], received, snr_db, method="decode")["params"]}


def sides(self) -> tuple[int, int]:
    """Height and width of the pictures, pixels: the configured square, unless the scheme has a ``size`` of its own."""
    return getattr(self, "size", None) or (self.config.image_size,) * 2


def positions(self) -> tuple[int, int]:
    """Rows and columns of the feature map."""
    height, width = sides(self)
    return height // self.codec.reduction, width // self.codec.reduction


def frames(self) -> tuple[int, int]:
    """As ``Scheme.frames``: positions of the feature map."""
    rows, columns = positions(self)
    return rows * columns, self.config.num_symbols


def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> jax.Array:
    """As ``Scheme.encode``; ``[batch, num_uavs, rows, columns, width]``. Nothing is chosen, so hints are not used."""
    images, (height, width) = source.data, sides(self)
    if images.ndim != 5 or images.shape[2:] != (height, width, 3):
        raise ValueError(f"images must be [batch, num_uavs, {height}, {width}, 3], got {images.shape}")
    tokens = self.codec.apply({"params": params["encoder"]}, _merge(images), method="encode")
    return tokens.reshape(*images.shape[:2], *tokens.shape[1:])


def modulate(self, params: dict, encoded: jax.Array, point: OperatingPoint) -> Sent:
    """As ``Scheme.modulate``: symbols of average power 1 over each picture."""
    lead = encoded.shape[:2]
    features = self.codec.apply(
        {"params": params["encoder"]}, _merge(encoded), per_link(point.snr_db, lead).reshape(-1), method="modulate"
    )
    symbols, gain = unit_power(phy.features_to_symbols(features.reshape(*lead, -1, 2 * self.config.num_symbols)))
    bits = GAIN_BITS * lead[1] if self.config.receiver == "wiener" else 0
    signal = Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool)))
    return Sent(signal, as_sent(gain) if bits else None, jnp.full(lead[:1], float(bits)))


def decode(self, params: dict, received: Received, side: jax.Array | None, point: OperatingPoint) -> Estimate:
    """As ``Scheme.decode``; ``side`` are the pictures' gains, ``[batch, num_uavs]``, for ``"wiener"``."""
    lead = received.symbols.shape[:2]
    features = reliable(self.config.receiver, params, received, side)
    features = features.reshape(lead[0] * lead[1], *positions(self), -1)
    images = self.codec.apply(
        {"params": params["decoder"]}, features, per_link(point.snr_db, lead).reshape(-1), method="decode"
    )
    return Estimate(images.reshape(*lead, *images.shape[1:]))


def stages(self) -> tuple[Stage, ...]:
    """As ``Scheme.stages``: one, end to end."""
    return (Stage("system", picture_loss, weights={"image_loss": IMAGE_LOSSES}),)


def reliable(receiver: str, params: dict, received: Received, gain: jax.Array | None) -> jax.Array:
    """Features with what the receiver knows of their noise, ``[batch, num_uavs, num_frames, width]``."""
    if receiver == "wiener":
        return wiener(*received, require_given("gain", gain), jnp.exp(params["receiver"]["log_power"]))
    features = phy.symbols_to_features(received.symbols)
    if receiver == "log_no_eff":
        return jnp.concatenate([features, jnp.log(received.no_eff)], axis=-1)
    return features / (1 + jnp.repeat(received.no_eff, 2, axis=-1))


def _merge(array: jax.Array) -> jax.Array:
    """``[batch, num_uavs, ...]`` to ``[batch * num_uavs, ...]``."""
    return array.reshape(-1, *array.shape[2:])
