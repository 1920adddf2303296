"""What is fixed about the channel between the base station and the UAVs before a program is compiled."""

import dataclasses

from lvm_mtc import phy
from lvm_mtc.interop.sionna import CHANNELS as SIONNA_CHANNELS
from lvm_mtc.interop.sionna.profiles import unit_profile
from lvm_mtc.system.checks import require_at_least, require_count, require_one_of

TOPOLOGIES = ("broadcast", "joint", "mu_mimo")
FLAT = ("awgn", "rayleigh", "rician", "nakagami", "fisher_snedecor", "rayleigh_magnitude")
SELECTIVE = ("exponential",)
FADINGS = (*FLAT, *SELECTIVE, *SIONNA_CHANNELS)
# Flat fading that a resource grid can carry: one path, whose Doppler is that of the speed.
FLAT_ON_GRID = ("rayleigh", "rician")
WAVEFORMS = ("auto", "single_carrier", "ofdm")
CONVENTIONS = ("esno", "rx_per_antenna", "received_total")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """The channel between the base station and the UAVs; every field is static under ``jit``.

    Attributes:
        topology: ``"broadcast"`` (each UAV hears its own slots through its own H), ``"joint"`` (stream k is UAV k's)
            or ``"mu_mimo"`` (private streams at the same time, precoded; one receive antenna a UAV).
        fading: ``"awgn"``, ``"rayleigh"``, ``"rician"``, ``"nakagami"``, ``"fisher_snedecor"``,
            ``"rayleigh_magnitude"``; frequency-selective: ``"exponential"``; Sionna's, which need the extra ``sionna``:
            ``"sionna_awgn"``, ``"sionna_rayleigh"``, ``"sionna_tdl_a"`` ... ``"_e"``, ``"sionna_cdl_a"`` ... ``"_e"``,
            ``"sionna_umi"``, ``"sionna_uma"``, ``"sionna_rma"``.
        num_rx_ant: Receive antennas.
        num_tx_ant: Transmit antennas; under ``"joint"`` the number of UAVs.
        block_length: Slots over which H stays the same on a single carrier; None: the whole picture.
        waveform: ``"single_carrier"``, ``"ofdm"``, or ``"auto"``: OFDM where the fading is frequency-selective.
        ofdm: The resource grid, for OFDM.
        interpolation: Of least-squares pilots on the grid: ``"linear"``, ``"nearest"`` or ``"hold"``, which ages.
        csi: ``"additive"``, ``"mmse"``, ``"pilots_ls"`` or ``"pilots_lmmse"``.
        num_pilots: Pilots per antenna and block, with the pilot-based estimates on a single carrier; a resource grid
            has pilots of its own.
        equalizer: A name in ``phy.EQUALIZERS``; ``"none"`` gives what arrived to the decoder as it is.
        convention: What ``snr_db`` means: ``"esno"``, ``"rx_per_antenna"`` or ``"received_total"``.
        k_factor_db: Rician factor, dB.
        nakagami_m: Nakagami shape m, >= 0.5.
        m_f: Fisher-Snedecor fading shape, > 0.
        m_s: Fisher-Snedecor shadowing shape, > 1.
        rx_corr: Correlation of neighbouring receive antennas (exponential model), [0, 1); flat Rayleigh and Rician.
        tx_corr: Correlation of neighbouring transmit antennas, [0, 1).
        delay_spread: RMS delay spread of ``"exponential"``, TDL and CDL fading, seconds.
        carrier_frequency: Hz; with ``speed`` it gives the Doppler shift.
        speed: Of the UAVs, m/s; on a resource grid.
        precoding: ``"rzf"``, ``"zf"`` or ``"mf"``, under ``"mu_mimo"``.
        csi_aware: The precoder knows the variance of its CSI error.
        power_constraint: ``"total"`` or ``"per_antenna"``, under ``"mu_mimo"``.
    """

    topology: str = "broadcast"
    fading: str = "rayleigh"
    num_rx_ant: int = 4
    num_tx_ant: int = 4
    block_length: int | None = None
    waveform: str = "auto"
    ofdm: phy.ResourceGrid = phy.ResourceGrid()
    interpolation: str = "linear"
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
    delay_spread: float = 100e-9
    carrier_frequency: float = 3.5e9
    speed: float = 0.0
    precoding: str = "rzf"
    csi_aware: bool = True
    power_constraint: str = "total"

    def __post_init__(self):
        for field, known in (
            ("topology", TOPOLOGIES),
            ("fading", FADINGS),
            ("waveform", WAVEFORMS),
            ("interpolation", phy.INTERPOLATIONS),
            ("csi", phy.CSI_MODELS),
            ("equalizer", tuple(phy.EQUALIZERS)),
            ("precoding", phy.PRECODINGS),
            ("power_constraint", phy.POWER_CONSTRAINTS),
        ):
            require_one_of("LinkConfig", field, getattr(self, field), known)
        if self.convention == "ebno":
            raise ValueError(
                "LinkConfig.convention 'ebno' needs bits per symbol and a code rate, which analogue symbols "
                f"don't have; known: {', '.join(CONVENTIONS)}"
            )
        require_one_of("LinkConfig", "convention", self.convention, CONVENTIONS)
        require_count("LinkConfig", "num_rx_ant", self.num_rx_ant)
        require_count("LinkConfig", "num_tx_ant", self.num_tx_ant)
        if self.block_length is not None:
            require_count("LinkConfig", "block_length", self.block_length)
        self._check_antennas()
        self._check_waveform()
        self._check_pilots()
        self._check_fading()
        if self.topology == "mu_mimo":
            self._check_mu_mimo()

    @classmethod
    def witt_rayleigh(cls, **overrides) -> "LinkConfig":
        """The channel of WITT's "Rayleigh" curves: one antenna, a new real h >= 0 in every slot, no equaliser.

        ``snr_db`` is ``"esno"``, as there: power 1 of a complex symbol over the noise's. ``no_eff`` is the noise's, for
        it knows nothing of h.
        """
        plain = dict(fading="rayleigh_magnitude", num_rx_ant=1, num_tx_ant=1, block_length=1, equalizer="none")
        return cls(**(plain | overrides))

    @property
    def is_awgn(self) -> bool:
        """Whether the channel is num_tx_ant parallel links with h = 1."""
        return self.fading in ("awgn", "sionna_awgn")

    @property
    def is_selective(self) -> bool:
        """Whether the fading depends on the frequency, and so needs a resource grid."""
        kind = SIONNA_CHANNELS[self.fading].kind if self.fading in SIONNA_CHANNELS else "flat"
        return self.fading in SELECTIVE or kind == "paths"

    @property
    def has_profile(self) -> bool:
        """Whether the fading is a model with a fixed power-delay profile, stretched by ``delay_spread``."""
        return self.fading in SELECTIVE or "_tdl_" in self.fading or "_cdl_" in self.fading

    @property
    def uses_ofdm(self) -> bool:
        """Whether slots are resource elements of the grid."""
        return self.waveform == "ofdm" or (self.waveform == "auto" and self.is_selective)

    @property
    def max_doppler(self) -> float:
        """Largest Doppler shift, Hz."""
        return self.speed * self.carrier_frequency / phy.SPEED_OF_LIGHT

    def _check_antennas(self):
        if self.is_awgn and self.num_rx_ant != self.num_tx_ant and self.topology != "mu_mimo":
            raise ValueError(
                "AWGN is parallel 1x1 links: LinkConfig.num_rx_ant must equal num_tx_ant, "
                f"got {self.num_rx_ant} and {self.num_tx_ant}"
            )
        if self.num_rx_ant < self.num_tx_ant and self.equalizer == "zf" and self.topology != "mu_mimo":
            raise ValueError(
                f"LinkConfig.equalizer 'zf' needs num_rx_ant >= num_tx_ant, got {self.num_rx_ant} and {self.num_tx_ant}"
            )
        if self.num_rx_ant != self.num_tx_ant and self.equalizer == "none" and self.topology != "mu_mimo":
            raise ValueError(
                "LinkConfig.equalizer 'none' needs num_rx_ant == num_tx_ant, "
                f"got {self.num_rx_ant} and {self.num_tx_ant}"
            )

    def _check_waveform(self):
        if self.waveform == "single_carrier" and self.is_selective:
            raise ValueError(
                f"LinkConfig.waveform 'single_carrier': fading {self.fading!r} is frequency-selective and needs 'ofdm'"
            )
        if not self.uses_ofdm:
            if self.speed:
                raise ValueError(
                    f"LinkConfig.speed {self.speed!r}: fading on a single carrier changes from block to block only; "
                    "set block_length, or waveform 'ofdm'"
                )
            return
        if not self.is_selective and self.fading not in FLAT_ON_GRID:
            raise ValueError(
                f"LinkConfig.waveform 'ofdm' carries frequency-selective fading, {' and '.join(FLAT_ON_GRID)}, "
                f"not {self.fading!r}"
            )
        if self.num_tx_ant > self.ofdm.num_carriers:
            raise ValueError(
                f"LinkConfig.num_tx_ant {self.num_tx_ant} antennas can't have pilots on {self.ofdm.num_carriers} "
                "subcarriers"
            )
        if self.has_profile and self.fading not in SELECTIVE:
            longest = float(unit_profile(self.fading)[0].max()) * self.delay_spread
            name = f"LinkConfig.delay_spread {self.delay_spread!r}: the longest delay of {self.fading!r}"
            self.ofdm.require_within_prefix(longest, name)
        if self.block_length is not None:
            raise ValueError(
                f"LinkConfig.block_length {self.block_length!r}: on a resource grid the channel changes with speed"
            )

    def _check_pilots(self):
        if self.uses_ofdm or not self.csi.startswith("pilots"):
            if self.num_pilots is not None:
                where = "a single carrier" if self.uses_ofdm else "csi 'pilots_ls' or 'pilots_lmmse'"
                raise ValueError(
                    f"LinkConfig.num_pilots {self.num_pilots!r} goes with {where}, not with "
                    f"{'a resource grid, which has its own' if self.uses_ofdm else repr(self.csi)}"
                )
            return
        if self.num_pilots is None:
            raise ValueError(f"LinkConfig.csi {self.csi!r} needs LinkConfig.num_pilots")
        require_count("LinkConfig", "num_pilots", self.num_pilots, self.num_tx_ant)
        if self.block_length is not None and self.block_length < self.num_pilots + 1:
            raise ValueError(
                f"LinkConfig.block_length {self.block_length} is shorter than num_pilots + 1 = {self.num_pilots + 1}"
            )

    def _check_fading(self):
        require_at_least("LinkConfig", "nakagami_m", self.nakagami_m, 0.5)
        require_at_least("LinkConfig", "speed", self.speed, 0.0)
        for field, low in (("m_f", 0.0), ("m_s", 1.0), ("delay_spread", 0.0), ("carrier_frequency", 0.0)):
            if not getattr(self, field) > low:
                raise ValueError(f"LinkConfig.{field} must be > {low}, got {getattr(self, field)!r}")
        if self.fading == "rayleigh_magnitude" and self.csi == "mmse":
            raise ValueError(
                "LinkConfig.csi 'mmse' is defined for fading of mean 0, not for 'rayleigh_magnitude'; use 'additive' "
                "or pilots"
            )
        for field in ("rx_corr", "tx_corr"):
            value = getattr(self, field)
            if not 0 <= value < 1:
                raise ValueError(f"LinkConfig.{field} must lie in [0, 1), got {value!r}")
            if value and (self.fading not in ("rayleigh", "rician", "sionna_rayleigh") or self.uses_ofdm):
                raise ValueError(
                    f"LinkConfig.{field} {value!r}: correlation acts on flat Rayleigh and Rician fading, "
                    f"not on {self.fading!r}{' on a resource grid' if self.uses_ofdm else ''}"
                )
            if value and self.csi == "mmse":
                raise ValueError(
                    f"LinkConfig.{field} {value!r}: csi 'mmse' is defined for uncorrelated fading; "
                    "use 'additive' or pilots"
                )

    def _check_mu_mimo(self):
        if self.num_rx_ant != 1:
            raise ValueError(
                f"LinkConfig.num_rx_ant must be 1 under topology 'mu_mimo' (one stream a UAV), got {self.num_rx_ant}"
            )
        if self.is_awgn or self.uses_ofdm:
            raise ValueError(
                "LinkConfig.topology 'mu_mimo' needs flat fading on a single carrier, got fading "
                f"{self.fading!r}, waveform {self.waveform!r}"
            )
        if self.equalizer == "none":
            raise ValueError(
                "LinkConfig.equalizer 'none' does not go with topology 'mu_mimo', where every UAV divides by the gain "
                "of its beam"
            )
        if self.convention != "esno":
            raise ValueError(f"LinkConfig.convention must be 'esno' under topology 'mu_mimo', got {self.convention!r}")
