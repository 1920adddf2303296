"""DeepJSCC whose features go to streams by their importance: semantic sub-channel allocation.

The features of a position are in ``num_streams`` groups, one to a stream. A factorised entropy model says how many bits
each group is worth in a picture. Over a link that ranks its streams (``link.RankedStreams``) stream 0 is the best one,
so three orders make four allocations:

* ``"fixed"``: group i on stream i. Over ranked streams, trained there with a loss that wants the groups' bits in the
  order of the streams' quality, this is the learned allocation: nothing is told but the order of the streams. Over
  streams that aren't ranked it is none.
* ``"sorted"``: the groups of each picture in the order of their bits; the order is told, ``ceil(log2 S!)`` bits. Where
  bits are the weights of the streams' errors, no other order is better (the rearrangement inequality).
* ``"random"``: a random order for each picture, told just so.

Sources: "MIMO-OTFS with semantic-aware sub-channel allocation" (2026), of which the abstract was at hand: the entropy
model, Kendall's tau in the loss and the orders are its; streams as the sub-channels, and all numbers, are ours.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.link import Frames, LinkConfig, OperatingPoint, Received, Signal
from lvm_mtc.link.ranked import order_bits
from lvm_mtc.models.entropy import FactorizedPrior
from lvm_mtc.models.kendall import soft_kendall_tau
from lvm_mtc.models.receivers import GAIN_BITS, as_sent, unit_power
from lvm_mtc.models.weights import SHIPPED, load_weights
from lvm_mtc.schemes import feature_map
from lvm_mtc.schemes.deepjscc.scheme import DeepJsccConfig
from lvm_mtc.schemes.losses import IMAGE_LOSSES, Loss, image_loss
from lvm_mtc.schemes.scheme import Estimate, Params, Sent, Source, Stage
from lvm_mtc.schemes.simulate import forward

ORDERS = ("fixed", "sorted", "random")
_SHIPPED = "deepjscc_cifar10_cbr_1_3.npz"
TEMPERATURES = (0.5, 0.5)
"""Of the smooth tau in training: bits of a feature, and nepers of a stream's error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamsConfig(DeepJsccConfig):
    """Shapes and rules; see also ``FeatureMapConfig``, of whose receivers this has ``"wiener"``.

    Attributes:
        num_streams: Groups of features, S; the link's ``num_tx_ant``.
        order: ``"fixed"``, ``"sorted"`` or ``"random"``.
        num_classes: What the classifier tells apart.
    """

    num_streams: int = 2
    order: str = "fixed"
    num_classes: int = 10

    def __post_init__(self):
        super().__post_init__()
        require_count("StreamsConfig", "num_streams", self.num_streams, 2)
        require_count("StreamsConfig", "num_classes", self.num_classes, 2)
        require_one_of("StreamsConfig", "order", self.order, ORDERS)
        require_one_of("StreamsConfig", "receiver", self.receiver, ("wiener",))
        if self.num_symbols % self.num_streams:
            raise ValueError(
                f"StreamsConfig.num_symbols {self.num_symbols} must be a multiple of num_streams {self.num_streams}"
            )


