"""What is fixed about the link between the base station and the UAVs before a program is compiled."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lvm_mtc import phy
from lvm_mtc.config import from_dict, require_count, require_number, require_one_of, to_dict, unknown_name_message
from lvm_mtc.interop.sionna import CHANNELS as SIONNA_CHANNELS
from lvm_mtc.link.code import code_of, describe
from lvm_mtc.link.fading import FADINGS, SELECTIVE, acts
from lvm_mtc.link.mac import Mac
from lvm_mtc.link.mu_mimo import MuMimo
from lvm_mtc.link.ofdm import Ofdm
from lvm_mtc.link.ranked import RankedStreams
from lvm_mtc.link.recorded import RecordedChannel
from lvm_mtc.link.sampled import OfdmIci, Otfs
from lvm_mtc.link.scene import Scene
from lvm_mtc.link.single_carrier import SingleCarrier

CARRIERS = {
    "single_carrier": SingleCarrier, "ofdm": Ofdm, "ofdm_ici": OfdmIci, "otfs": Otfs, "mu_mimo": MuMimo, "mac": Mac,
}  # fmt: skip
"""Name to class, for flags and files; in Python a link takes any object that is a ``Carrier``."""
AROUND = {"scene": Scene, "ranked": RankedStreams}
"""Carriers around another one, the outer one first: name, in files, of a mapping of their own fields."""
CONVENTIONS = ("esno", "rx_per_antenna", "received_total")
_OWN_CARRIER = ("mu_mimo", "mac")  # topologies that are carriers of their own
_ALIASES = {"grid": "ofdm"}  # field of a carrier -> name in flags, files and stores
_GRID = phy.ResourceGrid()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """The link between the base station and the UAVs; every field is static under ``jit``.

    Attributes:
        name: In sweeps, tables and legends, where two links of one fading may stand beside each other; None: the
            fading's.
        fading: ``"awgn"``, ``"rayleigh"``, ``"rician"``, ``"nakagami"``, ``"fisher_snedecor"``,
            ``"rayleigh_magnitude"``; frequency-selective: ``"exponential"`` and 3GPP's delay lines,
            ``"tdl_a"`` ... ``"_e"``, ``"cdl_a"`` ... ``"_e"``; Sionna's, which need the extra ``sionna``:
            ``"sionna_awgn"``, ``"sionna_rayleigh"``, the delay lines as ``"sionna_tdl_a"`` and so on,
            ``"sionna_umi"``, ``"sionna_uma"``, ``"sionna_rma"``. Or a function of your own with the signature of
            ``phy.rayleigh`` (of ``phy.rayleigh_path`` on a resource grid), E abs(h)^2 = 1; or a ``RecordedChannel``.
        num_tx_ant: Under ``"joint"`` the number of UAVs, under ``"mac"`` 1, a device's.
        carrier: What carries the symbols: ``SingleCarrier``, ``Ofdm``, ``OfdmIci``, ``Otfs``, ``MuMimo``, ``Mac``,
            ``RankedStreams``, ``Scene`` or another ``Carrier``; None: ``Ofdm`` where the fading is frequency-selective,
            else ``SingleCarrier``.
        csi: ``"additive"``, ``"mmse"``, ``"pilots_ls"`` or ``"pilots_lmmse"``.
        equalizer: A name in ``phy.EQUALIZERS``; ``"none"`` gives what arrived to the decoder as it is.
        convention: What ``snr_db`` means: ``"esno"``, ``"rx_per_antenna"`` or ``"received_total"``.
        k_factor_db: Rician factor, dB.
        nakagami_m: Nakagami shape m, >= 0.5.
        m_f: Fisher-Snedecor fading shape, > 0.
        m_s: Fisher-Snedecor shadowing shape, > 1.
        rx_corr: Correlation of neighbouring receive antennas (exponential model), [0, 1); flat Rayleigh and Rician.
        tx_corr: Correlation of neighbouring transmit antennas, [0, 1).
        delay_spread: RMS delay spread of ``"exponential"``, TDL and CDL fading, seconds.
    """

    name: str | None = None
    fading: str | Callable = "rayleigh"
    num_rx_ant: int = 4
    num_tx_ant: int = 4
    carrier: Any = None
    csi: str = "additive"
    equalizer: str = "robust"
    convention: str = "esno"
    k_factor_db: float = 10.0
    nakagami_m: float = 2.0
    m_f: float = 2.0
    m_s: float = 3.0
    rx_corr: float = 0.0
    tx_corr: float = 0.0
    delay_spread: float = 100e-9

    def __post_init__(self):
        if not callable(self.fading):
            require_one_of("LinkConfig", "fading", self.fading, FADINGS)
        elif not (hasattr(self.fading, "__qualname__") or hasattr(self.fading, "described")):
            raise ValueError(f"LinkConfig.fading must be a name or a function of a module, got {self.fading!r}")
        require_one_of("LinkConfig", "csi", self.csi, phy.CSI_MODELS)
        require_one_of("LinkConfig", "equalizer", self.equalizer, tuple(phy.EQUALIZERS))
        if self.convention == "ebno":
            raise ValueError(
                "LinkConfig.convention 'ebno' needs bits per symbol and a code rate, which analogue symbols "
                f"don't have; known: {', '.join(CONVENTIONS)}"
            )
        require_one_of("LinkConfig", "convention", self.convention, CONVENTIONS)
        require_count("LinkConfig", "num_rx_ant", self.num_rx_ant)
        require_count("LinkConfig", "num_tx_ant", self.num_tx_ant)
        require_number("LinkConfig", "k_factor_db", self.k_factor_db)
        require_number("LinkConfig", "nakagami_m", self.nakagami_m, 0.5)
        for field, low in (("m_f", 0.0), ("m_s", 1.0), ("delay_spread", 0.0)):
            require_number("LinkConfig", field, getattr(self, field), low, strict=True)
        for field in dataclasses.fields(self):
            if getattr(self, field.name) != field.default and not acts(field.name, self.fading):
                value = getattr(self, field.name)
                raise ValueError(f"LinkConfig.{field.name} {value!r} has no effect under fading {self.fading!r}")
        if self.fading == "rayleigh_magnitude" and self.csi == "mmse":
            raise ValueError(
                "LinkConfig.csi 'mmse' is defined for fading of mean 0, not for 'rayleigh_magnitude'; use 'additive' "
                "or pilots"
            )
        for field, antennas in (("rx_corr", self.num_rx_ant), ("tx_corr", self.num_tx_ant)):
            value = getattr(self, field)
            require_number("LinkConfig", field, value, 0.0, most=phy.largest_correlation(antennas))
            if value and self.fading not in ("rayleigh", "rician", "sionna_rayleigh"):
                raise ValueError(
                    f"LinkConfig.{field} {value!r}: correlation acts on flat Rayleigh and Rician fading, "
                    f"not on {self.fading!r}"
                )
            if value and self.csi == "mmse":
                raise ValueError(
                    f"LinkConfig.{field} {value!r}: csi 'mmse' is defined for uncorrelated fading; "
                    "use 'additive' or pilots"
                )
        carrier = self.carrier
        if carrier is None:
            carrier = Ofdm() if self.is_selective else SingleCarrier()
            object.__setattr__(self, "carrier", carrier)
        carrier.check(self)

    @classmethod
    def of(cls, **fields: Any) -> "LinkConfig":
        """A link from one level of names, its carrier's fields among them, as flags, files and stores have them.

        ``waveform`` is a name in ``CARRIERS`` or ``"auto"``; ``ofdm`` the resource grid, as a ``phy.ResourceGrid`` or a
        mapping. A field that the carrier does not have is a ValueError, unless it has its default. ``scene`` and
        ``ranked`` are mappings of the fields of ``Scene`` and ``RankedStreams`` but the carrier, which are the others'.
        """
        for around, kind in AROUND.items():
            if (own := fields.pop(around, None)) is not None:
                link = cls.of(**fields)
                carrier = from_dict(kind, dict(own) | {"carrier": link.carrier}, where=f"LinkConfig.{around}")
                return dataclasses.replace(link, carrier=carrier)
        waveform, topology = fields.pop("waveform", "auto"), fields.pop("topology", "broadcast")
        fading = fields.get("fading", "rayleigh")
        require_one_of("LinkConfig", "waveform", waveform, ("auto", *CARRIERS))
        require_one_of("LinkConfig", "topology", topology, ("broadcast", "joint", *_OWN_CARRIER))
        if waveform == "auto":
            waveform = "ofdm" if _is_selective(fading) else "single_carrier"
        if topology in _OWN_CARRIER:
            if waveform not in ("single_carrier", topology):
                raise ValueError(
                    f"LinkConfig.topology {topology!r} needs a single carrier, got fading {fading!r} on a resource grid"
                )
            waveform = topology
        own = {field.name for field in dataclasses.fields(cls)} - {"carrier"}
        given = {name: value for name, value in fields.items() if name not in own}
        if waveform not in _OWN_CARRIER:
            given["topology"] = topology
        if not isinstance(given.get("ofdm", _GRID), phy.ResourceGrid):
            given["ofdm"] = from_dict(phy.ResourceGrid, given["ofdm"], where="LinkConfig.ofdm")
        for name in [name for name in given if name not in _DEFAULTS[waveform]]:
            if name not in _FLAT:
                raise ValueError(unknown_name_message(f"LinkConfig.{name}", name, [*own, *_FLAT]))
            value = given.pop(name)
            if (to_dict(value) if name == "ofdm" else value) != _FLAT[name]:
                kinds = " or ".join(repr(kind) for kind, defaults in _DEFAULTS.items() if name in defaults)
                raise ValueError(f"LinkConfig.{name} {value!r} goes with carrier {kinds}, not with {waveform!r}")
        if "ofdm" in given:
            given["grid"] = given.pop("ofdm")
        carrier = from_dict(CARRIERS[waveform], given, where="LinkConfig")
        return from_dict(cls, {name: value for name, value in fields.items() if name in own} | {"carrier": carrier})

    @classmethod
    def witt_rayleigh(cls, **overrides: Any) -> "LinkConfig":
        """The channel of WITT's "Rayleigh" curves: one antenna, a new real h >= 0 in every slot, no equaliser.

        ``snr_db`` is ``"esno"``, as there: power 1 of a complex symbol over the noise's. ``no_eff`` is the noise's, for
        it knows nothing of h.
        """
        plain = dict(fading="rayleigh_magnitude", num_rx_ant=1, num_tx_ant=1, block_length=1, equalizer="none")
        return cls.of(**(plain | overrides))

    def described(self) -> dict[str, Any]:
        """All that decides numbers, at one level of plain values, as stores hold it; :meth:`of` reads it.

        The name is left out. A carrier that is not in ``CARRIERS`` stands under ``"carrier"``, with its class and what
        its source is; so does a function of the user's under ``"fading"``.
        """
        fields = [field.name for field in dataclasses.fields(self) if field.name not in ("name", "carrier")]
        for around, kind in AROUND.items():
            if isinstance(self.carrier, kind):
                own = {key: value for key, value in to_dict(self.carrier).items() if key != "carrier"}
                own = {key: value for key, value in own.items() if (key, value) != _LATER_AROUND}
                return dataclasses.replace(self, carrier=self.carrier.carrier).described() | {around: own}
        own = {name: getattr(self, name) for name in fields}
        if callable(self.fading):
            described = getattr(self.fading, "described", None)
            own["fading"] = code_of(self.fading) if described is None else described()
        name = next((name for name, kind in CARRIERS.items() if type(self.carrier) is kind), None)
        if name is None:
            return own | {"carrier": describe(self.carrier, "LinkConfig.carrier")}
        chosen = name in ("otfs", "ofdm_ici") or (name == "ofdm" and not self.is_selective)
        waveform = name if chosen else "auto"
        shared = {name: value for name, value in _FLAT.items() if name not in _LATER}
        carried = {
            key: value for key, value in _flat(self.carrier).items() if key not in _OPTIONAL or value is not None
        }
        return shared | own | carried | {"topology": self.carrier.topology, "waveform": waveform}

    @property
    def label(self) -> str:
        """What it is called in sweeps, tables and legends: its name, or else its fading's."""
        if self.name:
            return self.name
        if not callable(self.fading):
            return self.fading
        return getattr(self.fading, "name", None) or self.fading.__name__

    @property
    def topology(self) -> str:
        """Of the carrier: ``"broadcast"``, ``"joint"``, ``"mu_mimo"`` or ``"mac"``."""
        return self.carrier.topology

    @property
    def is_awgn(self) -> bool:
        """Whether the channel is num_tx_ant parallel links with h = 1."""
        return self.fading in ("awgn", "sionna_awgn")

    @property
    def is_selective(self) -> bool:
        """Whether the fading depends on the frequency, and so needs a resource grid."""
        return _is_selective(self.fading)

    def csi_error_fault(self, values: Sequence[float]) -> str:
        """Why these ``csi_error_var`` cannot be swept over this link; empty where they can."""
        if any(values) and self.csi.startswith("pilots"):
            return f"under csi={self.csi} the pilots decide the error, so leave it out"
        if any(values) and self.equalizer == "none":
            return "under equalizer=none no receiver uses the estimate, so leave it out"
        return "under csi=mmse it must be < 1" if self.csi == "mmse" and max(values) >= 1 else ""

    @property
    def block_length(self) -> int | None:
        """Slots of a coherence block; None: one block, or a carrier whose channel moves otherwise."""
        return getattr(self.carrier, "block_length", None)

    @property
    def num_pilots(self) -> int | None:
        """Pilots per antenna and block; None: none, or a carrier with pilots of its own."""
        return getattr(self.carrier, "num_pilots", None)

    @property
    def grid(self) -> phy.ResourceGrid | None:
        """The resource grid; None on a single carrier."""
        return getattr(self.carrier, "grid", None)


