"""LLaVA up to its language model: CLIP's patch features, which are sent, and the projector behind the link.

The language model is not part of this library: it takes the projected features among the embeddings of its words. No
weights come with the library; ``interop.llava_weights`` reads them.

Source: Liu et al., Visual Instruction Tuning (2023), and Improved Baselines with Visual Instruction Tuning (2024).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax

from lvm_mtc.models.clip import ClipVariant, ImageTower, block_options, check_pictures
from lvm_mtc.models.transformer import ACTIVATIONS

PROJECTORS = ("linear", "mlp")
PINPOINTS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
"""Heights and widths to which LLaVA-1.6 resizes pictures that it cuts into squares of 336 pixels."""


class LlavaBorder(nn.Module):
    """What a language model's picture tokens are made of.

    Attributes:
        sizes: Of CLIP; its text tower is not used.
        activation: Of CLIP, a name in ``transformer.ACTIVATIONS``.
        width: Of the language model's tokens.
        projector: ``"linear"`` (LLaVA-1.0, Eq. 1 of FA-SemCom) or ``"mlp"``: two layers with an exact GELU (1.5, 1.6).
        attention: Implementation of ``jax.nn.dot_product_attention``.
    """

    sizes: ClipVariant
    activation: str
    width: int
    projector: str = "mlp"
    attention: str = "xla"

    def setup(self):
        """Makes tower and projector."""
        if self.projector not in PROJECTORS:
            raise ValueError(f"projector must be one of {', '.join(PROJECTORS)}, got {self.projector!r}")
        self.image = ImageTower(self.sizes, block_options(self.activation, self.attention), patches=True, name="image")
        self.linear_1 = nn.Dense(self.width, name="linear_1")
        if self.projector == "mlp":
            self.linear_2 = nn.Dense(self.width, name="linear_2")

    def __call__(self, images: jax.Array) -> jax.Array:
        """Both parts, without a link between them."""
        return self.project(self.features(images))

    def features(self, images: jax.Array) -> jax.Array:
        """Features of all patches, ``[num_images, num_patches, image_width]``, of the last block but one.

        ``images`` are normalised squares of ``image_size`` (``clip.normalize_pixels``).
        """
        check_pictures(images, self.sizes)
        return self.image(images)

    def project(self, features: jax.Array) -> jax.Array:
        """Features ``[..., image_width]`` as tokens of the language model, ``[..., width]``."""
        tokens = self.linear_1(features)
        return tokens if self.projector == "linear" else self.linear_2(ACTIVATIONS["gelu"](tokens))


def anyres_size(height: int, width: int, pinpoints: Sequence[tuple[int, int]] = PINPOINTS) -> tuple[int, int]:
    """The height and width, of ``pinpoints``, that keep most of a picture's pixels, then those with least border.

    Source: LLaVA-1.6's ``select_best_resolution``.
    """

    def kept(size: tuple[int, int]) -> tuple[int, int]:
        scale = min(size[0] / height, size[1] / width)
        pixels = min(int(height * scale) * int(width * scale), height * width)
        return pixels, pixels - size[0] * size[1]

    return max(pinpoints, key=kept)


def unpadded_grid(height: int, width: int, grid: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a grid of patches that lie within a picture which stands in its middle, borders beside it.

    Source: LLaVA-1.6's ``unpad_image``.
    """
    rows, columns = grid
    if width / height > columns / rows:
        return rows - 2 * ((rows - int(round(height * (columns / width), 7))) // 2), columns
    return rows, columns - 2 * ((columns - int(round(width * (rows / height), 7))) // 2)