class Classifier(nn.Module):
    """A small head: each position by itself, then their mean."""

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Received features ``[..., num_positions, width]`` to scores ``[..., num_classes]``."""
        hidden = nn.relu(nn.Dense(64, name="hidden")(features))
        return nn.Dense(self.num_classes, name="scores")(hidden.mean(axis=-2))


class Encoded(NamedTuple):
    """Features ``[batch, num_uavs, rows, columns, 2 num_symbols]``, bits of each group and the group of each stream.

    The last two are ``[batch, num_uavs, num_streams]``.
    """

    features: jax.Array
    bits: jax.Array
    order: jax.Array


class Side(NamedTuple):
    """What is told beside the symbols: gains ``[batch, num_uavs]``, and the order where there is a choice."""

    gain: jax.Array
    order: jax.Array


@dataclasses.dataclass(frozen=True)
class DeepJsccStreams:
    """The codec over the streams of a link."""

    config: StreamsConfig
    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[Mapping[str, Any]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    codec = feature_map.codec
    frames = feature_map.frames

    def init(self, key: jax.Array, num_uavs: int | None = None) -> Params:
        """As ``Scheme.init``: the codec's, ``prior`` and ``classifier``."""
        keys = jax.random.split(phy.stream_key(key, phy.Stream.DATA))
        sample = jnp.zeros((1, 2 * self.config.num_symbols))
        own = {
            "prior": FactorizedPrior().init(keys[0], sample)["params"],
            "classifier": self._classifier.init(keys[1], sample)["params"],
        }
        return feature_map.init(self, jax.random.clone(key), num_uavs) | own

    def start(self, params: Params, data: Any, seed: int, weights: str = _SHIPPED) -> Params:
        """As ``Trained.start``: DeepJSCC's codec of a weights file of the package; of ``""`` the drawn one."""
        if not weights:
            return params
        codec = {name: params[name] for name in ("encoder", "decoder", "receiver")}
        return params | load_weights(SHIPPED / weights, codec)[0]

    def encode(self, params: Params, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Encoded:
        """As ``Scheme.encode``."""
        features = feature_map.encode(self, params, source, key, knobs)
        bits = self.group_bits(params, features)
        if self.config.order == "sorted":
            order = by_importance(bits)
        elif self.config.order == "random":
            shape = bits.shape[:1] + bits.shape[2:]
            drawn = jax.vmap(lambda k: jax.random.uniform(phy.stream_key(k, phy.Stream.MASK), shape), out_axes=1)(key)
            order = jnp.argsort(drawn, axis=-1)
        else:
            order = jnp.broadcast_to(jnp.arange(self.config.num_streams), bits.shape)
        return Encoded(features, bits, order)

    def group_bits(self, params: Params, features: jax.Array) -> jax.Array:
        """Bits of each group, ``[batch, num_uavs, num_streams]``, of ``features`` as in ``Encoded``."""
        bits = jnp.asarray(FactorizedPrior().apply({"params": params["prior"]}, features))
        return jnp.sum(bits.reshape(*bits.shape[:4], self.config.num_streams, -1), axis=(2, 3, 5))

    def modulate(self, params: Params, encoded: Encoded, point: OperatingPoint) -> Sent:
        """As ``Scheme.modulate``: symbols of average power 1 over each picture, each group on its stream."""
        lead, c = encoded.features.shape[:2], self.config
        features = encoded.features.reshape(*lead, -1, 2 * c.num_symbols)
        symbols, gain = unit_power(phy.features_to_symbols(features))
        frames = Frames(self._place(symbols, encoded.order), jnp.ones(symbols.shape[:-1], bool))
        bits = lead[1] * (GAIN_BITS + (0 if c.order == "fixed" else order_bits(c.num_streams)))
        tells = {"features": encoded.features, "group_bits": encoded.bits}
        return Sent(Signal(frames), Side(as_sent(gain), encoded.order), jnp.full(lead[:1], float(bits)), tells)

    def decode(self, params: Params, received: Received, side: Side, point: OperatingPoint) -> Estimate:
        """As ``Scheme.decode``; also the classifier's ``scores``."""
        received = self.in_groups(received, side.order)
        features = feature_map.reliable("wiener", params, received, side.gain)
        estimate = feature_map.decode(self, params, received, side.gain, point)
        scores = jnp.asarray(self._classifier.apply({"params": params["classifier"]}, features))
        return Estimate(estimate.data, {"scores": scores})

    def in_groups(self, received: Received, order: jax.Array) -> Received:
        """What came over the streams, ``[batch, num_uavs, num_frames, num_symbols]``, as the encoder had it."""
        index = jnp.argsort(self._groups(order), axis=3)[..., None]

        def undo(a):
            a = jnp.swapaxes(a.reshape(*a.shape[:3], -1, self.config.num_streams), 3, 4)
            return jnp.take_along_axis(a, index, axis=3).reshape(*a.shape[:3], -1)

        return Received(*map(undo, received))

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: one, end to end."""
        weights = {"image_loss": IMAGE_LOSSES[::-1], "task_weight": 0.1, "rate_weight": 0.01, "order_weight": 0.1}
        return (Stage("system", streams_loss, weights=weights),)

    def _place(self, symbols: jax.Array, order: jax.Array) -> jax.Array:
        """Symbols of a position in groups to symbols in the order in which slots take them."""
        groups = symbols.reshape(*symbols.shape[:3], self.config.num_streams, -1)
        groups = jnp.take_along_axis(groups, self._groups(order)[..., None], axis=3)
        return jnp.swapaxes(groups, 3, 4).reshape(symbols.shape)

    def _groups(self, order: jax.Array) -> jax.Array:
        """Group of each symbol of a slot, ``[batch, num_uavs, num_frames, num_streams]``.

        Symbol c of frame i goes over stream ``(c + i) mod num_streams``.
        """
        streams = self.config.num_streams
        turned = (np.arange(self.frames()[0])[:, None] + np.arange(streams)) % streams
        return order[:, :, turned]

    @property
    def _classifier(self) -> Classifier:
        return Classifier(self.config.num_classes)


def by_importance(bits: jax.Array) -> jax.Array:
    """Group of each stream, the one with most bits on the best one, stream 0; ``[..., num_streams]``.

    For any errors e_0 <= e_1 <= ... of the streams it makes the sum of bits times errors least.
    """
    return jnp.argsort(-bits, axis=-1)


def stream_quality(no_eff: jax.Array, num_streams: int) -> jax.Array:
    """Log of the inverse of the mean error that is left of a group's symbols, ``[..., num_streams]``.

    ``no_eff`` is ``[..., num_frames, num_symbols]`` in groups.
    """
    error = (no_eff / (1 + no_eff)).reshape(*no_eff.shape[:-1], num_streams, -1)
    return -jnp.log(jnp.mean(error, axis=(-3, -1)))


def streams_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> Loss:  # fmt: skip
    """End to end: the picture, the class, bits of a feature and ``1 - tau``; a ``Stage.loss``.

    Tau is the smooth one of a picture's group bits and the quality of the streams that they came over.
    """
    noise_key = phy.stream_key(key, phy.Stream.DROPOUT)
    outcome = forward(scheme, params, source, jax.random.clone(key), link, point)
    image, psnr = image_loss(outcome.estimate.data, source.data, weights["image_loss"])
    scores, labels = outcome.estimate.tells["scores"], source.hints["labels"][..., None]
    task = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores), labels, axis=-1))
    features = outcome.sent.tells["features"]
    noisy = features + jax.random.uniform(noise_key, features.shape, minval=-0.5, maxval=0.5)
    rate = jnp.sum(scheme.group_bits(params, noisy)) / features.size
    no_eff = scheme.in_groups(outcome.received, outcome.sent.side.order).no_eff
    quality = jax.lax.stop_gradient(stream_quality(no_eff, scheme.config.num_streams))
    group_size = features[0, 0].size // scheme.config.num_streams
    tau = jnp.mean(soft_kendall_tau(outcome.sent.tells["group_bits"] / group_size, quality, TEMPERATURES))
    loss = image + weights["task_weight"] * task + weights["rate_weight"] * rate + weights["order_weight"] * (1 - tau)
    right = jnp.mean(jnp.argmax(scores, axis=-1, keepdims=True) == labels)
    return loss, {"psnr": psnr, "accuracy": right, "bits": rate, "tau": tau}
