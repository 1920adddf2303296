"""Two UAVs' pictures superposed in the same symbols, with as much exchange between them as they are alike.

The codec is linear (principal components of patches, amplitudes variance^-1/4). The second user's features go mirrored
and half of them negated, so that strong components meet weak ones, and equal pictures can be told apart. The sum goes
to both UAVs as public frames of power 1, each hears it through its own channel, and estimates both users' features
(scalar L-MMSE with the powers of both). Before and behind that stand networks of each user's own tokens
(``network.Alone``, and a ``network.Exchange`` with themselves), and on top of them one in which they attend to the
other user's (``network.Exchange``), times the similarity of the two pictures' features: without it this is plain
non-orthogonal access, with the same symbols, powers and networks.

Both UAVs are told the similarity and the users' two amplitudes in the sum.

Source: after SC-SFMA (arXiv 2604.09255); the linear codec, the mirror and the place of the similarity are ours.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal, per_link
from lvm_mtc.models.patches import grid_shape, patchify, unpatchify
from lvm_mtc.models.pca import PatchPca, amplitudes, fit_patches
from lvm_mtc.models.receivers import GAIN_BITS, as_sent, unit_power
from lvm_mtc.schemes.losses import IMAGE_LOSSES, picture_loss
from lvm_mtc.schemes.scheme import Estimate, Knob, Sent, Source, Stage
from lvm_mtc.schemes.sfma.network import Alone, Exchange

SIMILARITY_BITS = 8
_LOWEST_POWER = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class SfmaConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        image_size: Side of the square pictures, pixels.
        patch_size: Side of a patch, pixels.
        num_symbols: Complex symbols of a patch of both users together.
        num_heads: Heads of each attention.
        width: Features of a token inside the users' own networks.
    """

    image_size: int = 96
    patch_size: int = 8
    num_symbols: int = 32
    num_heads: int = 4
    width: int = 64

    def __post_init__(self):
        for field in ("image_size", "patch_size", "num_symbols", "num_heads", "width"):
            require_count("SfmaConfig", field, getattr(self, field))
        for field, multiple, of in (
            ("image_size", self.image_size, self.patch_size), ("num_symbols", 2 * self.num_symbols, self.num_heads),
            ("width", self.width, self.num_heads),
        ):  # fmt: skip
            if multiple % of:
                raise ValueError(f"SfmaConfig.{field} {getattr(self, field)} does not go with {of}: {multiple} % {of}")


class Encoded(NamedTuple):
    """Features of both users, ``[batch, 2, patches, 2 num_symbols]``, and their similarity, ``[batch]``."""

    features: jax.Array
    similarity: jax.Array


class Side(NamedTuple):
    """What both UAVs know besides: amplitudes of the users' features in the sum, ``[batch, 2]``, and similarity."""

    amplitude: jax.Array
    similarity: jax.Array


