"""The token system over a link: encode, share, modulate, decode, from pixels to pixels for K UAVs (Eq. 15-26)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal, per_link
from lvm_mtc.link.signal import heard_by
from lvm_mtc.models.patches import patches_in_box, patchify, unpatchify
from lvm_mtc.models.pca import fit_patches
from lvm_mtc.models.receivers import as_sent, unit_power
from lvm_mtc.models.transformer import stack_layers, unstack_layers
from lvm_mtc.phy.numerics import require_given
from lvm_mtc.schemes.lvm_mtc import comparator, masking
from lvm_mtc.schemes.lvm_mtc.channel_codec import ChannelDecoder, ChannelEncoder, PowerAllocation
from lvm_mtc.schemes.lvm_mtc.config import Execution, LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.losses import STAGES
from lvm_mtc.schemes.lvm_mtc.pca import init_from_pca
from lvm_mtc.schemes.lvm_mtc.records import Encoded, Side
from lvm_mtc.schemes.lvm_mtc.side_information import side_information_bits
from lvm_mtc.schemes.lvm_mtc.token_codec import TokenDecoder, TokenEncoder
from lvm_mtc.schemes.scheme import Estimate, Knob, Sent, Source, Stage

PER_UAV = ("encoder", "decoder", "channel_encoder", "channel_decoder")
LOW, HIGH = 2 / 3, 4 / 3
"""Times P_r, for an object that vanishes and one that fills the view: at P_r = 0.3 the paper's range, 0.2 to 0.4."""


