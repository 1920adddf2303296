"""Clips: a folder of frames, or a video file (which needs PyAV, the extra ``video``)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lvm_mtc.data.files import check_regular_file, reason
from lvm_mtc.data.images import list_images, load_image
from lvm_mtc.data.resizing import center_crop, fit_image

MAX_FRAMES = 4096
"""Most frames of a clip that are read."""
MAX_SAMPLES = 3_000_000_000
"""Most numbers of a clip that are read, before it is scaled: 3 GB."""


class ClipError(ValueError):
    """A clip that cannot be used. The message is one line: the file, the reason, and what would be right."""


def load_clip(path: str | os.PathLike, size: tuple[int, int] | None = None, *, limit: int | None = None) -> np.ndarray:
    """Reads a clip, ``[frames, height, width, 3]`` uint8.

    Args:
        path: Folder of pictures, frames in the order of their names with numbers by value; or a video file.
        size: Height and width that every frame is scaled to, cut equally at both ends; None leaves them as they are.
        limit: Takes only the first so many frames.

    Raises:
        ClipError: if frames are of different sizes or kinds of file, there are too many, or a file is no video.
        ImportError: for a video file without PyAV.
    """
    path, most = Path(path), MAX_FRAMES + 1 if limit is None else limit
    frames = _frames_of_folder(path, most) if path.is_dir() else _frames_of_video(path, most)
    return np.stack(frames if size is None else [fit_image(frame, size) for frame in frames])


def _frames_of_folder(path: Path, most: int) -> list[np.ndarray]:
    files = list_images(path)
    kinds = sorted({file.suffix.lower() for file in files})
    if len(kinds) > 1:
        raise ClipError(f"{path}: holds pictures of several kinds, {', '.join(kinds)}; expected the frames of one clip")
    frames: list[np.ndarray] = []
    for file in files[:most]:
        _add(frames, load_image(file), file)
    return frames


def _add(frames: list[np.ndarray], frame: np.ndarray, name: Path) -> None:
    """Adds a frame, ``ClipError`` naming what holds it if it is one too many or of another size."""
    first = frame if not frames else frames[0]
    if frame.shape != first.shape:
        sizes = " and ".join(f"{width} x {height}" for height, width, _ in (frame.shape, first.shape))
        raise ClipError(f"{name}: differs in size from the frames before, {sizes}; expected frames of one size")
    frames.append(frame)
    if len(frames) > MAX_FRAMES:
        raise ClipError(f"{name}: more than {MAX_FRAMES} frames; name a limit of so many or fewer")
    if len(frames) * frame.size > MAX_SAMPLES:
        height, width, _ = frame.shape
        raise ClipError(f"{name}: {len(frames)} frames of {width} x {height} pixels are too large; name a limit")


def _frames_of_video(path: Path, most: int) -> list[np.ndarray]:
    check_regular_file(path, ClipError)
    av = import_av(f"{path} is a video file")
    frames = []
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                _add(frames, frame.to_ndarray(format="rgb24"), path)
                if len(frames) == most:
                    break
    except (av.FFmpegError, IndexError) as error:
        raise ClipError(f"{path}: cannot be read as a video ({error}); expected a video file") from error
    if not frames:
        raise ClipError(f"{path}: holds no frame; expected a video file")
    return frames


def import_av(why: str):
    """PyAV; ``ImportError`` in one line that begins with ``why``, where it is missing."""
    try:
        import av
    except ImportError as error:
        raise ImportError(f"{why}, which needs PyAV: pip install 'lvm-mtc[video]'") from error
    return av


def middle(clip: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle of each frame, without scaling."""
    return np.stack([center_crop(frame, size) for frame in clip])


def load_clips(path: str | os.PathLike) -> np.ndarray:
    """Reads packed training clips (``experiments/video/pack_clips.py``), ``[num, frames, height, width, 3]`` uint8.

    Raises:
        ClipError: if it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            clips = archive["clips"]
    except FileNotFoundError:
        hint = "experiments/video/pack_clips.py makes one"
        raise ClipError(f"{path}: there is no such file of packed clips; {hint}") from None
    except Exception as error:
        raise ClipError(f"{path} is not a file of packed clips: {reason(error)}") from error
    if clips.ndim != 5 or clips.shape[-1] != 3 or clips.dtype != np.uint8 or not len(clips):
        raise ClipError(f"{path}: clips must be [num, frames, height, width, 3] uint8, got {clips.shape} {clips.dtype}")
    return clips
