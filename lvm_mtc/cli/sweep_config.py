"""A sweep as a user's file and flags say it, and the pictures, weights and channels that they name."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lvm_mtc.cli.parser import UsageError
from lvm_mtc.cli.pictures import Views, demo_photographs, find_objects, load_views
from lvm_mtc.cli.study import make_links
from lvm_mtc.config import unknown_name_message
from lvm_mtc.evaluation.judges import perceptual_judges
from lvm_mtc.evaluation.knowledge_bases import load_knowledge_base
from lvm_mtc.evaluation.schemes import DEMO_WEIGHTS, SCHEMES, load_system, make_picture_scheme, make_schemes
from lvm_mtc.evaluation.stopping import StoppingRule
from lvm_mtc.evaluation.sweep_plan import Pictures, SweepSpec
from lvm_mtc.interop.perceptual_weights import load_perceptual
from lvm_mtc.knowledge import KnowledgeBase
from lvm_mtc.system import PictureCodecSystem

METRICS = ("psnr_db", "psnr_inside_db", "psnr_background_db", "ssim", "ssim_inside", "mse", "nmse_tokens",
           "nmse_symbols", "evm")
TOKEN_SCHEMES = ("object", "uniform")
LOCS = ("knowledge-base", "centre")
VIEWS = ("cut", "folder")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """A sweep in plain values.

    Attributes:
        snr_db: dB under ``convention``.
        csi_error_var: Linear, >= 0.
        channel: Kinds of fading.
        num_uavs: Values of K.
        schemes: Keys of ``evaluation.schemes.SCHEMES``; None: object and uniform, or with a codec for whole pictures
            the codec.
        mask_prob: Values of P_r for the schemes that put the object first; None: 0.25.
        epsilon: Thresholds for the scheme "sharing"; None: 0.1.
        seeds: Of masks and channels.
        convention: What the SNR means.
        link: Other fields of ``LinkConfig``.
        keep: Share of the patches that is kept where patches are dropped, in (0, 1].
        weights: Weights file, of the token system or of a codec for whole pictures; None: the shipped one.
        images: Folder of pictures, or one picture; None: scikit-image's photographs.
        views: ``"cut"``: K overlapping views of each picture; ``"folder"``: each K pictures are a group.
        overlap: Shared fraction of neighbouring views, in [0, 1).
        boxes: JSON file of the objects' boxes.
        limit: Take the first so many pictures only.
        loc: ``"knowledge-base"`` looks for the object, ``"centre"`` takes the middle.
        task: What the task is about.
        classifier: Weights of EfficientNet-Lite0, for the filter classifier-words.
        words: Word vectors, likewise.
        perceptual: Weights of ST-LPIPS, for the metrics perceptual and perceptual_inside.
        stopping: When a point has had enough channel realisations.
        stop_metric: Whose interval that looks at.
        random_pictures: Intervals speak of other pictures, too.
        metrics: What is measured.
        pictures_per_step: Pictures that go through the networks together.
    """

    snr_db: tuple[float, ...] = (0.0, 5.0, 10.0, 15.0, 20.0)
    csi_error_var: tuple[float, ...] = (0.0,)
    channel: tuple[str, ...] = ("awgn", "rayleigh")
    num_uavs: tuple[int, ...] = (4,)
    schemes: tuple[str, ...] | None = None
    mask_prob: tuple[float, ...] | None = None
    epsilon: tuple[float, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    convention: str = "rx_per_antenna"
    link: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keep: float = 0.5
    weights: str | None = None
    images: str | None = None
    views: str = "cut"
    overlap: float = 0.5
    boxes: str | None = None
    limit: int | None = None
    loc: str = "knowledge-base"
    task: str = ""
    classifier: str | None = None
    words: str | None = None
    perceptual: str | None = None
    stopping: StoppingRule = StoppingRule(target_half_width=None, max_units=32)
    stop_metric: str = "psnr_db"
    random_pictures: bool = False
    metrics: tuple[str, ...] = METRICS
    pictures_per_step: int = 16

    def __post_init__(self):
        for field, known in (("loc", LOCS), ("views", VIEWS)):
            if getattr(self, field) not in known:
                raise ValueError(unknown_name_message(f"SweepConfig.{field} {getattr(self, field)!r}",
                                                      getattr(self, field), known))
        for name in self.schemes or ():
            if name not in SCHEMES:
                raise ValueError(unknown_name_message(f"SweepConfig.schemes {name!r}", name, SCHEMES))
        for value in self.num_uavs:
            if not 1 <= value <= 64:
                raise ValueError(f"SweepConfig.num_uavs must lie in 1 ... 64, got {value}")
        if not 0.0 <= self.overlap < 1.0:
            raise ValueError(f"SweepConfig.overlap must lie in [0, 1), got {self.overlap}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"SweepConfig.limit must be >= 1, got {self.limit}")
        if self.images is None and (self.boxes or self.limit or self.views != "cut"):
            raise ValueError("SweepConfig.boxes, limit and views are for a folder of pictures: name it as "
                             "SweepConfig.images")
        if self.loc == "centre" and self.task:
            raise ValueError(f"SweepConfig.loc 'centre' looks for nothing, so it does not go with task {self.task!r}")


def make_spec(config: SweepConfig) -> SweepSpec:
    """Reads weights and pictures, finds the objects, and makes the sweep.

    Args:
        config: The sweep.

    Returns:
        What ``run_sweep`` takes.

    Raises:
        ValueError: naming the field or file, for anything that does not fit.
        OSError: if a file cannot be read.
    """
    links = make_links(config.channel, config.convention, list(config.link.items()))
    system, params = load_system(config.weights or DEMO_WEIGHTS)
    if config.schemes is None and isinstance(system, PictureCodecSystem):
        names, schemes = (system.config.codec,), [make_picture_scheme(system, params)]
    else:
        names = TOKEN_SCHEMES if config.schemes is None else config.schemes
        schemes = make_schemes(names, system, params, keep=config.keep)
    for axis in ("mask_prob", "epsilon"):
        if getattr(config, axis) is not None and not any(axis in scheme.swept for scheme in schemes):
            raise ValueError(f"SweepConfig.{axis}: none of the schemes {', '.join(names)} has it")
    knowledge_base = None
    if config.loc == "knowledge-base":
        knowledge_base = load_knowledge_base(classifier=_path(config.classifier), words=_path(config.words))
    judges = perceptual_judges(load_perceptual(config.perceptual)) if config.perceptual else ()
    size = system.config.image_size
    return SweepSpec(
        schemes=tuple(schemes), links=tuple(links), judges=judges,
        pictures={count: _pictures(config, count, size, knowledge_base) for count in config.num_uavs},
        **{name: getattr(config, name) for name in ("snr_db", "csi_error_var", "mask_prob", "epsilon", "seeds",
                                                    "stopping", "stop_metric", "random_pictures", "metrics",
                                                    "pictures_per_step")},
    )


def _pictures(config: SweepConfig, num_uavs: int, size: int, knowledge_base: KnowledgeBase | None) -> Pictures:
    views = _views(config, num_uavs, size)
    return Pictures(np.asarray(views.images), find_objects(views, knowledge_base, config.task).loc)


def _views(config: SweepConfig, num_uavs: int, size: int) -> Views:
    if config.images is None:
        return demo_photographs(num_uavs, size)
    path = Path(config.images)
    if not path.exists():
        raise UsageError(f"SweepConfig.images {config.images}: there is no such folder or picture")
    return load_views(path, size=size, num_uavs=num_uavs, views=config.views, overlap=config.overlap,
                      boxes=_path(config.boxes), limit=config.limit)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