@dataclasses.dataclass(frozen=True)
class Sfma:
    """The codec over a link, for two UAVs."""

    config: SfmaConfig
    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[Mapping[str, Knob]] = {"share": Knob(0.5, 0.0, 1.0), "gate": Knob(1.0, 0.0, 1.0)}
    """The first user's share of the power; a factor of the similarity, 0 for plain superposition."""
    reports: ClassVar[tuple[str, ...]] = ("similarity",)
    num_uavs: ClassVar[int] = 2

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Parameters that know of no picture, with networks that change nothing."""
        size, width = 3 * self.config.patch_size**2, self._num_features
        params = self.from_pca(PatchPca(np.full(size, 0.5), np.eye(size), np.ones(size)))
        tokens = jnp.zeros((1, self.frames()[0], width))
        seen = jnp.concatenate([tokens, tokens], -1)
        keys = jax.random.split(phy.stream_key(key, phy.Stream.INIT), 4).reshape(2, 2)
        for name, (first, second), numbers in zip(("before", "behind"), keys, (1, 2), strict=True):
            snr_db = jnp.zeros((1, numbers))
            alone, exchange = self._networks
            params[name] = {"alone": alone.init(first, tokens, snr_db)["params"]}
            for network, its_key in (("further", second), ("exchange", jax.random.fold_in(second, 1))):
                params[name][network] = exchange.init(its_key, seen, seen, jnp.zeros(1), snr_db)["params"]
        return params

    def from_pca(self, pca: PatchPca) -> dict:
        """The linear codec's parameters: ``mean``, ``encoder``, ``decoder`` and ``power`` under ``linear``."""
        encode, decode, power = amplitudes(pca.variances, self._num_features)
        linear = dict(mean=pca.mean, encoder=pca.basis @ encode, decoder=decode @ pca.basis.T, power=power)
        return {"linear": {name: jnp.asarray(value, jnp.float32) for name, value in linear.items()}}

    def start(self, params: dict, pictures: np.ndarray, seed: int) -> dict:
        """As ``Trained.start``: the linear codec of the pictures' patches."""
        return params | self.from_pca(fit_patches(pictures, self.config.image_size, self.config.patch_size, seed))

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: patches, and the symbols of one."""
        rows, columns = grid_shape((self.config.image_size,) * 2, self.config.patch_size)
        return rows * columns, self.config.num_symbols

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Encoded:
        """Features of both pictures, and how similar they are.

        Raises:
            ValueError: if there are not two UAVs, or the pictures are not of the configured size.
        """
        images, side = source.data, self.config.image_size
        if images.ndim != 5 or images.shape[1:] != (2, side, side, 3):
            raise ValueError(f"images of superposed users must be [batch, 2, {side}, {side}, 3], got {images.shape}")
        linear = params["linear"]
        patches = patchify(images, self.config.patch_size) - linear["mean"].reshape(1, 1, 1, -1)
        features = patches @ linear["encoder"]
        return Encoded(features, _as_sent(similarity(features)))

    def modulate(self, params: dict, encoded: Encoded, point: OperatingPoint) -> Sent:
        """The sum of both users as public frames; beside it what :class:`Side` has."""
        features, alike = encoded
        batch = features.shape[0]
        seen = self._refined("before", params, features, _nominal(point, batch))
        features = self._exchanged("before", params, seen, seen[:, ::-1], alike, _nominal(point, batch), point)
        share = per_link(point.knobs["share"], (batch,))
        symbols, gain = unit_power(phy.features_to_symbols(placed(features)))
        amplitude = gain * jnp.sqrt(jnp.stack([share, 1 - share], -1))
        total, common = unit_power((symbols * (amplitude / gain)[..., None, None]).sum(1))
        amplitude = as_sent(amplitude * common[:, None])
        silent = Frames(jnp.zeros_like(symbols), jnp.zeros(symbols.shape[:-1], bool))
        signal = Signal(silent, Frames(total, jnp.ones(total.shape[:-1], bool)))
        bits = jnp.full(batch, float(2 * GAIN_BITS + SIMILARITY_BITS))
        tells = {"similarity": jnp.broadcast_to(alike[:, None], (batch, 2))}
        return Sent(signal, Side(amplitude, alike), bits, tells)

    def decode(self, params: dict, received: Received, side: Side, point: OperatingPoint) -> Estimate:
        """Each UAV's picture from the sum as it heard it."""
        no = jnp.repeat(received.no_eff, 2, axis=-1) / 2
        both = separate(phy.symbols_to_features(received.symbols), no, side.amplitude, params["linear"]["power"])
        told = self._heard(received, point)
        own, partner = (self._refined("behind", params, both[:, (0, 1), users], told) for users in ((0, 1), (1, 0)))
        features = self._exchanged("behind", params, own, partner, side.similarity, told, point)
        return self._shown(params, features)

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: users' own networks in two steps, the second alone or with the exchange."""
        networks = {"plain": ("alone",), "further": ("further",), "exchange": ("further", "exchange")}
        losses = {"image_loss": IMAGE_LOSSES}
        return tuple(Stage(name, picture_loss, _inside(these), losses) for name, these in networks.items())

    @property
    def _num_features(self) -> int:
        return 2 * self.config.num_symbols

    @property
    def _networks(self) -> tuple[Alone, Exchange]:
        return Alone(self.config.width, self.config.num_heads), Exchange(self.config.num_heads)

    @staticmethod
    def _heard(received: Received, point: OperatingPoint) -> jax.Array:
        """The SNR that is known to all and the one that each UAV finds, dB, ``[batch, 2, 2]``."""
        found = -10 * jnp.log10(received.no_eff.mean((-2, -1)) + _LOWEST_POWER)
        return jnp.concatenate([_nominal(point, len(found)), found[..., None]], -1)

    def _shown(self, params: dict, features: jax.Array) -> Estimate:
        """Pictures of features ``[batch, 2, patches, features]``."""
        linear = params["linear"]
        patches = features @ linear["decoder"] + linear["mean"].reshape(1, 1, 1, -1)
        return Estimate(unpatchify(patches, self.config.patch_size, (self.config.image_size,) * 2))

    def _refined(self, name, params, features, snr_db):
        """``[batch, n, patches, features]``, as they are and refined on the last axis, in units of their deviation."""
        alone, further = self._networks
        tokens = (features / deviation(params)).reshape(-1, *features.shape[2:])
        snr_db = snr_db.reshape(-1, snr_db.shape[-1])
        refined = jnp.asarray(alone.apply({"params": params[name]["alone"]}, tokens, snr_db))
        seen, ones = jnp.concatenate([tokens, refined], -1), jnp.ones(len(tokens))
        refined += jnp.asarray(further.apply({"params": params[name]["further"]}, seen, seen, ones, snr_db))
        return jnp.concatenate([tokens, refined], -1).reshape(*features.shape[:3], -1)

    def _exchanged(self, name, params, own, partner, alike, snr_db, point):
        """Both users' features, ``[batch, 2, patches, features]``, from ``_refined``'s."""
        _, exchange = self._networks
        alike = jnp.repeat(alike * per_link(point.knobs["gate"], alike.shape), 2)
        flat = [a.reshape(-1, *a.shape[2:]) for a in (own, partner, snr_db)]
        change = exchange.apply({"params": params[name]["exchange"]}, flat[0], flat[1], alike, flat[2])
        refined = own[..., self._num_features :]
        return (refined + jnp.asarray(change).reshape(refined.shape)) * deviation(params)


