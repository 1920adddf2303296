"""Pictures from files: every oddity is either handled or refused with one line that names the file and the reason."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lvm_mtc.data.resizing import fit_image

MAX_PIXELS = 50_000_000
"""Largest picture that is decoded: 150 MB of samples. A small file can claim far more than it holds."""

MIN_SIDE = 16
"""Smallest side in pixels: two patches of 8."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# A closed list: Pillow's other readers include PostScript, which starts an external program. Drones' multi-picture
# files come in through the JPEG reader.

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

_BACKGROUND = (255, 255, 255)


class ImageError(ValueError):
    """A picture that cannot be used. The message is one line: the file, the reason, and what would be right."""


class PictureFolder(NamedTuple):
    """Pictures of one folder, sorted by file name.

    Attributes:
        names: File names.
        pictures: uint8 RGB, ``[M, H, W, 3]`` where a size was asked for, else a list of M arrays ``[H_m, W_m, 3]``.
    """

    names: tuple[str, ...]
    pictures: np.ndarray | list[np.ndarray]


def load_image(path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE) -> np.ndarray:
    """Reads one picture as 8-bit RGB.

    Grey, palette and CMYK pictures are converted; transparency is laid over white; 16-bit samples keep their upper
    8 bits; the EXIF orientation is applied, and ignored where the EXIF block is garbled; of an animation or a
    multi-picture file the first picture is taken. Colour profiles are not applied.

    Args:
        path: A JPEG, PNG, WebP, BMP, GIF, TIFF or PPM file.
        max_pixels: Largest width times height that is decoded, pixels. Pillow's own limit (twice
            ``PIL.Image.MAX_IMAGE_PIXELS``) holds beside it.
        min_side: Smallest width and height that is accepted, pixels.

    Returns:
        ``[H, W, 3]`` uint8.

    Raises:
        ImageError: if the file is missing, a folder, empty, not a picture, damaged, too small or too large.
    """
    path = Path(path)
    check_regular_file(path)
    try:
        with open(path, "rb") as stream:
            return decode_image(stream, str(path), max_pixels=max_pixels, min_side=min_side)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error}); expected a readable file") from error


def decode_image(stream: BinaryIO, name: str, *, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE) -> np.ndarray:
    """Decodes one picture from an open binary stream; see :func:`load_image`.

    Args:
        stream: Binary, seekable.
        name: What messages call the picture.
        max_pixels: Largest width times height that is decoded, pixels.
        min_side: Smallest width and height that is accepted, pixels.

    Returns:
        ``[H, W, 3]`` uint8.

    Raises:
        ImageError: as :func:`load_image`.
    """
    with warnings.catch_warnings():
        # Pillow warns of sizes between one and two times its limit; max_pixels decides about those here.
        warnings.simplefilter("ignore")
        Image.init()  # Pillow loads half of its readers late, and fails on the name of one that is not loaded yet.
        try:
            image = Image.open(stream, formats=[name for name in FORMATS if name in Image.OPEN])
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name}: {error}; expected at most {max_pixels} pixels") from error
        except UnidentifiedImageError as error:
            known = ", ".join(FORMATS)
            raise ImageError(f"{name}: is not a picture that can be read here; expected one of {known}") from error
        except Exception as error:  # A damaged file raises whatever its parser stumbles over, struct.error included.
            raise ImageError(f"{name}: {_damage(error)}; expected a whole picture file") from error
        with image:
            _check_extent(image, name, max_pixels, min_side)
            try:
                image.load()
                return np.array(_to_rgb(_upright(image), name))
            except ImageError:
                raise
            except Exception as error:
                raise ImageError(f"{name}: {_damage(error)}; expected a whole picture file") from error


