"""EfficientNet-Lite0, an ImageNet classifier: inverted residual blocks without squeeze and excitation, ReLU6.

Batch normalisation is folded into the convolutions (``interop.classifier_weights`` does it), so the network is for
inference only.

Source: Tan, Le, EfficientNet (2019), Table 1, in the "lite" form published with TensorFlow's TPU models.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.maps import shifted_products

IMAGE_SIZE = 224
NUM_CLASSES = 1000


class Stage(NamedTuple):
    """Blocks of one width: how many, how much wider inside (1: no widening), kernel's side, first stride, outputs."""

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
    """One filter per channel, padded as TensorFlow's SAME, and a bias; sides over ``stride``, rounded up."""

    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (self.kernel, self.kernel, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        out = [-(-side // self.stride) for side in x.shape[1:3]]
        pads = [max((n - 1) * self.stride + self.kernel - side, 0) for n, side in zip(out, x.shape[1:3], strict=True)]
        x = jnp.pad(x, ((0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)))
        return sum(shifted_products(x, kernel, self.stride), bias.reshape(1, 1, 1, channels))


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; added to the input where the shapes allow."""

    stage: Stage

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        stage, y = self.stage, x
        if stage.expansion > 1:
            y = nn.relu6(nn.Dense(x.shape[-1] * stage.expansion, name="expand")(y))
        y = nn.relu6(Depthwise(stage.kernel, stage.stride, name="depthwise")(y))
        y = nn.Dense(stage.channels, name="project")(y)
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
            x = InvertedResidual(stage, name=f"block{i}")(x)
        x = nn.relu6(nn.Dense(HEAD_CHANNELS, name="head")(x))
        return nn.Dense(NUM_CLASSES, name="classifier")(x.mean(axis=(1, 2)))
