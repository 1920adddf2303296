"""FlashSAM: the detector of the knowledge base (Eq. 9-11), a YOLO11-style network in five sizes.

A backbone of CBS, C3k2, SPPF and C2PSA, a neck that goes down and up again through the scales, and an anchor-free head
on strides 8, 16 and 32. Box decoding and non-maximum suppression are in models/detection.py.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.detection import NUM_BINS, STRIDES, RawDetections, check_image_size
from lvm_mtc.models.flashsam_blocks import BATCH_NORM_EPSILON, C2PSA, SPPF, C3k2, Conv, ConvBlock, Styled
from lvm_mtc.models.maps import upsample


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlashSAMVariant:
    """How a size scales the common plan.

    Attributes:
        depth: Factor on the number of blocks in a C3k2 or C2PSA.
        width: Factor on channels.
        max_channels: Limit of the channels before ``width`` is applied.
        nested: Every C3k2 has C3k blocks, not only the deep ones.
    """

    depth: float
    width: float
    max_channels: int
    nested: bool


# YOLO11's published scales (https://docs.ultralytics.com/models/yolo11). With 80 classes they have 2,624,080 (n),
# 9,458,752 (s), 20,114,688 (m), 25,372,160 (l) and 56,966,176 (x) parameters, the 16 fixed weights of the
# distribution's bins included, which are constants here.
FLASHSAM_VARIANTS = {
    "n": FlashSAMVariant(depth=0.50, width=0.25, max_channels=1024, nested=False),
    "s": FlashSAMVariant(depth=0.50, width=0.50, max_channels=1024, nested=False),
    "m": FlashSAMVariant(depth=0.50, width=1.00, max_channels=512, nested=True),
    "l": FlashSAMVariant(depth=1.00, width=1.00, max_channels=512, nested=True),
    "x": FlashSAMVariant(depth=1.00, width=1.50, max_channels=512, nested=True),
}

_DTYPES = ("float32", "bfloat16", "float64")

_REFERENCE_SIZE = 640  # Pixels of the picture for which the class bias starts at about five objects.


class DetectionHead(Styled):
    """Box distributions and class logits of one scale; the class branch is depthwise-separable.

    Attributes:
        stride: Pixels between cells, for the initial class bias.
    """

    box_features: int
    class_features: int
    num_classes: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Maps ``[batch, h, w, channels]`` to ``[batch, h w, 4, NUM_BINS]`` and ``[batch, h w, num_classes]``."""
        y = ConvBlock(self.box_features, 3, **self.style, name="box1")(x, train)
        y = ConvBlock(self.box_features, 3, **self.style, name="box2")(y, train)
        box = Conv(4 * NUM_BINS, bias_value=1.0, dtype=self.dtype, name="box_logits")(y)

        y = ConvBlock(x.shape[-1], 3, depthwise=True, **self.style, name="class1_depthwise")(x, train)
        y = ConvBlock(self.class_features, **self.style, name="class1_pointwise")(y, train)
        y = ConvBlock(self.class_features, 3, depthwise=True, **self.style, name="class2_depthwise")(y, train)
        y = ConvBlock(self.class_features, **self.style, name="class2_pointwise")(y, train)
        bias = math.log(5 / self.num_classes / (_REFERENCE_SIZE / self.stride) ** 2)
        score = Conv(self.num_classes, bias_value=bias, dtype=self.dtype, name="class_logits")(y)

        # Float32 at least from here on: a loss or a softmax follows.
        dtype = jnp.promote_types(self.dtype, jnp.float32)
        cells = (x.shape[0], x.shape[1] * x.shape[2])
        return box.astype(dtype).reshape(*cells, 4, NUM_BINS), score.astype(dtype).reshape(*cells, self.num_classes)


