"""Training pictures from several folders, at one size, in one file that loads in a second."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.boxes import Box, box_in_window, center_prior
from lvm_mtc.data.files import check_directory, check_regular_file, reason
from lvm_mtc.data.images import list_images, load_image
from lvm_mtc.data.resizing import check_size, resize_image
from lvm_mtc.data.voc import largest_object, load_voc

HOLDOUT_EVERY = 20
"""Picture 19, 39, 59, ... of a folder, names sorted as text, is held out: no draw, the same on every machine."""

VOC_FOLDER = "voc2012_320"
PICTURE_FOLDERS = ("imagenet1000_160", "aid150")


class PackedPictures(NamedTuple):
    """A packed set: what is trained on, and what is held out.

    Attributes:
        pictures: ``[M, S, S, 3]`` uint8.
        boxes: ``[M, 4]`` float32, centre x, centre y, width, height, pixels of the packed picture.
        source: ``[M]`` text, folder and file of each picture.
        annotated: ``[M]`` bool, whether the box was annotated (else it is the centre prior).
        holdout_pictures: As ``pictures``, never to be trained on.
        holdout_boxes: As ``boxes``.
        holdout_source: As ``source``.
        holdout_annotated: As ``annotated``.
    """

    pictures: np.ndarray
    boxes: np.ndarray
    source: np.ndarray
    annotated: np.ndarray
    holdout_pictures: np.ndarray
    holdout_boxes: np.ndarray
    holdout_source: np.ndarray
    holdout_annotated: np.ndarray


class PictureSource(NamedTuple):
    """One picture that is going to be packed.

    Attributes:
        name: Folder and file, as ``source`` will say it.
        box: The chosen object, ``(x, y, w, h)``, centre, pixels of the file's picture; None takes the centre prior.
        shape: Height and width that the box was annotated in, pixels; None where there is no annotation.
    """

    name: str
    path: Path
    box: Box | None
    holdout: bool
    shape: tuple[int, int] | None = None


def training_sources(data: str | os.PathLike) -> list[PictureSource]:
    """Lists the training pictures below one data folder, sorted within each of its folders.

    ``imagenet1000_160`` and ``aid150`` (every :data:`HOLDOUT_EVERY`-th of each is held out), and ``voc2012_320``
    (list ``train``; list ``val`` is held out) with the largest object of each picture. Test material (Kodak, drone
    frames) is not among them.
    """
    data = Path(data)
    sources = []
    for folder in PICTURE_FOLDERS:
        for index, path in enumerate(_pictures_below(data / folder)):
            held = index % HOLDOUT_EVERY == HOLDOUT_EVERY - 1
            sources.append(PictureSource(path.relative_to(data).as_posix(), path, None, held))
    for split in ("train", "val"):
        for example in load_voc(data / VOC_FOLDER, split):
            chosen = largest_object(example.annotation)
            name = example.image_path.relative_to(data).as_posix()
            shape = (example.annotation.height, example.annotation.width)
            box = chosen.box if chosen else None
            sources.append(PictureSource(name, example.image_path, box, split == "val", shape))
    return sources


def square_window(height: int, width: int, box: Box | None = None) -> tuple[float, float, float, float]:
    """The largest square of a picture: centred, moved no further than it takes to keep a box in.

    Takes pixels, and gives left, top, right and bottom edge. A box that is longer than the square is cut at both ends
    alike.
    """
    side = min(height, width)
    edges = []
    for axis, length in ((0, width), (1, height)):
        start = (length - side) / 2
        if box is not None:
            center, extent = box[axis], min(box[axis + 2], side)
            start = min(max(start, center + extent / 2 - side), center - extent / 2)
        edges.append(min(max(start, 0.0), float(length - side)))
    return edges[0], edges[1], edges[0] + side, edges[1] + side


def pack_picture(image: np.ndarray, size: int, box: Box | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Crops one picture to a square and resizes it, with its box.

    Args:
        image: ``[H, W, 3]`` uint8.
        size: Side of the result, pixels.
        box: ``(x, y, w, h)``, centre, pixels of ``image``; None stands for the centre prior.

    Returns:
        picture: ``[size, size, 3]`` uint8.
        box: ``[4]`` float32, centre x, centre y, width, height, pixels of ``picture``, clipped to it.
    """
    window = square_window(image.shape[0], image.shape[1], box)
    picture = resize_image(image, size, window=window)
    if box is None:
        return picture, center_prior(size, size).astype(np.float32)
    return picture, box_in_window(np.asarray(box), np.asarray(window), (size, size))[0].astype(np.float32)


