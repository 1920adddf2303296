"""The learned codec of point clouds over a link: tokens of groups of points, sent as points of square QAM.

Beside the learned branches stands a linear path: the moments of a token's cell, with amplitudes of variance^-1/4, are
where the values that are sent begin, and what the receiver begins with. At first the branches add nothing to it.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_number, require_one_of
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal, per_link
from lvm_mtc.models.conditioned import snr_features
from lvm_mtc.models.point_geometry import ball_groups, take_points
from lvm_mtc.models.receivers import GAIN_BITS, as_sent, unit_power
from lvm_mtc.phy.modulation import BITS_PER_SYMBOL
from lvm_mtc.phy.numerics import lift
from lvm_mtc.schemes.point_clouds.allocation import (
    CLASS_SIZE,
    allocate,
    fixed_slots,
    from_frame,
    to_frame,
    token_mask,
)
from lvm_mtc.schemes.point_clouds.losses import cloud_loss
from lvm_mtc.schemes.point_clouds.modulator import MODULATORS, axis_levels, choose_levels, level_scores
from lvm_mtc.schemes.point_clouds.moments import NUM_FEATURES, fibonacci_sphere, moment_features, split_features
from lvm_mtc.schemes.point_clouds.network import Importance, Painter, Proposer, SetAbstraction
from lvm_mtc.schemes.scheme import Estimate, Knob, Params, Sent, Source, Stage

ALLOCATIONS = ("importance", "fixed")
_START_POWER = 0.1  # of a real value on average; the largest moments then stay within the levels
_UNHEARD = 1e3


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointCloudsConfig:
    """Shapes and rules; every field is static under ``jit``.

    Attributes:
        num_points: Points of a cloud.
        num_tokens: Tokens of a cloud, a multiple of 4; they divide its points.
        num_symbols: Complex symbols of a cloud, a multiple of 4: one for each token at least, ``slots`` at most.
        slots: Most symbols of a token.
        neighbours: Points of a token's group.
        radius: Of the groups.
        width: Features of a token.
        depth: Blocks of each of the two encoders, and of the decoder.
        attention: Tokens that each token looks at.
        bits_per_symbol: Of the square QAM: 2, 4, 6 or 8.
        modulator: ``"jsccm"``: logits and values choose levels; ``"gumbel"``: logits alone; ``"soft"``: values alone;
            ``"analog"``: the values themselves are sent.
        allocation: ``"importance"``: learned, told to the receivers; ``"fixed"``: all tokens alike.
    """

    num_points: int = 1024
    num_tokens: int = 64
    num_symbols: int = 320
    slots: int = 8
    neighbours: int = 32
    radius: float = 0.35
    width: int = 64
    depth: int = 1
    attention: int = 16
    bits_per_symbol: int = 8
    modulator: str = "jsccm"
    allocation: str = "fixed"

    def __post_init__(self):
        for field in ("num_points", "num_tokens", "num_symbols", "slots", "neighbours", "width", "depth", "attention"):
            require_count("PointCloudsConfig", field, getattr(self, field))
        require_one_of("PointCloudsConfig", "bits_per_symbol", self.bits_per_symbol, BITS_PER_SYMBOL)
        require_one_of("PointCloudsConfig", "modulator", self.modulator, MODULATORS)
        require_one_of("PointCloudsConfig", "allocation", self.allocation, ALLOCATIONS)
        if self.num_tokens % CLASS_SIZE or self.num_points % self.num_tokens:
            wanted = f"a multiple of {CLASS_SIZE} that divides PointCloudsConfig.num_points {self.num_points}"
            raise ValueError(f"PointCloudsConfig.num_tokens must be {wanted}, got {self.num_tokens}")
        if self.neighbours > self.num_points:
            wanted = f"at most PointCloudsConfig.num_points {self.num_points}"
            raise ValueError(f"PointCloudsConfig.neighbours must be {wanted}, got {self.neighbours}")
        least, most = self.num_tokens, self.num_tokens * self.slots
        if self.num_symbols % CLASS_SIZE or not least <= self.num_symbols <= most:
            wanted = f"a multiple of {CLASS_SIZE} in {least} ... {most}"
            raise ValueError(f"PointCloudsConfig.num_symbols must be {wanted}, got {self.num_symbols}")
        if 2 * self.slots < NUM_FEATURES:
            raise ValueError(f"PointCloudsConfig.slots must hold {NUM_FEATURES} moments, 5 or more, got {self.slots}")
        require_number("PointCloudsConfig", "radius", self.radius, 0.0, strict=True)

    @property
    def num_classes(self) -> int:
        """Classes of tokens that have as many symbols."""
        return self.num_tokens // CLASS_SIZE


class EncodedCloud(NamedTuple):
    """What does not depend on the SNR.

    Attributes:
        tokens: ``[batch, num_uavs, num_tokens, width]``.
        moments: ``[batch, num_uavs, num_tokens, 9]``.
        noise: Gumbel noise for training, ``[batch, num_uavs, num_tokens, slots, 2, levels]``.
    """

    tokens: jax.Array
    moments: jax.Array
    noise: jax.Array


@dataclasses.dataclass(frozen=True)
class PointClouds:
    """The codec over a link; all UAVs share the parameters.

    The knob ``temperature`` is for training: above 0 levels are mixed, and what is sent is no point of the QAM.
    """

    config: PointCloudsConfig
    modality: ClassVar[str] = "points"
    knobs: ClassVar[Mapping[str, Knob]] = {"temperature": Knob(0.0, 0.0, 10.0)}
    reports: ClassVar[tuple[str, ...]] = ()

    def _networks(self) -> dict[str, Any]:
        c = self.config
        depth, levels = (c.depth, c.attention), len(axis_levels(c.bits_per_symbol))
        return {
            "abstraction": SetAbstraction(c.width),
            "values": Proposer(*depth, 2 * c.slots),
            "logits": Proposer(*depth, 2 * c.slots * levels),
            "importance": Importance(c.slots),
            "painter": Painter(c.width, *depth, c.num_points // c.num_tokens),
        }

    def _apply(self, params: Params, name: str, *args: jax.Array) -> Any:
        return self._networks()[name].apply({"params": params[name]}, *args)

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Parameters of the networks by name; ``moments``: mean and deviation of the features; ``log_tau``."""
        c, condition = self.config, jnp.zeros((1, snr_features(jnp.zeros(1)).shape[-1]))
        key, *keys = jax.random.split(phy.stream_key(key, phy.Stream.INIT), 6)
        x, centres = jnp.zeros((1, c.num_tokens, c.width)), jnp.zeros((1, c.num_tokens, 3))
        inputs = {
            "abstraction": (jnp.zeros((1, c.num_tokens, c.neighbours, 3)), centres),
            "values": (x, centres, condition),
            "logits": (x, centres, condition),
            "importance": (x[:, :: CLASS_SIZE], condition),
            "painter": (jnp.zeros((1, c.num_tokens, 2 * c.slots + 1)), centres, condition),
        }  # fmt: skip
        networks = {
            name: network.init(its_key, *inputs[name])["params"]
            for its_key, (name, network) in zip(keys, self._networks().items(), strict=True)
        }
        moments = {"mean": jnp.zeros(NUM_FEATURES), "deviation": jnp.ones(NUM_FEATURES)}
        return networks | {"moments": moments, "modulator": {"log_tau": jnp.log(jnp.full(1, 0.5))}}

    def start(self, params: dict, data: Any, seed: int) -> dict:
        """As ``Trained.start``: moments of some clouds ``[n, num_points, 3]``; ``seed`` is not used."""
        features = jax.jit(moment_features, static_argnums=1)(jnp.asarray(data, jnp.float32), self.config.num_tokens)
        flat = features.reshape(-1, NUM_FEATURES)
        return params | {"moments": {"mean": flat.mean(0), "deviation": flat.std(0)}}

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: a cloud is one frame."""
        return 1, self.config.num_symbols

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> EncodedCloud:
        """Tokens and moments; a function of the set of points, but for ties of the farthest ones.

        Raises:
            ValueError: if the clouds are not of the configured size.
        """
        c = self.config
        points = source.data
        if points.ndim != 4 or points.shape[2:] != (c.num_points, 3):
            raise ValueError(f"clouds must be [batch, num_uavs, {c.num_points}, 3], got {points.shape}")
        lead, points = points.shape[:2], points.reshape(-1, c.num_points, 3)
        moments = moment_features(points, c.num_tokens)
        centres = moments[..., :3]
        groups = take_points(points, ball_groups(points, centres, c.neighbours, c.radius))
        groups = (groups - centres[..., None, :]) / c.radius
        shape = lead[0], c.num_tokens, c.slots, 2, len(axis_levels(c.bits_per_symbol))
        draw = lambda k: jax.random.gumbel(phy.stream_key(k, phy.Stream.MASK), shape)  # noqa: E731
        tokens = self._apply(params, "abstraction", groups, centres)
        tokens, moments = (a.reshape(*lead, *a.shape[1:]) for a in (tokens, moments))
        return EncodedCloud(tokens, moments, jax.vmap(draw, out_axes=1)(key))

    def modulate(self, params: dict, encoded: EncodedCloud, point: OperatingPoint) -> Sent:
        """Points of the QAM, scaled to power 1 over each cloud; beside them the gain, and the symbols of each class."""
        c, lead = self.config, encoded.tokens.shape[:2]
        encoded = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), encoded)
        condition = snr_features(per_link(point.snr_db, lead).reshape(-1))
        chosen = self._symbols(params, encoded, condition, per_link(point.knobs["temperature"], lead).reshape(-1))
        slots, gates, bits = self._allocate(params, encoded, condition)
        frame = to_frame(chosen * gates, token_mask(slots, c.slots), c.num_symbols)
        symbols, gain = unit_power(frame.reshape(*lead, 1, -1))
        signal = Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool)))
        side = as_sent(gain), slots.reshape(*lead, -1)
        return Sent(signal, side, jnp.full(lead[:1], float((GAIN_BITS + bits) * lead[1])), {"slots": side[1]})

    def _symbols(self, params: dict, encoded: EncodedCloud, condition: jax.Array, temperature: jax.Array) -> jax.Array:
        """What every slot of every token would be, ``[n, num_tokens, slots]`` complex."""
        c, levels = self.config, axis_levels(self.config.bits_per_symbol)
        told = encoded.tokens, encoded.moments[..., :3], condition
        shape = *encoded.tokens.shape[:2], c.slots, 2
        values = (self._linear(params, encoded.moments) + self._apply(params, "values", *told)).reshape(shape)
        if c.modulator != "analog":
            logits = self._apply(params, "logits", *told).reshape(*shape, -1)
            scores = level_scores(values, logits, levels, params["modulator"]["log_tau"][0], c.modulator)
            values = choose_levels(scores, encoded.noise, levels, temperature[:, None, None, None])
        return jax.lax.complex(values[..., 0], values[..., 1])

    def _linear(self, params: dict, moments: jax.Array) -> jax.Array:
        """The moments as values to send, ``[..., 2 slots]``."""
        mean, amplitudes = (lift(a, moments.shape, 0) for a in (params["moments"]["mean"], self._amplitudes(params)))
        scaled = (moments - mean) * amplitudes
        return jnp.pad(scaled, [(0, 0), (0, 0), (0, 2 * self.config.slots - NUM_FEATURES)])

    def _amplitudes(self, params: dict) -> jax.Array:
        """Of the moments, ``[9]``: their deviations^-1/2, so that the values have ``_START_POWER`` on average."""
        deviation = jnp.maximum(jax.lax.stop_gradient(params["moments"]["deviation"]), 1e-4)
        return jnp.sqrt(_START_POWER / deviation.mean() / deviation)

    def _allocate(self, params: dict, encoded: EncodedCloud, condition: jax.Array) -> tuple[jax.Array, jax.Array, int]:
        """Slots of each class ``[n, num_classes]``, gates of all tokens' slots, and bits that tell the slots."""
        c, num = self.config, encoded.tokens.shape[0]
        total = c.num_symbols // CLASS_SIZE
        if c.allocation == "fixed":
            slots = jnp.broadcast_to(fixed_slots(c.num_classes, total), (num, c.num_classes))
            return slots, jnp.ones((num, c.num_tokens, c.slots)), 0
        of_class = encoded.tokens.reshape(num, c.num_classes, CLASS_SIZE, -1).mean(axis=2)
        worth = self._apply(params, "importance", of_class, condition) - jnp.arange(c.slots).reshape(1, 1, -1)
        slots, gates = allocate(worth, total)
        return slots, jnp.repeat(gates, CLASS_SIZE, axis=1), c.num_classes * math.ceil(math.log2(c.slots))

    def decode(self, params: dict, received: Received, side: Any, point: OperatingPoint) -> Estimate:
        """Clouds from the symbols, their variances, the gains, and the symbols of each class."""
        c, (gain, slots) = self.config, side
        lead = gain.shape
        gain, mask = gain.reshape(-1, 1), token_mask(slots.reshape(-1, slots.shape[-1]), c.slots)
        symbols = from_frame(received.symbols.reshape(*gain.shape[:1], -1) / gain, mask)
        noise = jnp.minimum(received.no_eff.reshape(symbols.shape[0], -1) / gain**2, _UNHEARD)
        noise = from_frame(noise, mask, _UNHEARD)
        condition = snr_features(per_link(point.snr_db, lead).reshape(-1))
        moments = self._estimate(params, symbols, noise)
        heard = phy.symbols_to_features(symbols / (1 + noise))
        quality = jnp.log(jnp.sum(jnp.where(mask, noise, 0), -1, keepdims=True) / mask.sum(-1, keepdims=True) + 1e-4)
        means, shapes = split_features(moments)
        shift, spread = self._apply(params, "painter", jnp.concatenate([heard, quality], -1), means, condition)
        start = jnp.einsum("...de,pe->...pd", shapes, fibonacci_sphere(spread.shape[-2]))
        centres = means + shift
        points = centres[..., None, :] + start + spread
        return Estimate(points.reshape(*lead, -1, 3), {"centres": centres.reshape(*lead, -1, 3)})

    def _estimate(self, params: dict, symbols: jax.Array, noise: jax.Array) -> jax.Array:
        """The scalar L-MMSE estimate of the moments, as if nothing but them was sent."""
        mean, amplitudes, deviation = (
            lift(a, symbols.shape, 0)
            for a in (params["moments"]["mean"], self._amplitudes(params), params["moments"]["deviation"])
        )
        heard = phy.symbols_to_features(symbols)[..., :NUM_FEATURES]
        noise = jnp.repeat(noise, 2, axis=-1)[..., :NUM_FEATURES] / 2
        power = (deviation * amplitudes) ** 2
        return heard * power / (power + noise) / amplitudes + mean

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: everything but the moments' mean and deviation, end to end."""
        return (Stage("system", cloud_loss, lambda name: not name.startswith("moments/")),)
