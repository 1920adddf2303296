"""A sweep as a user's file and flags say it, and the pictures, weights and channels that they name."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lvm_mtc.cli import names
from lvm_mtc.cli.clips import load_clip_contender
from lvm_mtc.cli.clouds import load_cloud_contender, read_clouds
from lvm_mtc.cli.errors import UsageError
from lvm_mtc.cli.pictures import Views, demo_photographs, find_objects, load_views, on_canvas, size_of
from lvm_mtc.cli.questions import load_question_contender, read_questions
from lvm_mtc.cli.sending import budget_acts, fit_contenders, load_contenders, make_links
from lvm_mtc.cli.sentences import load_text_contender, read_source
from lvm_mtc.cli.stereo import load_stereo_contender, read_pairs
from lvm_mtc.cli.values import RANGES, picture_size
from lvm_mtc.config import to_dict, unknown_name_message
from lvm_mtc.data.packed_questions import load_questions
from lvm_mtc.interop.perceptual_weights import load_perceptual
from lvm_mtc.knowledge.loading import load_knowledge_base
from lvm_mtc.metrics.judges import clip_distance_judge, perceptual_judges
from lvm_mtc.report import study
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep.named import MASKINGS
from lvm_mtc.sweep.paired import NamedSweep
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.stopping import StoppingRule

METRICS = (*study.METRICS, "nmse_tokens", "nmse_symbols", "evm")
_FILES = (
    "weights", "images", "text", "clouds", "video", "stereo", "questions", "boxes", "classifier", "words", "perceptual",
)  # fmt: skip
_OF_PICTURES = ("schemes", "mask_prob", "epsilon", "images", "boxes", "task", "classifier", "words", "perceptual")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """A sweep in plain values, numbers in the ranges of ``values.RANGES``.

    Attributes:
        name: By which a store finds the sweep; None: none.
        snr_db: dB under ``convention``.
        csi_error_var: Linear.
        channel: Kinds of fading.
        num_uavs: Values of K.
        schemes: Keys of ``sweep.named.MASKINGS``; None: object and uniform, or with weights of a scheme that masks
            nothing that scheme.
        mask_prob: Values of P_r for the schemes that put the object first; None: 0.25.
        epsilon: Thresholds for the scheme "sharing"; None: 0.1.
        knobs: Values of other knobs of the scheme, by name.
        seeds: Of masks and channels.
        link: Other fields of ``LinkConfig.of``.
        keep: Share of the patches that is kept where patches are dropped.
        weights: Weights file of any scheme that sends pictures, or with ``text`` sentences, with ``clouds`` point
            clouds, with ``video`` clips, with ``stereo`` pairs, or that answers ``questions``; None: the shipped ones.
        images: Folder of pictures, or one picture; None: scikit-image's photographs.
        text: File of sentences, one a line, to send instead of pictures: groups of K in their order.
        clouds: Point cloud, or folder of them, to send instead of pictures, likewise.
        video: Folder of frames, or a video file, to send instead of pictures: K pieces of it.
        stereo: Stereo pair, or folder of them, to send instead of pictures: groups of K in their order.
        questions: File of ``data.packed_questions``, to ask instead of sending pictures: groups of K in their order.
        size: Of the ``images``' views: ``"codec"``, that of the weights; ``"native"``, every pixel as it is; ``"N"`` or
            ``"HxW"``, resized to that. What the codec is too small for goes in tiles (``schemes.tiled``).
        views: ``"cut"``: K overlapping views of each picture; ``"folder"``: each K pictures are a group.
        overlap: Shared fraction of neighbouring views.
        boxes: JSON file of the objects' boxes.
        loc: ``"knowledge-base"`` looks for the object, ``"centre"`` takes the middle.
        classifier: Weights of EfficientNet-Lite0, for the filter classifier-words.
        words: Word vectors, likewise.
        perceptual: Weights of ST-LPIPS, for the metrics perceptual and perceptual_inside, of clips perceptual.
        stopping: When a point has had enough channel realisations.
        stop_metric: Whose interval that looks at; None: as in ``SweepSpec``.
        random_pictures: Intervals speak of other pictures, too.
        metrics: What is measured; None: ``METRICS``, of sentences ``study.TEXT_METRICS``, of clouds
            ``study.CLOUD_METRICS``, of clips ``study.CLIP_METRICS``, of pairs ``study.STEREO_METRICS``, of
            questions ``study.QUESTION_METRICS``.
        pictures_per_step: Pictures that go through the networks together; None: 16, of other sizes than the codec's the
            views of one group.
    """

    name: str | None = None
    snr_db: tuple[float, ...] = (0.0, 5.0, 10.0, 15.0, 20.0)
    csi_error_var: tuple[float, ...] = (0.0,)
    channel: tuple[str, ...] = ("awgn", "rayleigh")
    num_uavs: tuple[int, ...] = (4,)
    schemes: tuple[str, ...] | None = None
    mask_prob: tuple[float, ...] | None = None
    epsilon: tuple[float, ...] | None = None
    knobs: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    convention: str = "rx_per_antenna"
    link: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keep: float = 0.5
    weights: str | None = None
    images: str | None = None
    text: str | None = None
    clouds: str | None = None
    video: str | None = None
    stereo: str | None = None
    questions: str | None = None
    size: str = "codec"
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
    stop_metric: str | None = None
    random_pictures: bool = False
    metrics: tuple[str, ...] | None = None
    pictures_per_step: int | None = None

    def __post_init__(self):
        for field, known in (("loc", names.LOCS), ("views", names.VIEWS)):
            if (name := getattr(self, field)) not in known:
                raise ValueError(unknown_name_message(f"SweepConfig.{field} {name!r}", name, known))
        for name in self.schemes or ():
            if name not in MASKINGS:
                raise ValueError(unknown_name_message(f"SweepConfig.schemes {name!r}", name, MASKINGS))
        for value in self.num_uavs:
            if not 1 <= value <= 64:
                raise ValueError(f"SweepConfig.num_uavs must lie in 1 ... 64, got {value}")
        for field, known in RANGES.items():
            given = getattr(self, field, None)
            for value in given if isinstance(given, tuple) else () if given is None else (given,):
                if fault := known.fault(value):
                    raise ValueError(f"SweepConfig.{field} {value!r} is {fault}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"SweepConfig.limit must be >= 1, got {self.limit}")
        if self.overlap != SweepConfig.overlap and self.views == "folder":
            raise ValueError(f"SweepConfig.overlap {self.overlap:g}: it has no effect on views 'folder'")
        sends = {
            "text": "sentences", "clouds": "point clouds", "video": "clips", "stereo": "pairs", "questions": "features",
        }  # fmt: skip
        others = [name for name in sends if getattr(self, name) is not None]
        try:
            picture_size(self.size)
        except argparse.ArgumentTypeError as error:
            raise ValueError(f"SweepConfig.size: {error}") from error
        of_folder = self.boxes or self.limit or self.views != "cut" or self.size != "codec"
        if self.images is None and not others and of_folder:
            raise ValueError(
                "SweepConfig.boxes, limit and views, and size, are for a folder of pictures: "
                "name it as SweepConfig.images"
            )
        given = [name for name in (*_OF_PICTURES, *others[1:]) if getattr(self, name)]
        given = [name for name in given if (name, others[:1]) != ("perceptual", ["video"])]
        if others and given:
            what = f"for {sends.get(given[0], 'pictures')}, and SweepConfig.{others[0]} sends {sends[others[0]]}"
            raise ValueError(f"SweepConfig.{given[0]} is {what}")
        if self.loc == "centre" and self.task:
            raise ValueError(f"SweepConfig.loc 'centre' looks for nothing, so it does not go with task {self.task!r}")


def _fields(of: type) -> set[str]:
    return {field.name for field in dataclasses.fields(of)}


def make_spec(config: SweepConfig, say: Callable[[str], Any] = print) -> SweepSpec:
    """Reads weights and pictures, finds the objects, and makes the sweep; errors name the field or file.

    ``say`` takes the lines on what is done to pictures.
    """
    links = make_links(config.channel, config.convention, list(config.link.items()))
    knobs = {axis: getattr(config, axis) for axis in ("mask_prob", "epsilon") if getattr(config, axis) is not None}
    usual, parts = next(
        ((metrics, read(config)) for name, metrics, read in _OTHERS if getattr(config, name) is not None),
        (METRICS, None),
    )
    parts = _pictures(config, knobs, say) if parts is None else parts
    rest = _fields(SweepSpec) & _fields(SweepConfig) - {"schemes", "knobs", "metrics", "pictures_per_step"}
    if config.pictures_per_step is not None or config.size != "codec":
        few = max(config.num_uavs)
        parts["pictures_per_step"] = few if config.pictures_per_step is None else config.pictures_per_step
    kind, named = (SweepSpec, {}) if config.name is None else (NamedSweep, {"name": config.name})
    return kind(
        links=tuple(links),
        knobs=knobs | dict(config.knobs),
        metrics=config.metrics or usual,
        **named,
        **parts,
        **{name: getattr(config, name) for name in rest},
    )


def _sentences(config: SweepConfig) -> dict[str, Any]:
    contender, vocabulary = load_text_contender(config.weights)
    options = dict(scheme=contender.scheme, vocabulary=vocabulary, limit=config.limit)
    sources = {count: read_source(Path(config.text), num_uavs=count, **options).source for count in config.num_uavs}
    return dict(schemes=(contender,), sources=sources)


def _clouds(config: SweepConfig) -> dict[str, Any]:
    contender = load_cloud_contender(config.weights)
    options = dict(num_points=contender.scheme.config.num_points, limit=config.limit)
    sources = {count: read_clouds(Path(config.clouds), num_uavs=count, **options).source for count in config.num_uavs}
    return dict(schemes=(contender,), sources=sources)


def _clips(config: SweepConfig) -> dict[str, Any]:
    options = Path(config.video), config.weights, config.limit
    read = {count: load_clip_contender(*options, num_uavs=count) for count in config.num_uavs}
    contenders = [contender for contender, _ in read.values()]
    if len({contender.scheme for contender in contenders}) > 1:
        raise ValueError(f"SweepConfig.num_uavs {config.num_uavs}: pieces of {config.video} would differ in length")
    sources = {count: source for count, (_, source) in read.items()}
    judges = (clip_distance_judge(load_perceptual(config.perceptual)),) if config.perceptual else ()
    return dict(schemes=(contenders[0],), judges=judges, sources=sources)


def _pairs(config: SweepConfig) -> dict[str, Any]:
    read = {count: read_pairs(Path(config.stereo), num_uavs=count, limit=config.limit) for count in config.num_uavs}
    sources = {count: pairs.source for count, pairs in read.items()}
    contender = load_stereo_contender(config.weights, next(iter(sources.values())).data.shape[3:5])
    return dict(schemes=(contender,), sources=sources)


def _questions(config: SweepConfig) -> dict[str, Any]:
    path, packed = Path(config.questions), load_questions(config.questions)
    contender = load_question_contender(config.weights)
    sources = {count: read_questions(path, packed, contender, count, config.limit) for count in config.num_uavs}
    return dict(schemes=(contender,), sources=sources)


_OTHERS = (
    ("text", study.TEXT_METRICS, _sentences),
    ("clouds", study.CLOUD_METRICS, _clouds),
    ("video", study.CLIP_METRICS, _clips),
    ("stereo", study.STEREO_METRICS, _pairs),
    ("questions", study.QUESTION_METRICS, _questions),
)
"""Fields that name sources that are no pictures, what is measured of them, and what reads them."""


def _pictures(config: SweepConfig, knobs: Mapping[str, Any], say: Callable[[str], Any]) -> dict[str, Any]:
    scheme, contenders = load_contenders(config.weights, config.schemes, ("object", "uniform"), keep=config.keep)
    called = [contender.name for contender in contenders]
    asked = ", ".join(config.schemes or called)
    for axis in knobs:
        if not any(axis in contender.swept for contender in contenders):
            raise ValueError(f"SweepConfig.{axis}: none of the schemes {asked} has it")
    if config.keep != SweepConfig.keep and not budget_acts([name for name in MASKINGS if MASKINGS[name] in called]):
        raise ValueError(f"SweepConfig.keep {config.keep:g}: it has no effect on the schemes {asked}")
    knowledge_base = None
    if config.loc == "knowledge-base":
        knowledge_base = load_knowledge_base(classifier=_path(config.classifier), words=_path(config.words))
    judges = perceptual_judges(load_perceptual(config.perceptual)) if config.perceptual else ()

    views = {count: _views(config, count, scheme.config.image_size, say) for count in config.num_uavs}
    canvas = np.max([of_count.images.shape[2:4] for of_count in views.values()], axis=0).tolist()
    views = {count: on_canvas(of_count, *canvas) for count, of_count in views.items()}
    several = any(of_count.extent is not None for of_count in views.values())
    contenders = fit_contenders(contenders, *canvas, several=several, say=say)

    def source(of_count: Views) -> Source:
        loc = find_objects(of_count, knowledge_base, config.task).loc
        return picture_source(of_count.images, loc, extent=of_count.extent)

    sources = {count: source(of_count) for count, of_count in views.items()}
    return dict(schemes=tuple(contenders), judges=judges, sources=sources)


def command_of(config: SweepConfig) -> dict[str, Any]:
    """A sweep's plain values, as a store keeps them; files by absolute paths."""
    files = {name: getattr(config, name) for name in _FILES}
    return to_dict(config) | {name: str(Path(path).absolute()) for name, path in files.items() if path is not None}


def _views(config: SweepConfig, num_uavs: int, size: int, say: Callable[[str], Any]) -> Views:
    if config.images is None:
        return demo_photographs(num_uavs, size)
    path = Path(config.images)
    if not path.exists():
        raise UsageError(f"SweepConfig.images {config.images}: there is no such folder or picture")
    cut = dict(views=config.views, overlap=config.overlap, boxes=_path(config.boxes), limit=config.limit)
    return load_views(path, size=size_of(config.size, size), num_uavs=num_uavs, **cut, say=say)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
