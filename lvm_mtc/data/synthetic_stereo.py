"""Stereo scenes of textured planes, with exact disparity and a view from any place on the line of the cameras.

A scene is a background and some discs and rectangles, each a plane whose disparity d = d0 + gx x + gy y is linear in
the middle view, as that of any plane in space is. From the place s, 0 the left and 1 the right camera, a point of the
middle view is seen at x + (1/2 - s) d.

The idea of random flying shapes for stereo is FlyingThings3D's (Mayer et al. 2016); scenes here are simpler, and made
on the fly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.resizing import check_size, resize_image
from lvm_mtc.data.stereo import StereoError, StereoPairs

_TEXTURE = 160
_OVERSAMPLING = 3
_LEAST = 0.3
"""Least disparity of a plane where it is seen, pixels: a background at 0 would have no depth."""


class Plane(NamedTuple):
    """A textured piece of a plane.

    Attributes:
        disparity: d0, gx, gy: at its centre, pixels, and its change a pixel to the right and down.
        centre: x, y in the middle view, pixels.
        half_axes: Of the disc or rectangle, pixels; infinite for the background.
        angle: Of the half-axes, radians.
        box: A rectangle rather than a disc.
        texture: ``[side, side, 3]`` uint8.
        frequency: Textures a pixel.
    """

    disparity: tuple[float, float, float]
    centre: tuple[float, float]
    half_axes: tuple[float, float]
    angle: float
    box: bool
    texture: np.ndarray
    frequency: float

    def seen(self, x: np.ndarray, y: np.ndarray, place: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Disparity, -1 where it is not hit, and texture coordinates, at points ``x``, ``y`` of a view."""
        offset, (d0, gx, gy), (cx, cy) = 0.5 - place, self.disparity, self.centre
        middle = (x - offset * (d0 - gx * cx + gy * (y - cy))) / (1 + offset * gx)
        dx, dy = middle - cx, y - cy
        u, v = dx * np.cos(self.angle) + dy * np.sin(self.angle), dy * np.cos(self.angle) - dx * np.sin(self.angle)
        a, b = np.abs(u) / self.half_axes[0], np.abs(v) / self.half_axes[1]
        hit = np.maximum(a, b) < 1 if self.box else a * a + b * b < 1
        return np.where(hit, d0 + gx * dx + gy * dy, -1), u * self.frequency + 0.5, v * self.frequency + 0.5


