"""Point clouds as they are: moments of cells, or some of the points, as amplitudes. Nothing is learned by gradients."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal
from lvm_mtc.models.point_geometry import farthest_points, take_points
from lvm_mtc.models.receivers import GAIN_BITS, as_sent, unit_power, wiener
from lvm_mtc.phy.numerics import lift
from lvm_mtc.schemes.point_clouds.moments import NUM_FEATURES, moment_features, paint_discs
from lvm_mtc.schemes.scheme import Estimate, Sent, Source, Stage

FEATURES = {"moments": NUM_FEATURES, "points": 3}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearCloudsConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        num_points: Points of a cloud.
        num_symbols: Complex symbols of a cloud; what they cannot hold in whole tokens stays empty.
        features: ``"moments"``: mean and shape of cells, nine numbers each, painted as ``num_points`` points;
            ``"points"``: those that lie farthest from each other, three numbers each.
    """

    num_points: int = 1024
    num_symbols: int = 320
    features: str = "moments"

    def __post_init__(self):
        for field in ("num_points", "num_symbols"):
            require_count("LinearCloudsConfig", field, getattr(self, field))
        require_one_of("LinearCloudsConfig", "features", self.features, tuple(FEATURES))
        if not 1 <= self.num_tokens <= self.num_points:
            limits = f"hold 1 to {self.num_points} tokens of {FEATURES[self.features]} numbers"
            raise ValueError(f"LinearCloudsConfig.num_symbols must {limits}, got {self.num_symbols}")

    @property
    def num_tokens(self) -> int:
        """Cells or points that are sent."""
        return 2 * self.num_symbols // FEATURES[self.features]


@dataclasses.dataclass(frozen=True)
class LinearClouds:
    """The codec over a link: features with amplitudes of variance^-1/4, and scalar L-MMSE estimates of them."""

    config: LinearCloudsConfig
    modality: ClassVar[str] = "points"
    knobs: ClassVar[Mapping[str, Any]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Parameters that know of no cloud: ``mean`` 0 and ``variance`` 1 of each feature. ``key`` is not used."""
        width = FEATURES[self.config.features]
        return {"mean": jnp.zeros(width), "variance": jnp.ones(width)}

    def start(self, params: dict, data: Any, seed: int) -> dict:
        """As ``Trained.start``: mean and variance over clouds ``[n, num_points, 3]``; ``seed`` is not used."""
        features = jax.jit(self._features)(jnp.asarray(data, jnp.float32)).reshape(-1, FEATURES[self.config.features])
        return {"mean": features.mean(0), "variance": features.var(0)}

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: a cloud is one frame."""
        return 1, self.config.num_symbols

    def _features(self, points: jax.Array) -> jax.Array:
        if self.config.features == "moments":
            return moment_features(points, self.config.num_tokens)
        return take_points(points, farthest_points(points, self.config.num_tokens))

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> jax.Array:
        """Features, ``[batch, num_uavs, num_tokens, 9 or 3]``."""
        points, num_points = source.data, self.config.num_points
        if points.ndim != 4 or points.shape[2:] != (num_points, 3):
            raise ValueError(f"clouds must be [batch, num_uavs, {num_points}, 3], got {points.shape}")
        return self._features(points) - lift(params["mean"], points.shape, 0)

    def modulate(self, params: dict, encoded: jax.Array, point: OperatingPoint) -> Sent:
        """Symbols of average power 1 over each cloud; beside them its gain."""
        flat = (encoded * lift(params["variance"] ** -0.25, encoded.shape, 0)).reshape(*encoded.shape[:2], 1, -1)
        flat = jnp.pad(flat, [(0, 0)] * 3 + [(0, 2 * self.config.num_symbols - flat.shape[-1])])
        symbols, gain = unit_power(phy.features_to_symbols(flat))
        signal = Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool)))
        bits = jnp.full(gain.shape[:1], float(GAIN_BITS * gain.shape[1]))
        return Sent(signal, as_sent(gain), bits)

    def decode(self, params: dict, received: Received, side: jax.Array, point: OperatingPoint) -> Estimate:
        """Clouds from the symbols, their variances, and the clouds' gains ``side [batch, num_uavs]``."""
        c, width = self.config, len(params["mean"])
        power = jnp.tile(jnp.sqrt(params["variance"]), 2 * c.num_symbols // width + 1)[: 2 * c.num_symbols]
        features = wiener(*received, side, power)[..., 0, : c.num_tokens * width]
        amplitude, mean = (lift(a, side.shape, 2) for a in (params["variance"] ** 0.25, params["mean"]))
        features = features.reshape(*side.shape, -1, width) * amplitude + mean
        if c.features == "points":
            return Estimate(features)
        each, more = divmod(c.num_points, c.num_tokens)
        counts = (each + 1,) * more + (each,) * (c.num_tokens - more)
        return Estimate(paint_discs(features, counts))

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: none."""
        return ()
