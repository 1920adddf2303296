"""The demo's photographs: those that an installed scikit-image carries as files, with object boxes measured by hand.

None of them is among the training pictures, and none is downloaded: scikit-image's own loader is not even imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.boxes import corners_to_center
from lvm_mtc.data.images import ImageError, load_image
from lvm_mtc.data.views import DEFAULT_BOX_FRACTION, DEFAULT_OVERLAP, resize_windows, uav_views


class DemoPicture(NamedTuple):
    """One photograph of the demo.

    Attributes:
        file: File name in scikit-image's data folder.
        shape: Height and width that the box was measured in, pixels.
        corners: Left, top, right, bottom edge of the object's box, pixels.
        what: What the box holds.
    """

    name: str
    file: str
    shape: tuple[int, int]
    corners: tuple[int, int, int, int]
    what: str


class DemoViews(NamedTuple):
    """The demo's views.

    Attributes:
        names: Of the P photographs.
        views: ``[P, K, size, size, 3]`` uint8.
        cameras: ``[P, K, camera_size, camera_size, 3]`` uint8, the same views with more pixels, for a detector.
        boxes: ``[P, K, 4]`` float32, centre x, centre y, width, height, pixels of the view.
    """

    names: tuple[str, ...]
    views: np.ndarray
    cameras: np.ndarray
    boxes: np.ndarray


DEMO_PICTURES = (
    DemoPicture("astronaut", "astronaut.png", (512, 512), (152, 14, 302, 190), "her head"),
    DemoPicture("camera", "camera.png", (512, 512), (155, 63, 327, 215), "his head and the camera; a grey picture"),
    DemoPicture("chelsea", "chelsea.png", (300, 451), (133, 82, 345, 166), "the cat's eyes"),
    DemoPicture("coffee", "coffee.png", (400, 600), (190, 30, 392, 194), "the cup's opening, inside its rim"),
    DemoPicture("coins", "coins.png", (303, 384), (189, 169, 237, 217), "one coin; a grey picture"),
    DemoPicture("motorcycle", "motorcycle_left.png", (500, 741), (320, 238, 484, 384), "the engine"),
    DemoPicture("rocket", "rocket.jpg", (427, 640), (287, 126, 357, 408), "the rocket and its launcher"),
)
# The boxes are parts of objects where the whole object fills the photograph: at the default geometry each covers 10 to
# 40 % of every view. Left out: textures, drawings, microscopy, and the smooth moon and retina, which any codec likes.


def demo_picture_folder() -> Path:
    """Finds scikit-image's data folder without importing scikit-image."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise ImageError("scikit-image is not installed; the demo takes its photographs: pip install 'lvm-mtc[demo]'")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    if not folder.is_dir():
        raise ImageError(f"{folder}: does not exist; expected the data folder of a scikit-image wheel")
    return folder


def load_demo_picture(picture: DemoPicture) -> tuple[np.ndarray, np.ndarray]:
    """Loads one photograph ``[H, W, 3]`` uint8 with its box ``[4]`` float64, centre x, centre y, width, height, pixels.

    Raises:
        ImageError: if scikit-image or the file is missing, or the photograph is not the one that was measured.
    """
    path = demo_picture_folder() / picture.file
    image = load_image(path)
    if image.shape[:2] != picture.shape:
        wanted = f"{picture.shape}, in which the box was measured"
        raise ImageError(f"{path}: has shape {image.shape[:2]}; expected {wanted}")
    return image, corners_to_center(np.array(picture.corners))


def demo_views(
    num_uavs: int = 4,
    size: int = 96,
    *,
    overlap: float = DEFAULT_OVERLAP,
    box_fraction: float = DEFAULT_BOX_FRACTION,
    camera_size: int = 320,
) -> DemoViews:
    """Cuts every photograph of the demo into K overlapping views (:func:`lvm_mtc.data.uav_views`).

    Args:
        num_uavs: K >= 1.
        size: Side of the views, pixels.
        overlap: Shared fraction of neighbouring views, in [0, 1).
        box_fraction: Area of the box over the area of a view that is aimed at, in (0, 1]; a small one gives the widest
            views that fit.
        camera_size: Side of what a detector gets to see, pixels.
    """
    views, cameras, boxes = [], [], []
    for picture in DEMO_PICTURES:
        image, box = load_demo_picture(picture)
        cut = uav_views(image, num_uavs, overlap, size=size, box=box, box_fraction=box_fraction)
        views.append(cut.views)
        cameras.append(resize_windows(image, cut.windows, camera_size))
        boxes.append(cut.boxes)
    names = tuple(picture.name for picture in DEMO_PICTURES)
    return DemoViews(names, np.stack(views), np.stack(cameras), np.stack(boxes))