class Scene(NamedTuple):
    """Planes that are seen as pictures of ``size``, height and width."""

    planes: tuple[Plane, ...]
    size: tuple[int, int]

    def view(self, place: float) -> tuple[np.ndarray, np.ndarray]:
        """What a camera at ``place`` sees: picture ``[H, W, 3]`` uint8, disparity ``[H, W]`` float32, pixels.

        The picture is the mean of 3 x 3 rays a pixel, the disparity that of the middle one.
        """
        (height, width), n = self.size, _OVERSAMPLING
        y, x = np.mgrid[: height * n, : width * n].astype(np.float32)
        x, y = (x + np.float32(0.5)) / n, (y + np.float32(0.5)) / n
        seen = [plane.seen(x, y, place) for plane in self.planes]
        nearest = np.stack([disparity for disparity, _, _ in seen])
        front = nearest.argmax(0)
        picture = np.zeros((*x.shape, 3), np.float32)
        for i, (plane, (_, u, v)) in enumerate(zip(self.planes, seen, strict=True)):
            hit = front == i
            picture[hit] = _sampled(plane.texture, u[hit], v[hit])
        picture = picture.reshape(height, n, width, n, 3).mean((1, 3))
        disparity = nearest.max(0).reshape(height, n, width, n)[:, n // 2, :, n // 2]
        return np.uint8(np.round(np.clip(picture, 0, 255))), np.float32(disparity)


def random_scene(
    rng: np.random.Generator, size: int | tuple[int, int], textures: Sequence[np.ndarray], max_disparity: float
) -> Scene:
    """A background and three to six pieces of planes in front of it.

    Disparities lie between 0.3 pixels and ``max_disparity``; textures are squares cut from random pictures.

    Args:
        size: Side, or height and width, pixels.
        textures: Pictures, each ``[H, W, 3]`` uint8.
        max_disparity: Pixels, at least 4.
    """
    height, width = check_size(size)
    if not 4 <= max_disparity <= width:
        raise StereoError(f"max_disparity must lie in 4 ... {width}, the width, got {max_disparity}")
    if not len(textures):
        raise StereoError("textures must hold a picture at least, got none")
    planes = [_background(rng, height, width, textures)]
    for _ in range(rng.integers(3, 7)):
        half_axes = tuple(rng.uniform(0.1, 0.35, 2) * min(height, width))
        d0 = rng.uniform(1.5, max_disparity - 0.5)
        slope = _slope(rng, d0, np.hypot(*half_axes), max_disparity)
        centre = tuple(rng.uniform(0, 1, 2) * (width, height))
        frequency = rng.uniform(2, 5) / min(height, width)
        shape = (half_axes, rng.uniform(0, np.pi), bool(rng.random() < 0.5))
        planes.append(Plane((d0, *slope), centre, *shape, _texture(rng, textures), frequency))
    return Scene(tuple(planes), (height, width))


def synthetic_stereo(
    num: int,
    size: int | tuple[int, int] = 64,
    *,
    seed: int,
    textures: Sequence[np.ndarray] | None = None,
    max_disparity: float = 10.0,
) -> StereoPairs:
    """Random scenes from the left, the right and half way between, with exact disparity; f = W, baseline 1.

    Scene i depends on ``seed`` and i alone. One takes about 30 ms at 64 x 64.

    Args:
        num: Scenes, at least 1.
        size: Side, or height and width, pixels.
        seed: Of all that is random.
        textures: Pictures that textures are cut from, each ``[H, W, 3]`` uint8; None: clouds of random colours.
        max_disparity: Pixels, at least 4.

    Raises:
        StereoError: for numbers out of range.
    """
    if num < 1:
        raise StereoError(f"num must be at least 1, got {num}")
    views = []
    for i in range(num):
        rng = np.random.default_rng((seed, i))
        cut = textures if textures is not None else [_clouds(rng) for _ in range(4)]
        scene = random_scene(rng, size, cut, max_disparity)
        views.append([scene.view(place) for place in (0.0, 0.5, 1.0)])
    pictures, disparity = (np.stack([[view[k] for view in row] for row in views]) for k in (0, 1))
    return StereoPairs(pictures=pictures[:, [0, 2]], disparity=disparity[:, [0, 2]], middle=pictures[:, 1])


def _background(rng: np.random.Generator, height: int, width: int, textures: Sequence[np.ndarray]) -> Plane:
    d0 = rng.uniform(0.5, 2.0)
    # Outer cameras see half the disparity further to the side.
    slope = _slope(rng, d0, (width + height) / 2 + 2, np.inf)
    frequency = rng.uniform(1.2, 3.0) / min(height, width)
    return Plane((d0, *slope), (width / 2, height / 2), (np.inf, np.inf), 0.0, True, _texture(rng, textures), frequency)


def _slope(rng: np.random.Generator, d0: float, radius: float, most: float) -> np.ndarray:
    """Up to 2 % of the disparity a pixel either way, as far as it stays within its limits out to ``radius``."""
    largest = min(0.02 * d0, (d0 - _LEAST) / (np.sqrt(2) * radius), (most - d0) / (np.sqrt(2) * radius))
    return rng.uniform(-largest, largest, 2)


def _texture(rng: np.random.Generator, textures: Sequence[np.ndarray]) -> np.ndarray:
    picture = textures[rng.integers(len(textures))]
    short = min(picture.shape[:2])
    side = rng.integers((short + 1) // 2, short + 1)
    left, top = rng.integers(0, picture.shape[1] - side + 1), rng.integers(0, picture.shape[0] - side + 1)
    return resize_image(picture, _TEXTURE, window=(left, top, left + side, top + side))


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """Random colours that vary at four scales, ``[160, 160, 3]`` uint8."""
    total = np.full((_TEXTURE, _TEXTURE, 3), rng.uniform(60, 196, 3))
    for cells, weight in ((2, 0.5), (6, 0.35), (16, 0.25), (40, 0.15)):
        noise = np.uint8(rng.integers(0, 256, (cells, cells, 3)))
        total += weight * (resize_image(noise, _TEXTURE).astype(float) - 127.5)
    return np.uint8(np.clip(total, 0, 255))


def _sampled(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Bilinear samples at coordinates ``[m]`` in textures, mirrored at each of their edges; ``[m, 3]``."""
    last = texture.shape[0] - 1
    x, y = (last - np.abs((w * last) % (2 * last) - last) for w in (u, v))
    x0, y0 = (np.minimum(np.int64(w), last - 1) for w in (x, y))
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    flat = texture.reshape(-1, 3).astype(np.float32)
    first = y0 * texture.shape[1] + x0
    above = flat[first] * (1 - fx) + flat[first + 1] * fx
    below = flat[first + texture.shape[1]] * (1 - fx) + flat[first + texture.shape[1] + 1] * fx
    return above * (1 - fy) + below * fy
