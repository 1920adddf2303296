"""Batches for the detector: random scale, place, proportions, mirror and colour, inside the compiled step."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.config import require_number
from lvm_mtc.data.detection_packing import GREY
from lvm_mtc.training.detector.loss import DetectorTargets


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """Ranges of what happens to a picture.

    Attributes:
        zoom: Lowest and highest scale, log-uniform; 1 fits the picture's longer side to the network's input.
        stretch: Largest factor between the scales of x and y, log-uniform on both sides of 1, >= 1.
        brightness: Largest relative change, uniform, in [0, 1).
        contrast: Largest relative change about the picture's mean, uniform, in [0, 1).
        saturation: Largest relative change of the distance from grey, uniform, in [0, 1].
        mirror: Probability of a left-right flip.
        min_visible: Share of an object's area that must remain in the picture, or it is no object any more, in (0, 1].
        min_side: Shortest side of an object that counts, pixels of the network's input.
    """

    zoom: tuple[float, float] = (0.6, 1.6)
    stretch: float = 1.2
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.5
    mirror: float = 0.5
    min_visible: float = 0.4
    min_side: float = 4.0

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            for number in value if name == "zoom" else (value,):
                require_number("AugmentationConfig", name, number)
        checks = {
            "zoom": (len(self.zoom) == 2 and 0 < self.zoom[0] <= self.zoom[1], "(lowest, highest), above 0"),
            "stretch": (self.stretch >= 1, ">= 1"),
            "brightness": (0 <= self.brightness < 1, "in [0, 1)"),
            "contrast": (0 <= self.contrast < 1, "in [0, 1)"),
            "saturation": (0 <= self.saturation <= 1, "in [0, 1]"),
            "mirror": (0 <= self.mirror <= 1, "in [0, 1]"),
            "min_visible": (0 < self.min_visible <= 1, "in (0, 1]"),
            "min_side": (self.min_side >= 0, ">= 0"),
        }
        for name, (passed, wanted) in checks.items():
            if not passed:
                raise ValueError(f"AugmentationConfig.{name} must be {wanted}, got {getattr(self, name)!r}")


class DetectorBatch(NamedTuple):
    """``images [batch, size, size, 3]`` float32 in [0, 1], and their objects."""

    images: jax.Array
    targets: DetectorTargets


class Placement(NamedTuple):
    """Where a picture's content comes to lie: output = ``scale`` input + ``offset``, then a flip.

    Attributes:
        scale: ``[2]``, along x and y.
        offset: ``[2]``, pixels of the output, along x and y.
        mirrored: Bool scalar.
    """

    scale: jax.Array
    offset: jax.Array
    mirrored: jax.Array


def make_detector_batch_fn(
    size: int, batch_size: int, augmentation: AugmentationConfig
) -> Callable[[dict[str, Any], jax.Array], DetectorBatch]:
    """Builds ``batch_fn(data, key)``, which draws (with replacement) and augments on the device.

    ``size`` is the side of the network's input, pixels; ``data`` holds the numeric parts of a ``DetectionSet`` by name.
    """

    def batch_fn(data, key):
        k_index, k_each = jax.random.split(key)
        index = jax.random.randint(k_index, (batch_size,), 0, data["pictures"].shape[0])
        rows = (data[name][index] for name in ("pictures", "extents", "boxes", "labels", "valid"))
        keys = jax.random.split(k_each, batch_size)
        return jax.vmap(lambda *row: augment(*row, size=size, augmentation=augmentation))(keys, *rows)

    return batch_fn


def augment(
    key: jax.Array,
    picture: jax.Array,
    extent: jax.Array,
    boxes: jax.Array,
    labels: jax.Array,
    valid: jax.Array,
    *,
    size: int,
    augmentation: AugmentationConfig,
) -> DetectorBatch:
    """One random view of one picture, without a batch axis.

    Args:
        key: Typed key.
        picture: ``[S, S, 3]`` uint8, content in the upper left corner.
        extent: ``[2]``: height and width of the content, pixels.
        boxes: ``[max_objects, 4]``, ``(x, y, w, h)``, centre, pixels of ``picture``.
        labels: ``[max_objects]`` int32.
        valid: ``[max_objects]`` bool.
        size: Side of the view, pixels.
        augmentation: Ranges.
    """
    k_place, k_colour = jax.random.split(key)
    placement = draw_placement(k_place, extent, size, augmentation)
    image = change_colour(k_colour, place_picture(picture, placement, size), augmentation)
    boxes, visible = place_boxes(boxes, placement, size)
    valid = valid & (visible >= augmentation.min_visible) & (jnp.min(boxes[:, 2:], axis=-1) >= augmentation.min_side)
    keep = valid[:, None]
    return DetectorBatch(image, DetectorTargets(jnp.where(keep, boxes, 0), jnp.where(valid, labels, 0), valid))


def draw_placement(key: jax.Array, extent: jax.Array, size: int, augmentation: AugmentationConfig) -> Placement:
    """Draws scale and place: a picture smaller than the view lies anywhere in it, a larger one is cut anywhere."""
    k_zoom, k_stretch, k_place, k_mirror = jax.random.split(key, 4)
    low, high = augmentation.zoom
    zoom = jnp.exp(jax.random.uniform(k_zoom, minval=jnp.log(low), maxval=jnp.log(high)))
    limit = jnp.log(augmentation.stretch) / 2
    bend = jnp.exp(jax.random.uniform(k_stretch, minval=-limit, maxval=limit))
    content = extent[::-1].astype(jnp.float32)
    scale = size / jnp.max(content) * zoom * jnp.stack([bend, 1 / bend])
    offset = jax.random.uniform(k_place, (2,)) * (size - content * scale)
    return Placement(scale, offset, jax.random.bernoulli(k_mirror, float(augmentation.mirror)))


def place_picture(picture: jax.Array, placement: Placement, size: int) -> jax.Array:
    """Resamples ``[S, S, 3]`` uint8 to ``[size, size, 3]`` in [0, 1] (bilinear, with antialiasing), grey around it."""
    # Outside the source the resampler gives 0, which therefore must stand for grey.
    difference = (picture.astype(jnp.float32) - GREY) / 255
    image = jax.image.scale_and_translate(
        difference, (size, size, 3), (0, 1), placement.scale[::-1], placement.offset[::-1], method="linear"
    )
    image = jnp.where(placement.mirrored, image[:, ::-1], image)
    return jnp.clip(image + GREY / 255, 0, 1)


def place_boxes(boxes: jax.Array, placement: Placement, size: int) -> tuple[jax.Array, jax.Array]:
    """Moves boxes as :func:`place_picture` moves the picture, and clips them to the view.

    Returns:
        boxes: ``[max_objects, 4]``, ``(x, y, w, h)``, centre, pixels of the view.
        visible: ``[max_objects]``: share of each box's area that remains, in [0, 1]; 0 for an empty box.
    """
    scale, offset = placement.scale[None], placement.offset[None]
    centre, sides = boxes[:, :2] * scale + offset, boxes[:, 2:] * scale
    x = jnp.where(placement.mirrored, size - centre[:, 0], centre[:, 0])
    centre = jnp.stack([x, centre[:, 1]], axis=-1)
    low, high = jnp.clip(centre - sides / 2, 0, size), jnp.clip(centre + sides / 2, 0, size)
    area = jnp.prod(sides, axis=-1)
    visible = jnp.prod(high - low, axis=-1) / jnp.where(area > 0, area, 1)
    return jnp.concatenate([(low + high) / 2, high - low], axis=-1), visible


def change_colour(key: jax.Array, image: jax.Array, augmentation: AugmentationConfig) -> jax.Array:
    """Changes saturation, contrast and brightness of ``[size, size, 3]`` in [0, 1], in this order."""
    limits = (augmentation.saturation, augmentation.contrast, augmentation.brightness)
    changes = jax.random.uniform(key, (3,), minval=-1.0, maxval=1.0)
    saturation, contrast, brightness = (1 + limit * change for limit, change in zip(limits, changes, strict=True))
    grey = jnp.mean(image, axis=-1, keepdims=True)
    image = grey + saturation * (image - grey)
    mean = jnp.mean(image)
    image = mean + contrast * (image - mean)
    return jnp.clip(brightness * image, 0, 1)
