"""What a user's flags say is to be sent: pictures as K UAVs' views, with the object's box in each."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.cli.errors import UsageError, read_json
from lvm_mtc.data import demo_views, list_images, load_image, uav_views
from lvm_mtc.data.batches import chunks_of
from lvm_mtc.data.boxes import box_in_window, check_box
from lvm_mtc.data.resizing import fit_window
from lvm_mtc.data.views import resize_windows
from lvm_mtc.knowledge import KnowledgeBase, center_prior

CAMERA_SIZE = 320  # Side of what the detector sees of a view, pixels.
_VIEWS_AT_ONCE = 32


class Views(NamedTuple):
    """Groups of K views.

    Attributes:
        labels: Name of each group, ``[B]``; stems, or whole file names where two differ in their suffix only.
        images: ``[B, K, size, size, 3]`` float32 in [0, 1].
        cameras: ``[B, K, CAMERA_SIZE, CAMERA_SIZE, 3]`` uint8, the same views as the detector sees them.
        boxes: ``[B, K, 4]`` float32, boxes that the user gave, (x, y, w, h), centre, pixels of ``images``; NaN where
            there is none.
    """

    labels: tuple[str, ...]
    images: np.ndarray
    cameras: np.ndarray
    boxes: np.ndarray


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
    if knowledge_base is None:
        loc[places] = center_prior()(views.images[places])
        return Objects(loc, ", ".join([*parts, f"the middle of {len(open_)} views"]))
    cameras, chunks = views.cameras[places], []
    for start, stop, size in chunks_of(len(cameras), _VIEWS_AT_ONCE):
        take = np.minimum(np.arange(start, start + size), stop - 1)
        located = knowledge_base.locate(cameras[take], task_text)
        chunks.append((located.loc[: stop - start], located.found[: stop - start]))
    boxes, seen = (np.concatenate(column) for column in zip(*chunks, strict=True))
    loc[places] = boxes * (views.images.shape[-2] / cameras.shape[-2])
    why = f" (which does not read the text {task_text!r})" if located.filter == "score" else f" for {task_text!r}"
    why = f" ({located.note})" if located.note else why
    parts.append(f"knowledge base, filter '{located.filter}'{why}: an object in {seen.sum()} of {len(seen)} views")
    if not seen.all():
        parts.append(f"the middle of {(~seen).sum()}")
    return Objects(loc, ", ".join(parts))


def demo_photographs(num_uavs: int, size: int) -> Views:
    """scikit-image's photographs as K views each, ``size`` pixels; where the objects are is left open."""
    # Wide views, for what a detector finds are whole objects; the photographs' own boxes only aim them.
    photographs = demo_views(num_uavs, size, box_fraction=0.02, camera_size=CAMERA_SIZE)
    nowhere = np.full_like(photographs.boxes, np.nan)
    return Views(photographs.names, np.float32(photographs.views) / 255, photographs.cameras, nowhere)


def load_views(
    path: Path, *, size: int, num_uavs: int, views: str, overlap: float, boxes: Path | None, limit: int | None
) -> Views:
    """Reads pictures and turns them into groups of K square views.

    Args:
        path: A folder of pictures, or one picture.
        size: Side of a view, pixels.
        views: ``"cut"``: K overlapping views of each picture; ``"folder"``: each K pictures, in the order of
            ``list_images``, are a group, and a line a group says which.
        overlap: Shared fraction of neighbouring views, with ``"cut"``.
        boxes: JSON file of boxes, as :func:`read_boxes` takes it.
        limit: Take the first so many pictures only, in that order.
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
    if views == "cut":
        cut = [_cut(file, num_uavs, overlap, size, given.get(file.name)) for file in files]
    else:
        cut, labels = [_fit(file, size, given.get(file.name)) for file in files], labels[::num_uavs]
        for start, label in zip(range(0, len(files), num_uavs), labels, strict=True):
            names = ", ".join(file.name for file in files[start : start + num_uavs])
            print(f"group {label}: {names}".encode("utf-8", "backslashreplace").decode())
    columns = (np.stack(column) for column in zip(*cut, strict=True))
    images, cameras, loc = (column.reshape(-1, num_uavs, *column.shape[2:]) for column in columns)
    return Views(tuple(labels), np.float32(images) / 255, cameras, np.float32(loc))


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


def _cut(file: Path, num_uavs: int, overlap: float, size: int, box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """K views of a picture, their cameras and boxes."""
    image = load_image(file)
    try:
        cut = uav_views(image, num_uavs, overlap, size=size, box=box)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    boxes = np.full((num_uavs, 4), np.nan) if box is None else cut.boxes
    return cut.views, resize_windows(image, cut.windows, CAMERA_SIZE), boxes


def _fit(file: Path, size: int, box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middle of a picture as one view, its camera and its box."""
    image = load_image(file)
    height, width = image.shape[:2]
    window = np.array(fit_window(height, width, size))
    fitted = np.full(4, np.nan)
    if box is not None:
        fitted, _ = box_in_window(check_box(box, height, width, name=f"{file}: box"), window, (size, size))
    view, camera = (resize_windows(image, window[None], side) for side in (size, CAMERA_SIZE))
    return view, camera, fitted[None]
