"""CIFAR-10 from the official binary files, from lossless sheets, and from class folders."""

from __future__ import annotations

import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.files import check_directory, check_regular_file, natural_order, reason
from lvm_mtc.data.images import decode_image, is_picture, load_image
from lvm_mtc.data.resizing import fit_image

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""Label order of CIFAR-10, which is also the alphabetical order."""

SIDE = 32
RECORDS_PER_FILE = 10_000
MAX_MEMBER_BYTES = 10_000_000
MAX_ARCHIVE_BYTES = 2_000_000_000
"""A small archive can unfold to any size; CIFAR-10 as JPEG files is 60 MB."""

_RECORD_BYTES = 1 + 3 * SIDE * SIDE
_SHEET_ROWS, _SHEET_COLUMNS = 1000, SIDE * SIDE


class Cifar10Error(ValueError):
    """A CIFAR-10 file that cannot be used. The message is one line: the file, the reason, and what would be right."""


class LabelledPictures(NamedTuple):
    """Pictures with class labels.

    Attributes:
        pictures: ``[M, H, W, 3]`` uint8.
        labels: ``[M]`` uint8 for CIFAR-10's own files, int64 for class folders; index into ``classes``.
        classes: Class names, in label order.
    """

    pictures: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


def read_cifar10_bin(path: str | os.PathLike, *, num_records: int = RECORDS_PER_FILE) -> LabelledPictures:
    """Reads one file of the official binary version: records of one label byte and 3 x 32 x 32 samples, channels first.

    Args:
        path: ``data_batch_1.bin`` to ``data_batch_5.bin`` or ``test_batch.bin``.
        num_records: Records that the file must hold.

    Raises:
        Cifar10Error: if the file is missing, its size is not that of the records, or a label is above 9.
    """
    path = Path(path)
    check_regular_file(path, Cifar10Error)
    size = path.stat().st_size
    if size != num_records * _RECORD_BYTES:
        wanted = f"{num_records * _RECORD_BYTES}, which is {num_records} records of {_RECORD_BYTES}"
        raise Cifar10Error(f"{path}: has {size} bytes; expected {wanted} (the binary version of CIFAR-10)")
    records = np.fromfile(path, dtype=np.uint8).reshape(-1, _RECORD_BYTES)
    labels = records[:, 0].copy()
    _check_labels(labels, path)
    pictures = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return LabelledPictures(np.ascontiguousarray(pictures), labels, CIFAR10_CLASSES)


def load_cifar10_binary(
    directory: str | os.PathLike, split: str = "train", *, num_records: int = RECORDS_PER_FILE
) -> LabelledPictures:
    """Reads a split of the official binary version, ``train`` (all five batches, in order) or ``test``.

    Args:
        directory: Folder with ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``.
        num_records: Records that each file must hold.
    """
    directory = Path(directory)
    files = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
    if split not in files:
        raise Cifar10Error(f"split must be 'train' or 'test', got {split!r}")
    check_directory(directory, Cifar10Error)
    parts = [read_cifar10_bin(directory / name, num_records=num_records) for name in files[split]]
    pictures, labels = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    return LabelledPictures(pictures, labels, CIFAR10_CLASSES)


def load_cifar10_sheets(directory: str | os.PathLike) -> LabelledPictures:
    """Reads lossless sheets: ``cifar10_batch_<b>.png``, b = 0, 1, ..., and one ``labels_train_*.npy``.

    Row i of sheet b is picture 1000 b + i: 1024 RGB pixels, a 32 x 32 picture in row-major order.

    Raises:
        Cifar10Error: if sheets or labels are missing, do not follow one another, or disagree in number, shape or range.
    """
    directory = Path(directory)
    check_directory(directory, Cifar10Error)
    sheets = sorted(directory.glob("cifar10_batch_*.png"))
    expected = [directory / f"cifar10_batch_{index}.png" for index in range(len(sheets))]
    if not sheets or set(sheets) != set(expected):
        names = ", ".join(path.name for path in sheets) or "none"
        raise Cifar10Error(f"{directory}: sheets found: {names}; expected cifar10_batch_0.png and so on without a gap")
    rows = []
    for path in expected:
        sheet = load_image(path)
        if sheet.shape != (_SHEET_ROWS, _SHEET_COLUMNS, 3):
            wanted = f"{_SHEET_COLUMNS} x {_SHEET_ROWS}"
            raise Cifar10Error(f"{path}: is {sheet.shape[1]} x {sheet.shape[0]} pixels; expected {wanted}")
        rows.append(sheet.reshape(_SHEET_ROWS, SIDE, SIDE, 3))
    pictures = np.concatenate(rows)
    label_files = sorted(directory.glob("labels_train_*.npy"))
    if len(label_files) != 1:
        raise Cifar10Error(f"{directory}: holds {len(label_files)} files labels_train_*.npy; expected one")
    labels = _read_labels(label_files[0], len(pictures))
    return LabelledPictures(pictures, labels, CIFAR10_CLASSES)


def load_class_folders(
    path: str | os.PathLike,
    split: str,
    *,
    size: int | tuple[int, int] | None = SIDE,
    limit_per_class: int | None = None,
) -> LabelledPictures:
    """Reads pictures that lie in a folder per class, ``<split>/<class>/<file>``, on disk or in a tar archive.

    An archive is read as a stream and never unpacked: a member that is a link or a device, has an absolute name, or has
    ``..`` in its name is an error. Classes are sorted by name as text (for CIFAR-10 that is its label order, and other
    libraries number them so), pictures in ``natural_order``. Pictures may be JPEG copies; numbers measured on those do
    not compare with published ones.

    Args:
        path: The folder that holds ``<split>``, or a ``.tar``, ``.tar.gz``, ``.tar.bz2`` or ``.tar.xz`` of it.
        split: Name of the split, for example ``train``.
        size: Side, or height and width, that every picture is fitted to; None requires that all have one size.
        limit_per_class: Takes only the first so many of each class; None takes all.

    Raises:
        Cifar10Error: if the split is missing or empty, the archive is damaged or unsafe, or sizes differ.
    """
    path = Path(path)
    if limit_per_class is not None and limit_per_class < 1:
        raise ValueError(f"limit_per_class must be at least 1 or None, got {limit_per_class!r}")
    files = _folder_files(path, split) if path.is_dir() else _archive_files(path, split)
    by_class: dict[str, list[tuple[str, Path | bytes]]] = {}
    for class_name, file_name, content in files:
        by_class.setdefault(class_name, []).append((file_name, content))
    if not by_class:
        raise Cifar10Error(f"{path}: holds no picture below {split}/; expected {split}/<class>/<file>")
    classes = tuple(sorted(by_class))
    pictures, labels = [], []
    for label, class_name in enumerate(classes):
        of_class = sorted(by_class[class_name], key=lambda item: natural_order(item[0]))
        for file_name, content in of_class[:limit_per_class]:
            if isinstance(content, bytes):
                image = decode_image(io.BytesIO(content), f"{path}:{split}/{class_name}/{file_name}")
            else:
                image = load_image(content)
            image = image if size is None else fit_image(image, size)
            if pictures and image.shape != pictures[0].shape:
                shapes = f"{image.shape} and the first picture {pictures[0].shape}"
                raise Cifar10Error(f"{path}: {class_name}/{file_name} has shape {shapes}; expected one, or pass size=")
            pictures.append(image)
            labels.append(label)
    return LabelledPictures(np.stack(pictures), np.array(labels), classes)


def _folder_files(path: Path, split: str) -> Iterator[tuple[str, str, Path]]:
    if not split or split != os.path.basename(split) or split in (".", ".."):
        raise Cifar10Error(f"split must be the plain name of a folder, got {split!r}")
    check_directory(path / split, Cifar10Error)
    for folder in (path / split).iterdir():
        if folder.is_dir():
            for file in folder.iterdir():
                if is_picture(file.name):
                    yield folder.name, file.name, file


def _archive_files(path: Path, split: str) -> Iterator[tuple[str, str, bytes]]:
    check_regular_file(path, Cifar10Error)
    total = 0
    try:
        with tarfile.open(path, mode="r:*", tarinfo=_StrictTarInfo) as archive:
            for member in archive:
                parts = _safe_parts(member, path)
                total += member.size
                if total > MAX_ARCHIVE_BYTES:
                    raise Cifar10Error(f"{path}: unpacks to too much; expected at most {MAX_ARCHIVE_BYTES} bytes")
                if member.isreg() and len(parts) == 3 and parts[0] == split and is_picture(parts[2]):
                    yield parts[1], parts[2], archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        wanted = f"expected {split}/<class>/<file>"
        raise Cifar10Error(f"{path}: is not a whole tar archive ({reason(error)}); {wanted}") from error


class _StrictTarInfo(tarfile.TarInfo):
    """A damaged or cut-off archive is an error: tarfile itself takes it for one that ends there."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {archive.offset}") from error