def pack_pictures(
    sources: Iterable[PictureSource], size: int, *, progress: Callable[[Iterable], Iterable] = iter
) -> PackedPictures:
    """Reads, crops and resizes all pictures to squares of ``size`` pixels; the set is in the order of ``sources``.

    ``progress`` wraps the iterable, for example tqdm.

    Raises:
        ValueError: if no picture is left for one of the two parts, or one cannot be used or has not the shape of its
            annotation.
    """
    check_size(size)
    rows: dict[bool, list] = {False: [], True: []}
    for source in progress(sources):
        image = load_image(source.path)
        if source.shape is not None and image.shape[:2] != source.shape:
            raise ValueError(f"{source.path}: has shape {image.shape[:2]}; expected {source.shape}, as annotated")
        picture, box = pack_picture(image, size, source.box)
        rows[source.holdout].append((picture, box, source.name, source.box is not None))
    if not rows[False] or not rows[True]:
        raise ValueError(f"{len(rows[False])} pictures to train on and {len(rows[True])} held out; both need one")
    columns = [np.stack(column) for held in (False, True) for column in zip(*rows[held], strict=True)]
    return PackedPictures(*columns)


def save_packed(path: str | os.PathLike, packed: PackedPictures) -> None:
    """Writes a packed set, as :func:`save_arrays` does."""
    save_arrays(path, packed._asdict())


def save_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an uncompressed ``.npz`` archive of arrays by name; its folder is made where it is missing.

    An interrupted call leaves the old file, or none, and never half a file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            np.savez(stream, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_arrays(path: str | os.PathLike, names: Iterable[str], made_by: str) -> list[np.ndarray]:
    """Reads arrays by name from an archive; a ValueError that it cannot says that ``made_by`` was expected."""
    path, names = Path(path), list(names)
    check_regular_file(path, ValueError)
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive.files]
            arrays = [archive[name] for name in names if name in archive.files]
    except Exception as error:  # A damaged archive raises whatever its parser stumbles over.
        raise ValueError(
            f"{path}: is no whole archive of plain arrays ({reason(error)}); expected {made_by}"
        ) from error
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; expected {made_by}")
    return arrays


def load_packed(path: str | os.PathLike) -> PackedPictures:
    """Reads a file of :func:`save_packed` and checks that its parts fit together."""
    fields = PackedPictures._fields
    packed = PackedPictures(*load_arrays(path, fields, "a file of experiments/demo/pack_pictures.py"))
    for prefix in ("", "holdout_"):
        pictures, boxes = (getattr(packed, prefix + name) for name in ("pictures", "boxes"))
        if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != np.uint8:
            described = f"{prefix}pictures is {pictures.dtype} {pictures.shape}"
            raise ValueError(f"{path}: {described}; expected uint8 [M, S, S, 3]")
        if boxes.shape != (len(pictures), 4):
            raise ValueError(f"{path}: {prefix}boxes has shape {boxes.shape}; expected {(len(pictures), 4)}")
    return packed


def _pictures_below(folder: Path) -> Iterator[Path]:
    check_directory(folder)
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    for directory in inner or [folder]:
        yield from sorted(list_images(directory))  # as text: what shipped weights never saw stays held out
