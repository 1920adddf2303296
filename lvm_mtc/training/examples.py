"""What training sees: scenarios (how many UAVs, which link) whose examples are drawn from ranges, and their loss.

A recipe mixes scenarios, so that one set of weights serves a whole sweep; SNR, CSI error and the scheme's knobs are
drawn anew for every group.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.config import from_dict, require_count, require_number, to_dict
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes.scheme import Knob, Params, Scheme, Source, Stage
from lvm_mtc.training.clips import draw_clips, load_training_clips
from lvm_mtc.training.clouds import draw_clouds, load_training_clouds
from lvm_mtc.training.labels import draw_labels, load_training_labels
from lvm_mtc.training.pictures import TrainingData, load_training_pictures
from lvm_mtc.training.presence import draw_presence, load_training_presence
from lvm_mtc.training.questions import draw_questions, load_training_questions
from lvm_mtc.training.sentences import draw_sentences, load_training_sentences
from lvm_mtc.training.stereo import draw_stereo, load_training_stereo


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of example in a training batch.

    Attributes:
        num_groups: Groups per step, one picture per UAV.
        num_uavs: UAVs in a group, K; their views are cut from one picture and overlap.
        config: Fields in which the scheme's configuration differs here, such as ``num_kept``; the parameters' shapes
            must stay.
        link: The link, or a mapping for ``LinkConfig.of``.
    """

    num_groups: int
    num_uavs: int = 1
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    link: Mapping[str, Any] | LinkConfig = LinkConfig()

    def __post_init__(self):
        for field in ("num_groups", "num_uavs"):
            require_count("Scenario", field, getattr(self, field))
        if isinstance(self.link, Mapping):
            object.__setattr__(self, "link", LinkConfig.of(**self.link))

    @property
    def num_pictures(self) -> int:
        """Pictures in a step."""
        return self.num_groups * self.num_uavs

    def scheme(self, scheme: Scheme) -> Scheme:
        """The recipe's scheme as this scenario has it."""
        if not self.config:
            return scheme
        fields = to_dict(scheme.config) | self.config
        return dataclasses.replace(scheme, config=from_dict(type(scheme.config), fields, where="Scenario.config"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranges:
    """What examples are drawn from, uniformly, each as (lowest, highest).

    Attributes:
        snr_db: SNR under the link's convention, dB.
        csi_error_var: CSI error variance, linear; half of the groups have the lowest.
        knobs: Of the scheme's knobs by name; one that is left out has its default. A knob that is off by default, at
            its smallest value, is off in half of the groups.
        box_area: Area of a picture's box over that of the picture.
        view_jitter: Largest shift of a UAV's view against its group's, pixels.
        mixed: In half of the groups each UAV has a picture of its own, and in half of the others no view is shifted.
    """

    snr_db: tuple[float, float] = (0.0, 20.0)
    csi_error_var: tuple[float, float] = (0.0, 0.1)
    knobs: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    box_area: tuple[float, float] = (0.1, 0.4)
    view_jitter: int = 16
    mixed: bool = False

    def __post_init__(self):
        pairs = {field: getattr(self, field) for field in ("snr_db", "csi_error_var", "box_area")}
        for field, value in (pairs | {f"knobs.{name}": value for name, value in self.knobs.items()}).items():
            for number in value:
                require_number("Ranges", field, number)
            if len(value) != 2 or not value[0] <= value[1]:
                raise ValueError(f"Ranges.{field} must be (lowest, highest), got {value!r}")
        if self.csi_error_var[0] < 0:
            raise ValueError(f"Ranges.csi_error_var must be >= 0, got {self.csi_error_var!r}")
        if not 0 < self.box_area[0] <= self.box_area[1] <= 1:
            raise ValueError(f"Ranges.box_area must lie in (0, 1], got {self.box_area!r}")
        require_count("Ranges", "view_jitter", self.view_jitter, least=0)


class Examples(NamedTuple):
    """A scenario's groups in a step: what is sent, and at which points, ``[groups]`` each."""

    source: Source
    point: OperatingPoint


def draw_views(data: Any, keys: Sequence[jax.Array], lead: tuple[int, int], config: Any, ranges: Ranges) -> Source:
    """Views of pictures: random crops, mirrored at random, with boxes at random over the whole view.

    Args:
        data: ``{"pictures": [num_pictures, height, width, 3] uint8}``, at least ``config.image_size`` a side; with
            ``labels [num_pictures]`` each view has its picture's as a hint.
        keys: Five.
        lead: Groups, and UAVs in a group.
        config: The scheme's.
        ranges: Of which ``box_area``, ``view_jitter`` and ``mixed`` are used.
    """
    pictures, size = data["pictures"], config.image_size
    room = (pictures.shape[1] - size, pictures.shape[2] - size)
    if min(room) < 0:
        raise ValueError(
            f"pictures of {pictures.shape[1]} x {pictures.shape[2]} pixels are smaller than "
            f"{type(config).__name__}.image_size {size}"
        )
    k_index, k_corner, k_jitter, k_mirror, k_box = keys
    index = jnp.broadcast_to(jax.random.randint(k_index, lead[:1], 0, pictures.shape[0])[:, None], lead)
    limit = jnp.array(room).reshape(1, 1, 2)
    corner = jax.random.randint(k_corner, (lead[0], 1, 2), 0, limit + 1)
    jitter = jax.random.randint(k_jitter, (*lead, 2), -ranges.view_jitter, ranges.view_jitter + 1)
    if ranges.mixed:
        k_apart, k_own, k_still = jax.random.split(jax.random.fold_in(k_index, 1), 3)
        apart = jax.random.bernoulli(k_apart, shape=(lead[0], 1))
        index = jnp.where(apart, jax.random.randint(k_own, lead, 0, pictures.shape[0]), index)
        jitter = jnp.where(jax.random.bernoulli(k_still, shape=(lead[0], 1, 1)), 0, jitter)
    corner = jnp.clip(corner + jitter, 0, limit)

    def cut(i, corner):
        return jax.lax.dynamic_slice(pictures, (i, corner[0], corner[1], 0), (1, size, size, 3))[0]

    images = jax.vmap(jax.vmap(cut))(index, corner)
    mirror = jax.random.bernoulli(k_mirror, shape=(lead[0], 1, 1, 1, 1))
    images = jnp.where(mirror, images[:, :, :, ::-1], images).astype(jnp.float32) / 255.0
    hints = {"loc": _draw_boxes(k_box, lead, size, ranges.box_area)}
    if "labels" in data:
        hints["labels"] = data["labels"][index]
    return Source(images, hints)


def _draw_boxes(key, shape, size, box_area) -> jax.Array:
    k_area, k_aspect, k_place = jax.random.split(key, 3)
    side = size * jnp.sqrt(jax.random.uniform(k_area, shape, minval=box_area[0], maxval=box_area[1]))
    aspect = jnp.exp(jax.random.uniform(k_aspect, shape, minval=-0.4, maxval=0.4))
    extent = jnp.minimum(jnp.stack([side * aspect, side / aspect], -1), size)
    centre = extent / 2 + jax.random.uniform(k_place, (*shape, 2)) * (size - extent)
    return jnp.concatenate([centre, extent], -1)


class Modality(NamedTuple):
    """How examples of a modality come to be: ``read`` as ``load_training_pictures``, ``draw`` as :func:`draw_views`."""

    read: Callable[..., TrainingData]
    draw: Callable[..., Source]


MODALITIES = {
    "pictures": Modality(load_training_pictures, draw_views),
    "points": Modality(load_training_clouds, draw_clouds),
    "text": Modality(load_training_sentences, draw_sentences),
    "answers": Modality(load_training_questions, draw_questions),
    "presence": Modality(load_training_presence, draw_presence),
    "clips": Modality(load_training_clips, draw_clips),
    "stereo": Modality(load_training_stereo, draw_stereo),
    "classes": Modality(load_training_labels, draw_labels),
}
"""By ``Scheme.modality``."""


def make_batch_fn(
    scheme: Scheme, scenarios: Sequence[Scenario], ranges: Ranges = Ranges()
) -> Callable[[Any, jax.Array], tuple[Examples, ...]]:
    """Builds ``batch_fn(data, key)``, which draws the examples of a step on the device from the modalities' data."""

    def draw(data, key, scenario):
        *source_keys, point_key = jax.random.split(key, 6)
        lead, its_scheme = (scenario.num_groups, scenario.num_uavs), scenario.scheme(scheme)
        source = MODALITIES[its_scheme.modality].draw(data, source_keys, lead, its_scheme.config, ranges)
        return Examples(source, _draw_points(point_key, scenario.num_groups, scheme.knobs, ranges))

    def batch_fn(data, key):
        keys = jax.random.split(key, len(scenarios))
        return tuple(draw(data, *pair) for pair in zip(keys, scenarios, strict=True))

    return batch_fn


def _draw_points(key: jax.Array, num_groups: int, knobs: Mapping[str, Knob], ranges: Ranges) -> OperatingPoint:
    keys = list(jax.random.split(key, max(5, 3 + len(knobs))))
    on_key = keys.pop(4)  # where it stood when there were two knobs
    k_snr, k_csi, *knob_keys = keys

    def uniform(key, limits):
        return jax.random.uniform(key, (num_groups,), minval=limits[0], maxval=limits[1])

    off = [name for name, knob in knobs.items() if knob.default == knob.low]
    error_on, *switches = jax.random.bernoulli(on_key, shape=(1 + len(off), num_groups))
    named_keys = zip(knob_keys, knobs, strict=False)
    drawn = {name: uniform(key, ranges.knobs[name]) for key, name in named_keys if name in ranges.knobs}
    for name, switch in zip(off, switches, strict=True):
        if name in drawn:
            drawn[name] = jnp.where(switch, drawn[name], knobs[name].default)
    csi_error_var = jnp.where(error_on, uniform(k_csi, ranges.csi_error_var), ranges.csi_error_var[0])
    return OperatingPoint(uniform(k_snr, ranges.snr_db), csi_error_var, drawn)


def find_stage(scheme: Scheme, name: str) -> Stage:
    """A stage of a scheme's training by its name."""
    stages = {stage.name: stage for stage in scheme.stages()}
    if name not in stages:
        raise ValueError(f"stage {name!r} is unknown; known: {', '.join(stages) or 'none'}")
    return stages[name]


def loss_weights(stage: Stage, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What a stage's loss gets as ``weights``: those of its own that are chosen, and defaults."""
    defaults = {name: value[0] if isinstance(value, tuple) else value for name, value in stage.weights.items()}
    return {name: chosen.get(name, default) for name, default in defaults.items()}


def make_loss_fn(
    stage: Stage, scheme: Scheme, scenarios: Sequence[Scenario], chosen: Mapping[str, Any] = {}
) -> Callable[[Params, tuple[Examples, ...], jax.Array], tuple[jax.Array, dict[str, jax.Array]]]:
    """Builds ``loss_fn(params, batch, key) -> (loss, metrics)`` of a stage; scenarios weigh by their pictures.

    ``chosen`` is ``Recipe.loss``.
    """
    weights = loss_weights(stage, chosen)
    pictures = [scenario.num_pictures for scenario in scenarios]

    def loss_fn(params, batch, key):
        keys = jax.random.split(key, len(scenarios))
        terms = [
            stage.loss(scenario.scheme(scheme), params, source, its_key, scenario.link, point, weights)
            for scenario, (source, point), its_key in zip(scenarios, batch, keys, strict=True)
        ]
        loss = sum(n * loss for n, (loss, _) in zip(pictures, terms, strict=True)) / sum(pictures)
        metrics = {f"{name}_{i}": value for i, (_, metrics) in enumerate(terms) for name, value in metrics.items()}
        return loss, metrics

    return loss_fn
