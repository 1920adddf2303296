"""Image encoders of SAM (ViT-H), SAM 2 (Hiera) and ViTDet (ViT-B) in their published shapes, for benchmarks.

Written from their papers; the weights are random, only shapes and work matter. Maps are ``[batch, height, width,
channels]``. Attention goes head after head, which keeps one head's scores in memory instead of all (1 GiB in a global
block of SAM ViT-H): to the benefit of these encoders where they are compared.

Sources: Kirillov et al., Segment Anything (2023); Ravi et al., SAM 2 (2024) and Ryali et al., Hiera (2023); Li et al.,
Exploring Plain Vision Transformer Backbones for Object Detection (2022).
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

_EPSILON = 1e-6
_normal = nn.initializers.normal(0.02)


def norm(name: str) -> nn.LayerNorm:
    """LayerNorm over channels."""
    return nn.LayerNorm(epsilon=_EPSILON, name=name)


def to_windows(x: jax.Array, size: int) -> jax.Array:
    """Maps ``[B, H, W, C]`` to ``[B * windows, size, size, C]``; zeros fill up the last row and column of windows."""
    batch, height, width, channels = x.shape
    x = jnp.pad(x, ((0, 0), (0, -height % size), (0, -width % size), (0, 0)))
    x = x.reshape(batch, x.shape[1] // size, size, x.shape[2] // size, size, channels)
    return x.swapaxes(2, 3).reshape(-1, size, size, channels)


def from_windows(windows: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
    """Inverse of :func:`to_windows`; ``shape`` is batch, height and width without the zeros."""
    batch, height, width = shape
    size, channels = windows.shape[1], windows.shape[-1]
    rows, columns = -(-height // size), -(-width // size)
    x = windows.reshape(batch, rows, columns, size, size, channels).swapaxes(2, 3)
    return x.reshape(batch, rows * size, columns * size, channels)[:, :height, :width]


def attend(query: jax.Array, key: jax.Array, value: jax.Array, row=None, column=None) -> jax.Array:
    """Attention of every head over all cells, ``[B, h, w, heads, dim]`` each; the query's map may be smaller.

    ``row [h, h, dim]`` and ``column [w, w, dim]`` are relative positions, whose products with the query are added.
    """
    batch, height, width, num_heads, dim = query.shape

    def head(qkv):
        q, k, v = qkv
        scores = jnp.einsum("bqd,bkd->bqk", q.reshape(batch, -1, dim) * dim**-0.5, k.reshape(batch, -1, dim))
        if row is not None:
            by_row = jnp.einsum("bhwd,hkd->bhwk", q, row)[..., :, None]
            by_column = jnp.einsum("bhwd,wkd->bhwk", q, column)[..., None, :]
            scores = (scores.reshape(batch, height, width, height, width) + by_row + by_column).reshape(scores.shape)
        return jnp.einsum("bqk,bkd->bqd", jax.nn.softmax(scores, axis=-1), v.reshape(batch, -1, dim))

    y = jax.lax.map(head, tuple(jnp.moveaxis(x, 3, 0) for x in (query, key, value)))
    return jnp.moveaxis(y, 0, 2).reshape(batch, height, width, num_heads * dim)


class ViTBlock(nn.Module):
    """Transformer block with relative positions, in windows of ``window`` cells or, if 0, over the whole map."""

    num_heads: int
    window: int

    @nn.compact
    def __call__(self, x):
        """Maps ``[B, h, w, C]`` to its own shape."""
        width = x.shape[-1]
        dim = width // self.num_heads
        y = norm("norm1")(x)
        if self.window:
            y = to_windows(y, self.window)
        rows, columns = y.shape[1:3]
        tables = []
        for name, size in (("rel_pos_h", rows), ("rel_pos_w", columns)):
            table = self.param(name, nn.initializers.zeros, (2 * size - 1, dim))
            tables.append(table[np.arange(size)[:, None] - np.arange(size) + size - 1])
        qkv = nn.Dense(3 * width, name="qkv")(y).reshape(*y.shape[:3], 3, self.num_heads, dim)
        y = nn.Dense(width, name="proj")(attend(*jnp.moveaxis(qkv, 3, 0), *tables))
        if self.window:
            y = from_windows(y, x.shape[:3])
        x = x + y
        y = nn.gelu(nn.Dense(4 * width, name="fc1")(norm("norm2")(x)), approximate=False)
        return x + nn.Dense(width, name="fc2")(y)


class ViT(nn.Module):
    """Plain ViT on patches of 16 with windows of 14 and a few global blocks, as in SAM and ViTDet.

    ``pretrained_grid`` is the side of the table of positions, 0 for that of the map; a smaller one is resized, and has
    a row for a class token that is not used.
    """

    width: int
    depth: int
    num_heads: int
    global_blocks: tuple[int, ...]
    pretrained_grid: int = 0

    @nn.compact
    def __call__(self, images):
        """Maps ``[B, H, W, 3]`` to ``[B, H / 16, W / 16, width]``."""
        x = nn.Conv(self.width, (16, 16), (16, 16), name="patch_embed")(images)
        if self.pretrained_grid:
            side = self.pretrained_grid
            table = self.param("pos_embed", _normal, (1 + side * side, self.width))[1:].reshape(side, side, -1)
            table = jax.image.resize(table, x.shape[1:], "cubic")
        else:
            table = self.param("pos_embed", _normal, x.shape[1:])
        x = x + table[None]
        for i in range(self.depth):
            x = ViTBlock(self.num_heads, 0 if i in self.global_blocks else 14, name=f"block{i}")(x)
        return x


class SamViTH(nn.Module):
    """SAM's image encoder, size H, with neck: ``[B, 1024, 1024, 3]`` to ``[B, 64, 64, 256]``."""

    @nn.compact
    def __call__(self, images):
        """Maps pictures to one map."""
        x = ViT(1280, 32, 16, (7, 15, 23, 31), name="vit")(images)
        x = norm("neck_norm1")(nn.Conv(256, (1, 1), use_bias=False, name="neck_conv1")(x))
        return norm("neck_norm2")(nn.Conv(256, (3, 3), use_bias=False, name="neck_conv2")(x))


