"""What the demo sends in place of views: pictures for captions or questions, a clip, clouds, stereo pairs, as files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lvm_mtc.data.demo_pictures import DEMO_PICTURES, load_demo_picture
from lvm_mtc.data.stereo import VIEWS
from lvm_mtc.data.synthetic_stereo import synthetic_stereo

SMALL_SIZE = 128
# A camera that moves over the cat at half the photograph's scale: start and step of its corner, down and right.
NUM_FRAMES, FRAME_SIZE, START, STEP = 24, (96, 144), (20, 10), (1, 4)
# Boxes of each piece of furniture: corner and size along x, y and z, z up.
FURNITURE: Mapping[str, tuple[tuple[float, ...], ...]] = {
    "table": ((0, 0, 7, 12, 8, 0.6), *((x, y, 0, 0.8, 0.8, 7) for x in (0, 11.2) for y in (0, 7.2))),
    "chair": (
        (0, 0, 4, 5, 5, 0.6), (0, 4.4, 4.6, 5, 0.6, 6), *((x, y, 0, 0.6, 0.6, 4) for x in (0, 4.4) for y in (0, 4.4)),
    ),
    "bed": ((0, 0, 1, 14, 20, 3), (0, 19.4, 4, 14, 0.6, 5), (1, 15, 4, 5, 3.5, 1), (8, 15, 4, 5, 3.5, 1)),
    "bookshelf": (
        (0, 0, 0, 0.5, 3, 16), (9.5, 0, 0, 0.5, 3, 16), *((0.5, 0, z, 9, 3, 0.5) for z in (0, 3.8, 7.6, 11.4, 15.5)),
    ),
}  # fmt: skip
SCENES = Path(__file__).with_name("fa_semcom_scenes.npz")
"""Driving scenes with the package, as ``knowledge.scenes`` reads them."""
_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
_SIDES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))


def write_small_pictures(folder: Path) -> Path:
    """A folder of the demo's photographs, of each the square around its object.

    Raises:
        ImageError: if scikit-image is missing.
    """
    path = folder / "photographs"
    path.mkdir()
    for picture in DEMO_PICTURES:
        photograph, (x, y, *_) = load_demo_picture(picture)
        side = min(picture.shape)
        top, left = (int(np.clip(c - side / 2, 0, n - side)) for c, n in zip((y, x), picture.shape, strict=True))
        square = Image.fromarray(photograph[top : top + side, left : left + side])
        square.resize((SMALL_SIZE, SMALL_SIZE), Image.Resampling.BOX).save(path / f"{picture.name}.png")
    return path


def write_clip(folder: Path) -> Path:
    """A folder of frames of a camera that moves over one of the demo's photographs.

    Raises:
        ImageError: if scikit-image is missing.
    """
    path = folder / "flight"
    path.mkdir()
    (picture,) = (picture for picture in DEMO_PICTURES if picture.name == "chelsea")
    photograph, _ = load_demo_picture(picture)
    height, width = FRAME_SIZE
    for number in range(NUM_FRAMES):
        down, right = (start + number * step for start, step in zip(START, STEP, strict=True))
        frame = Image.fromarray(photograph[down : down + 2 * height, right : right + 2 * width])
        frame.resize((width, height), Image.Resampling.BOX).save(path / f"{number:02d}.png")
    return path


def write_clouds(folder: Path) -> Path:
    """A folder of four pieces of furniture as OFF meshes."""
    path = folder / "furniture"
    path.mkdir()
    for name, boxes in FURNITURE.items():
        corners = np.concatenate([np.array(box[:3]) + _CORNERS * np.array(box[3:]) for box in boxes])
        faces = [[8 * i + corner for corner in side] for i in range(len(boxes)) for side in _SIDES]
        lines = ["OFF", f"{len(corners)} {len(faces)} 0"]
        lines += [f"{x:g} {y:g} {z:g}" for x, y, z in corners] + ["4 {} {} {} {}".format(*face) for face in faces]
        (path / f"{name}.off").write_text("\n".join(lines) + "\n", encoding="ascii")
    return path


def write_stereo(folder: Path) -> Path:
    """A folder of two scenes of planes with colours at random, seen from the left and the right."""
    path = folder / "scenes"
    pairs = synthetic_stereo(2, 64, seed=0)
    for name, views in zip(("planes0", "planes1"), pairs.pictures, strict=True):
        (path / name).mkdir(parents=True)
        for view, picture in zip(VIEWS, views, strict=True):
            Image.fromarray(picture).save(path / name / f"{view}.png")
    return path


DEMO_SOURCES: Mapping[str, tuple[Any, ...]] = {
    "vlm_csc": ("images", write_small_pictures, "--captioner", "learned", "--snr-db=-6,-2,2,6"),
    "pvsc": ("video", write_clip),
    "point_clouds": ("clouds", write_clouds),
    "gs_scnet": ("stereo", write_stereo),
    "fa_semcom": (
        "images", lambda folder: SCENES, "--question", "how many cars are there?", "--channel", "awgn,fisher_snedecor",
        "--link", "num_rx_ant=1", "--link", "num_tx_ant=1", "--snr-db=-8,-4,0,4,8",
    ),
}  # fmt: skip
"""Scheme to the flag of ``lvm-mtc transmit`` that sends its kind of source, what writes one into a folder, and further
flags."""
