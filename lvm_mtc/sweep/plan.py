"""What a sweep is: schemes, links, sources, axes, when a point has had enough; its points and key in a store."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lvm_mtc.config import to_dict, unknown_name_message
from lvm_mtc.data.batches import chunks_of
from lvm_mtc.link import LinkConfig, describe
from lvm_mtc.link.code import has_own_code
from lvm_mtc.metrics import known_metrics
from lvm_mtc.metrics.judges import Judge
from lvm_mtc.results.hashing import arrays_hash, params_hash
from lvm_mtc.results.points import config_hash
from lvm_mtc.schemes.scheme import Source, check_link, check_source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.programs import DrawShape
from lvm_mtc.sweep.stopping import StoppingRule

_ALWAYS = {"mask_prob": 0.25, "epsilon": 0.0}
"""Coordinates that every point has, whatever its scheme: those of stores from before schemes had knobs."""
_HINTS = ("loc", "metric_loc", "labels")
_DRAWS_VERSION = 2
"""Rises when equal seeds draw other masks, channels or noise, so that rows of both never meet (2: streams of keys)."""


def picture_source(
    images: np.ndarray,
    loc: np.ndarray,
    metric_loc: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    extent: np.ndarray | None = None,
) -> Source:
    """Groups of K pictures as a source.

    Args:
        images: ``[B, K, height, width, 3]`` float32 in [0, 1].
        loc: The object's box, ``[B, K, 4]``, (x, y, w, h), centre, pixels; w or h of 0 where a view lacks the object.
        metric_loc: The box that "inside" and "background" are measured by; None: ``loc``.
        labels: Classes of the pictures, ``[B, K]`` int, for a classifier's accuracy; None: unknown.
        extent: Height and width of each picture, ``[B, K, 2]`` int, of which ``images`` holds mirror images beyond that
            (``schemes.tiled``); None: all are as large as the arrays.
    """
    hints = zip((*_HINTS, "extent"), (loc, metric_loc, labels, extent), strict=True)
    return Source(images, {name: value for name, value in hints if value is not None})


def picture_sizes(source: Source) -> np.ndarray:
    """Height and width of every picture, pixels, ``[B, K, 2]``."""
    return np.broadcast_to(source.hints.get("extent", source.data.shape[2:4]), (*source.lead(), 2))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SweepSpec:
    """A sweep: SNR x CSI error x link x K x knobs x scheme x seed.

    Attributes:
        schemes: With different names, as the links.
        links: Of one convention and otherwise equal in kind.
        sources: K to what K UAVs are to get, NumPy arrays, groups first.
        snr_db: dB under the links' convention.
        csi_error_var: Linear, >= 0.
        knobs: Values of knobs by name, for the schemes whose ``swept`` names them; the others keep their own.
        seeds: Of masks and channels, in 0 ... 2**32 - 1.
        stopping: When a point has enough units; a unit is one channel realisation over all pictures.
        stop_metric: Whose interval the rule looks at, in ``metrics``; None: ``"psnr_db"`` where it is measured, else
            the first of them.
        random_pictures: False: the pictures are what is of interest, and Student's intervals speak of the channel.
            True: they are a sample, and a two-way bootstrap over channels and groups of pictures speaks of both.
        metrics: Names in ``METRICS`` of the schemes' modality, which are measured besides the judges'; None: all.
        pictures_per_step: Pictures that go through the networks together. It decides the draws, so it is part of the
            sweep's key; what else is computed together is not, and changes no number.
    """

    schemes: tuple[Contender, ...]
    links: tuple[LinkConfig, ...]
    sources: Mapping[int, Source]
    snr_db: tuple[float, ...]
    csi_error_var: tuple[float, ...] = (0.0,)
    knobs: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    stopping: StoppingRule = StoppingRule(target_half_width=None, max_units=32)
    stop_metric: str | None = None
    random_pictures: bool = False
    metrics: tuple[str, ...] | None = None
    judges: tuple[Judge, ...] = ()
    pictures_per_step: int = 16

    def __post_init__(self):
        if self.metrics is None:
            known = known_metrics(self.schemes[0].scheme.modality) if self.schemes else ()
            object.__setattr__(self, "metrics", tuple(known))
        named = {"schemes": [one.name for one in self.schemes], "links": [link.label for link in self.links]}
        named |= {name: getattr(self, name) for name in ("snr_db", "csi_error_var", "seeds")}
        named |= {"metrics": self.measured, "sources": list(self.sources)} | dict(self.knobs)
        for name, values in named.items():
            if not len(values):
                raise ValueError(f"SweepSpec.{name} is empty: a sweep needs one value or more")
            if len(set(values)) != len(values):
                raise ValueError(f"SweepSpec.{name} holds a value twice: {', '.join(map(str, values))}")
        _require_numbers("snr_db", self.snr_db, -math.inf, math.inf)
        _require_numbers("csi_error_var", self.csi_error_var, 0.0, math.inf)
        self._check_knobs()
        for value in self.seeds:
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
                raise ValueError(f"SweepSpec.seeds must be whole numbers in 0 ... 2**32 - 1, got {value!r}")
        self._check_metrics()
        if self.stop_metric is None:
            usual = "psnr_db" if "psnr_db" in self.measured else self.measured[0]
            object.__setattr__(self, "stop_metric", usual)
        if self.stop_metric not in self.measured:
            known = ", ".join(self.measured)
            raise ValueError(f"SweepSpec.stop_metric {self.stop_metric!r} must be one of SweepSpec.metrics, {known}")
        if self.pictures_per_step < 1:
            raise ValueError(f"SweepSpec.pictures_per_step must be >= 1, got {self.pictures_per_step!r}")
        self._check_links()
        self._check_sources()

    def _check_links(self) -> None:
        kinds = {(link.convention, link.topology, link.csi) for link in self.links}
        if len(kinds) > 1:
            raise ValueError(f"SweepSpec.links must share convention, topology and csi, got {sorted(kinds)}")
        faults = [fault for link in self.links if (fault := link.csi_error_fault(self.csi_error_var))]
        if len(faults) == len(self.links):
            given = ", ".join(f"{value:g}" for value in self.csi_error_var)
            raise ValueError(f"SweepSpec.csi_error_var {given}: {faults[0]}")
        for contender, link in itertools.product(self.schemes, self.links):
            check_link(contender.scheme, link)
        link = self.links[0]
        for k in self.sources:
            if link.topology == "joint" and k != link.num_tx_ant:
                needed = f"under topology 'joint' K must equal LinkConfig.num_tx_ant, {link.num_tx_ant}"
                raise ValueError(f"SweepSpec.sources has K = {k}: {needed}")

    def _check_knobs(self) -> None:
        for name, values in self.knobs.items():
            ranges = [c.scheme.knobs[name] for c in self.schemes if name in c.scheme.knobs]
            if not ranges:
                known = sorted({knob for contender in self.schemes for knob in contender.scheme.knobs})
                raise ValueError(unknown_name_message(f"SweepSpec.knobs.{name}", name, known))
            _require_numbers(name, values, -math.inf, math.inf)
            for value in values:
                ranges[0].check(f"SweepSpec.{name}", value)

    def _check_metrics(self) -> None:
        modalities = {contender.scheme.modality for contender in self.schemes}
        if len(modalities) > 1:
            raise ValueError(f"SweepSpec.schemes must share one modality, got {', '.join(sorted(modalities))}")
        known = known_metrics(*modalities)
        for name in self.metrics:
            if name not in known:
                raise ValueError(unknown_name_message(f"metric {name!r}", name, known))

    def _check_sources(self) -> None:
        for num_uavs, source in self.sources.items():
            where = f"SweepSpec.sources[{num_uavs}]"
            shapes = [np.shape(leaf) for leaf in jax.tree.leaves(source.data)]
            if not shapes or any(len(shape) < 2 or shape[1] != num_uavs or 0 in shape for shape in shapes):
                raise ValueError(f"{where}.data must be [B, {num_uavs}, ...], got {', '.join(map(str, shapes))}")
            check_source(f"{where}.data", self.schemes[0].scheme.modality, source.data)
            lead = shapes[0][:2]
            wanted = {"loc": (*lead, 4), "metric_loc": (*lead, 4), "labels": lead, "extent": (*lead, 2)}
            for name, value in source.hints.items():
                if (shape := np.shape(value)) != wanted.get(name, shape):
                    raise ValueError(f"{where}.{name} must be {wanted[name]} for data {shapes[0]}, got {shape}")
            blind = [judge.name for judge in self.judges if judge.needs_labels and "labels" not in source.hints]
            if blind:
                raise ValueError(f"{where}.labels are missing: judge {blind[0]!r} needs them")
            boxed = [name for name in self.metrics if "inside" in name or "background" in name]
            if boxed and "loc" not in source.hints:
                raise ValueError(f"{where}.loc is missing: metric {boxed[0]!r} needs it")
            if self.random_pictures and lead[0] < 4:
                got = f"got {lead[0]} for K = {num_uavs}"
                raise ValueError(f"SweepSpec.random_pictures needs four groups of pictures or more, {got}")

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of all that is measured."""
        return (*self.metrics, *(judge.name for judge in self.judges))

    def coordinates(self) -> Iterator[dict[str, Any]]:
        """Every point's coordinates, those that share sources, draws and encoder beside each other."""
        for num_uavs, seed, contender in itertools.product(self.sources, self.seeds, self.schemes):
            values = {name: (value,) for name, value in (_ALWAYS | dict(contender.knobs)).items()}
            values |= {name: self.knobs[name] for name in contender.swept if name in self.knobs}
            early = contender.early_knobs()
            axes = {name: values[name] for name in (*early, *(n for n in _ALWAYS if n not in contender.knobs))}
            axes |= {"channel": [link.label for link in self.links]}
            axes |= {name: values[name] for name in values if name not in axes}
            axes |= {"csi_error_var": self.csi_error_var, "snr_db": self.snr_db}
            shared = {"num_uavs": num_uavs, "seed": seed, "scheme": contender.name}
            yield from (shared | dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values()))

    def contender(self, name: str) -> Contender:
        """The scheme of a name."""
        return next(contender for contender in self.schemes if contender.name == name)

    def encoded_group(self, at: Mapping[str, Any]) -> tuple[Any, ...]:
        """What points have in common that are encoded once: K, seed, scheme and the knobs that its encoder reads."""
        return tuple(at[name] for name in ("num_uavs", "seed", "scheme", *self.contender(at["scheme"]).early_knobs()))

    def config(self) -> dict[str, Any]:
        """All that decides a point's numbers besides its coordinates, for the store.

        A row needs its own scheme, link and sources alone: ``results.parts`` cuts these out.
        """
        sizes = {contender.scheme.frames() for contender in self.schemes}
        # Once the largest scheme decided the draws of all.
        drawn = {"draws": "of each size"} if len(sizes) > 1 else {}
        judges = {judge.name: _judged(judge) for judge in self.judges}
        return (
            {
                "schemes": {contender.name: contender.described() for contender in self.schemes},
                "links": {link.label: link.described() for link in self.links},
                "pictures": {
                    str(k): {"groups": source.lead()[0], "hash": _source_hash(source)}
                    for k, source in self.sources.items()
                },
                "stopping": to_dict(self.stopping) | {"metric": self.stop_metric},
                "random_pictures": self.random_pictures,
                "metrics": list(self.metrics),
                "pictures_per_step": self.pictures_per_step,
                "draws_version": _DRAWS_VERSION,
            }
            | ({"judges": judges} if judges else {})
            | drawn
        )

    def key(self) -> str:
        """Key of the sweep in a store."""
        return config_hash(self.config())

    def steps(self, num_uavs: int) -> list[tuple[int, int, int]]:
        """Start, stop and padded size of the groups of pictures that go together."""
        return chunks_of(self.sources[num_uavs].lead()[0], max(1, self.pictures_per_step // num_uavs))

    def draw_shape(self, num_uavs: int, scheme: str) -> DrawShape:
        """What the draws of K UAVs are for: all channels, and all schemes of this one's size."""
        size = self.contender(scheme).scheme.frames()
        return DrawShape(self.links, self.steps(num_uavs)[0][2], num_uavs, (size,))


def _require_numbers(name: str, values: Sequence[float], low: float, high: float) -> None:
    for value in values:
        with np.errstate(over="ignore"):
            single = np.float32(value)
        if not (np.isfinite(single) and low <= value <= high):
            wanted = "finite" if math.isinf(low) else f"finite and >= {low:g}"
            raise ValueError(f"SweepSpec.{name} must be {wanted}, got {value!r}")


def _judged(judge: Judge) -> Any:
    """Hash of its parameters, and beside it what its measure is where that is not the library's alone."""
    measure, weights = describe(judge.measure, f"judge {judge.name!r}"), params_hash(judge.params)
    return weights if not has_own_code(measure) else {"weights": weights, "measure": measure}


def _source_hash(source: Source) -> str:
    if set(source.hints) <= set(_HINTS) and hasattr(source.data, "shape"):
        return arrays_hash(source.data, *(source.hints.get(name) for name in _HINTS))
    return params_hash({"data": source.data, "hints": source.hints})