def similarity(features: jax.Array) -> jax.Array:
    """Cosine between two users' features ``[batch, 2, tokens, features]``, place by place, 0 where it is negative."""
    first, second = features[:, 0], features[:, 1]
    norms = jnp.sqrt((first**2).sum((-2, -1)) * (second**2).sum((-2, -1)))
    return jnp.clip((first * second).sum((-2, -1)) / jnp.maximum(norms, _LOWEST_POWER), 0.0, 1.0)


def placed(features: jax.Array) -> jax.Array:
    """Features ``[batch, 2, tokens, features]`` in their places: the second user's mirrored."""
    return jnp.stack([features[:, 0], mirrored(features[:, 1])], axis=1)


def mirrored(features: jax.Array) -> jax.Array:
    """The last axis backwards, its second half negated; applied twice it is a change of sign."""
    width = features.shape[-1]
    sign = jnp.where(jnp.arange(width) < width // 2, 1.0, -1.0).reshape((1,) * (features.ndim - 1) + (-1,))
    return features[..., ::-1] * sign


def separate(y: jax.Array, no: jax.Array, amplitude: jax.Array, power: jax.Array) -> jax.Array:
    """The scalar L-MMSE estimate of both users' features from their noisy sum, as if the users were independent.

    Args:
        y: What each UAV heard, ``[batch, 2, tokens, features]``.
        no: Noise variance of it, same shape, linear.
        amplitude: Of the users in the sum, ``[batch, 2]``.
        power: Variance of the features, ``[features]``, linear.

    Returns:
        ``[batch, UAV, user, tokens, features]``, in the order and scale of the users' encoders.
    """
    a = amplitude[:, None, :, None, None]
    own = jnp.stack([power, power[::-1]])[None, None, :, None]
    total = (a**2 * own).sum(2) + no
    estimate = a * own * (y / total)[:, :, None]
    return jnp.stack([estimate[:, :, 0], -mirrored(estimate[:, :, 1])], axis=2)


def _as_sent(value: jax.Array) -> jax.Array:
    levels = 2**SIMILARITY_BITS - 1
    return jnp.round(value * levels) / levels


def _nominal(point: OperatingPoint, batch: int) -> jax.Array:
    """The SNR that is known to all, dB, ``[batch, 2, 1]``."""
    return per_link(point.snr_db, (batch, 2))[..., None]


def deviation(params: dict) -> jax.Array:
    """Of the features, ``[1, 1, 1, features]``."""
    return jnp.sqrt(jnp.maximum(params["linear"]["power"], _LOWEST_POWER)).reshape(1, 1, 1, -1)


def _inside(networks: tuple[str, ...]):
    return lambda name: name.split("/")[1] in networks