def _is_selective(fading: str | Callable) -> bool:
    if isinstance(fading, RecordedChannel):
        return True
    if callable(fading) or fading not in SIONNA_CHANNELS:
        return fading in SELECTIVE
    return SIONNA_CHANNELS[fading].kind == "paths"


def _flat(carrier: Any) -> dict[str, Any]:
    """A carrier's fields by the names of flags and stores, plain."""
    return {_ALIASES.get(field, field): value for field, value in to_dict(carrier).items()}


_DEFAULTS = {name: _flat(kind()) for name, kind in CARRIERS.items()}
_ANY = {"topology": "broadcast", "waveform": "auto"}
_FLAT: Mapping[str, Any] = (
    _DEFAULTS["ofdm_ici"]
    | _DEFAULTS["otfs"]
    | _DEFAULTS["mac"]
    | _DEFAULTS["mu_mimo"]
    | _DEFAULTS["ofdm"]
    | _DEFAULTS["single_carrier"]
    | _ANY
)
"""Fields of all carriers at one level, at their defaults: what stores hold of links."""
_OPTIONAL = ("block_doppler", "embedded")  # held by links that have them only
_LATER = ("demodulation", "receiver", "access", *_OPTIONAL)
"""Fields that the first stores do not have: only links whose carrier has them hold them."""
_LATER_AROUND = ("line_of_sight", "drawn")
"""Of scenes, likewise, at its default."""
