"""WITT, a Swin transformer as joint source-channel codec for whole pictures, a baseline of the token codec.

Each of the S stages halves the rows and columns; at each position that is left the encoder gives ``num_features`` real
features, which pair up to ``num_features / 2`` complex symbols: ``num_features / (6 * 4^S)`` symbols per source sample.

Source: Yang et al., WITT: A Wireless Image Transmission Transformer for Semantic Communications (2023), and the code
that its authors published, from which the sizes are; with equal parameters both give equal numbers. Deviations: where
windows do not tile a stage an error is raised, instead of smaller windows for small pictures; the decoder's ModNet
starts as the encoder's does. Their channel pairs features across the batch and takes the batch's power; ours pairs
neighbouring features and takes each picture's.

The authors train with Adam at a rate of 1e-4. Small sizes learn at 3e-4 too; at 1e-3 their features become constant.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np

from lvm_mtc.schemes.witt.blocks import DENSE_INIT, LAYER_NORM_EPSILON, ModNet, PatchDividing, PatchMerging, SwinBlock


class WittSizes(NamedTuple):
    """Blocks, widths and heads of the encoder's stages, which the decoder has in reverse, and the windows' side."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window: int


CIFAR_SIZES = WittSizes((2, 4), (128, 256), (4, 8), 2)
HIGH_RESOLUTION_SIZES = WittSizes((2, 2, 6, 2), (128, 192, 256, 320), (4, 6, 8, 10), 8)


class Witt(nn.Module):
    """The codec; power normalisation and channel lie between ``modulate`` and ``decode``.

    Attributes:
        num_features: Real features at each position, C in the paper, even.
        sizes: ``CIFAR_SIZES``, ``HIGH_RESOLUTION_SIZES`` or others.
        modnet: Scale the features by the SNR at both ends; False is the authors' "WITT_W/O", for one SNR.
    """

    num_features: int
    sizes: WittSizes = CIFAR_SIZES
    modnet: bool = True

    @property
    def reduction(self) -> int:
        """Pixels along a side for one position."""
        return 2 ** len(self.sizes.depths)

    def setup(self):
        """Makes the layers."""
        if self.num_features < 2 or self.num_features % 2:
            raise ValueError(f"Witt.num_features must be even and at least 2, got {self.num_features!r}")
        depths, widths, num_heads, window = self.sizes
        if not len(depths) == len(widths) == len(num_heads) or any(np.array(widths) % num_heads):
            raise ValueError(f"Witt.sizes needs as many depths as widths and heads that divide them, got {self.sizes}")

        def blocks(stage, end):
            return [
                SwinBlock(num_heads[stage], window, i % 2 == 1, name=f"{end}_stage{stage}_block{i}")
                for i in range(depths[stage])
            ]

        stages = range(len(depths))
        self.embedding = nn.Conv(widths[0], (2, 2), strides=2, padding="VALID")
        self.mergings = [PatchMerging(width, name=f"merging{i}") for i, width in enumerate(widths[1:])]
        self.encoder_blocks = [blocks(stage, "encoder") for stage in stages]
        self.norm = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON)
        self.head = nn.Dense(self.num_features, kernel_init=DENSE_INIT)
        self.decoder_head = nn.Dense(widths[-1], kernel_init=DENSE_INIT)
        self.decoder_blocks = [blocks(stage, "decoder") for stage in stages]
        self.dividings = [PatchDividing(width, name=f"dividing{i}") for i, width in enumerate((3, *widths[:-1]))]
        if self.modnet:
            self.encoder_modnet, self.decoder_modnet = ModNet(), ModNet()

    def encode(self, images: jax.Array) -> jax.Array:
        """The part of the encoder that does not depend on the SNR.

        Pictures ``[batch, height, width, 3]`` in [0, 1] to ``[batch, height / 2^S, width / 2^S, widths[-1]]``.
        """
        step = self.reduction * self.sizes.window
        if images.ndim != 4 or images.shape[-1] != 3 or images.shape[1] % step or images.shape[2] % step:
            raise ValueError(
                f"images must be [batch, height, width, 3] with sides in multiples of {step}, got {images.shape}"
            )
        x = self.embedding(images)
        for stage, blocks in enumerate(self.encoder_blocks):
            x = self.mergings[stage - 1](x) if stage else x
            for block in blocks:
                x = block(x)
        return self.norm(x)

    def modulate(self, tokens: jax.Array, snr_db: jax.Array) -> jax.Array:
        """The rest of the encoder: scales by the nominal SNR, ``[batch]``, dB, and maps to ``num_features``."""
        return self.head(self.encoder_modnet(tokens, snr_db) if self.modnet else tokens)

    def decode(self, received: jax.Array, snr_db: jax.Array) -> jax.Array:
        """``[batch, height / 2^S, width / 2^S, num_received]`` to pictures, not clipped; ``snr_db [batch]`` in dB."""
        x = self.decoder_head(received)
        x = self.decoder_modnet(x, snr_db) if self.modnet else x
        for blocks, dividing in zip(self.decoder_blocks[::-1], self.dividings[::-1], strict=True):
            for block in blocks:
                x = block(x)
            x = dividing(x)
        return x

    def __call__(self, images: jax.Array, snr_db: jax.Array) -> jax.Array:
        """Pictures to the features that are sent."""
        return self.modulate(self.encode(images), snr_db)
