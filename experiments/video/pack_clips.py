r"""Packs training clips, each a folder of frames, into one file. Two seconds.

    python -m experiments.video.pack_clips --data ../shared/data --out build/clips.npz

Their sources and terms: docs/video.md; they are not part of the project.
"""

import sys
from pathlib import Path

import numpy as np

from experiments.script import DATA, script
from lvm_mtc.data.clips import load_clip

PACKED = Path("build/clips.npz")


@script(
    data="folder with clips/train (default: %(default)s)", out="the .npz file to write", frames="of a clip, the first"
)
def main(data: Path = DATA, out: Path = PACKED, frames: int = 64) -> None:
    """Pack the training clips into one file."""
    folders = sorted(path for path in (data / "clips" / "train").iterdir() if path.is_dir())
    clips = np.stack([load_clip(folder, limit=frames) for folder in folders])
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, clips=clips, names=[folder.name for folder in folders])
    print(f"{out}: {len(clips)} clips of {clips.shape[1]} frames, {out.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    sys.exit(main())