@dataclasses.dataclass(frozen=True)
class LvmMtc:
    """The token system of a configuration; methods are pure functions of their arguments.

    Attributes:
        config: Shapes and rules.
        execution: How the token codec is computed.
        scale_aware: P_r follows the object's size, as the paper proposes for objects of very different sizes: ``LOW``
            times the knob's where the object vanishes and ``HIGH`` times where it fills the view, linear in the share
            of the area. A large object leaves the background its patches, a small one takes what it needs.
    """

    config: LvmMtcConfig
    execution: Execution = Execution()
    scale_aware: bool = False

    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[Mapping[str, Knob]] = {
        "mask_prob": Knob(0.25, 0.0, 1.0, early=True, open=True),
        "epsilon": Knob(0.0, 0.0, float("inf")),
    }
    reports: ClassVar[tuple[str, ...]] = ("keep_rate_inside", "keep_rate_outside")

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Flax modules by the names of their parameters; private and public channel encoder are of one kind."""
        c, s = self.config, self.config.sizes
        options: dict[str, Any] = dict(
            linear_path=c.linear_path, attention=c.attention, **dataclasses.asdict(self.execution)
        )
        decoder = s.decoder_embed_dim, s.decoder_depth, s.decoder_num_heads
        return {
            "encoder": TokenEncoder(*c.grid, s.embed_dim, s.depth, s.num_heads, **options),
            "decoder": TokenDecoder(*c.grid, *decoder, patch_dim=c.patch_dim, **options),
            "channel_encoder": ChannelEncoder(c.num_symbols),
            "channel_decoder": ChannelDecoder(s.embed_dim, c.receiver),
            "public_encoder": ChannelEncoder(c.num_symbols),
            "allocation": PowerAllocation(c.num_symbols),
            "comparator": comparator.ComparatorProjection(),
        }

    def patches(self) -> tuple[int, int]:
        """As ``Masking.patches``."""
        return self.config.capacity, self.config.num_patches

    def with_budget(self, num_kept: int, *, scale_aware: bool) -> "LvmMtc":
        """As ``Masking.with_budget``."""
        config = dataclasses.replace(self.config, masking="budget", num_kept=num_kept)
        return dataclasses.replace(self, config=config, scale_aware=scale_aware)

    @functools.partial(jax.jit, static_argnames=("self", "num_uavs"))
    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Draws the parameters of :attr:`networks`, of ``allocation`` and ``comparator`` where they are learned.

        ``per_uav_params`` needs ``num_uavs``; those of ``PER_UAV`` then carry a leading ``[num_uavs]`` axis.
        """
        key = phy.stream_key(key, phy.Stream.INIT)
        if not self.config.per_uav_params:
            return self._init_one(key)
        if num_uavs is None:
            raise ValueError("LvmMtcConfig.per_uav_params needs num_uavs at init")
        params = jax.vmap(self._init_one)(jax.random.split(key, num_uavs))
        common = jax.tree.map(lambda leaf: leaf[0], {k: v for k, v in params.items() if k not in PER_UAV})
        return {k: params[k] for k in PER_UAV} | common

    def _init_one(self, key: jax.Array) -> dict:
        if self.execution.scan:  # the same numbers as without
            looped = dataclasses.replace(self, execution=dataclasses.replace(self.execution, scan=False))
            return stack_layers(looped._init_one(key))
        c = self.config
        comparator_key = jax.random.fold_in(key, 6)  # apart from the others, whose numbers came first
        keys = jax.random.split(key, 6)
        kept = masking.keep_budget(jnp.zeros((1, c.num_patches)), c.capacity)
        tokens = jnp.zeros((1, c.capacity, c.sizes.embed_dim))
        features = jnp.ones((1, c.capacity, 2 * c.num_symbols))
        reliability = features if c.receiver == "wiener" else None
        inputs = {
            "encoder": (keys[0], jnp.zeros((1, c.num_patches, c.patch_dim)), kept),
            "decoder": (keys[1], tokens, kept, reliability),
            "channel_encoder": (keys[2], tokens),
            "channel_decoder": (keys[3], features, features),
            "public_encoder": (keys[4], tokens),
        }
        if c.power_allocation:
            inputs["allocation"] = keys[5], jnp.zeros(1)
        if c.comparator == "learned":
            inputs["comparator"] = comparator_key, tokens
        return {name: self.networks[name].init(*of)["params"] for name, of in inputs.items()}

    def _apply(self, name: str, params: dict, *arrays: Any) -> Any:
        """A network on each UAV's arrays, axis 1; parameters per UAV have their own leading axis."""
        in_axes = (0 if name in self.per_uav else None,) + (1,) * len(arrays)
        return jax.vmap(functools.partial(self._apply_one, name), in_axes=in_axes, out_axes=1)(params[name], *arrays)

    def _apply_one(self, name: str, params: dict, *arrays: Any) -> Any:
        return self.networks[name].apply({"params": params}, *arrays)

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: a token is a frame."""
        return self.config.capacity, self.config.num_symbols

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Encoded:
        """Chooses the patches to keep and turns them into tokens (Eq. 15-18)."""
        c, images, loc = self.config, source.data, source.hints["loc"]
        side, (batch, num_uavs) = c.image_size, images.shape[:2]
        if images.ndim != 5 or images.shape[2:] != (side, side, 3):
            expected = f"images must be [batch, num_uavs, {side}, {side}, 3] (LvmMtcConfig.image_size)"
            raise ValueError(f"{expected}, got {images.shape}")
        if loc.shape != (batch, num_uavs, 4):
            raise ValueError(f"loc must be [batch, num_uavs, 4] for images {images.shape}, got {loc.shape}")
        keys = jax.vmap(lambda k: phy.stream_key(k, phy.Stream.MASK))(key)
        inside = patches_in_box(loc, (side, side), c.patch_size)
        mask_prob = knobs["mask_prob"]
        if self.scale_aware:
            mask_prob = masking.scale_aware_mask_prob(loc, (side, side), LOW * mask_prob, HIGH * mask_prob)
        mask_prob = per_link(mask_prob, (batch, num_uavs))
        scores = jax.vmap(masking.keep_scores, in_axes=(0, 1, 1), out_axes=1)(keys, inside, mask_prob)
        keep = masking.keep_budget if c.masking == "budget" else masking.keep_bernoulli
        kept = keep(scores, c.capacity)

        tokens, features = self._apply("encoder", params, patchify(images, c.patch_size), kept)
        features = features if c.statistic == "pre_norm" else tokens
        if c.comparator == "learned":
            features = self._apply_one("comparator", params["comparator"], features)
        return Encoded(tokens, features, kept, *masking.keep_rates(inside, kept.mask))

    def share(self, encoded: Encoded, epsilon: Any) -> comparator.Sharing:
        """Runs the comparator on each group of K UAVs (Eq. 23); leading axis ``batch``."""
        c, epsilon = self.config, jnp.broadcast_to(jnp.asarray(epsilon, jnp.float32), encoded.tokens.shape[:1])
        decide = functools.partial(
            comparator.compare_groups if c.groups else comparator.compare_tokens, temperature=c.sharing_temperature,
            comparator=c.comparator, alignment=c.alignment, aggregation=c.aggregation,
        )  # fmt: skip
        return jax.vmap(decide)(encoded.tokens, encoded.features, encoded.kept, epsilon)

    def modulate(self, params: dict, encoded: Encoded, point: OperatingPoint) -> Sent:
        """As ``Scheme.modulate``: the comparator decides, and :meth:`send` maps tokens to symbols."""
        return self.send(params, encoded, self.share(encoded, point.knobs["epsilon"]), point)

    def send(self, params: dict, encoded: Encoded, sharing: comparator.Sharing, point: OperatingPoint) -> Sent:
        """Maps private and public tokens to symbols of average power 1 (Eq. 3, 23-25).

        The power is 1 over the active private symbols of each picture and user, and over each group's public symbols.
        """
        c, kept = self.config, encoded.kept
        tokens = jnp.take_along_axis(encoded.tokens, sharing.order[..., None], axis=2)
        private = jnp.take_along_axis(kept.valid, sharing.order, axis=2)
        private = private & ~heard_by(sharing.public, sharing.members)
        mean = comparator.mean_of_members(tokens, sharing.members)
        worst_snr_db = None
        if c.power_allocation and jnp.ndim(point.snr_db) == 2:
            worst_snr_db = as_sent(jnp.asarray(point.snr_db, jnp.float32).min(axis=1))
        own_allocation, common_allocation = self._allocation(params, point, worst_snr_db, *tokens.shape[:2])

        own = self._apply("channel_encoder", params, tokens) * own_allocation[:, :, None]
        common = self._apply_one("public_encoder", params["public_encoder"], mean[:, 0]) * common_allocation[:, None]
        own, own_gain = unit_power(phy.features_to_symbols(own), private)
        common, common_gain = unit_power(phy.features_to_symbols(common), sharing.public)
        frames = Frames(own, private), Frames(common, sharing.public)
        signal = Signal(*frames, sharing.members, sharing.weight, comparator.turns_of(c.alignment, sharing))
        gains = (as_sent(own_gain), as_sent(common_gain)) if c.receiver == "wiener" else (None, None)
        side = Side(kept, sharing.order, signal.shared, *gains, worst_snr_db)
        bits = side_information_bits(
            sharing.public, jnp.broadcast_to(jnp.asarray(point.knobs["epsilon"]), sharing.public.shape[:1]),
            num_uavs=tokens.shape[1], num_patches=c.num_patches,
            masked=c.masking == "bernoulli" or c.capacity < c.num_patches, alignment=c.alignment,
            gains=c.receiver == "wiener", worst_snr=worst_snr_db is not None, members=sharing.members,
        )  # fmt: skip
        share = heard_by(sharing.weight, sharing.members)[..., None]
        shared_tokens = share * mean + (1 - share) * tokens
        place = jnp.argsort(sharing.order, axis=-1)[..., None]
        removed = kept.mask.reshape(*kept.mask.shape[:-1], *c.grid) > 0  # patches, and below their pixels
        tells = {
            "tokens_own": encoded.tokens, "tokens_sent": jnp.take_along_axis(shared_tokens, place, axis=2),
            "valid": kept.valid, "removed": jnp.repeat(jnp.repeat(removed, c.patch_size, -2), c.patch_size, -1),
            "score": sharing.score, "own_gain": own_gain, "common_gain": common_gain,
            "keep_rate_inside": encoded.keep_rate_inside, "keep_rate_outside": encoded.keep_rate_outside,
        }  # fmt: skip
        return Sent(signal, side, bits, tells)

    def decode(self, params: dict, received: Received, side: Side, point: OperatingPoint) -> Estimate:
        """Decodes tokens (Eq. 4-6, 26) and paints pictures; tells ``tokens``, as the kept patches stand."""
        features = phy.symbols_to_features(received.symbols)
        noise = jnp.repeat(received.no_eff, 2, axis=-1) / 2
        if self.config.receiver == "wiener":
            own, common = self._allocation(params, point, side.worst_snr_db, *received.symbols.shape[:2])
            allocation = jnp.where(side.shared[..., None], common[:, None, None], own[:, :, None])
            common_gain, own_gain = (require_given("Side gains", gain) for gain in (side.common_gain, side.own_gain))
            gain = jnp.where(side.shared, common_gain[:, None, None], own_gain[..., None])
            scale = gain[..., None] * allocation
            features, noise = features / scale, noise / scale**2

        tokens, reliability = self._apply("channel_decoder", params, features, noise)
        place = jnp.argsort(side.order, axis=-1)[..., None]
        tokens = jnp.take_along_axis(tokens, place, axis=2)
        if reliability is not None:
            reliability = jnp.take_along_axis(reliability, place, axis=2)
        return Estimate(self.paint(params, tokens, side.kept, reliability), {"tokens": tokens})

    def paint(
        self, params: dict, tokens: jax.Array, kept: masking.KeptPatches, reliability: jax.Array | None = None
    ) -> jax.Array:
        """Paints pictures from tokens in the kept patches' order (Eq. 19-22).

        Returns:
            ``[batch, num_uavs, height, width, 3]``, not clipped.
        """
        optional = () if reliability is None else (reliability,)
        patches = self._apply("decoder", params, tokens, kept, *optional)
        return unpatchify(patches, self.config.patch_size, (self.config.image_size,) * 2)

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: steps 2 to 4 of the paper's training."""
        return STAGES

    @property
    def per_uav(self) -> tuple[str, ...]:
        """As ``Trained.per_uav``."""
        return PER_UAV if self.config.per_uav_params else ()

    def start(self, params: dict, pictures: np.ndarray, seed: int, spread: int = 1) -> dict:
        """As ``Trained.start``: principal components for the linear path, where there is one.

        ``spread`` is the number of symbols over which each component is spread, a power of two; as many as there are
        transmit antennas for fading channels.
        """
        if not self.config.linear_path:
            return params
        pca = fit_patches(pictures, self.config.image_size, self.config.patch_size, seed)
        return init_from_pca(params, pca, spread)

    def to_file(self, params: dict) -> dict:
        """As ``Trained.to_file``: layers one by one, also where they are scanned."""
        return self._map_layers(unstack_layers, params)

    def from_file(self, params: dict) -> dict:
        """As ``Trained.from_file``."""
        return self._map_layers(stack_layers, params)

    def _map_layers(self, function: Callable, params: dict) -> dict:
        """The layers' axis stands behind that of the UAVs."""
        if not self.execution.scan:
            return params
        return {name: function(tree, axis=int(name in self.per_uav)) for name, tree in params.items()}

    def _allocation(self, params: dict, point: OperatingPoint, worst_snr_db, batch: int, num_uavs: int):
        """Gains of the private features, ``[batch, num_uavs, n]``, and, for the worst UAV, of the public ones."""
        size = 2 * self.config.num_symbols
        if not self.config.power_allocation:
            return jnp.ones((batch, num_uavs, size)), jnp.ones((batch, size))
        snr_db = per_link(point.snr_db, (batch, num_uavs))
        worst = snr_db[:, :1] if worst_snr_db is None else worst_snr_db[:, None]
        snr_db = jnp.concatenate([snr_db, worst], axis=1)
        gains = self._apply_one("allocation", params["allocation"], snr_db.reshape(-1))
        gains = gains.reshape(batch, num_uavs + 1, size)
        return gains[:, :-1], gains[:, -1]
