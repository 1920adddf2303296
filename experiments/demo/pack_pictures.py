r"""Packs the training pictures into one file.

Reads ``imagenet1000_160``, ``aid150`` and ``voc2012_320`` below ``--data``, and writes one uncompressed ``.npz`` of
about 230 MB (see ``lvm_mtc.data.PackedPictures``). Ten seconds on one core.

    python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz --size 160
"""

import functools
import sys
from pathlib import Path

from tqdm import tqdm

from experiments.script import DATA, script
from lvm_mtc.data.packing import pack_pictures, save_packed, training_sources


@script(
    data="folder with the picture folders (default: %(default)s)", out="the .npz file to write",
    size="side of the packed pictures in pixels",
)  # fmt: skip
def main(data: Path = DATA, out: Path = Path("build/pictures_160.npz"), size: int = 160) -> None:
    """Pack the training pictures into one file."""
    progress = functools.partial(tqdm, desc="packing", unit="picture", mininterval=1.0)
    packed = pack_pictures(training_sources(data), size, progress=progress)
    save_packed(out, packed)
    print(f"{out}: {len(packed.pictures)} pictures, {len(packed.holdout_pictures)} held out")


if __name__ == "__main__":
    sys.exit(main())
