"""The chain from pixels to pixels for K UAVs: encode -> share -> send -> receive -> decode, as pure functions."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.models.channel_codec import ChannelDecoder, ChannelEncoder, PowerAllocation
from lvm_mtc.models.comparator import Sharing
from lvm_mtc.models.groups import mean_of_members, of_members
from lvm_mtc.models.learned_comparator import ComparatorProjection
from lvm_mtc.models.masking import KeptPatches, keep_bernoulli, keep_budget, keep_rates, keep_scores, patches_in_box
from lvm_mtc.models.patches import patchify, unpatchify
from lvm_mtc.models.token_codec import TokenDecoder, TokenEncoder
from lvm_mtc.models.transformer import stack_layers
from lvm_mtc.system.bandwidth import Ledger, book_grid, book_pilots, book_tokens, side_information_bits
from lvm_mtc.system.channel import ChannelDraws
from lvm_mtc.system.config import Execution, OperatingPoint, SystemConfig
from lvm_mtc.system.link_config import LinkConfig
from lvm_mtc.system.records import Encoded, Output
from lvm_mtc.system.sharing import decide_sharing, share_tokens, turns_of
from lvm_mtc.system.transmission import Sent, receive_symbols, streams_per_public

PER_UAV = ("encoder", "decoder", "channel_encoder", "channel_decoder")


def uav_keys(key: jax.Array, num_uavs: int) -> jax.Array:
    """One key per UAV: split from a single key, or the given ``[num_uavs]`` keys as they are.

    Raises:
        ValueError: if ``key`` holds another number of keys.
    """
    if key.shape == ():
        return jax.random.split(key, num_uavs)
    if key.shape != (num_uavs,):
        raise ValueError(f"key must be one key or one per UAV, [{num_uavs}]; got shape {key.shape}")
    return key


def _per_picture(value: Any, batch: int, num_uavs: int) -> jax.Array:
    value = jnp.asarray(value, jnp.float32)
    return jnp.broadcast_to(value[:, None] if value.ndim == 1 else value, (batch, num_uavs))


def _scale(symbols: jax.Array, active: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Scales all symbols by the gain that gives the active ones power 1.

    The others are not sent, but the comparator's soft decision asks what they would have been.
    """
    _, gain = phy.normalize_power(symbols, active)
    gain = jnp.where(active.any(-1), gain, 1.0)
    return symbols * gain[..., None, None], gain


