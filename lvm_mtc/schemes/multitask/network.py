"""Networks of the multi-task transceiver: how pictures become tokens, and the backbone at either end.

Pictures go through convolutions before they are tokens, as in Xiao et al., Early Convolutions Help Transformers See
Better (2021): of 50,000 small pictures a plain patch embedding learns little in minutes.
"""

import flax.linen as nn
import jax

from lvm_mtc.models.conditioned import normalize
from lvm_mtc.models.patches import patchify
from lvm_mtc.models.transformer import apply_blocks

PATCH = 4
"""Side of the square of pixels that a token stands for."""
_XAVIER = nn.initializers.xavier_uniform()
_MIX = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
_RESIDUAL = nn.initializers.variance_scaling(0.25, "fan_in", "normal")


class PictureTokens(nn.Module):
    """Squares of 2 pixels, mixed with their neighbours, become tokens of 4 pixels, which are mixed likewise.

    Attributes:
        fine: Features of a square of 2 pixels.
        width: Features of a token.
    """

    fine: int
    width: int

    @nn.compact
    def __call__(self, pictures: jax.Array) -> jax.Array:
        """Maps ``[n, height, width, 3]`` in [0, 1] to ``[n, tokens, width]``, in raster order."""
        n, rows, columns = len(pictures), pictures.shape[1] // 2, pictures.shape[2] // 2
        x = nn.Dense(self.fine, kernel_init=_XAVIER, name="pixels")(patchify(4 * pictures - 2, 2))
        x = self._mix(x.reshape(n, rows, columns, -1), "fine")
        x = nn.Dense(self.width, kernel_init=_XAVIER, name="merge")(patchify(normalize(x), 2))
        x = self._mix(x.reshape(n, rows // 2, columns // 2, -1), "coarse")
        return x.reshape(n, -1, self.width)

    def _mix(self, x: jax.Array, name: str) -> jax.Array:
        """A 3 x 3 convolution and a product at each place, added to the input."""
        width = x.shape[-1]
        y = nn.Conv(width, (3, 3), kernel_init=_MIX, name=f"{name}_mix")(normalize(x))
        return x + nn.Dense(width, kernel_init=_RESIDUAL, name=f"{name}_out")(nn.gelu(y))


class Backbone(nn.Module):
    """Transformer blocks and a norm: the half of the backbone at one end of the link.

    Attributes:
        depth: Blocks.
        num_heads: Attention heads; divides the width.
        mlp_ratio: Hidden width of a block over its width.
    """

    depth: int
    num_heads: int
    mlp_ratio: float

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array) -> jax.Array:
        """Maps ``x [n, tokens, width]``, of which ``valid [n, tokens]`` bool are there, to its own shape."""
        x = apply_blocks(x, valid, depth=self.depth, num_heads=self.num_heads, mlp_ratio=self.mlp_ratio)
        return nn.LayerNorm(name="norm")(x)
