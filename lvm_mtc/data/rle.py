"""Masks as run lengths, the way COCO and SA-1B write them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MAX_PIXELS = 100_000_000
"""Largest mask that is unpacked: a few characters can announce any size."""


class RleError(ValueError):
    """Run lengths that cannot be unpacked; one line."""


class Rle(NamedTuple):
    """A mask of height x width pixels that is not unpacked yet.

    Attributes:
        counts: Lengths of runs, column after column from the top left, of 0 first; as text in COCO's compression.
    """

    height: int
    width: int
    counts: str | tuple[int, ...]


def decode_rle(rle: Rle) -> np.ndarray:
    """Unpacks a mask, ``[height, width]`` bool.

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


def decompress_counts(text: str, pixels: int) -> list[int]:
    """Run lengths from COCO's text: six bits a character from '0' on, five of value and one that says "more follows".

    From the third run on the text holds the difference to the run before the last. No run can go beyond ``pixels``, the
    size of the mask.
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
