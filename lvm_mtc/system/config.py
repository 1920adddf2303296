"""What is fixed before a program is compiled, the system's shapes; and the numbers that are traced."""

import dataclasses
import functools
from typing import Any, NamedTuple

from lvm_mtc.models.channel_codec import RECEIVERS
from lvm_mtc.models.comparator import AGGREGATIONS, ALIGNMENTS, COMPARATORS
from lvm_mtc.models.deepjscc import DeepJscc
from lvm_mtc.models.patches import grid_shape
from lvm_mtc.models.variants import VARIANTS, Variant
from lvm_mtc.models.witt import CIFAR_SIZES, HIGH_RESOLUTION_SIZES, Witt, WittSizes
from lvm_mtc.system.checks import require_count, require_one_of

MASKINGS = ("budget", "bernoulli")
STATISTICS = ("pre_norm", "sent")
PICTURE_CODECS = {
    "deepjscc": DeepJscc,
    "witt": functools.partial(Witt, sizes=CIFAR_SIZES),
    "witt_high_resolution": functools.partial(Witt, sizes=HIGH_RESOLUTION_SIZES),
    # For tests.
    "witt_tiny": functools.partial(Witt, sizes=WittSizes((1,), (8,), (2,), 2)),
}


class OperatingPoint(NamedTuple):
    """The traced numbers of a run: a new value compiles nothing anew.

    Attributes:
        snr_db: SNR under the link's convention, dB; scalar or ``[batch]``, and under the broadcast topology
            ``[batch, num_uavs]``.
        csi_error_var: Variance of the CSI error, linear, >= 0; scalar or ``[batch]``. Unused with pilots.
        mask_prob: P_r in (0, 1), scalar, ``[batch]`` or ``[batch, num_uavs]``; 0.5 masks uniformly.
        epsilon: Threshold of the token comparator, linear, >= 0; scalar or ``[batch]``; 0 shares nothing.
        k_factor_db: Rician factor, dB, under the broadcast topology; shapes as ``snr_db``. None: the link's.
        max_doppler: Largest Doppler shift of native fading on a resource grid, Hz; likewise. None: the link's.
    """

    snr_db: Any = 10.0
    csi_error_var: Any = 0.0
    mask_prob: Any = 0.25
    epsilon: Any = 0.0
    k_factor_db: Any = None
    max_doppler: Any = None


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
    remat: bool = False
    dtype: str | None = None

    def __post_init__(self):
        if self.dtype is not None:
            require_one_of("Execution", "dtype", self.dtype, ("float32", "bfloat16", "float16"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SystemConfig:
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
        groups: A token may be public for some of the UAVs only, at least two (``models.groups``); up to 12 UAVs, under
            the broadcast topology.
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
        require_one_of("SystemConfig", "variant", self.variant, tuple(VARIANTS))
        require_one_of("SystemConfig", "masking", self.masking, MASKINGS)
        require_one_of("SystemConfig", "receiver", self.receiver, RECEIVERS)
        require_one_of("SystemConfig", "comparator", self.comparator, COMPARATORS)
        require_one_of("SystemConfig", "alignment", self.alignment, ALIGNMENTS)
        require_one_of("SystemConfig", "aggregation", self.aggregation, tuple(AGGREGATIONS))
        require_one_of("SystemConfig", "statistic", self.statistic, STATISTICS)
        if self.attention is not None:
            require_one_of("SystemConfig", "attention", self.attention, ("xla", "cudnn"))
        for field in ("image_size", "patch_size", "num_symbols"):
            require_count("SystemConfig", field, getattr(self, field))
        if self.image_size % self.patch_size:
            raise ValueError(
                f"SystemConfig.patch_size {self.patch_size} does not divide SystemConfig.image_size {self.image_size}"
            )
        if self.num_kept is not None:
            require_count("SystemConfig", "num_kept", self.num_kept)
            if self.num_kept > self.num_patches:
                raise ValueError(
                    f"SystemConfig.num_kept {self.num_kept} exceeds the picture's {self.num_patches} patches"
                )
        if self.sharing_temperature <= 0:
            raise ValueError(f"SystemConfig.sharing_temperature must be > 0, got {self.sharing_temperature!r}")
        if self.sizes.depth == 0 and not self.linear_path:
            raise ValueError(f"SystemConfig.linear_path False leaves variant {self.variant!r} without any path")

    @classmethod
    def paper(cls, **overrides) -> "SystemConfig":
        """The paper's plain form: ViT-L/16 at 224 pixels, 64 symbols a token, no linear path, no learned extras."""
        plain = dict(
            variant="large",
            image_size=224,
            patch_size=16,
            num_symbols=64,
            linear_path=False,
            receiver="shrunk",
            power_allocation=False,
        )
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureCodecConfig:
    """Shapes of a codec for whole pictures; every field is static under ``jit``.

    Attributes:
        codec: A name in ``PICTURE_CODECS``.
        image_size: Side of the square pictures, pixels.
        num_symbols: Complex symbols at each position of the codec's feature map.
        receiver: How the decoder learns of the noise, a name in ``models.RECEIVERS``. ``"shrunk"``: features /
            (1 + no_eff), no parameters. ``"log_no_eff"``: the features and the logarithm of no_eff, side by side.
            ``"wiener"``: features in the scale in which the encoder made them (each picture's gain is sent as 16 bits
            of side information) times p / (p + noise), with p the learned power of each feature.
    """

    codec: str = "deepjscc"
    image_size: int = 32
    num_symbols: int = 16
    receiver: str = "wiener"

    def __post_init__(self):
        require_one_of("PictureCodecConfig", "codec", self.codec, tuple(PICTURE_CODECS))
        require_one_of("PictureCodecConfig", "receiver", self.receiver, RECEIVERS)
        for field in ("image_size", "num_symbols"):
            require_count("PictureCodecConfig", field, getattr(self, field))
        if self.image_size % self.module.reduction:
            raise ValueError(
                f"PictureCodecConfig.image_size {self.image_size} is no multiple of the {self.module.reduction} pixels "
                f"of a position of codec {self.codec!r}"
            )

    @property
    def module(self) -> DeepJscc | Witt:
        """The codec's module."""
        return PICTURE_CODECS[self.codec](num_features=2 * self.num_symbols)

    @property
    def capacity(self) -> int:
        """Positions of a picture's feature map, each of which is sent as a token is."""
        return (self.image_size // self.module.reduction) ** 2
