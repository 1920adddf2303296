"""Stereo pairs: two pictures of one scene whose rows correspond, with disparity where it is known.

Coordinates: x right, y down, z forward; the left camera at 0, the right one at ``(baseline, 0, 0)``, both of focal
length f with the optical axis in the middle of the picture. What the left view shows at column x, the right view shows
at x - d, and its depth is f baseline / d, with d the disparity in pixels.
"""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from pathlib import Path

import numpy as np

from lvm_mtc.data.files import check_directory, natural_order, reason
from lvm_mtc.data.images import list_images, load_image, mode_of
from lvm_mtc.data.resizing import check_size, fit_window, resize_image

VIEWS = ("left", "right")
_DISPARITIES = ("disp_left.png", "disp_right.png")
_MOST_MISMATCH = 1.0


class StereoError(ValueError):
    """Pairs that cannot be used. The message is one line: the file or field, the reason, and what would be right."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StereoPairs:
    """Pairs of one size.

    Attributes:
        pictures: Left and right view, ``[n, 2, H, W, 3]`` uint8.
        disparity: Of both views, pixels, ``[n, 2, H, W]`` float32; 0 is unknown, to be masked. None: of no pair known.
        middle: What a camera half way between the two sees, ``[n, H, W, 3]`` uint8, or None.
        focal_length: Pixels, > 0; None: W. Where it is unknown any value does: it scales depth alone, and a view from
            any place on the line through both cameras stays as it is.
        baseline: Distance of the cameras, > 0, unit of depth.

    Raises:
        StereoError: if shapes or types differ from these, or a number is out of its range.
    """

    pictures: np.ndarray
    disparity: np.ndarray | None = None
    middle: np.ndarray | None = None
    focal_length: float | None = None
    baseline: float = 1.0

    def __post_init__(self):
        shape = self.pictures.shape
        if (
            len(shape) != 5
            or shape[1] != 2
            or shape[4] != 3
            or self.pictures.dtype != np.uint8
            or not self.pictures.size
        ):
            raise StereoError(f"pictures must be [n, 2, H, W, 3] uint8, got {shape} {self.pictures.dtype}")
        if self.focal_length is None:
            object.__setattr__(self, "focal_length", float(shape[3]))
        for name in ("focal_length", "baseline"):
            _check_positive(name, getattr(self, name))
        if self.disparity is not None and self.disparity.shape != shape[:4]:
            raise StereoError(f"disparity must be {list(shape[:4])} as the pictures, got {list(self.disparity.shape)}")
        if self.disparity is not None and not (np.isfinite(self.disparity) & (self.disparity >= 0)).all():
            raise StereoError("disparity must be finite and not negative, with 0 for unknown")
        if self.middle is not None and (self.middle.shape != (shape[0], *shape[2:]) or self.middle.dtype != np.uint8):
            expected = f"{[shape[0], *shape[2:]]} uint8"
            raise StereoError(f"middle must be {expected} as the pictures, got {self.middle.shape} {self.middle.dtype}")

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pictures.shape[2], self.pictures.shape[3]

    def take(self, places) -> StereoPairs:
        """Those at ``places``, a slice or integers ``[m]``."""
        return self._each(lambda array: array[places])

    def crop(self, top: int, left: int, size: int | tuple[int, int]) -> StereoPairs:
        """The same window of every view; disparity and focal length stay, depth is seen from the window's middle."""
        height, width = check_size(size)
        if not (0 <= top <= self.size[0] - height and 0 <= left <= self.size[1] - width):
            raise StereoError(f"a window of {height} x {width} at ({top}, {left}) reaches out of {self.size}")
        rows, columns = slice(top, top + height), slice(left, left + width)
        pairs = {
            "pictures": self.pictures[:, :, rows, columns],
            "disparity": None if self.disparity is None else self.disparity[:, :, rows, columns],
            "middle": None if self.middle is None else self.middle[:, rows, columns],
        }
        return dataclasses.replace(self, **pairs)

    def mirrored(self) -> StereoPairs:
        """The scenes in a mirror: each view flipped from left to right, and left and right view exchanged."""
        pairs = {
            "pictures": self.pictures[:, ::-1, :, ::-1],
            "disparity": None if self.disparity is None else self.disparity[:, ::-1, :, ::-1],
            "middle": None if self.middle is None else self.middle[:, :, ::-1],
        }
        return dataclasses.replace(self, **pairs)

    def _each(self, function) -> StereoPairs:
        arrays = {name: getattr(self, name) for name in ("pictures", "disparity", "middle")}
        return dataclasses.replace(self, **{k: None if a is None else function(a) for k, a in arrays.items()})


