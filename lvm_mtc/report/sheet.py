"""Pictures of a study: rows of a sheet, and picture files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lvm_mtc.report.figures import Picture, save_sheet
from lvm_mtc.report.shown import Shown


def sheet_rows(
    shown: Shown, loc: np.ndarray, labels: Sequence[str], *, max_rows: int = 8
) -> tuple[list[list[Picture]], list[str]]:
    """Original, what is sent and received pictures at every SNR, at the smallest CSI error, a row a view and channel.

    Args:
        loc: The objects' boxes, ``[B, K, 4]``, (x, y, w, h), centre, pixels.
        labels: Name of each group, ``[B]``.
        max_rows: Rows at most; the first view of each group comes first.
    """
    num_groups, num_uavs = shown.originals.shape[:2]
    channels = list(dict.fromkeys(at["channel"] for at in shown.points))
    error = min(at["csi_error_var"] for at in shown.points)
    numbered = sorted(enumerate(shown.points), key=lambda pair: pair[1]["snr_db"])
    views = [(group, uav) for uav in range(num_uavs) for group in range(num_groups)]
    rows, names = [], []
    for view in sorted(views[: max(1, max_rows // len(channels))]):
        for channel in channels:
            row = [
                Picture(image=shown.whole(shown.originals, view), caption="original", box=loc[view]),
                Picture(image=shown.whole(shown.kept, view), caption="what is sent"),
            ]
            for number, at in numbered:
                if at["channel"] == channel and at["csi_error_var"] == error:
                    caption = f"{at['snr_db']:g} dB: PSNR {shown.psnr_db[number][view]:.1f}"
                    image = shown.whole(shown.received[number], view) / 255.0
                    row.append(Picture(image=image, caption=caption))
            rows.append(row)
            names.append(f"{labels[view[0]]}, UAV {view[1]}\n{channel}")
    return rows, names


def write_clips(folder: str | os.PathLike, clips: Mapping[str, np.ndarray], *, title: str, most: int = 8) -> None:
    """Writes ``sheet.png``, at most ``most`` frames of each clip, and ``frames/`` with all of them as PNG files.

    Args:
        folder: An existing folder.
        clips: Name to ``[frames, height, width, 3]`` uint8, all of one length.
    """
    folder, (first, *_) = Path(folder), clips.values()
    shown = np.unique(np.linspace(0, len(first) - 1, most).round().astype(int))
    rows = [[Picture(image=clip[i] / 255.0, caption=f"frame {i}") for i in shown] for clip in clips.values()]
    save_sheet(folder / "sheet.png", rows, row_labels=list(clips), title=title)
    for name, clip in clips.items():
        (folder / "frames" / name).mkdir(parents=True)
        for i, frame in enumerate(clip):
            Image.fromarray(frame).save(folder / "frames" / name / f"{i:04d}.png")


def write_pictures(folder: str | os.PathLike, shown: Shown, labels: Sequence[str]) -> None:
    """Writes original and received pictures as PNG files into a new folder."""
    folder = Path(folder)
    folder.mkdir()
    originals = np.round(np.clip(shown.originals, 0, 1) * 255).astype(np.uint8)
    for group, uav in np.ndindex(originals.shape[:2]):
        stem = f"{labels[group]}-uav{uav}"
        Image.fromarray(shown.whole(originals, (group, uav))).save(folder / f"{stem}-original.png")
        for at, received in zip(shown.points, shown.received, strict=True):
            name = f"{stem}-{at['channel']}-{at['snr_db']:g}dB-csi{at['csi_error_var']:g}.png"
            Image.fromarray(shown.whole(received, (group, uav))).save(folder / name)
