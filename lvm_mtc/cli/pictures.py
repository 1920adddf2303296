"""What a user's flags say is to be sent: pictures as K UAVs' views, with the object's box in each."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lvm_mtc.cli.errors import UsageError, read_json
from lvm_mtc.data import demo_views, list_images, load_image, uav_views
from lvm_mtc.data.batches import chunks_of
from lvm_mtc.data.boxes import box_in_window, center_prior, check_box
from lvm_mtc.data.images import what_is_taken
from lvm_mtc.data.resizing import fit_window, resize_image
from lvm_mtc.data.views import native_windows
from lvm_mtc.knowledge import KnowledgeBase

CAMERA_SIZE = 320  # Side of what the detector sees of a view, pixels.
_VIEWS_AT_ONCE = 32
_GREY = 114  # what the detector was trained with beside pictures

Size = int | tuple[int, int] | None
"""Side of a view, or its height and width, pixels; None: every pixel stays as it is."""


class Views(NamedTuple):
    """Groups of K views.

    Attributes:
        labels: Name of each group, ``[B]``; stems, or whole file names where two differ in their suffix only.
        images: ``[B, K, height, width, 3]`` float32 in [0, 1].
        cameras: ``[B, K, CAMERA_SIZE, CAMERA_SIZE, 3]`` uint8, the same views as the detector sees them.
        boxes: ``[B, K, 4]`` float32, boxes that the user gave, (x, y, w, h), centre, pixels of ``images``; NaN where
            there is none.
        extent: Height and width of each view, ``[B, K, 2]`` int32, beyond which ``images`` are mirrored; None: all.
    """

    labels: tuple[str, ...]
    images: np.ndarray
    cameras: np.ndarray
    boxes: np.ndarray
    extent: np.ndarray | None = None

    def sizes(self) -> np.ndarray:
        """Height and width of every view, ``[B, K, 2]`` int32."""
        if self.extent is not None:
            return self.extent
        return np.broadcast_to(np.int32(self.images.shape[2:4]), (*self.images.shape[:2], 2))


class Objects(NamedTuple):
    """Where the objects are.

    Attributes:
        loc: ``[B, K, 4]`` float32, (x, y, w, h), centre, pixels of a view's image.
        source: One line: which views' boxes were given, found, or are the middle of the view, and by which filter.
    """

    loc: np.ndarray
    source: str


def find_objects(views: Views, knowledge_base: KnowledgeBase | None, task_text: str) -> Objects:
    """The object's box in every view: the user's, or what the knowledge base finds, or the middle of the view."""
    given = ~np.isnan(views.boxes[..., 0])
    open_ = np.argwhere(~given)
    loc, parts = views.boxes.copy(), [f"boxes given for {given.sum()} of {given.size} views"] if given.any() else []
    if not len(open_):
        return Objects(loc, parts[0])
    places = tuple(open_.T)
    sizes = views.sizes()[places]
    if knowledge_base is None:
        loc[places] = [center_prior(*size) for size in sizes]
        return Objects(loc, ", ".join([*parts, f"the middle of {len(open_)} views"]))
    cameras, chunks = views.cameras[places], []
    for start, stop, size in chunks_of(len(cameras), _VIEWS_AT_ONCE):
        take = np.minimum(np.arange(start, start + size), stop - 1)
        located = knowledge_base.locate(cameras[take], task_text)
        chunks.append((located.loc[: stop - start], located.found[: stop - start]))
    boxes, seen = (np.concatenate(column) for column in zip(*chunks, strict=True))
    loc[places] = [_in_view(box, size, cameras.shape[-2]) for box, size in zip(boxes, sizes, strict=True)]
    why = f" (which does not read the text {task_text!r})" if located.filter == "score" else f" for {task_text!r}"
    why = f" ({located.note})" if located.note else why
    parts.append(f"knowledge base, filter '{located.filter}'{why}: an object in {seen.sum()} of {len(seen)} views")
    if not seen.all():
        parts.append(f"the middle of {(~seen).sum()}")
    return Objects(loc, ", ".join(parts))


def _in_view(box: np.ndarray, size: np.ndarray, camera: int) -> np.ndarray:
    """A box of a camera's picture in pixels of its view; of views that are not square the camera sees a part grey."""
    height, width = (int(length) for length in size)
    box = box * (max(height, width) / camera)
    if height == width:
        return box
    inside, visible = box_in_window(box, np.array([0.0, 0.0, width, height]), (height, width))
    return inside if visible else center_prior(height, width)


