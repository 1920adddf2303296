r"""Packs synthetic scenes, textured from the training photographs of PASCAL VOC, into one file. One minute.

    python -m experiments.stereo.pack --data ../shared/data --out build/stereo.npz

Terms of the photographs: docs/stereo.md; they are not part of the project.
"""

import sys
from pathlib import Path

import numpy as np

from experiments.script import DATA, script
from lvm_mtc.data import load_image
from lvm_mtc.data.stereo import StereoPairs, save_stereo
from lvm_mtc.data.synthetic_stereo import synthetic_stereo
from lvm_mtc.data.voc import read_voc_list

PACKED = Path("build/stereo.npz")
SIZE, MAX_DISPARITY = 64, 10.0
_TEXTURES = 400


@script(
    data="folder with voc2012_320 (default: %(default)s)", out="the .npz file to write", num="scenes",
    seed="of the scenes",
)  # fmt: skip
def main(data: Path = DATA, out: Path = PACKED, num: int = 1500, seed: int = 0) -> None:
    """Pack scenes to train on into one file."""
    pairs = scenes(data, "train", num, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_stereo(out, pairs)
    print(f"{out}: {len(pairs)} scenes of {SIZE} x {SIZE} pixels, {out.stat().st_size / 2**20:.1f} MiB")


def scenes(data: Path, split: str, num: int, seed: int) -> StereoPairs:
    """Scenes whose textures are of photographs of a split of VOC, ``"train"`` or ``"val"``."""
    textures = textures_of(data, split, seed)
    return synthetic_stereo(num, SIZE, seed=seed, textures=textures, max_disparity=MAX_DISPARITY)


def textures_of(data: Path, split: str, seed: int) -> list[np.ndarray]:
    """Four hundred photographs of the split, ``[H, W, 3]`` uint8 each."""
    folder = data / "voc2012_320"
    names = read_voc_list(folder / "ImageSets" / "Main" / f"{split}.txt")
    chosen = np.random.default_rng(seed).choice(names, min(_TEXTURES, len(names)), replace=False)
    return [load_image(folder / "JPEGImages" / f"{name}.jpg") for name in chosen]


if __name__ == "__main__":
    sys.exit(main())