def list_images(directory: str | os.PathLike, *, limit: int | None = None) -> list[Path]:
    """Lists the picture files of a folder by suffix, sorted by name; hidden files and sub-folders are left out.

    Args:
        directory: The folder.
        limit: Takes only the first so many; None takes all.

    Returns:
        Paths, at least one.

    Raises:
        ImageError: if the folder is missing or not a folder, or holds no picture file.
        ValueError: if ``limit`` is below 1.
    """
    directory = Path(directory)
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 or None, got {limit!r}")
    check_directory(directory)
    try:
        entries = list(directory.iterdir())
    except OSError as error:
        raise ImageError(f"{directory}: cannot be read ({error.strerror}); expected a readable folder") from error
    paths = sorted(path for path in entries if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    if not paths:
        raise ImageError(f"{directory}: holds no picture; expected files that end in {', '.join(SUFFIXES)}")
    return paths[:limit]


def iter_images(
    paths: Sequence[str | os.PathLike], *, size: int | tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[tuple[Path, np.ndarray]]:
    """Reads pictures one after another, so that a folder of any size fits in memory.

    Args:
        paths: Picture files.
        size: Side, or height and width, that every picture is fitted to (:func:`fit_image`); None keeps each as it is.
        max_pixels: Largest width times height that is decoded, pixels.

    Yields:
        The path and its ``[H, W, 3]`` uint8 picture.

    Raises:
        ImageError: at the first picture that cannot be used.
        ValueError: if ``size`` is not one or two positive integers.
    """
    for path in paths:
        image = load_image(path, max_pixels=max_pixels)
        yield Path(path), image if size is None else fit_image(image, size)


def load_folder(
    directory: str | os.PathLike,
    *,
    size: int | tuple[int, int] | None = None,
    limit: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> PictureFolder:
    """Reads the pictures of one folder, sorted by file name.

    Args:
        directory: The folder; its sub-folders are not entered.
        size: Side, or height and width, that every picture is fitted to (:func:`fit_image`); None keeps each as it is.
        limit: Takes only the first so many files; None takes all.
        max_pixels: Largest width times height that is decoded, pixels.

    Returns:
        Names and pictures, stacked to ``[M, H, W, 3]`` uint8 where ``size`` is given.

    Raises:
        ImageError: if there is no picture, or one cannot be used: none is left out in silence.
        ValueError: if ``limit`` or ``size`` is out of range.
    """
    paths = list_images(directory, limit=limit)
    pictures = [image for _, image in iter_images(paths, size=size, max_pixels=max_pixels)]
    return PictureFolder(tuple(path.name for path in paths), pictures if size is None else np.stack(pictures))


def check_regular_file(path: Path, error: type[ValueError] = ImageError) -> None:
    """Refuses what is not a regular, non-empty file: opening a pipe would wait for ever.

    Args:
        path: The file.
        error: The exception to raise.

    Raises:
        ValueError: (as ``error``) if it is missing, a folder, a device or pipe, or empty.
    """
    status = _status(path, error, "a readable file")
    if stat.S_ISDIR(status.st_mode):
        raise error(f"{path}: is a folder; expected a file")
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{path}: is not a regular file; expected a file")
    if status.st_size == 0:
        raise error(f"{path}: is empty (0 bytes); expected a whole file")


def check_directory(path: Path, error: type[ValueError] = ImageError) -> None:
    """Refuses what is not an existing folder.

    Args:
        path: The folder.
        error: The exception to raise.

    Raises:
        ValueError: (as ``error``) if it is missing or not a folder.
    """
    if not stat.S_ISDIR(_status(path, error, "a folder").st_mode):
        raise error(f"{path}: is not a folder; expected a folder")


def _status(path: Path, error: type[ValueError], expected: str) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError as cause:
        raise error(f"{path}: does not exist; expected {expected}") from cause
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror}); expected {expected}") from cause
    except ValueError as cause:
        raise error(f"{str(path)!r}: is not a usable name ({cause}); expected {expected}") from cause


def _check_extent(image: Image.Image, name: str, max_pixels: int, min_side: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            f"{name}: {width} x {height} is {width * height} pixels, too large; expected at most {max_pixels} pixels"
        )
    if min(width, height) < min_side:
        raise ImageError(
            f"{name}: {width} x {height} pixels is too small; expected at least {min_side} pixels on each side"
        )


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # The pixels are whole; only the orientation cannot be known.
        return image


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "F":
        raise ImageError(f"{name}: holds floating-point samples without a stated range; expected 8 or 16 bits")
    if image.mode.startswith("I"):
        samples = np.asarray(image).astype(np.int64)
        if samples.min() < 0 or samples.max() > 65535:
            raise ImageError(
                f"{name}: samples span {samples.min()} to {samples.max()}; expected 8 or 16 bits (0 to 65535)"
            )
        image = Image.fromarray((samples >> 8).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        flat = Image.new("RGBA", layer.size, (*_BACKGROUND, 255))
        return Image.alpha_composite(flat, layer).convert("RGB")
    return image.convert("RGB")


def _damage(error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"is damaged or truncated ({reason})"
