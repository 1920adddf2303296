"""What is fixed before a program is compiled: the system's shapes, the link's kind; and the numbers that are traced."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from lvm_mtc import phy
from lvm_mtc.models.channel_codec import RECEIVERS
from lvm_mtc.models.comparator import AGGREGATIONS, ALIGNMENTS, COMPARATORS
from lvm_mtc.models.patches import grid_shape
from lvm_mtc.models.variants import VARIANTS, Variant

MASKINGS = ("budget", "bernoulli")
STATISTICS = ("pre_norm", "sent")
TOPOLOGIES = ("broadcast", "joint")
FADINGS = ("awgn", "rayleigh", "rician", "nakagami", "fisher_snedecor")
CSI_MODELS = ("additive", "mmse", "pilots_ls", "pilots_lmmse")
CONVENTIONS = ("esno", "rx_per_antenna", "received_total")


class OperatingPoint(NamedTuple):
    """The traced numbers of a run: a new value compiles nothing anew.

    Attributes:
        snr_db: SNR under the link's convention, dB; scalar or ``[batch]``.
        csi_error_var: Variance of the CSI error, linear, >= 0; scalar or ``[batch]``. Unused with pilots.
        mask_prob: P_r in (0, 1), scalar, ``[batch]`` or ``[batch, num_uavs]``; 0.5 masks uniformly.
        epsilon: Threshold of the token comparator, linear, >= 0; scalar or ``[batch]``; 0 shares nothing.
    """

    snr_db: Any = 10.0
    csi_error_var: Any = 0.0
    mask_prob: Any = 0.25
    epsilon: Any = 0.0


def _one_of(owner: str, field: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{owner}.{field} {value!r} is unknown; known: {', '.join(known)}")


def _at_least(owner: str, field: str, value: float, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise ValueError(f"{owner}.{field} must be a number >= {least}, got {value!r}")


def _count(owner: str, field: str, value: int, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{owner}.{field} must be a whole number >= {least}, got {value!r}")


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
        comparator: ``"intensity"`` or ``"cosine"``.
        alignment: ``"index"`` or ``"sorted"``.
        aggregation: ``"mean"``, ``"sum"`` or ``"max"`` over UAV pairs.
        statistic: The intensity is taken ``"pre_norm"`` (before the last LayerNorm) or of the tokens as ``"sent"``.
        sharing_temperature: Of the comparator's backward pass, linear.
        per_uav_params: Parameters of its own for every UAV (the public channel encoder is always common).
        attention: Implementation of ``jax.nn.dot_product_attention``, ``"xla"`` or ``"cudnn"``.
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
    attention: str = "xla"

    def __post_init__(self):
        _one_of("SystemConfig", "variant", self.variant, tuple(VARIANTS))
        _one_of("SystemConfig", "masking", self.masking, MASKINGS)
        _one_of("SystemConfig", "receiver", self.receiver, RECEIVERS)
        _one_of("SystemConfig", "comparator", self.comparator, COMPARATORS)
        _one_of("SystemConfig", "alignment", self.alignment, ALIGNMENTS)
        _one_of("SystemConfig", "aggregation", self.aggregation, tuple(AGGREGATIONS))
        _one_of("SystemConfig", "statistic", self.statistic, STATISTICS)
        _one_of("SystemConfig", "attention", self.attention, ("xla", "cudnn"))
        for field in ("image_size", "patch_size", "num_symbols"):
            _count("SystemConfig", field, getattr(self, field))
        if self.image_size % self.patch_size:
            raise ValueError(
                f"SystemConfig.patch_size {self.patch_size} does not divide SystemConfig.image_size {self.image_size}"
            )
        if self.num_kept is not None:
            _count("SystemConfig", "num_kept", self.num_kept)
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
class LinkConfig:
    """The channel between the base station and the UAVs; every field is static under ``jit``.

    Attributes:
        topology: ``"broadcast"`` (each UAV hears its own slots through its own H) or ``"joint"`` (stream k is UAV k's).
        fading: ``"awgn"``, ``"rayleigh"``, ``"rician"``, ``"nakagami"`` or ``"fisher_snedecor"``.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas; under ``"joint"`` the number of UAVs.
        block_length: Slots over which H stays the same; None: the whole picture.
        csi: ``"additive"``, ``"mmse"``, ``"pilots_ls"`` or ``"pilots_lmmse"``.
        num_pilots: Pilots per antenna and block, with the pilot-based estimates.
        equalizer: A name in ``phy.EQUALIZERS``.
        convention: What ``snr_db`` means: ``"esno"``, ``"rx_per_antenna"`` or ``"received_total"``.
        k_factor_db: Rician factor, dB.
        nakagami_m: Nakagami shape m, >= 0.5.
        m_f: Fisher-Snedecor fading shape, > 0.
        m_s: Fisher-Snedecor shadowing shape, > 1.
        rx_corr: Correlation of neighbouring receive antennas (exponential model), [0, 1); Rayleigh and Rician.
        tx_corr: Correlation of neighbouring transmit antennas, [0, 1).
    """

    topology: str = "broadcast"
    fading: str = "rayleigh"
    num_rx_ant: int = 4
    num_tx_ant: int = 4
    block_length: int | None = None
    csi: str = "additive"
    num_pilots: int | None = None
    equalizer: str = "robust"
    convention: str = "esno"
    k_factor_db: float = 10.0
    nakagami_m: float = 2.0
    m_f: float = 2.0
    m_s: float = 3.0
    rx_corr: float = 0.0
    tx_corr: float = 0.0

    def __post_init__(self):
        _one_of("LinkConfig", "topology", self.topology, TOPOLOGIES)
        _one_of("LinkConfig", "fading", self.fading, FADINGS)
        _one_of("LinkConfig", "csi", self.csi, CSI_MODELS)
        _one_of("LinkConfig", "equalizer", self.equalizer, tuple(phy.EQUALIZERS))
        if self.convention == "ebno":
            raise ValueError(
                "LinkConfig.convention 'ebno' needs bits per symbol and a code rate, which analogue symbols "
                f"don't have; known: {', '.join(CONVENTIONS)}"
            )
        _one_of("LinkConfig", "convention", self.convention, CONVENTIONS)
        _count("LinkConfig", "num_rx_ant", self.num_rx_ant)
        _count("LinkConfig", "num_tx_ant", self.num_tx_ant)
        if self.block_length is not None:
            _count("LinkConfig", "block_length", self.block_length)
        self._check_antennas()
        self._check_pilots()
        _at_least("LinkConfig", "nakagami_m", self.nakagami_m, 0.5)
        for field, low in (("m_f", 0.0), ("m_s", 1.0)):
            if not getattr(self, field) > low:
                raise ValueError(f"LinkConfig.{field} must be > {low}, got {getattr(self, field)!r}")
        for field in ("rx_corr", "tx_corr"):
            value = getattr(self, field)
            if not 0 <= value < 1:
                raise ValueError(f"LinkConfig.{field} must lie in [0, 1), got {value!r}")
            if value and self.fading not in ("rayleigh", "rician"):
                raise ValueError(
                    f"LinkConfig.{field} {value!r}: correlation acts on Rayleigh and Rician fading, "
                    f"not on {self.fading!r}"
                )
            if value and self.csi == "mmse":
                raise ValueError(
                    f"LinkConfig.{field} {value!r}: csi 'mmse' is defined for uncorrelated fading; "
                    "use 'additive' or pilots"
                )

    def _check_antennas(self):
        if self.fading == "awgn" and self.num_rx_ant != self.num_tx_ant:
            raise ValueError(
                "AWGN is parallel 1x1 links: LinkConfig.num_rx_ant must equal num_tx_ant, "
                f"got {self.num_rx_ant} and {self.num_tx_ant}"
            )
        if self.num_rx_ant < self.num_tx_ant and self.equalizer == "zf":
            raise ValueError(
                f"LinkConfig.equalizer 'zf' needs num_rx_ant >= num_tx_ant, got {self.num_rx_ant} and {self.num_tx_ant}"
            )

    def _check_pilots(self):
        if not self.csi.startswith("pilots"):
            if self.num_pilots is not None:
                raise ValueError(
                    f"LinkConfig.num_pilots {self.num_pilots!r} goes with csi 'pilots_ls' or 'pilots_lmmse', "
                    f"not {self.csi!r}"
                )
            return
        if self.num_pilots is None:
            raise ValueError(f"LinkConfig.csi {self.csi!r} needs LinkConfig.num_pilots")
        _count("LinkConfig", "num_pilots", self.num_pilots, self.num_tx_ant)
        if self.block_length is not None and self.block_length < self.num_pilots + 1:
            raise ValueError(
                f"LinkConfig.block_length {self.block_length} is shorter than num_pilots + 1 = {self.num_pilots + 1}"
            )

    def prior(self) -> phy.ChannelPrior | None:
        """What the receiver knows of the channel before any estimate; None is the i.i.d. unit prior.

        Under Rician fading the angles of the line of sight are drawn, and the receiver does not know them.
        """
        if self.fading != "rayleigh" or not (self.rx_corr or self.tx_corr):
            return None
        return phy.ChannelPrior(
            rx_corr=phy.exp_corr_mat(self.rx_corr, self.num_rx_ant),
            tx_corr=phy.exp_corr_mat(self.tx_corr, self.num_tx_ant),
        )

    def sampler(self) -> Callable | None:
        """The fading as ``phy.link`` takes it; None for AWGN."""
        if self.fading == "awgn":
            return None
        if self.fading == "nakagami":
            return functools.partial(phy.nakagami, m=self.nakagami_m)
        if self.fading == "fisher_snedecor":
            return functools.partial(phy.fisher_snedecor, m_f=self.m_f, m_s=self.m_s)
        options = {}
        if self.fading == "rician":
            options["k_factor_db"] = self.k_factor_db
        if self.rx_corr:
            options["rx_corr"] = phy.exp_corr_mat(self.rx_corr, self.num_rx_ant)
        if self.tx_corr:
            options["tx_corr"] = phy.exp_corr_mat(self.tx_corr, self.num_tx_ant)
        return functools.partial(getattr(phy, self.fading), **options)