def _safe_parts(member: tarfile.TarInfo, path: Path) -> tuple[str, ...]:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name:
        raise Cifar10Error(f"{path}: member {member.name!r} leaves the archive; expected <split>/<class>/<file>")
    if not (member.isreg() or member.isdir()):
        raise Cifar10Error(f"{path}: member {member.name!r} is a link or a device; expected files and folders only")
    if member.size > MAX_MEMBER_BYTES:
        raise Cifar10Error(f"{path}: member {member.name!r} holds {member.size} bytes, above {MAX_MEMBER_BYTES}")
    return name.parts


def _read_labels(path: Path, count: int) -> np.ndarray:
    check_regular_file(path, Cifar10Error)
    try:
        labels = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise Cifar10Error(f"{path}: is no plain array ({error}); expected {count} labels") from error
    if not isinstance(labels, np.ndarray) or labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise Cifar10Error(f"{path}: holds {getattr(labels, 'shape', type(labels))}; expected {count} whole numbers")
    _check_labels(labels, path)
    return labels.astype(np.uint8)


def _check_labels(labels: np.ndarray, path: Path) -> None:
    wrong = (labels < 0) | (labels >= len(CIFAR10_CLASSES))
    if wrong.any():
        index = int(np.argmax(wrong))
        raise Cifar10Error(f"{path}: label {int(labels[index])} of picture {index}; expected 0 to 9")
