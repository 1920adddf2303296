"""Pictures from files: every oddity is either handled or refused with one line that names the file and the reason."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lvm_mtc.data.files import check_directory, check_regular_file, natural_order, reason

MAX_PIXELS = 50_000_000
"""Largest picture that is decoded: 150 MB of samples. A small file can claim far more than it holds.

Pillow's own limit, twice ``PIL.Image.MAX_IMAGE_PIXELS``, holds beside it."""

MIN_SIDE = 16
"""Smallest side in pixels: two patches of 8."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# A closed list: Pillow's other readers include PostScript, which starts an external program. Drones' multi-picture
# files come in through the JPEG reader.

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

_BACKGROUND = (255, 255, 255)

# TIFF's tags BitsPerSample and PhotometricInterpretation, whose value 0 says that 0 is white.
_BITS, _PHOTOMETRIC = 258, 262


class ImageError(ValueError):
    """A picture that cannot be used. The message is one line: the file, the reason, and what would be right."""


def load_image(path: str | os.PathLike) -> np.ndarray:
    """Reads one JPEG, PNG, WebP, BMP, GIF, TIFF or PPM picture as 8-bit RGB, ``[H, W, 3]`` uint8.

    Grey, palette and CMYK pictures are converted; transparency, a transparent colour included, is laid over white;
    12-bit and 16-bit samples keep their upper 8 bits; where a file counts from white to black that is undone; the EXIF
    orientation is applied, and ignored where the EXIF block is garbled; of an animation or a multi-picture file the
    first picture is taken. Colour profiles are not applied.

    Raises:
        ImageError: if the file is missing, a folder, empty, not a picture, damaged, too small or too large.
    """
    path = Path(path)
    check_regular_file(path, ImageError)
    try:
        with open(path, "rb") as stream:
            return decode_image(stream, str(path))
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error}); expected a readable file") from error


def what_is_taken(path: str | os.PathLike) -> str:
    """What :func:`load_image` takes of an animated or transparent picture: "the first of 12 frames"; of others ""."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            parts = ["transparency laid over white"] * image.has_transparency_data
            try:
                frames = getattr(image, "n_frames", 1)
            except Exception:  # Later pictures of a file may be damaged where the first is whole.
                frames = 1
    return ", ".join([f"the first of {frames} frames"] * (frames > 1) + parts)


def mode_of(path: str | os.PathLike) -> str:
    """Pillow's name for the samples of a picture that :func:`load_image` reads: "L" is grey of 8 bits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            return image.mode


def decode_image(stream: BinaryIO, name: str) -> np.ndarray:
    """Decodes one picture from a seekable binary stream, as :func:`load_image`; ``name`` is for messages."""
    with warnings.catch_warnings():
        # Pillow warns of sizes between one and two times its limit; MAX_PIXELS decides about those here.
        warnings.simplefilter("ignore")
        Image.init()  # Pillow loads half of its readers late, and fails on the name of one that is not loaded yet.
        try:
            image = Image.open(stream, formats=[name for name in FORMATS if name in Image.OPEN])
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name}: {error}; expected at most {MAX_PIXELS} pixels") from error
        except UnidentifiedImageError as error:
            known = ", ".join(FORMATS)
            raise ImageError(f"{name}: is not a picture that can be read here; expected one of {known}") from error
        except Exception as error:  # A damaged file raises whatever its parser stumbles over, struct.error included.
            raise ImageError(f"{name}: {_damage(error)}; expected a whole picture file") from error
        with image:
            _check_extent(image, name)
            try:
                tags, tile = getattr(image, "tag_v2", {}), image.tile[:1]
                image.load()
                _find_transparent_colour(image, tile, stream)
                return np.array(_to_rgb(_upright(image), name, tags))
            except ImageError:
                raise
            except Exception as error:
                raise ImageError(f"{name}: {_damage(error)}; expected a whole picture file") from error


def list_images(directory: str | os.PathLike, *, limit: int | None = None) -> list[Path]:
    """Lists the picture files of a folder by suffix, in :func:`natural_order`, without hidden ones and sub-folders.

    Args:
        limit: Takes only the first so many in that order; None takes all.

    Raises:
        ImageError: if the folder is missing or not a folder, or holds no picture file.
    """
    directory = Path(directory)
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 or None, got {limit!r}")
    check_directory(directory, ImageError)
    try:
        entries = list(directory.iterdir())
    except OSError as error:
        raise ImageError(f"{directory}: cannot be read ({error.strerror}); expected a readable folder") from error
    paths = sorted((path for path in entries if is_picture(path.name)), key=lambda path: natural_order(path.name))
    if not paths:
        raise ImageError(f"{directory}: holds no picture; expected files that end in {', '.join(SUFFIXES)}")
    return paths[:limit]


def is_picture(name: str) -> bool:
    """Whether a file of this name is a picture, by its suffix, and not hidden."""
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def _check_extent(image: Image.Image, name: str) -> None:
    width, height = image.size
    extent = f"{name}: {width} x {height}"
    if width * height > MAX_PIXELS:
        raise ImageError(f"{extent} is {width * height} pixels, too large; expected at most {MAX_PIXELS} pixels")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{extent} pixels is too small; expected at least {MIN_SIDE} pixels on each side")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # The pixels are whole; only the orientation cannot be known.
        return image


def _find_transparent_colour(image: Image.Image, tile: Sequence, stream: BinaryIO) -> None:
    """A PNG names its transparent colour in the samples of the file: finds it in those that Pillow gives."""
    rawmode = tile[0][3] if image.format == "PNG" and "transparency" in image.info and tile else None
    if rawmode in ("L;2", "L;4"):
        image.info["transparency"] *= 85 if rawmode == "L;2" else 17
    elif rawmode == "RGB;16B":
        # Pillow keeps the upper bytes; taken for numbers of the other byte order it keeps the lower ones.
        stream.seek(0)
        with Image.open(stream, formats=["PNG"]) as lower:
            lower.tile = [type(tile[0])(*tile[0][:3], "RGB;16L")]
            samples = np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)
        opaque = (samples != np.array(image.info.pop("transparency"))).any(axis=-1)
        image.putalpha(Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8)))


def _to_rgb(image: Image.Image, name: str, tags: Mapping) -> Image.Image:
    if image.mode == "F":
        raise ImageError(f"{name}: holds floating-point samples without a stated range; expected 8 or 16 bits")
    if image.mode.startswith("I"):
        image = _to_8_bits(image, name, tags)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        flat = Image.new("RGBA", layer.size, (*_BACKGROUND, 255))
        return Image.alpha_composite(flat, layer).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(image: Image.Image, name: str, tags: Mapping) -> Image.Image:
    """Grey of 12 or 16 bits as 8, with its transparent grey as alpha."""
    samples = np.asarray(image).astype(np.int64)
    if samples.min() < 0 or samples.max() > 65535:
        raise ImageError(f"{name}: samples span {samples.min()} to {samples.max()}; expected 8 or 16 bits (0 to 65535)")
    # Pillow turns white-is-zero round where it has 8 bits or fewer, and reads none of 12.
    shown = 65535 - samples if tags.get(_PHOTOMETRIC) == 0 else samples
    grey = Image.fromarray((shown >> (4 if tags.get(_BITS) == (12,) else 8)).astype(np.uint8))
    if "transparency" in image.info:
        grey.putalpha(Image.fromarray(np.where(samples == image.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def _damage(error: Exception) -> str:
    return f"is damaged or truncated ({reason(error)})"