def demo_photographs(num_uavs: int, size: int) -> Views:
    """scikit-image's photographs as K views each, ``size`` pixels; where the objects are is left open."""
    # Wide views, for what a detector finds are whole objects; the photographs' own boxes only aim them.
    photographs = demo_views(num_uavs, size, box_fraction=0.02, camera_size=CAMERA_SIZE)
    nowhere = np.full_like(photographs.boxes, np.nan)
    return Views(photographs.names, np.float32(photographs.views) / 255, photographs.cameras, nowhere)


def size_of(text: str, side: int) -> Size:
    """What ``--size`` says: the codec's ``side``, None for native size, a side, or height and width, pixels."""
    if text in ("codec", "native"):
        return side if text == "codec" else None
    height, _, width = text.partition("x")
    return (int(height), int(width or height)) if width and width != height else int(height)


def load_views(
    path: Path,
    *,
    size: Size,
    num_uavs: int,
    views: str,
    overlap: float,
    boxes: Path | None,
    limit: int | None,
    say: Callable[[str], Any] = print,
) -> Views:
    """Reads pictures, turns them into groups of K views, and says what is done to them.

    Args:
        path: A folder of pictures, or one picture.
        size: Side of a view, or its height and width, pixels; None: every pixel stays as it is.
        views: ``"cut"``: K overlapping views of each picture; ``"folder"``: each K pictures, in the order of
            ``list_images``, are a group, and a line a group says which.
        overlap: Shared fraction of neighbouring views, with ``"cut"``.
        boxes: JSON file of boxes, as :func:`read_boxes` takes it.
        limit: Take the first so many pictures only, in that order.
        say: Takes the lines.
    """
    files = [path] if path.is_file() else list_images(path, limit=limit)
    if views == "folder" and len(files) % num_uavs:
        raise UsageError(
            f"--uavs {num_uavs} does not divide the {len(files)} pictures in {path}: with --views folder "
            "each K pictures are one group; take a part of them with --limit"
        )
    given = read_boxes(boxes, [file.name for file in files]) if boxes else {}
    stems = Counter(file.stem for file in files)
    labels = [file.stem if stems[file.stem] == 1 else file.name for file in files]
    cut = None if views == "folder" else (num_uavs, overlap)
    read = [_read(file, cut, size, given.get(file.name)) for file in files]
    if views == "folder":
        labels = labels[::num_uavs]
        for start, label in zip(range(0, len(files), num_uavs), labels, strict=True):
            say(printable(f"group {label}: {', '.join(file.name for file in files[start : start + num_uavs])}"))
    done: dict[str, list[str]] = {}
    for file, one in zip(files, read, strict=True):
        done.setdefault(one.about, []).append(file.name)
    for about, (first, *more) in done.items():
        say(printable(f"{first}{f' and {len(more)} more' if more else ''}: {about}"))
    lead = -1, num_uavs
    cameras, loc = (np.concatenate(column) for column in ([one.cameras for one in read], [one.boxes for one in read]))
    flat = [view for one in read for view in one.views]
    extent = np.array([view.shape[:2] for view in flat], np.int32)
    canvas = np.stack([_mirrored(view, *extent.max(axis=0)) for view in flat])
    images = np.float32(canvas.reshape(*lead, *canvas.shape[1:])) / 255
    extent = None if (extent == extent[0]).all() else extent.reshape(*lead, 2)
    cameras = cameras.reshape(*lead, *cameras.shape[1:])
    return Views(tuple(labels), images, cameras, np.float32(loc.reshape(*lead, 4)), extent)


