"""Masks as run lengths, the way COCO and SA-1B write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MAX_PIXELS = 100_000_000
"""Largest mask that is unpacked: a few characters can announce any size."""


class RleError(ValueError):
    """Run lengths that cannot be unpacked; one line."""


class Rle(NamedTuple):
    """A mask that is not unpacked yet.

    Attributes:
        height: Pixels.
        width: Pixels.
        counts: Lengths of runs, column after column from the top left, of 0 first; as text in COCO's compression.
    """

    height: int
    width: int
    counts: str | tuple[int, ...]


def decode_rle(rle: Rle) -> np.ndarray:
    """Unpacks a mask.

    Args:
        rle: The mask.

    Returns:
        ``[height, width]`` bool.

    Raises:
        RleError: if the size is not positive or larger than :data:`MAX_PIXELS`, the text is not COCO's compression, a
            run is negative, or the runs do not add up to the size.
    """
    height, width, counts = rle
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise RleError(f"a mask of {height} x {width} cannot be unpacked; expected at most {MAX_PIXELS} pixels")
    runs = decompress_counts(counts, height * width) if isinstance(counts, str) else list(counts)
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise RleError(f"{len(runs)} runs add up to {sum(runs)}, not to the {height} x {width} pixels of the mask")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def encode_rle(mask: np.ndarray) -> Rle:
    """Packs a mask, as uncompressed run lengths.

    Args:
        mask: ``[height, width]`` bool.

    Returns:
        The inverse of :func:`decode_rle`.

    Raises:
        ValueError: if ``mask`` is not two-dimensional or empty.
    """
    mask = np.asarray(mask, bool)
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"mask must be [height, width] with at least one pixel, got shape {mask.shape}")
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return Rle(*mask.shape, tuple([0, *runs] if flat[0] else runs))


def decompress_counts(text: str, pixels: int) -> list[int]:
    """Run lengths from COCO's text: six bits a character from '0' on, five of value and one that says "more follows".

    From the third run on the text holds the difference to the run before the last.

    Args:
        text: Characters '0' to 'o'.
        pixels: Size of the mask, beyond which no run can go.

    Returns:
        Run lengths.

    Raises:
        RleError: for another character, a text that ends within a run, or a run that is negative or too long.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise RleError(f"run lengths hold the character {character!r}; expected '0' to 'o'")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            if shift > 60:
                raise RleError("a run length goes on for more than 60 bits")
            continue
        if bits & 16:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if not 0 <= value <= pixels:
            raise RleError(f"run {len(runs)} is {value}; expected 0 to {pixels}")
        runs.append(value)
        value, shift = 0, 0
    if shift:
        raise RleError("the text ends within a run length")
    return runs


def mask_box(mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """The smallest box around a mask, ``(x, y, w, h)``, centre, pixels; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return (left + right) / 2, (top + bottom) / 2, float(right - left), float(bottom - top)


def parse_rle(size: Sequence[int], counts: object) -> Rle:
    """Checks what a file says, without unpacking it.

    Args:
        size: Height and width.
        counts: Text, or a list of whole numbers.

    Returns:
        The mask.

    Raises:
        RleError: if it is anything else.
    """
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in size)
    if len(size) != 2 or not whole:
        raise RleError(f"'size' is {str(size)[:60]}; expected height and width")
    if isinstance(counts, list) and all(isinstance(run, int) and not isinstance(run, bool) for run in counts):
        counts = tuple(counts)
    elif not isinstance(counts, str):
        raise RleError(f"'counts' is a {type(counts).__name__}; expected a text, or a list of whole numbers")
    return Rle(size[0], size[1], counts)