def load_pair(left: str | os.PathLike, right: str | os.PathLike, size: int | tuple[int, int]) -> StereoPairs:
    """A pair of picture files, scaled until it covers ``size`` and cut equally at both ends.

    Warns where rows of the two views do not correspond (see :func:`vertical_mismatch`).

    Raises:
        StereoError: if the two are of different sizes.
        ImageError: if a file cannot be used.
    """
    pictures = _both(Path(left), Path(right))
    window = fit_window(*pictures[0].shape[:2], size)
    pairs = StereoPairs(pictures=np.stack([resize_image(view, size, window=window) for view in pictures])[None])
    mismatch = vertical_mismatch(pairs.pictures[0])
    if mismatch > _MOST_MISMATCH:
        hint = "rectify the pair first, or disparity will be wrong"
        warnings.warn(f"{left}, {right}: rows differ by {mismatch:g} pixels in the median; {hint}", stacklevel=2)
    return pairs


def load_stereo(
    folder: str | os.PathLike, size: int | tuple[int, int], *, limit: int | None = None
) -> tuple[StereoPairs, tuple[str, ...]]:
    """Pairs of a folder, and their names: each scene a folder with ``left`` and ``right``, pictures of any kind.

    Disparity stands in ``disp_left.png`` and ``disp_right.png`` of the scene, grey of 8 bits, and the grey levels of a
    pixel of disparity in ``disparity.json`` of the folder: ``{"<scene>": {"scale": 3}}``. Scenes without are unknown.

    Args:
        size: Side, or height and width, that views are scaled to, proportions kept, cut equally at both ends; disparity
            goes with them, of each new pixel the nearest old one's.
        limit: Takes only the first so many scenes in the natural order of their names.

    Raises:
        StereoError: if the folder has no scene, or one of its files is missing or does not fit the others.
        ImageError: if a picture cannot be used.
    """
    folder = Path(folder)
    check_directory(folder, StereoError)
    scenes = list_scenes(folder)[:limit]
    if not scenes:
        raise StereoError(f"{folder}: holds no scene; expected folders with left.png and right.png")
    scales = _scales(folder / "disparity.json")
    loaded = [_scene(scene, check_size(size), scales) for scene in scenes]
    pictures, disparity = np.stack([views for views, _ in loaded]), np.stack([known for _, known in loaded])
    pairs = StereoPairs(pictures=pictures, disparity=disparity if disparity.any() else None)
    return pairs, tuple(scene.name for scene in scenes)


def list_scenes(folder: Path) -> list[Path]:
    """The folders in a folder in :func:`natural_order`, without hidden ones."""
    scenes = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(scenes, key=lambda path: natural_order(path.name))


