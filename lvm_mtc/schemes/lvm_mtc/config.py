"""What is fixed before a program is compiled: the token system's shapes and rules."""

import dataclasses
from typing import Any

from lvm_mtc.config import require_count, require_number, require_one_of
from lvm_mtc.models.patches import grid_shape
from lvm_mtc.models.receivers import RECEIVERS
from lvm_mtc.models.variants import VARIANTS, Variant
from lvm_mtc.schemes.lvm_mtc.comparator import AGGREGATIONS, ALIGNMENTS, COMPARATORS

NAMES = {
    "variant": tuple(VARIANTS), "masking": ("budget", "bernoulli"), "receiver": RECEIVERS, "comparator": COMPARATORS,
    "alignment": ALIGNMENTS, "aggregation": tuple(AGGREGATIONS), "statistic": ("pre_norm", "sent"),
}  # fmt: skip
"""Fields of :class:`LvmMtcConfig` that name something, and the names."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """How the token codec is computed: options that change no number beyond rounding, so no part of what a run is.

    Attributes:
        scan: Compile one layer and scan over the others; parameters are stacked (``models.transformer.stack_layers``).
        remat: Keep only the layers' inputs for the backward pass and compute the rest again.
        dtype: Name of the type to compute in, ``"bfloat16"`` say; None: the parameters'. Channel codec, comparator and
            link stay in float32.
    """

    scan: bool = False
    remat: bool = dataclasses.field(default=False, metadata={"changes_numbers": False})
    dtype: str | None = None

    def __post_init__(self):
        if self.dtype is not None:
            require_one_of("Execution", "dtype", self.dtype, ("float32", "bfloat16", "float16"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LvmMtcConfig:
    """Shapes and rules of the token system; every field is static under ``jit``.

    Attributes:
        variant: Size of the token codec, a name in ``models.VARIANTS``.
        image_size: Side of the square pictures, pixels.
        patch_size: Side of a patch, pixels.
        num_symbols: Complex symbols per token, C.
        masking: ``"budget"`` keeps ``num_kept`` patches, ``"bernoulli"`` draws each (Eq. 15), padded to ``num_kept``.
        num_kept: Patches kept (or the capacity); None: half of the patches for a budget, all of them for a capacity.
        linear_path: Add the linear maps beside the transformers; False is the paper's plain form.
        receiver: How the channel decoder learns of the noise, a name in ``models.RECEIVERS``. ``"wiener"`` sends each
            picture's gain as 16 bits of side information.
        power_allocation: Learn each feature's gain as a function of the nominal SNR.
        comparator: ``"intensity"``, ``"cosine"`` or ``"learned"``, which compares a learned projection of what
            ``statistic`` names.
        alignment: ``"index"``, ``"sorted"`` or ``"position"``.
        aggregation: ``"mean"``, ``"sum"`` or ``"max"`` over UAV pairs.
        statistic: The intensity is taken ``"pre_norm"`` (before the last LayerNorm) or of the tokens as ``"sent"``.
        sharing_temperature: Of the comparator's backward pass, linear.
        groups: A token may be public for some of the UAVs only, at least two; up to 12 UAVs, under the broadcast
            topology.
        per_uav_params: Parameters of its own for every UAV (the public channel encoder is always common).
        attention: Implementation of ``jax.nn.dot_product_attention``: ``"xla"``, ``"cudnn"`` or None (JAX chooses).
    """

    variant: str = "small"
    image_size: int = 96
    patch_size: int = 8
    num_symbols: int = 32
    masking: str = "budget"
    num_kept: int | None = None
    linear_path: bool = True
    receiver: str = "wiener"
    power_allocation: bool = True
    comparator: str = "intensity"
    alignment: str = "index"
    aggregation: str = "mean"
    statistic: str = "pre_norm"
    sharing_temperature: float = 0.02
    per_uav_params: bool = False
    attention: str | None = "xla"
    groups: bool = False

    def __post_init__(self):
        for field, known in NAMES.items():
            require_one_of("LvmMtcConfig", field, getattr(self, field), known)
        if self.attention is not None:
            require_one_of("LvmMtcConfig", "attention", self.attention, ("xla", "cudnn"))
        for field in ("image_size", "patch_size", "num_symbols"):
            require_count("LvmMtcConfig", field, getattr(self, field))
        if self.image_size % self.patch_size:
            raise ValueError(
                f"LvmMtcConfig.patch_size {self.patch_size} does not divide LvmMtcConfig.image_size {self.image_size}"
            )
        if self.num_kept is not None:
            require_count("LvmMtcConfig", "num_kept", self.num_kept)
            if self.num_kept > self.num_patches:
                raise ValueError(
                    f"LvmMtcConfig.num_kept {self.num_kept} exceeds the picture's {self.num_patches} patches"
                )
        require_number("LvmMtcConfig", "sharing_temperature", self.sharing_temperature, 0.0, strict=True)
        if self.sizes.depth == 0 and not self.linear_path:
            raise ValueError(f"LvmMtcConfig.linear_path False leaves variant {self.variant!r} without any path")

    @classmethod
    def paper(cls, **overrides) -> "LvmMtcConfig":
        """The paper's plain form: ViT-L/16 at 224 pixels, 64 symbols a token, no linear path, no learned extras."""
        plain: dict[str, Any] = dict(variant="large", image_size=224, patch_size=16, num_symbols=64, linear_path=False,
                     receiver="shrunk", power_allocation=False)  # fmt: skip
        return cls(**(plain | overrides))

    @property
    def sizes(self) -> Variant:
        """Widths and depths of the variant."""
        return VARIANTS[self.variant]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return grid_shape((self.image_size, self.image_size), self.patch_size)

    @property
    def num_patches(self) -> int:
        """Patches of a picture, N."""
        return self.grid[0] * self.grid[1]

    @property
    def patch_dim(self) -> int:
        """Numbers in an RGB patch."""
        return 3 * self.patch_size**2

    @property
    def capacity(self) -> int:
        """Token slots of a picture: L for a budget, the capacity under ``"bernoulli"``."""
        if self.num_kept is not None:
            return self.num_kept
        return self.num_patches if self.masking == "bernoulli" else max(self.num_patches // 2, 1)