class ViTDetB(nn.Module):
    """ViTDet's backbone, size B, with its simple feature pyramid: five maps of 256 channels, strides 4 to 64."""

    @nn.compact
    def __call__(self, images):
        """Maps pictures to the pyramid, finest map first."""
        x = ViT(768, 12, 12, (2, 5, 8, 11), pretrained_grid=14, name="vit")(images)
        up4 = nn.ConvTranspose(384, (2, 2), (2, 2), name="up4_first")(x)
        up4 = nn.ConvTranspose(192, (2, 2), (2, 2), name="up4_second")(
            nn.gelu(norm("up4_norm")(up4), approximate=False)
        )
        up2 = nn.ConvTranspose(384, (2, 2), (2, 2), name="up2")(x)
        pyramid = []
        for i, y in enumerate((up4, up2, x, nn.max_pool(x, (2, 2), (2, 2)))):
            y = norm(f"pyramid{i}_norm1")(nn.Conv(256, (1, 1), use_bias=False, name=f"pyramid{i}_conv1")(y))
            y = nn.Conv(256, (3, 3), use_bias=False, name=f"pyramid{i}_conv2")(y)
            pyramid.append(norm(f"pyramid{i}_norm2")(y))
        return (*pyramid, pyramid[-1][:, ::2, ::2])


@dataclasses.dataclass(frozen=True, kw_only=True)
class HieraVariant:
    """Size of SAM 2's image encoder; ``windows`` and ``stages`` have one entry per stage."""

    width: int
    num_heads: int
    stages: tuple[int, ...]
    global_blocks: tuple[int, ...]
    windows: tuple[int, ...]
    background: int