class FlashSAM(Styled):
    """The whole detector: ``apply({"params": ..., "batch_stats": ...}, images, train)``.

    With ``train=True`` pass ``mutable=["batch_stats"]``: the norms use and record the batch's statistics. With
    ``folded=True`` there are no batch norms; the parameters come from :func:`fold_batch_norm`, and ``train`` must be
    False.

    Attributes:
        variant: A name in ``FLASHSAM_VARIANTS``.
        num_classes: Classes; 1 is class-agnostic.
        dtype: ``"float32"`` or ``"bfloat16"``; outputs are float32. (``"float64"`` is for comparisons.)
    """

    variant: str = "n"
    num_classes: int = 1

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> RawDetections:
        """Raw outputs over the anchors of ``detection.anchor_points(height, width)``, in their order.

        Args:
            images: ``[batch, height, width, 3]``, in [0, 1]; height and width are multiples of 32.

        Raises:
            ValueError: if ``variant`` or ``dtype`` is not known, ``num_classes`` is below 1, ``images`` has another
                shape, or ``train`` is asked of a folded network.
        """
        if self.variant not in FLASHSAM_VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(FLASHSAM_VARIANTS)}, got {self.variant!r}")
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {self.dtype!r}")
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images must have shape [batch, height, width, 3], got {images.shape}")
        check_image_size(*images.shape[1:3])
        if self.folded and train:
            raise ValueError("train=True needs batch norms, and folded=True has none")

        scales = self._neck(*self._backbone(images, train), train)
        finest = scales[0].shape[-1]
        features = max(finest // 4, 4 * NUM_BINS), max(finest, min(self.num_classes, 100))
        outputs = [
            DetectionHead(*features, self.num_classes, stride, **self.style, name=f"head{stride}")(x, train)
            for x, stride in zip(scales, STRIDES, strict=True)
        ]
        return RawDetections(*(jnp.concatenate(parts, axis=1) for parts in zip(*outputs, strict=True)))

    def _backbone(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Maps of strides 8, 16 and 32 (Eq. 9)."""
        nested = FLASHSAM_VARIANTS[self.variant].nested
        width, depth = self._width, self._depth
        x = ConvBlock(width(64), 3, 2, **self.style, name="down2")(images, train)
        x = ConvBlock(width(128), 3, 2, **self.style, name="down4")(x, train)
        x = C3k2(width(256), depth, nested, 0.25, **self.style, name="stage4")(x, train)
        x = ConvBlock(width(256), 3, 2, **self.style, name="down8")(x, train)
        fine = C3k2(width(512), depth, nested, 0.25, **self.style, name="stage8")(x, train)
        x = ConvBlock(width(512), 3, 2, **self.style, name="down16")(fine, train)
        middle = C3k2(width(512), depth, True, **self.style, name="stage16")(x, train)
        x = ConvBlock(width(1024), 3, 2, **self.style, name="down32")(middle, train)
        x = C3k2(width(1024), depth, True, **self.style, name="stage32")(x, train)
        x = SPPF(width(1024), **self.style, name="pyramid")(x, train)
        return fine, middle, C2PSA(width(1024), depth, **self.style, name="attention")(x, train)

    def _neck(self, fine: jax.Array, middle: jax.Array, coarse: jax.Array, train: bool) -> tuple[jax.Array, ...]:
        """Coarse to fine and back (Eq. 10): the three maps that the heads read."""
        nested = FLASHSAM_VARIANTS[self.variant].nested
        width, depth = self._width, self._depth

        def join(first, second):
            return jnp.concatenate([first, second], axis=-1)

        top = C3k2(width(512), depth, nested, **self.style, name="up16")(join(upsample(coarse), middle), train)
        out8 = C3k2(width(256), depth, nested, **self.style, name="out8")(join(upsample(top), fine), train)
        x = ConvBlock(width(256), 3, 2, **self.style, name="neck_down16")(out8, train)
        out16 = C3k2(width(512), depth, nested, **self.style, name="out16")(join(x, top), train)
        x = ConvBlock(width(512), 3, 2, **self.style, name="neck_down32")(out16, train)
        out32 = C3k2(width(1024), depth, True, **self.style, name="out32")(join(x, coarse), train)
        return out8, out16, out32

    def _width(self, channels: int) -> int:
        plan = FLASHSAM_VARIANTS[self.variant]
        return math.ceil(min(channels, plan.max_channels) * plan.width / 8) * 8

    @property
    def _depth(self) -> int:
        # The common plan has two blocks everywhere.
        return max(round(2 * FLASHSAM_VARIANTS[self.variant].depth), 1)


def fold_batch_norm(params: Mapping[str, Any], batch_stats: Mapping[str, Any]) -> dict[str, Any]:
    """Makes every batch norm part of the convolution before it: the parameters of ``FlashSAM(..., folded=True)``.

    With running mean m and variance v, scale g and shift b: kernel' = kernel g / sqrt(v + epsilon) and
    bias' = b - m g / sqrt(v + epsilon).

    Raises:
        ValueError: if ``batch_stats`` lacks the statistics of a norm.
    """

    def fold(node, stats, path):
        if "norm" in node and "conv" in node:
            if "norm" not in stats:
                raise ValueError(f"batch_stats has no statistics of {path}norm")
            var = stats["norm"]["var"] + BATCH_NORM_EPSILON
            # On the host where the file's arrays are still NumPy's: JAX would compile a program for every shape.
            factor = node["norm"]["scale"] / (np.sqrt(var) if isinstance(var, np.ndarray) else jnp.sqrt(var))
            kernel = node["conv"]["kernel"] * factor.reshape(1, 1, 1, -1)
            return {"conv": {"kernel": kernel, "bias": node["norm"]["bias"] - stats["norm"]["mean"] * factor}}
        return {
            name: fold(child, stats.get(name, {}), f"{path}{name}/") if isinstance(child, Mapping) else child
            for name, child in node.items()
        }

    return fold(params, batch_stats, "")
