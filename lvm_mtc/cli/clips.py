"""A clip that a user's flags say is to be sent, and ``lvm-mtc transmit --video``."""

import argparse
import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lvm_mtc.cli.plain import Kind, check_plain, transmit_plain, what_arrived, write_moving
from lvm_mtc.data.clips import ClipError, load_clip
from lvm_mtc.data.resizing import fit_image
from lvm_mtc.report.sheet import write_clips
from lvm_mtc.report.study import CLIP_METRICS
from lvm_mtc.results.points import Point
from lvm_mtc.schemes import name_of
from lvm_mtc.schemes.loading import CLIP_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Scheme, Source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.named import plain_contender
from lvm_mtc.sweep.paired import NamedSweep

LONGEST_SIDE = 288
"""Pixels; larger clips are scaled down to it."""
_TILE = 48
_TOLD = {"psnr_db": ("PSNR", 2), "ssim": ("SSIM", 3)}
KIND = Kind("video", "clips", CLIP_METRICS, tuple(_TOLD), _TOLD, per_step=1)


def load_clip_contender(
    path: Path, weights: str | os.PathLike | None, limit: int | None = None, *, num_uavs: int
) -> tuple[Contender, Source]:
    """A scheme for clips as it fits a clip, and K pieces of the clip, one after the other, ``[1, K, frames, ...]``.

    Frames are scaled down to ``LONGEST_SIDE`` at most, and cut to multiples of 48 pixels; the scheme sends as many
    symbols for a pixel as its weights say. Frames at the end that fill no group of pictures of each piece are left out.

    Args:
        path: As of ``load_clip``.
        weights: Weights file; None: the shipped ones.
        limit: As of ``load_clip``.
        num_uavs: K.

    Raises:
        ValueError: if the clip cannot be read or is too small or too short, or the weights are not for clips.
    """
    file = weights or CLIP_WEIGHTS
    scheme, params = load_scheme(file)
    if scheme.modality != "clips":
        raise ValueError(f"{file}: scheme {name_of(scheme)!r} sends {scheme.modality}, and a clip is to be sent")
    clip = load_clip(path, limit=limit)
    scheme = fitted(scheme, clip.shape, num_uavs, path)
    c = scheme.config
    frames = np.stack([fit_image(frame, c.size) for frame in clip[: num_uavs * c.num_frames]])
    pieces = np.float32(frames).reshape(1, num_uavs, c.num_frames, *frames.shape[1:]) / 255
    return plain_contender(scheme, params), Source(pieces)


def fitted(scheme: Scheme, shape: tuple[int, ...], num_uavs: int, path: Path) -> Scheme:
    """The scheme for K pieces of a clip ``[frames, height, width, 3]``, with its symbols for a pixel."""
    c, (frames, *sides, _) = scheme.config, shape
    scale = min(1.0, LONGEST_SIDE / max(sides))
    size = tuple(int(scale * side + 1e-6) // _TILE * _TILE for side in sides)
    if min(size) < _TILE:
        height, width = sides
        raise ClipError(f"{path}: frames of {width} x {height} pixels; expected {_TILE} or more on each side of "
                        f"{LONGEST_SIDE} on the longer one")  # fmt: skip
    num_frames = frames // num_uavs // c.gop * c.gop
    if not num_frames:
        needed = f"a group of {c.gop} for each of {num_uavs} UAVs is needed"
        raise ClipError(f"{path}: holds {frames} frames; {needed}")
    uses = round(c.num_uses * math.prod(size) / math.prod(c.size))
    config = dataclasses.replace(c, size=size, num_frames=num_frames, num_uses=uses)
    return dataclasses.replace(scheme, config=config)


def transmit_clip(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc transmit --video``; raises ``ValueError`` for wrong input."""
    check_plain(options, KIND)
    contender, source = load_clip_contender(options.video, options.weights, options.limit, num_uavs=options.uavs)
    frames, height, width = source.data.shape[2:5]
    described = f"{options.uavs} x {frames} frames of {width} x {height} pixels"

    def write(folder: Path, spec: NamedSweep, measured: Sequence[Point]) -> tuple[str, str]:
        points, arrived = what_arrived(spec)
        names = (f"{at['channel']}-{at['snr_db']:g}dB-csi{at['csi_error_var']:g}" for at in points)
        clips = {"original": np.uint8(np.round(source.data[0, 0] * 255))}
        clips |= {name: received[0, 0] for name, received in zip(names, arrived, strict=True)}
        write_clips(folder, clips, title=contender.name)
        labels = [f"piece {number} of the clip" for number in range(1, options.uavs + 1)]
        write_moving(folder / "player.html", spec, measured, arrived, labels)
        return "sheet.png", "player.html"

    transmit_plain(options, KIND, contender, source, described, write)
