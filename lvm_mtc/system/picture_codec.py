"""Codecs for whole pictures (DeepJSCC, WITT) over the channel of the token system, as pure functions.

Every position of the codec's feature map is a token of which nothing is masked and nothing shared: its symbols go
through ``transmission.receive_symbols`` and the ledger as the token system's private ones do. Equal counts of tokens
and of symbols a token have equal draws.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.models.deepjscc import DeepJscc
from lvm_mtc.models.witt import Witt
from lvm_mtc.system.bandwidth import Ledger, book_grid, book_pilots, book_tokens, side_information_bits
from lvm_mtc.system.chain import uav_keys
from lvm_mtc.system.channel import ChannelDraws
from lvm_mtc.system.config import OperatingPoint, PictureCodecConfig
from lvm_mtc.system.link_config import LinkConfig
from lvm_mtc.system.transmission import Sent, receive_symbols, streams_per_public


class EncodedPictures(NamedTuple):
    """Whole pictures before the SNR is known; has what a sweep asks of any scheme's encoder.

    Attributes:
        tokens: ``[batch, num_uavs, rows, columns, width]``.
        keep_rate_inside: ``[batch, num_uavs]``, NaN: there are no patches to choose from.
        keep_rate_outside: Likewise.
    """

    tokens: jax.Array
    keep_rate_inside: jax.Array
    keep_rate_outside: jax.Array


class PictureOutput(NamedTuple):
    """Everything that a forward pass tells.

    Attributes:
        images_hat: Reconstructions, ``[batch, num_uavs, height, width, 3]``, not clipped to [0, 1].
        received: What the decoder was given, ``[batch, num_uavs, rows, columns, num_received]``.
        sent: The symbols; all are private.
        link: The channel's own output.
        ledger: Costs.
    """

    images_hat: jax.Array
    received: jax.Array
    sent: Sent
    link: phy.LinkOutput
    ledger: Ledger


@dataclasses.dataclass(frozen=True)
class PictureCodecSystem:
    """A codec for whole pictures over a link; methods are pure functions, and all UAVs share the parameters.

    Attributes:
        config: Shapes.
    """

    config: PictureCodecConfig

    @property
    def codec(self) -> DeepJscc | Witt:
        """The codec's module."""
        return self.config.module

    def init(self, key: jax.Array) -> dict:
        """Draws parameters.

        Args:
            key: Random key.

        Returns:
            A dictionary of Flax parameter trees: ``encoder``, ``decoder`` and, for ``"wiener"``, ``receiver``.

        Raises:
            ValueError: if pictures of that size do not fit the codec.
        """
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

    def encode(
        self,
        params: dict,
        images: jax.Array,
        loc: jax.Array | None = None,
        key: jax.Array | None = None,
        point: OperatingPoint = OperatingPoint(),
    ) -> EncodedPictures:
        """The part of the encoder that does not depend on the SNR; points of a sweep share what it gives.

        Args:
            params: From :meth:`init`.
            images: ``[batch, num_uavs, height, width, 3]`` in [0, 1].
            loc: As ``System.encode`` takes it; nothing is chosen here, so it is not used.
            key: Likewise.
            point: Likewise.

        Raises:
            ValueError: if the pictures are not of the configured size.
        """
        side = self.config.image_size
        if images.ndim != 5 or images.shape[2:] != (side, side, 3):
            raise ValueError(f"images must be [batch, num_uavs, {side}, {side}, 3], got {images.shape}")
        tokens = self.codec.apply({"params": params["encoder"]}, _merge(images), method="encode")
        none = jnp.full(images.shape[:2], jnp.nan)
        return EncodedPictures(tokens.reshape(*images.shape[:2], *tokens.shape[1:]), none, none)

    def send(self, params: dict, encoded: EncodedPictures, point: OperatingPoint = OperatingPoint()) -> Sent:
        """Maps what :meth:`encode` gave to symbols of average power 1 over each picture.

        Args:
            params: From :meth:`init`.
            encoded: From :meth:`encode`.
            point: Of which ``snr_db``, the nominal SNR, is used, by codecs that adapt to it.
        """
        batch, num_uavs = lead = encoded.tokens.shape[:2]
        snr_db = _per_picture(point, *lead)
        features = self.codec.apply({"params": params["encoder"]}, _merge(encoded.tokens), snr_db, method="modulate")
        features = features.reshape(*lead, -1, 2 * self.config.num_symbols)
        symbols, gain = phy.normalize_power(phy.features_to_symbols(features))
        num_tokens = symbols.shape[2]
        return Sent(
            own=symbols,
            own_gain=gain,
            private=jnp.ones((batch, num_uavs, num_tokens), bool),
            common=jnp.zeros((batch, num_tokens, self.config.num_symbols), symbols.dtype),
            common_gain=jnp.ones(batch),
            public=jnp.zeros((batch, num_tokens), bool),
            weight=jnp.zeros((batch, num_tokens)),
        )

    def receive(
        self,
        params: dict,
        sent: Sent,
        key: jax.Array,
        link: LinkConfig,
        point: OperatingPoint = OperatingPoint(),
        draws: ChannelDraws | None = None,
    ) -> tuple[jax.Array, phy.LinkOutput]:
        """Sends the symbols through the channel.

        Returns:
            received: What the decoder is given of each position, ``[batch, num_uavs, num_tokens, num_received]``.
            link: The channel's output.
        """
        symbols, no_eff, link_output = receive_symbols(sent, key, link, point, draws)
        return self._reliable(params, symbols, no_eff, sent.own_gain), link_output

    def transmit(
        self,
        params: dict,
        encoded: EncodedPictures,
        key: jax.Array,
        link: LinkConfig,
        point: OperatingPoint = OperatingPoint(),
        draws: ChannelDraws | None = None,
    ) -> PictureOutput:
        """Everything behind :meth:`encode`.

        Args:
            params: From :meth:`init`.
            encoded: From :meth:`encode`.
            key: One key, or one per UAV; unused with ``draws``.
            link: The link's kind.
            point: All its numbers but ``mask_prob`` and ``epsilon``.
            draws: From ``draw_channel`` with the configuration's ``capacity`` and ``num_symbols``, for points that
                share them.

        Raises:
            ValueError: if the joint topology's stream count is not the number of UAVs.
        """
        batch, num_uavs, rows, columns = encoded.tokens.shape[:4]
        sent = self.send(params, encoded, point)
        received, link_output = self.receive(params, sent, uav_keys(key, num_uavs), link, point, draws)
        received = received.reshape(batch * num_uavs, rows, columns, -1)
        snr_db = _per_picture(point, batch, num_uavs)
        images_hat = self.codec.apply({"params": params["decoder"]}, received, snr_db, method="decode")
        images_hat, received = (a.reshape(batch, num_uavs, *a.shape[1:]) for a in (images_hat, received))
        return PictureOutput(images_hat, received, sent, link_output, self._ledger(sent, link))

    def forward(
        self,
        params: dict,
        images: jax.Array,
        key: jax.Array,
        link: LinkConfig = LinkConfig(),
        point: OperatingPoint = OperatingPoint(),
        draws: ChannelDraws | None = None,
    ) -> PictureOutput:
        """Pixels to pixels; arguments as in :meth:`encode` and :meth:`transmit`."""
        return self.transmit(params, self.encode(params, images), key, link, point, draws)

    def _reliable(self, params, symbols, no_eff, gain):
        """Features with what the receiver knows of their noise."""
        features = phy.symbols_to_features(symbols)
        if self.config.receiver == "log_no_eff":
            return jnp.concatenate([features, jnp.log(no_eff)], axis=-1)
        noise = jnp.repeat(no_eff, 2, axis=-1) / 2
        if self.config.receiver == "shrunk":
            return features / (1 + 2 * noise)
        rounded = gain.astype(jnp.float16).astype(gain.dtype)  # 16 bits of side information
        gain = (gain + jax.lax.stop_gradient(rounded - gain))[..., None, None]
        power = jnp.exp(params["receiver"]["log_power"]).reshape(1, 1, 1, -1)
        return features / gain * power / (power + noise / gain**2)

    def _ledger(self, sent: Sent, link: LinkConfig) -> Ledger:
        batch, num_uavs, _ = sent.private.shape
        streams = streams_per_public(link, num_uavs)
        joint = link.topology != "broadcast"
        ledger = book_tokens(sent.private, sent.public, self.config.num_symbols, streams, joint=joint)
        if link.uses_ofdm:
            ledger = book_grid(ledger, link.ofdm, link.num_tx_ant)
        else:
            ledger = book_pilots(ledger, link.num_pilots, link.num_tx_ant, link.block_length)
        nothing_shared = dict(epsilon=jnp.zeros(batch), num_patches=0, masked=False, alignment="index")
        gains = self.config.receiver == "wiener"
        bits = side_information_bits(sent.public, num_uavs=num_uavs, gains=gains, **nothing_shared)
        return ledger._replace(side_information_bits=bits)


def _merge(array: jax.Array) -> jax.Array:
    """``[batch, num_uavs, ...]`` to ``[batch * num_uavs, ...]``."""
    return array.reshape(-1, *array.shape[2:])


def _per_picture(point: OperatingPoint, batch: int, num_uavs: int) -> jax.Array:
    """The nominal SNR of every picture, ``[batch * num_uavs]``, dB."""
    snr_db = jnp.asarray(point.snr_db, jnp.float32)
    return jnp.broadcast_to(snr_db[:, None] if snr_db.ndim == 1 else snr_db, (batch, num_uavs)).reshape(-1)
