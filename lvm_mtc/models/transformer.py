"""Pre-norm transformer blocks, as in ViT and MAE, over a set of tokens of which some may be padding.

Options of how they are computed change no number beyond rounding: ``scan`` compiles one block instead of ``depth``,
``remat`` keeps a block's input only and computes the rest again in the backward pass, ``dtype`` is the type of
activations and matrix products (parameters keep theirs, the statistics of norms and softmax are float32),
``attention`` names the implementation of attention.
"""

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

LAYER_NORM_EPSILON = 1e-6  # MAE's

ACTIVATIONS = {
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
}
"""QuickGELU and the exact GELU, by the names that configurations of CLIP use."""

STACKED = "blocks"
"""Group of the scanned blocks' parameters, with a leading layer axis; looped ones are ``block0``, ``block1`` ..."""

_LAYER = re.compile(r"block\d+")


def sincos_positions(grid: tuple[int, int], width: int) -> np.ndarray:
    """Fixed two-dimensional sine-cosine positions with a zero row for the class token.

    Args:
        grid: Rows and columns of patches.

    Returns:
        ``[1 + rows * columns, width]`` float32; half of the width encodes the column, half the row (MAE's order).

    Raises:
        ValueError: if ``width`` is no multiple of 4.

    Source: He et al., Masked Autoencoders Are Scalable Vision Learners (2022), ``util/pos_embed.py``.
    """
    if width % 4:
        raise ValueError(f"width {width} is no multiple of 4, which sine-cosine positions need")
    omega = 1.0 / 10000.0 ** (np.arange(width // 4) / (width / 4))
    row, column = np.meshgrid(np.arange(grid[0]), np.arange(grid[1]), indexing="ij")

    def encode(position):
        angle = position.reshape(-1, 1) * omega
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)

    table = np.concatenate([encode(column), encode(row)], axis=1)
    return np.concatenate([np.zeros((1, width)), table]).astype(np.float32)


def resize_positions(positions: np.ndarray, grid: tuple[int, int], new_grid: tuple[int, int]) -> np.ndarray:
    """Positions for another grid of patches, by bicubic interpolation; the class token's row stays as it is.

    Args:
        positions: ``[1 + rows * columns, width]``, for the rows and columns of ``grid``.

    Returns:
        ``[1 + new rows * new columns, width]`` float32; ``positions`` itself where the grids are the same.

    Raises:
        ValueError: if the number of positions does not fit ``grid``.

    Source: He et al. (2022), ``util/pos_embed.py``, which takes PyTorch's bicubic rule without aligned corners: Keys'
    kernel with a = -0.75 between the patches' centres, the border repeated, no smoothing before shrinking.
    """
    num_positions, width = positions.shape
    if num_positions != 1 + grid[0] * grid[1]:
        raise ValueError(f"{num_positions} positions do not fit a class token and {grid[0]} x {grid[1]} patches")
    if grid == new_grid:
        return positions
    table = positions[1:].reshape(*grid, width)
    rows, columns = (_bicubic_weights(*sizes) for sizes in zip(grid, new_grid, strict=True))
    table = np.einsum("ir,jc,rcw->ijw", rows, columns, table, optimize=True).reshape(-1, width)
    return np.concatenate([positions[:1], table]).astype(np.float32)


def _bicubic_weights(size: int, new_size: int) -> np.ndarray:
    """Weights ``[new_size, size]`` of the old samples in the new ones, float64."""
    place = (np.arange(new_size) + 0.5) * size / new_size - 0.5
    weights = np.zeros((new_size, size))
    for tap in range(-1, 3):
        neighbour = np.floor(place) + tap
        d, a = np.abs(place - neighbour), -0.75
        value = np.where(d <= 1, (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4))
        np.add.at(weights, (np.arange(new_size), np.clip(neighbour, 0, size - 1).astype(int)), value)
    return weights


def held_features(module: nn.Module, layer: str, features: int) -> int:
    """Outputs of a module's dense layer: those that its parameters have where some were pruned, else ``features``."""
    held = module.get_variable("params", layer)
    return features if held is None else held["kernel"].shape[-1]


class Block(nn.Module):
    """Self-attention and a two-layer MLP, each behind a LayerNorm and added to its input (Eq. 16-17).

    Deviation: Eq. 17 writes one linear layer; ViT's two (wider by ``mlp_ratio`` in between) give the paper's parameter
    counts.

    Attributes:
        num_heads: Attention heads; divides the token width. Parameters may have fewer (``models.pruning``).
        mlp_ratio: Width of the MLP's hidden layer over the token width; of this too.
        zero_residual: Start both residual branches at zero, so that the block starts as the identity.
        attention: Implementation of ``jax.nn.dot_product_attention``: ``"xla"``, ``"cudnn"`` (GPU, half precision) or
            None, which leaves the choice to JAX.
        dtype: Name of the type to compute in, such as ``"bfloat16"``; None: that of input and parameters.
        activation: A name in :data:`ACTIVATIONS`.
        norm_epsilon: Added to the variance by both norms.
        causal: Each token sees only those before it and itself.
    """

    num_heads: int
    mlp_ratio: float = 4.0
    zero_residual: bool = False
    attention: str | None = "xla"
    dtype: str | None = None
    activation: str = "gelu"
    norm_epsilon: float = LAYER_NORM_EPSILON
    causal: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Maps ``x [..., num_tokens, width]`` to its own shape.

        Args:
            valid: ``[..., num_tokens]``, False for padding, which stands at the end; None: there is none.

        Raises:
            ValueError: if ``attention`` is ``"cudnn"`` and the type is not half precision.
        """
        *lead, num_tokens, width = x.shape
        init, head = nn.initializers.xavier_uniform(), width // self.num_heads
        last = nn.initializers.zeros if self.zero_residual else init

        y = nn.LayerNorm(epsilon=self.norm_epsilon, dtype=self.dtype, name="norm1")(x)
        features = held_features(self, "qkv", 3 * width)
        qkv = nn.Dense(features, dtype=self.dtype, kernel_init=init, name="qkv")(y)
        query, key, value = jnp.moveaxis(qkv.reshape(-1, num_tokens, 3, features // 3 // head, head), 2, 0)
        options = {"implementation": self.attention, "is_causal": self.causal, **self._padding(qkv, valid)}
        y = jax.nn.dot_product_attention(query, key, value, **options)
        x = x + nn.Dense(width, dtype=self.dtype, kernel_init=last, name="proj")(y.reshape(*lead, num_tokens, -1))

        y = nn.LayerNorm(epsilon=self.norm_epsilon, dtype=self.dtype, name="norm2")(x)
        hidden = held_features(self, "fc1", int(width * self.mlp_ratio))
        y = nn.Dense(hidden, dtype=self.dtype, kernel_init=init, name="fc1")(y)
        y = ACTIVATIONS[self.activation](y)
        return x + nn.Dense(width, dtype=self.dtype, kernel_init=last, name="fc2")(y)

    def _padding(self, qkv: jax.Array, valid: jax.Array | None) -> dict[str, jax.Array]:
        """How attention is told of padding; cuDNN takes no mask of odd length in training, but lengths."""
        if self.attention == "cudnn" and qkv.dtype not in (jnp.bfloat16, jnp.float16):
            raise ValueError(f"attention 'cudnn' needs dtype 'bfloat16' or 'float16', got {qkv.dtype.name}")
        if valid is None:
            return {}
        valid = valid.reshape(-1, 1, 1, qkv.shape[-2])
        if self.attention == "cudnn":
            return {"key_value_seq_lengths": valid.sum((1, 2, 3), dtype=jnp.int32)}
        return {"mask": valid}


def apply_blocks(
    x: jax.Array, valid: jax.Array | None = None, *, depth: int, scan: bool = False, remat: bool = False, **options: Any
) -> jax.Array:
    """Applies ``depth`` blocks one after the other; they belong to the module in whose compact method this is called.

    Args:
        valid: As of :class:`Block`, like ``x``.
        scan: One block is compiled and scanned over parameters with a leading layer axis (:func:`stack_layers`).
        remat: Keep only the blocks' inputs for the backward pass.
        **options: Attributes of :class:`Block`.
    """
    # Under a scan the two passes are loops of their own, which the compiler cannot merge.
    layer = nn.remat(Block, prevent_cse=not scan) if remat else Block
    if not scan:
        for i in range(depth):
            x = layer(name=f"block{i}", **options)(x, valid)
        return x
    step, split = lambda block, x, _: (block(x, valid), None), {"params": True}
    scanned = nn.scan(step, variable_axes={"params": 0}, split_rngs=split, length=depth)
    return scanned(layer(name=STACKED, **options), x, None)[0]


def stack_layers(params: Mapping[str, Any], axis: int = 0) -> dict[str, Any]:
    """Parameters with one group ``blocks`` wherever there are groups ``block0``, ``block1`` ... in the tree.

    Args:
        axis: Where the layer axis goes: 0, or 1 for parameters per UAV, whose first axis is the UAV.
    """
    rest = {
        name: stack_layers(value, axis) if isinstance(value, Mapping) else value
        for name, value in params.items()
        if not _LAYER.fullmatch(name)
    }
    layers = [params[f"block{i}"] for i in range(len(params) - len(rest))]
    return rest | ({STACKED: jax.tree.map(lambda *leaf: jnp.stack(leaf, axis), *layers)} if layers else {})


def unstack_layers(params: Mapping[str, Any], axis: int = 0) -> dict[str, Any]:
    """Inverse of :func:`stack_layers`."""
    rest = {
        name: unstack_layers(value, axis) if isinstance(value, Mapping) else value
        for name, value in params.items()
        if name != STACKED
    }
    stacked = params.get(STACKED, {})
    depth = jax.tree.leaves(stacked)[0].shape[axis] if stacked else 0
    return rest | {f"block{i}": jax.tree.map(lambda leaf, i=i: leaf.take(i, axis), stacked) for i in range(depth)}


class CrossAttention(nn.Module):
    """Tokens ask others, and what they learn is added to them.

    Attributes:
        num_heads: Attention heads; divides the width.
        zero_residual: Start as the identity.
    """

    num_heads: int
    zero_residual: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, memory: jax.Array, valid: jax.Array) -> jax.Array:
        """Maps ``x [n, num_tokens, width]`` to its own shape.

        Args:
            x: Who asks, behind a LayerNorm.
            memory: Who is asked, ``[n, num_asked, width]``.
            valid: Which of them there are, ``[n, num_asked]`` bool; one for each of ``n`` at least.
        """
        init, width = nn.initializers.xavier_uniform(), x.shape[-1]
        last = nn.initializers.zeros if self.zero_residual else init
        query = nn.Dense(width, kernel_init=init, name="query")(nn.LayerNorm(name="norm")(x))
        key, value = (nn.Dense(width, kernel_init=init, name=of)(memory) for of in ("key", "value"))
        query, key, value = (a.reshape(*a.shape[:2], self.num_heads, -1) for a in (query, key, value))
        heard = jax.nn.dot_product_attention(query, key, value, mask=valid[:, None, None])
        return x + nn.Dense(width, kernel_init=last, name="proj")(heard.reshape(x.shape))
