r"""Packs the training pictures into one file.

Reads ``imagenet1000_160``, ``aid150`` and ``voc2012_320`` below ``--data``, and writes one uncompressed ``.npz`` of
about 230 MB (see ``lvm_mtc.data.PackedPictures``). Ten seconds on one core.

    python experiments/pack_pictures.py --data ../shared/data --out build/pictures_160.npz --size 160
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

from lvm_mtc.data.packing import pack_pictures, save_packed, training_sources

REPOSITORY = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Packs the pictures.

    Args:
        arguments: Command line without the program's name; None takes the real one.

    Returns:
        Exit status: 0, or 2 after one line on stderr.
    """
    data = os.environ.get("LVM_MTC_DATA", str(REPOSITORY.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description="Pack the training pictures into one file.")
    parser.add_argument("--data", default=data, help="folder with the picture folders (default: %(default)s)")
    parser.add_argument("--out", default=str(REPOSITORY / "build" / "pictures_160.npz"), help="the .npz file to write")
    parser.add_argument("--size", type=int, default=160, help="side of the packed pictures in pixels")
    options = parser.parse_args(arguments)
    try:
        sources = training_sources(options.data)
        packed = pack_pictures(
            sources, options.size, progress=lambda items: tqdm(items, desc="packing", unit="picture", mininterval=1.0)
        )
        save_packed(options.out, packed)
    except (ValueError, OSError) as error:
        print(f"pack_pictures: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {len(packed.pictures)} pictures, {len(packed.holdout_pictures)} held out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
