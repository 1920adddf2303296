"""Building blocks of FlashSAM: convolution with norm and activation, and what is made of it.

All maps are ``[batch, height, width, channels]``. Padding is symmetric, also at stride 2 (Flax's SAME is not), so that
output cell i of a 3x3 convolution of stride 2 is centred on input cell 2 i.

Every block has the fields ``folded`` (the batch norms are already part of the convolutions, see
``flashsam.fold_batch_norm``) and ``dtype`` (of the computation; parameters are float32), and takes ``train`` (batch
statistics instead of running ones).

Source: Khanam and Hussain, YOLOv11: An Overview of the Key Architectural Enhancements (2024), and the references there.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.97
"""Share of the old running statistics that a step keeps (PyTorch counts the other way: 0.03)."""

CONV_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""Uniform on +-1/sqrt(fan in), as the published detectors of this family start."""


class Conv(nn.Module):
    """Dense convolution with symmetric padding.

    Attributes:
        features: Output channels.
        kernel_size: Side of the kernel, odd.
        stride: Stride along both axes.
        use_bias: Add a bias.
        bias_value: Where the bias starts.
        dtype: Type of the computation.
    """

    features: int
    kernel_size: int = 1
    stride: int = 1
    use_bias: bool = True
    bias_value: float = 0.0
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channels]`` to ``[batch, height / stride, width / stride, features]`` (up)."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", CONV_INIT, shape).astype(self.dtype)
        pad = self.kernel_size // 2
        y = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            kernel,
            (self.stride, self.stride),
            ((pad, pad), (pad, pad)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.constant(self.bias_value), (self.features,))
        return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)


class DepthwiseConv(nn.Module):
    """One 3x3 kernel per channel, stride 1.

    Attributes:
        use_bias: Add a bias.
        dtype: Type of the computation.
    """

    use_bias: bool = True
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channels]`` to its own shape."""
        kernel = self.param("kernel", CONV_INIT, (3, 3, 1, x.shape[-1])).astype(self.dtype)
        y = depthwise_conv3x3(x.astype(self.dtype), kernel)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)


@jax.jit
def depthwise_conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlation of every channel with a 3x3 kernel of its own, zero padding, as nine shifted products.

    XLA's own depthwise convolution is thirty times slower on a CPU. The FLOP counter knows this function by its name.

    Args:
        x: ``[batch, height, width, channels]``.
        kernel: ``[3, 3, 1, channels]``.

    Returns:
        ``[batch, height, width, channels]``.
    """
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    products = [
        padded[:, row : row + height, column : column + width] * kernel[None, None, row, column]
        for row in range(3)
        for column in range(3)
    ]
    return functools.reduce(jnp.add, products)


class ConvBlock(nn.Module):
    """Convolution, batch norm and SiLU (CBS).

    Attributes:
        features: Output channels; of a depthwise block those of its input.
        kernel_size: Side of the kernel; 3 if depthwise.
        stride: Stride along both axes; 1 if depthwise.
        depthwise: One kernel per channel instead of a dense convolution.
        activation: Apply SiLU.
        folded: The batch norm is part of the convolution, which then has a bias.
        dtype: Type of the computation.
    """

    features: int
    kernel_size: int = 1
    stride: int = 1
    depthwise: bool = False
    activation: bool = True
    folded: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps ``[batch, height, width, channels]`` to ``[batch, height / stride, width / stride, features]`` (up)."""
        if self.depthwise:
            if (self.features, self.kernel_size, self.stride) != (x.shape[-1], 3, 1):
                raise ValueError(
                    f"a depthwise block keeps its {x.shape[-1]} channels with kernel_size 3 and stride 1, got features "
                    f"{self.features}, kernel_size {self.kernel_size}, stride {self.stride}"
                )
            x = DepthwiseConv(use_bias=self.folded, dtype=self.dtype, name="conv")(x)
        else:
            x = Conv(self.features, self.kernel_size, self.stride, use_bias=self.folded, dtype=self.dtype, name="conv")(
                x
            )
        if not self.folded:
            x = nn.BatchNorm(
                use_running_average=not train,
                momentum=BATCH_NORM_MOMENTUM,
                epsilon=BATCH_NORM_EPSILON,
                dtype=self.dtype,
                name="norm",
            )(x)
        return nn.silu(x) if self.activation else x


class Bottleneck(nn.Module):
    """Two 3x3 convolutions with a narrow middle, added to the input.

    Attributes:
        features: Channels of input and output.
        middle: Channels between the convolutions over ``features``.
        folded: See the module.
        dtype: See the module.
    """

    features: int
    middle: float = 0.5
    folded: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps ``[batch, height, width, features]`` to its own shape."""
        style = {"folded": self.folded, "dtype": self.dtype}
        y = ConvBlock(int(self.features * self.middle), 3, **style, name="conv1")(x, train)
        return x + ConvBlock(self.features, 3, **style, name="conv2")(y, train)


class C3k(nn.Module):
    """Two halves, one through bottlenecks of constant width, fused by a 1x1 convolution.

    Attributes:
        features: Channels of input and output.
        depth: Bottlenecks.
        folded: See the module.
        dtype: See the module.
    """

    features: int
    depth: int = 2
    folded: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps ``[batch, height, width, features]`` to its own shape."""
        style = {"folded": self.folded, "dtype": self.dtype}
        half = self.features // 2
        y = ConvBlock(half, **style, name="inner")(x, train)
        for i in range(self.depth):
            y = Bottleneck(half, 1.0, **style, name=f"block{i}")(y, train)
        bypass = ConvBlock(half, **style, name="bypass")(x, train)
        return ConvBlock(self.features, **style, name="fuse")(jnp.concatenate([y, bypass], axis=-1), train)


class C3k2(nn.Module):
    """Splits the channels, refines one half block after block, and merges every stage.

    Attributes:
        features: Output channels.
        depth: Blocks.
        nested: Blocks are :class:`C3k` instead of :class:`Bottleneck`.
        width: Channels of a half over ``features``.
        folded: See the module.
        dtype: See the module.
    """

    features: int
    depth: int = 1
    nested: bool = False
    width: float = 0.5
    folded: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps ``[batch, height, width, channels]`` to ``[batch, height, width, features]``."""
        style = {"folded": self.folded, "dtype": self.dtype}
        half = int(self.features * self.width)
        stages = list(jnp.split(ConvBlock(2 * half, **style, name="split")(x, train), 2, axis=-1))
        for i in range(self.depth):
            block = C3k if self.nested else Bottleneck
            stages.append(block(half, **style, name=f"block{i}")(stages[-1], train))
        return ConvBlock(self.features, **style, name="merge")(jnp.concatenate(stages, axis=-1), train)


class SPPF(nn.Module):
    """Pyramid of poolings: three 5x5 maxima one after the other, merged with what they started from.

    Attributes:
        features: Channels of input and output.
        folded: See the module.
        dtype: See the module.
    """

    features: int
    folded: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps ``[batch, height, width, features]`` to its own shape."""
        style = {"folded": self.folded, "dtype": self.dtype}
        stages = [ConvBlock(self.features // 2, **style, name="reduce")(x, train)]
        for _ in range(3):
            stages.append(nn.max_pool(stages[-1], (5, 5), (1, 1), ((2, 2), (2, 2))))
        return ConvBlock(self.features, **style, name="merge")(jnp.concatenate(stages, axis=-1), train)


def upsample2(x: jax.Array) -> jax.Array:
    """Nearest neighbour: ``[batch, height, width, channels]`` to ``[batch, 2 height, 2 width, channels]``."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)