def vertical_mismatch(views: np.ndarray, reach: int = 3, block: int = 16) -> float:
    """Median over blocks of the left view of the distance between their row and that of their best match, pixels.

    Blocks without contrast do not count. Rows of a rectified pair correspond, so it is 0.

    Args:
        views: ``[2, H, W, 3]``.
        reach: Rows up and down that are searched; every column to the left within W / 3 is.
        block: Side of a block, pixels; blocks overlap by half in small pictures.
    """
    grey = np.float32(views).mean(-1)
    height, width = grey.shape[1:]
    found, step = [], max(block // 2, height // 16, width // 16)
    for top in range(reach, height - block - reach + 1, step):
        for left in range(width // 3, width - block + 1, step):
            cut = grey[0, top : top + block, left : left + block]
            if cut.std() < 4:
                continue
            area = grey[1, top - reach : top + block + reach, left - width // 3 : left + block]
            windows = np.lib.stride_tricks.sliding_window_view(area, (block, block))
            # Means are taken off, for cameras differ in brightness.
            error = np.var(windows - cut, axis=(2, 3))
            found.append(abs(np.unravel_index(error.argmin(), error.shape)[0] - reach))
    return float(np.median(found)) if found else 0.0


def random_crops(pairs: StereoPairs, size: int | tuple[int, int], num: int, rng: np.random.Generator) -> StereoPairs:
    """Windows of ``size`` at random places of random pairs, each pair's views at the same place; ``num`` pairs."""
    height, width = check_size(size)
    if pairs.size[0] < height or pairs.size[1] < width:
        raise StereoError(f"size {height} x {width} does not fit in pairs of {pairs.size[0]} x {pairs.size[1]}")
    which = rng.integers(len(pairs), size=num)
    top = rng.integers(pairs.size[0] - height + 1, size=num)
    left = rng.integers(pairs.size[1] - width + 1, size=num)
    cuts = [pairs.take([w]).crop(t, c, (height, width)) for w, t, c in zip(which, top, left, strict=True)]
    return joined(cuts)


def joined(parts: list[StereoPairs]) -> StereoPairs:
    """Pairs of one size and geometry, one part after the other; what a part lacks (disparity, middle) all lack."""
    geometry = {(part.size, part.focal_length, part.baseline) for part in parts}
    if len(geometry) != 1:
        raise StereoError(f"pairs differ in size, focal length or baseline: {sorted(geometry)}")
    arrays = {name: [getattr(part, name) for part in parts] for name in ("pictures", "disparity", "middle")}
    whole = {k: None if any(a is None for a in v) else np.concatenate(v) for k, v in arrays.items()}
    return dataclasses.replace(parts[0], **whole)


def save_stereo(path: str | os.PathLike, pairs: StereoPairs) -> None:
    """Writes pairs as one compressed ``.npz`` file."""
    fields = dataclasses.asdict(pairs)
    with open(path, "wb") as stream:
        np.savez_compressed(stream, **{name: value for name, value in fields.items() if value is not None})


def load_packed_stereo(path: str | os.PathLike) -> StereoPairs:
    """Reads what :func:`save_stereo` wrote.

    Raises:
        StereoError: if it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            fields = {name: archive[name] for name in archive.files}
        numbers = {name: float(fields.pop(name)) for name in ("focal_length", "baseline")}
        return StereoPairs(**fields, **numbers)
    except FileNotFoundError:
        raise StereoError(f"{path}: there is no such file of stereo pairs") from None
    except Exception as error:
        raise StereoError(f"{path} is not a file of stereo pairs: {reason(error)}") from error


def _both(left: Path, right: Path) -> list[np.ndarray]:
    pictures = [load_image(left), load_image(right)]
    if pictures[0].shape != pictures[1].shape:
        sizes = " and ".join(f"{width} x {height}" for height, width, _ in (picture.shape for picture in pictures))
        raise StereoError(f"{left}, {right}: views are of different sizes, {sizes}; expected a rectified pair")
    return pictures


def _scales(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())  # bytes, so that a byte-order mark is understood
        scales = {scene: float(entry["scale"]) for scene, entry in content.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StereoError(f'{path}: expected {{"<scene>": {{"scale": 3}}}}, got {error!r}') from error
    for scene, scale in scales.items():
        _check_positive(f"{path}: scale of {scene}", scale)
    return scales


def _check_positive(name: str, value: float) -> None:
    if not float(np.finfo(np.float32).tiny) <= value <= float(np.finfo(np.float32).max):
        raise StereoError(f"{name} must be positive and finite, got {value}")


def _scene(folder: Path, size: tuple[int, int], scales: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    files = {file.stem: file for file in list_images(folder)}
    for view in VIEWS:
        if view not in files:
            raise StereoError(f"{folder}: holds no picture {view}; expected left.png and right.png")
    pictures = _both(*(files[view] for view in VIEWS))
    window = fit_window(*pictures[0].shape[:2], size)
    views = np.stack([resize_image(picture, size, window=window) for picture in pictures])
    known = [folder / name for name in _DISPARITIES]
    if not all(path.exists() for path in known):
        return views, np.zeros(views.shape[:3], np.float32)
    if folder.name not in scales:
        raise StereoError(f"{folder}: has disparity, and disparity.json beside it does not say its scale")
    return views, np.stack([_disparity(path, scales[folder.name], pictures[0].shape, window, size) for path in known])


def _disparity(path: Path, scale: float, shape: tuple[int, ...], window, size: tuple[int, int]) -> np.ndarray:
    grey = load_image(path)[..., 0]
    if (kind := mode_of(path)) != "L":
        raise StereoError(f"{path}: is a picture of Pillow's mode {kind}; expected grey of 8 bits, mode L")
    if grey.shape != shape[:2]:
        raise StereoError(f"{path}: is of {grey.shape}, its views of {shape[:2]}; expected equal sizes")
    left, top, right, bottom = window
    rows = np.int64(top + (np.arange(size[0]) + 0.5) * (bottom - top) / size[0])
    columns = np.int64(left + (np.arange(size[1]) + 0.5) * (right - left) / size[1])
    return np.float32(grey[rows[:, None], columns] / scale * (size[1] / (right - left)))