@dataclasses.dataclass(frozen=True)
class System:
    """The token system of a configuration; methods are pure functions of their arguments.

    Attributes:
        config: Shapes and rules.
        execution: How the token codec is computed.
    """

    config: SystemConfig
    execution: Execution = Execution()

    @property
    def encoder(self) -> TokenEncoder:
        """The token encoder's module."""
        c, s, options = self.config, self.config.sizes, dataclasses.asdict(self.execution)
        return TokenEncoder(*c.grid, s.embed_dim, s.depth, s.num_heads, c.linear_path, c.attention, **options)

    @property
    def decoder(self) -> TokenDecoder:
        """The token decoder's module."""
        c, s, options = self.config, self.config.sizes, dataclasses.asdict(self.execution)
        sizes = s.decoder_embed_dim, s.decoder_depth, s.decoder_num_heads
        return TokenDecoder(*c.grid, c.patch_dim, *sizes, c.linear_path, c.attention, **options)

    @property
    def channel_encoder(self) -> ChannelEncoder:
        """The channel encoder's module, private or public."""
        return ChannelEncoder(self.config.num_symbols)

    @property
    def channel_decoder(self) -> ChannelDecoder:
        """The channel decoder's module."""
        return ChannelDecoder(self.config.sizes.embed_dim, self.config.receiver)

    @property
    def allocation(self) -> PowerAllocation:
        """The power allocation's module."""
        return PowerAllocation(self.config.num_symbols)

    @property
    def comparator(self) -> ComparatorProjection:
        """The learned comparator's module."""
        return ComparatorProjection()

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Draws parameters.

        Args:
            key: Random key.
            num_uavs: Needed with ``per_uav_params``, whose parameters carry a leading ``[num_uavs]`` axis.

        Returns:
            A dictionary of Flax parameter trees: ``encoder``, ``decoder``, ``channel_encoder``, ``channel_decoder``,
            ``public_encoder`` and, if learned, ``allocation`` and ``comparator``.

        Raises:
            ValueError: if ``per_uav_params`` is set and ``num_uavs`` is not given.
        """
        key = phy.stream_key(key, phy.Stream.INIT)
        if not self.config.per_uav_params:
            return self._init_one(key)
        if num_uavs is None:
            raise ValueError("SystemConfig.per_uav_params needs num_uavs at init")
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
        kept = keep_budget(jnp.zeros((1, c.num_patches)), c.capacity)
        tokens = jnp.zeros((1, c.capacity, c.sizes.embed_dim))
        features = jnp.ones((1, c.capacity, 2 * c.num_symbols))
        reliability = features if c.receiver == "wiener" else None
        params = {
            "encoder": self.encoder.init(keys[0], jnp.zeros((1, c.num_patches, c.patch_dim)), kept),
            "decoder": self.decoder.init(keys[1], tokens, kept, reliability),
            "channel_encoder": self.channel_encoder.init(keys[2], tokens),
            "channel_decoder": self.channel_decoder.init(keys[3], features, features),
            "public_encoder": self.channel_encoder.init(keys[4], tokens),
        }
        if c.power_allocation:
            params["allocation"] = self.allocation.init(keys[5], jnp.zeros(1))
        if c.comparator == "learned":
            params["comparator"] = self.comparator.init(comparator_key, tokens)
        return {name: tree["params"] for name, tree in params.items()}

    def _over_uavs(self, function, *arrays):
        """Maps ``function(params, *arrays)`` over axis 1; parameters per UAV have their own leading axis."""
        in_axes = (0 if self.config.per_uav_params else None,) + (1,) * len(arrays)
        return lambda params: jax.vmap(function, in_axes=in_axes, out_axes=1)(params, *arrays)

    def encode(
        self, params: dict, images: jax.Array, loc: jax.Array, key: jax.Array, point: OperatingPoint = OperatingPoint()
    ) -> Encoded:
        """Chooses the patches to keep and turns them into tokens (Eq. 15-18).

        Args:
            params: From :meth:`init`.
            images: ``[batch, num_uavs, height, width, 3]`` in [0, 1].
            loc: The object's box, ``[batch, num_uavs, 4]``, ``(x, y, w, h)``, centre, pixels.
            key: One key, or one per UAV.
            point: Of which ``mask_prob`` is used.

        Raises:
            ValueError: if the pictures are not of the configured size or the boxes don't fit them.
        """
        c = self.config
        self._check(images, loc)
        batch, num_uavs = images.shape[:2]
        keys = jax.vmap(lambda k: phy.stream_key(k, phy.Stream.MASK))(uav_keys(key, num_uavs))
        inside = patches_in_box(loc, (c.image_size, c.image_size), c.patch_size)
        mask_prob = _per_picture(point.mask_prob, batch, num_uavs)
        scores = jax.vmap(keep_scores, in_axes=(0, 1, 1), out_axes=1)(keys, inside, mask_prob)
        keep = keep_budget if c.masking == "budget" else keep_bernoulli
        kept = keep(scores, c.capacity)

        def encode_one(encoder_params, patches, kept):
            return self.encoder.apply({"params": encoder_params}, patches, kept)

        tokens, features = self._over_uavs(encode_one, patchify(images, c.patch_size), kept)(params["encoder"])
        features = features if c.statistic == "pre_norm" else tokens
        if c.comparator == "learned":
            features = self.comparator.apply({"params": params["comparator"]}, features)
        return Encoded(tokens, features, kept, *keep_rates(inside, kept.mask))

    def share(self, encoded: Encoded, point: OperatingPoint = OperatingPoint()) -> Sharing:
        """Runs the comparator on each group of K UAVs (Eq. 23); leading axis ``batch``."""
        return decide_sharing(self.config, encoded, point)

    def send(self, params: dict, encoded: Encoded, sharing: Sharing, point: OperatingPoint = OperatingPoint()) -> Sent:
        """Maps private and public tokens to symbols of average power 1 (Eq. 3, 24-25); everything in aligned order.

        The power is 1 over the active private symbols of each picture and user, and over each group's public symbols.
        """
        tokens = jnp.take_along_axis(encoded.tokens, sharing.order[..., None], axis=2)
        private = jnp.take_along_axis(encoded.kept.valid, sharing.order, axis=2)
        private = private & ~of_members(sharing.public, sharing.members)
        mean_token = mean_of_members(tokens, sharing.members)[:, 0]
        own_allocation, common_allocation = self._allocation(params, point, *tokens.shape[:2])

        def encode_one(channel_params, tokens):
            return self.channel_encoder.apply({"params": channel_params}, tokens)

        own = self._over_uavs(encode_one, tokens)(params["channel_encoder"]) * own_allocation[:, :, None]
        common = encode_one(params["public_encoder"], mean_token) * common_allocation[:, None]
        own, own_gain = _scale(phy.features_to_symbols(own), private)
        common, common_gain = _scale(phy.features_to_symbols(common), sharing.public)
        turns = turns_of(self.config, sharing)
        return Sent(
            own, own_gain, private, common, common_gain, sharing.public, sharing.weight, turns, sharing.members
        )

    def receive(
        self,
        params: dict,
        sent: Sent,
        key: jax.Array,
        link: LinkConfig,
        point: OperatingPoint = OperatingPoint(),
        draws: ChannelDraws | None = None,
    ) -> tuple[jax.Array, jax.Array | None, phy.LinkOutput]:
        """Sends the symbols through the channel and decodes tokens (Eq. 4-6, 26), still in aligned order.

        Returns:
            tokens: ``[batch, num_uavs, num_tokens, embed_dim]``.
            reliability: ``[batch, num_uavs, num_tokens, 2 * num_symbols]`` or None.
            link: The channel's output.
        """
        symbols, no_eff, link_output = receive_symbols(sent, key, link, point, draws)
        features = phy.symbols_to_features(symbols)
        noise = jnp.repeat(no_eff, 2, axis=-1) / 2
        if self.config.receiver == "wiener":
            own, common = self._allocation(params, point, *symbols.shape[:2])
            allocation = jnp.where(sent.shared[..., None], common[:, None, None], own[:, :, None])
            scale = self._gain(sent) * allocation
            features, noise = features / scale, noise / scale**2

        def decode_one(channel_params, features, noise):
            return self.channel_decoder.apply({"params": channel_params}, features, noise)

        tokens, reliability = self._over_uavs(decode_one, features, noise)(params["channel_decoder"])
        return tokens, reliability, link_output

    def decode(
        self, params: dict, tokens: jax.Array, kept: KeptPatches, reliability: jax.Array | None = None
    ) -> jax.Array:
        """Paints pictures from tokens in the kept patches' order (Eq. 19-22).

        Returns:
            ``[batch, num_uavs, height, width, 3]``, not clipped.
        """

        def decode_one(decoder_params, tokens, kept, *reliability):
            return self.decoder.apply({"params": decoder_params}, tokens, kept, *reliability)

        optional = () if reliability is None else (reliability,)
        patches = self._over_uavs(decode_one, tokens, kept, *optional)(params["decoder"])
        return unpatchify(patches, self.config.patch_size, (self.config.image_size,) * 2)

    def transmit(
        self,
        params: dict,
        encoded: Encoded,
        key: jax.Array,
        link: LinkConfig,
        point: OperatingPoint = OperatingPoint(),
        draws: ChannelDraws | None = None,
    ) -> Output:
        """Everything behind the encoder; points of a sweep share ``encoded`` and ``draws``."""
        sharing = self.share(encoded, point)
        sent = self.send(params, encoded, sharing, point)
        received, reliability, link_output = self.receive(params, sent, key, link, point, draws)
        place = jnp.argsort(sharing.order, axis=-1)[..., None]
        received = jnp.take_along_axis(received, place, axis=2)
        if reliability is not None:
            reliability = jnp.take_along_axis(reliability, place, axis=2)
        images_hat = self.decode(params, received, encoded.kept, reliability)
        kept = encoded.kept
        return Output(
            images_hat,
            encoded.tokens,
            self._tokens_sent(encoded, sharing, place),
            received,
            kept.ids_keep,
            kept.valid,
            kept.mask,
            kept.overflow,
            encoded.keep_rate_inside,
            encoded.keep_rate_outside,
            sharing.public,
            sharing.score,
            sent,
            link_output,
            self._ledger(sent, link, point),
        )

    def forward(
        self,
        params: dict,
        images: jax.Array,
        loc: jax.Array,
        key: jax.Array,
        link: LinkConfig = LinkConfig(),
        point: OperatingPoint = OperatingPoint(),
        draws: ChannelDraws | None = None,
    ) -> Output:
        """The whole chain, pixels to pixels; arguments as in :meth:`encode` and :meth:`transmit`."""
        keys = uav_keys(key, images.shape[1])
        return self.transmit(params, self.encode(params, images, loc, keys, point), keys, link, point, draws)

    def _tokens_sent(self, encoded, sharing, place):
        aligned = jnp.take_along_axis(encoded.tokens, sharing.order[..., None], axis=2)
        return jnp.take_along_axis(share_tokens(aligned, sharing, sharing.weight), place, axis=2)

    def _gain(self, sent: Sent) -> jax.Array:
        """Gains as the receiver knows them, rounded to 16 bits, ``[batch, num_uavs, num_tokens, 1]``."""
        gain = jnp.where(sent.shared, sent.common_gain[:, None, None], sent.own_gain[..., None])
        rounded = gain.astype(jnp.float16).astype(gain.dtype)
        return (gain + jax.lax.stop_gradient(rounded - gain))[..., None]

    def _allocation(self, params: dict, point: OperatingPoint, batch: int, num_uavs: int):
        """Gains of the private features, ``[batch, num_uavs, n]``, and, for the worst UAV, of the public ones."""
        size = 2 * self.config.num_symbols
        if not self.config.power_allocation:
            return jnp.ones((batch, num_uavs, size)), jnp.ones((batch, size))
        snr_db = _per_picture(point.snr_db, batch, num_uavs)
        snr_db = jnp.concatenate([snr_db, snr_db.min(axis=1, keepdims=True)], axis=1)
        gains = self.allocation.apply({"params": params["allocation"]}, snr_db.reshape(-1))
        gains = gains.reshape(batch, num_uavs + 1, size)
        return gains[:, :-1], gains[:, -1]

    def _ledger(self, sent: Sent, link: LinkConfig, point: OperatingPoint) -> Ledger:
        c = self.config
        num_uavs = sent.private.shape[1]
        streams = streams_per_public(link, num_uavs)
        ledger = book_tokens(sent.private, sent.public, c.num_symbols, streams, joint=link.topology != "broadcast")
        bits = side_information_bits(
            sent.public,
            jnp.broadcast_to(jnp.asarray(point.epsilon), sent.public.shape[:1]),
            num_uavs=num_uavs,
            num_patches=c.num_patches,
            masked=c.masking == "bernoulli" or c.capacity < c.num_patches,
            alignment=c.alignment,
            gains=c.receiver == "wiener",
            members=sent.members,
        )
        if link.uses_ofdm:
            ledger = book_grid(ledger, link.ofdm, link.num_tx_ant)
        else:
            ledger = book_pilots(ledger, link.num_pilots, link.num_tx_ant, link.block_length)
        return ledger._replace(side_information_bits=bits)

    def _check(self, images: jax.Array, loc: jax.Array) -> None:
        size = self.config.image_size
        if images.ndim != 5 or images.shape[2:] != (size, size, 3):
            raise ValueError(
                f"images must be [batch, num_uavs, {size}, {size}, 3] (SystemConfig.image_size), got {images.shape}"
            )
        if loc.shape != (*images.shape[:2], 4):
            raise ValueError(f"loc must be [batch, num_uavs, 4] for images {images.shape}, got {loc.shape}")
