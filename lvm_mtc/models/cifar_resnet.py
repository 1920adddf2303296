"""ResNet for CIFAR-10: three stages of basic blocks at 32, 16 and 8 pixels, shortcuts without parameters.

Batch normalisation is folded into the convolutions (``interop.classifier_weights`` does it), so the network is for
inference only.

Source: He et al., Deep Residual Learning for Image Recognition (2016), Section 4.2, with option A shortcuts.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

IMAGE_SIZE = 32
NUM_CLASSES = 10
STAGE_CHANNELS = (16, 32, 64)
PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resnet_blocks(depth: int) -> list[tuple[int, int, int, int]]:
    """Every basic block in order: stage (from 0), place in its stage, channels of its input, channels of its output.

    Raises:
        ValueError: if ``depth``, the number of layers with weights, is not 6 n + 2 with n >= 1.
    """
    if depth < 8 or depth % 6 != 2:
        raise ValueError(f"depth must be 6 n + 2 with n >= 1, such as 20 or 56, got {depth!r}")
    blocks, channels = [], STAGE_CHANNELS[0]
    for stage, width in enumerate(STAGE_CHANNELS):
        for place in range((depth - 2) // 6):
            blocks.append((stage, place, channels, width))
            channels = width
    return blocks


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions, added to the input; where the width grows, the first of them halves the sides."""

    channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        extra = self.channels - x.shape[-1]
        stride = 2 if extra else 1
        y = nn.relu(_conv(self.channels, stride, "conv1")(x))
        y = _conv(self.channels, 1, "conv2")(y)
        # Option A: every second pixel, and zeros for the channels that are new, half of them on each side.
        shortcut = jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (extra // 2, extra - extra // 2)))
        return nn.relu(y + shortcut)


class CifarResNet(nn.Module):
    """The classifier; its parameters are those of the folded network.

    Attributes:
        depth: Layers with weights, 6 n + 2.
    """

    depth: int = 20

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits ``[batch, 10]``, as ``data.cifar10.CIFAR10_CLASSES``, of pictures ``[batch, 32, 32, 3]`` in [0, 1].

        Raises:
            ValueError: if ``depth`` is none of such a network, or the pictures are of another shape.
        """
        if images.ndim != 4 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
            raise ValueError(f"images must be [batch, {IMAGE_SIZE}, {IMAGE_SIZE}, 3], got {images.shape}")
        mean, std = (np.reshape(np.float32(numbers), (1, 1, 1, 3)) for numbers in (PIXEL_MEAN, PIXEL_STD))
        x = nn.relu(_conv(STAGE_CHANNELS[0], 1, "stem")((images - mean) / std))
        for stage, place, _, channels in resnet_blocks(self.depth):
            x = BasicBlock(channels, name=f"stage{stage}_block{place}")(x)
        return nn.Dense(NUM_CLASSES, name="classifier")(x.mean(axis=(1, 2)))


def _conv(channels: int, stride: int, name: str) -> nn.Conv:
    return nn.Conv(channels, (3, 3), strides=stride, padding=1, name=name)
