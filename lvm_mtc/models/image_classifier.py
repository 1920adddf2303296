"""EfficientNet-Lite0, an ImageNet classifier: inverted residual blocks without squeeze and excitation, ReLU6.

Batch normalisation is folded into the convolutions (``interop.classifier_weights`` does it), so the network is for
inference only. Depthwise convolutions are sums of shifted products, which XLA runs many times faster on a CPU than its
own depthwise convolution.

Source: Tan, Le, EfficientNet (2019), Table 1, in the "lite" form published with TensorFlow's TPU models.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

IMAGE_SIZE = 224
NUM_CLASSES = 1000


class Stage(NamedTuple):
    """Blocks of one width: how many, how wide inside, kernel's side, stride of the first, channels of the output."""

    repeats: int
    expansion: int
    kernel: int
    stride: int
    channels: int


LITE0_STAGES = (
    Stage(1, 1, 3, 1, 16),
    Stage(2, 6, 3, 2, 24),
    Stage(2, 6, 5, 2, 40),
    Stage(3, 6, 3, 2, 80),
    Stage(3, 6, 5, 1, 112),
    Stage(4, 6, 5, 2, 192),
    Stage(1, 6, 3, 1, 320),
)
"""The seven stages between the stem of 32 channels and the head of 1280."""

STEM_CHANNELS, HEAD_CHANNELS = 32, 1280


def lite0_blocks() -> list[tuple[int, Stage]]:
    """Every block: channels of its input, and its stage with the block's own stride."""
    blocks, channels = [], STEM_CHANNELS
    for stage in LITE0_STAGES:
        for i in range(stage.repeats):
            blocks.append((channels, stage if i == 0 else stage._replace(stride=1)))
            channels = stage.channels
    return blocks


class Depthwise(nn.Module):
    """One filter per channel, padded as TensorFlow's SAME, and a bias.

    Attributes:
        kernel: Side of the filters, pixels.
        stride: Step, pixels.
    """

    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channels]`` to the same over ``stride``, rounded up."""
        channels = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (self.kernel, self.kernel, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        out = [-(-side // self.stride) for side in x.shape[1:3]]
        pads = [max((n - 1) * self.stride + self.kernel - side, 0) for n, side in zip(out, x.shape[1:3], strict=True)]
        x = jnp.pad(x, ((0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)))
        total = bias.reshape(1, 1, 1, channels)
        for row in range(self.kernel):
            for column in range(self.kernel):
                ends = [first + (n - 1) * self.stride + 1 for first, n in zip((row, column), out, strict=True)]
                window = x[:, row : ends[0] : self.stride, column : ends[1] : self.stride]
                total = total + window * kernel[row, column].reshape(1, 1, 1, channels)
        return total


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; added to the input where the shapes allow.

    Attributes:
        expansion: Channels inside over those of the input; 1 leaves the widening out.
        kernel: Side of the depthwise filters, pixels.
        stride: Step of the depthwise filters, pixels.
        channels: Channels of the output.
    """

    expansion: int
    kernel: int
    stride: int
    channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channels]``."""
        y = x
        if self.expansion > 1:
            y = nn.relu6(nn.Dense(x.shape[-1] * self.expansion, name="expand")(y))
        y = nn.relu6(Depthwise(self.kernel, self.stride, name="depthwise")(y))
        y = nn.Dense(self.channels, name="project")(y)
        return x + y if y.shape == x.shape else y


class EfficientNetLite0(nn.Module):
    """The classifier; its parameters are those of the folded network."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits ``[batch, 1000]`` of pictures ``[batch, height, width, 3]`` in [0, 1], best at 224 pixels."""
        # The network was trained on (pixel - 127) / 128 with pixels of 0 to 255.
        x = images * (255 / 128) - 127 / 128
        x = nn.relu6(nn.Conv(STEM_CHANNELS, (3, 3), strides=2, padding="SAME", name="stem")(x))
        for i, (_, stage) in enumerate(lite0_blocks()):
            x = InvertedResidual(stage.expansion, stage.kernel, stage.stride, stage.channels, name=f"block{i}")(x)
        x = nn.relu6(nn.Dense(HEAD_CHANNELS, name="head")(x))
        return nn.Dense(NUM_CLASSES, name="classifier")(x.mean(axis=(1, 2)))