def on_canvas(views: Views, height: int, width: int) -> Views:
    """Views as a part of larger arrays, with their extent."""
    if views.images.shape[2:4] == (height, width):
        return views
    lead = views.images.shape[:2]
    larger = [_mirrored(image, height, width) for image in views.images.reshape(-1, *views.images.shape[2:])]
    return views._replace(images=np.stack(larger).reshape(*lead, height, width, 3), extent=views.sizes())


def _mirrored(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture with its mirror image to the right and below."""
    missing = (0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)
    return np.pad(image, missing, mode="symmetric") if max(map(max, missing)) else image


def printable(line: str) -> str:
    """A line as any terminal can print it: letters that are none in UTF-8 as their numbers."""
    return line.encode("utf-8", "backslashreplace").decode()


def read_boxes(path: Path, names: Sequence[str]) -> dict[str, list[float]]:
    """Reads ``{"picture.jpg": [x, y, w, h]}``; no picture but those with these file names may be there."""
    boxes = read_json("--boxes", path)
    if not isinstance(boxes, dict):
        expected = '{"picture.jpg": [x, y, w, h], ...}'
        raise UsageError(f"--boxes {path}: holds a {type(boxes).__name__}, expected {expected}")
    for name in boxes:
        if name not in names:
            raise UsageError(f"--boxes {path}: names {name!r}, which is not among the {len(names)} pictures")
    return boxes


class _Read(NamedTuple):
    """Views of a file, ``[height, width, 3]`` uint8 each, their cameras and boxes ``[K, ...]``, and what was done."""

    views: list[np.ndarray]
    cameras: np.ndarray
    boxes: np.ndarray
    about: str


def _read(file: Path, cut: tuple[int, float] | None, size: Size, box) -> _Read:
    """Reads a picture; ``cut`` are K and the overlap, None for one view of all that has the proportions of ``size``."""
    image = load_image(file)
    height, width = image.shape[:2]
    box = None if box is None else check_box(box, height, width, name=f"{file}: box")
    try:
        windows = _windows(image, cut, size, box)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    if size is None:
        views = [image[top:bottom, left:right] for left, top, right, bottom in windows]
    else:
        views = [resize_image(image, size, window=window) for window in windows]
    boxes = np.full((len(views), 4), np.nan)
    if box is not None:
        pairs = zip(windows, views, strict=True)
        boxes = np.stack([box_in_window(box, window, view.shape[:2])[0] for window, view in pairs])
    width_of, height_of = (windows[0][2:] - windows[0][:2]).round().astype(int)
    what = (
        f"{len(views)} views of {width_of} x {height_of}" if len(views) > 1 else f"its middle {width_of} x {height_of}"
    )
    what = "whole" if (width_of, height_of) == (width, height) else what
    there = "every pixel as it is" if size is None else f"resized to {views[0].shape[1]} x {views[0].shape[0]}"
    taken = what_is_taken(file)
    about = f"{width} x {height}{', ' if taken else ''}{taken}: {what}, {there}"
    return _Read(views, np.stack([_camera(image, window) for window in windows]), boxes, about)


def _windows(image: np.ndarray, cut: tuple[int, float] | None, size: Size, box) -> np.ndarray:
    """Left, top, right, bottom edge of each view, pixels of the picture."""
    height, width = image.shape[:2]
    if cut is not None and isinstance(size, int):
        return uav_views(image, *cut, size=size, box=box).windows
    windows = np.array([[0, 0, width, height]]) if cut is None else native_windows(height, width, *cut)
    if size is None:
        return windows
    fitted = [fit_window(bottom - top, right - left, size) for left, top, right, bottom in windows]
    return np.array(fitted, np.float64) + np.tile(windows[:, :2], 2)


def _camera(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """What the detector sees of a view: all of it, and grey beside the shorter side."""
    width, height = window[2:] - window[:2]
    rows, columns = (max(1, round(CAMERA_SIZE * length / max(width, height))) for length in (height, width))
    camera = np.full((CAMERA_SIZE, CAMERA_SIZE, 3), _GREY, np.uint8)
    camera[:rows, :columns] = resize_image(image, (rows, columns), window=window)
    return camera