# SAM 2's published configurations; models of 38.9, 46, 80.8 and 224.4 M parameters in all.
HIERA_VARIANTS = {
    "tiny": HieraVariant(
        width=96, num_heads=1, stages=(1, 2, 7, 2), global_blocks=(5, 7, 9), windows=(8, 4, 14, 7), background=7
    ),
    "small": HieraVariant(
        width=96, num_heads=1, stages=(1, 2, 11, 2), global_blocks=(7, 10, 13), windows=(8, 4, 14, 7), background=7
    ),
    "base_plus": HieraVariant(
        width=112, num_heads=2, stages=(2, 3, 16, 3), global_blocks=(12, 16, 20), windows=(8, 4, 14, 7), background=14
    ),
    "large": HieraVariant(
        width=144, num_heads=2, stages=(2, 6, 36, 4), global_blocks=(23, 33, 43), windows=(8, 4, 16, 8), background=7
    ),
}


class HieraBlock(nn.Module):
    """Transformer block that may widen its map and, at the head of a stage, halve it by pooling the queries."""

    features: int
    num_heads: int
    window: int
    pool: bool

    @nn.compact
    def __call__(self, x):
        """Maps ``[B, h, w, C]`` to ``[B, h, w, features]``, half as high and wide if ``pool``."""
        y = norm("norm1")(x)
        if self.features != x.shape[-1]:
            x = nn.Dense(self.features, name="widen")(y)
        if self.pool:
            x = nn.max_pool(x, (2, 2), (2, 2))
        if self.window:
            y = to_windows(y, self.window)
        qkv = nn.Dense(3 * self.features, name="qkv")(y)
        query, key, value = jnp.split(qkv, 3, axis=-1)
        if self.pool:
            query = nn.max_pool(query, (2, 2), (2, 2))

        def heads(a):
            return a.reshape(*a.shape[:3], self.num_heads, -1)

        y = nn.Dense(self.features, name="proj")(attend(heads(query), heads(key), heads(value)))
        if self.window:
            y = from_windows(y, x.shape[:3])
        x = x + y
        y = nn.gelu(nn.Dense(4 * self.features, name="fc1")(norm("norm2")(x)), approximate=False)
        return x + nn.Dense(self.features, name="fc2")(y)


class Sam2Hiera(nn.Module):
    """SAM 2's image encoder with its neck: maps of strides 4, 8 and 16 with 32, 64 and 256 channels."""

    variant: str = "base_plus"

    @nn.compact
    def __call__(self, images):
        """Maps pictures to three maps, finest first."""
        plan = HIERA_VARIANTS[self.variant]
        x = nn.Conv(plan.width, (7, 7), (4, 4), ((3, 3), (3, 3)), name="patch_embed")(images)
        side = plan.windows[0]
        background = self.param("pos_embed", _normal, (plan.background, plan.background, plan.width))
        window = self.param("pos_embed_window", _normal, (side, side, plan.width))
        tiles = (x.shape[1] // side, x.shape[2] // side, 1)
        x = x + (jax.image.resize(background, x.shape[1:], "cubic") + jnp.tile(window, tiles))[None]

        stages, index = [], 0
        for stage, depth in enumerate(plan.stages):
            for i in range(depth):
                first = stage > 0 and i == 0
                # The block that pools still works in the windows of the stage before.
                size = 0 if index in plan.global_blocks else plan.windows[stage - first]
                x = HieraBlock(plan.width * 2**stage, plan.num_heads * 2**stage, size, first, name=f"block{index}")(x)
                index += 1
            stages.append(x)
        return self._neck(stages)

    def _neck(self, stages):
        maps = [nn.Conv(256, (1, 1), name=f"lateral{i}")(x) for i, x in enumerate(stages)]
        above = jnp.repeat(jnp.repeat(maps[3], 2, axis=1), 2, axis=2)
        # The coarsest map only serves the one below it.
        maps[2] = maps[2] + above
        return (
            nn.Conv(32, (1, 1), name="fine4")(maps[0]),
            nn.Conv(64, (1, 1), name="fine8")(maps[1]),
            maps[2],
        )
