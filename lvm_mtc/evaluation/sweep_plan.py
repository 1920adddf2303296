"""What a sweep is: schemes, channels, pictures, axes, when a point has had enough; its points and key in a store."""

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lvm_mtc.config import to_dict, unknown_name_message
from lvm_mtc.evaluation.grid import Scheme, chunks_of
from lvm_mtc.evaluation.judges import Judge
from lvm_mtc.evaluation.points import config_hash
from lvm_mtc.evaluation.programs import MEASURES, DrawShape, SendProgram
from lvm_mtc.evaluation.stopping import StoppingRule
from lvm_mtc.system import LinkConfig, System

METRICS = tuple(MEASURES)
AXES = ("num_uavs", "seed", "scheme", "mask_prob", "channel", "epsilon", "csi_error_var", "snr_db")
"""Coordinates of a point, the one that changes slowest in front."""


class Pictures(NamedTuple):
    """Groups of K pictures.

    Attributes:
        images: ``[B, K, height, width, 3]`` float32 in [0, 1].
        loc: The object's box, ``[B, K, 4]``, (x, y, w, h), centre, pixels; w or h of 0 where a view lacks the object.
        metric_loc: The box that "inside" and "background" are measured by; None: ``loc``.
        labels: Classes of the pictures, ``[B, K]`` int, for a classifier's accuracy; None: unknown.
    """

    images: np.ndarray
    loc: np.ndarray
    metric_loc: np.ndarray | None = None
    labels: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SweepSpec:
    """A sweep: SNR x CSI error x channel x K x P_r x epsilon x scheme x seed.

    Attributes:
        schemes: With different names.
        links: With different fading, one convention and otherwise equal in kind.
        pictures: K to the pictures of K UAVs.
        snr_db: dB under the links' convention.
        csi_error_var: Linear, >= 0.
        mask_prob: Values of P_r for the schemes whose ``swept`` names it; None: each scheme's own.
        epsilon: Likewise.
        seeds: Of masks and channels, in 0 ... 2**32 - 1.
        stopping: When a point has enough units; a unit is one channel realisation over all pictures.
        stop_metric: Whose interval the rule looks at, in ``metrics``.
        random_pictures: False: the pictures are what is of interest, and Student's intervals speak of the channel.
            True: they are a sample, and a two-way bootstrap over channels and groups of pictures speaks of both.
        metrics: Names in ``METRICS``, which are measured besides the judges'.
        judges: Networks that judge the received pictures.
        pictures_per_step: Pictures that go through the networks together. It decides the draws, so it is part of the
            sweep's key; what else is computed together is not, and changes no number.
    """

    schemes: tuple[Scheme, ...]
    links: tuple[LinkConfig, ...]
    pictures: Mapping[int, Pictures]
    snr_db: tuple[float, ...]
    csi_error_var: tuple[float, ...] = (0.0,)
    mask_prob: tuple[float, ...] | None = None
    epsilon: tuple[float, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    stopping: StoppingRule = StoppingRule(target_half_width=None, max_units=32)
    stop_metric: str = "psnr_db"
    random_pictures: bool = False
    metrics: tuple[str, ...] = METRICS
    judges: tuple[Judge, ...] = ()
    pictures_per_step: int = 16

    def __post_init__(self):
        named = {"schemes": [s.name for s in self.schemes], "links": [link.fading for link in self.links],
                 "snr_db": self.snr_db, "csi_error_var": self.csi_error_var, "seeds": self.seeds,
                 "metrics": (*self.metrics, *(judge.name for judge in self.judges)), "pictures": list(self.pictures)}
        named |= {name: getattr(self, name) for name in ("mask_prob", "epsilon") if getattr(self, name) is not None}
        for name, values in named.items():
            if not len(values):
                raise ValueError(f"SweepSpec.{name} is empty: a sweep needs one value or more")
            if len(set(values)) != len(values):
                raise ValueError(f"SweepSpec.{name} holds a value twice: {', '.join(map(str, values))}")
        _require_numbers("snr_db", self.snr_db, -math.inf, math.inf)
        _require_numbers("csi_error_var", self.csi_error_var, 0.0, math.inf)
        _require_numbers("epsilon", self.epsilon or (), 0.0, math.inf)
        for value in self.mask_prob or ():
            if not 0.0 < value < 1.0:
                raise ValueError(f"SweepSpec.mask_prob must lie in (0, 1), got {value!r}")
        for value in self.seeds:
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
                raise ValueError(f"SweepSpec.seeds must be whole numbers in 0 ... 2**32 - 1, got {value!r}")
        for value in self.metrics:
            if value not in METRICS:
                raise ValueError(unknown_name_message(f"metric {value!r}", value, METRICS))
        if self.stop_metric not in self.measured:
            raise ValueError(f"SweepSpec.stop_metric {self.stop_metric!r} must be one of SweepSpec.metrics, "
                             f"{', '.join(self.measured)}")
        if self.pictures_per_step < 1:
            raise ValueError(f"SweepSpec.pictures_per_step must be >= 1, got {self.pictures_per_step!r}")
        self._check_links()
        self._check_pictures()

    def _check_links(self) -> None:
        kinds = {(link.convention, link.topology, link.csi) for link in self.links}
        if len(kinds) > 1:
            raise ValueError(f"SweepSpec.links must share convention, topology and csi, got {sorted(kinds)}")
        link = self.links[0]
        if link.csi == "mmse" and max(self.csi_error_var) >= 1:
            raise ValueError(f"SweepSpec.csi_error_var {max(self.csi_error_var):g}: under csi 'mmse' it must be < 1")
        wrong = [k for k in self.pictures if link.topology == "joint" and k != link.num_tx_ant]
        if wrong:
            raise ValueError(f"SweepSpec.pictures has K = {wrong[0]}: under topology 'joint' K must equal "
                             f"LinkConfig.num_tx_ant, {link.num_tx_ant}")

    def _check_pictures(self) -> None:
        for num_uavs, (images, loc, metric_loc, labels) in self.pictures.items():
            if images.ndim != 5 or images.shape[1] != num_uavs or not images.size:
                raise ValueError(f"SweepSpec.pictures[{num_uavs}].images must be [B, {num_uavs}, height, width, 3], "
                                 f"got {images.shape}")
            for name, boxes in (("loc", loc), ("metric_loc", loc if metric_loc is None else metric_loc)):
                if boxes.shape != (*images.shape[:2], 4):
                    raise ValueError(f"SweepSpec.pictures[{num_uavs}].{name} must be {(*images.shape[:2], 4)} for "
                                     f"images {images.shape}, got {boxes.shape}")
            if labels is not None and labels.shape != images.shape[:2]:
                raise ValueError(f"SweepSpec.pictures[{num_uavs}].labels must be {images.shape[:2]} for images "
                                 f"{images.shape}, got {labels.shape}")
            blind = [judge.name for judge in self.judges if judge.needs_labels and labels is None]
            if blind:
                raise ValueError(f"SweepSpec.pictures[{num_uavs}].labels are missing: judge {blind[0]!r} needs them")
            if self.random_pictures and images.shape[0] < 4:
                raise ValueError(f"SweepSpec.random_pictures needs four groups of pictures or more, got "
                                 f"{images.shape[0]} for K = {num_uavs}")

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of all that is measured."""
        return (*self.metrics, *(judge.name for judge in self.judges))

    def coordinates(self) -> Iterator[dict[str, Any]]:
        """Every point's coordinates, those that share pictures, draws and encoder beside each other."""
        for num_uavs, seed, scheme in itertools.product(self.pictures, self.seeds, self.schemes):
            mask_probs, epsilons = (
                axis if axis is not None and name in scheme.swept else (getattr(scheme, name),)
                for name, axis in (("mask_prob", self.mask_prob), ("epsilon", self.epsilon))
            )
            fading = [link.fading for link in self.links]
            for values in itertools.product(mask_probs, fading, epsilons, self.csi_error_var, self.snr_db):
                yield dict(zip(AXES, (num_uavs, seed, scheme.name, *values), strict=True))

    def config(self) -> dict[str, Any]:
        """All that decides a point's numbers besides its coordinates, for the store.

        Values of the traced axes and seeds may be added to a sweep later; other schemes, channels, pictures or metrics
        make another sweep.
        """
        return {
            "schemes": {scheme.name: _describe(scheme) for scheme in self.schemes},
            "links": {link.fading: to_dict(link) for link in self.links},
            "pictures": {str(k): {"groups": len(group.images), "hash": arrays_hash(*group)}
                         for k, group in self.pictures.items()},
            "stopping": to_dict(self.stopping) | {"metric": self.stop_metric},
            "random_pictures": self.random_pictures,
            "metrics": list(self.metrics),
            "pictures_per_step": self.pictures_per_step,
        } | ({"judges": {judge.name: params_hash(judge.params) for judge in self.judges}} if self.judges else {})

    def key(self) -> str:
        """Key of the sweep in a store."""
        return config_hash(self.config())

    def steps(self, num_uavs: int) -> list[tuple[int, int, int]]:
        """Start, stop and padded size of the groups of pictures that go together."""
        return chunks_of(len(self.pictures[num_uavs].images), max(1, self.pictures_per_step // num_uavs))

    def draw_shape(self, num_uavs: int) -> DrawShape:
        """What the draws of K UAVs are for: all channels and all schemes."""
        sizes = {(s.system.config.capacity, s.system.config.num_symbols): None for s in self.schemes}
        return DrawShape(self.links, self.steps(num_uavs)[0][2], num_uavs, tuple(sizes))

    def send_program(self, scheme: Scheme, mesh: Any = None) -> SendProgram:
        """The static part of sending a scheme."""
        judges = tuple((judge.name, judge.measure) for judge in self.judges)
        return SendProgram(system=scheme.system, links=self.links, metrics=self.metrics, judges=judges, mesh=mesh)

    def num_programs(self) -> int:
        """How many programs are compiled: per K one that draws; per K and system one that encodes, one that sends."""
        return len(self.pictures) * (1 + 2 * len({scheme.system for scheme in self.schemes}))


def _describe(scheme: Scheme) -> dict[str, Any]:
    """What decides a scheme's numbers besides its coordinates."""
    system = scheme.system
    execution = {"execution": to_dict(system.execution)} if isinstance(system, System) else {}
    return {"system": to_dict(system.config), "weights": params_hash(scheme.params)} | execution


def _require_numbers(name: str, values: Sequence[float], low: float, high: float) -> None:
    for value in values:
        if not (math.isfinite(value) and low <= value <= high):
            wanted = "finite" if math.isinf(low) else f"finite and >= {low:g}"
            raise ValueError(f"SweepSpec.{name} must be {wanted}, got {value!r}")


def params_hash(params: Any) -> str:
    """SHA-256 of parameters: names, types, shapes and bytes."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    named = sorted((jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in leaves)
    digest = hashlib.sha256()
    for name, leaf in named:
        digest.update(f"{name} {leaf.dtype} {leaf.shape} ".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def arrays_hash(*arrays: np.ndarray | None) -> str:
    """SHA-256 of arrays as float32; None is left out."""
    return params_hash({str(i): np.float32(a) for i, a in enumerate(arrays) if a is not None})
