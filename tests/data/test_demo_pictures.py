import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from lvm_mtc.data import DEMO_PICTURES, ImageError, demo_pictures, demo_views
from lvm_mtc.data.demo_pictures import demo_picture_folder, load_demo_picture


@pytest.mark.usefixtures("photographs")
def test_the_object_covers_10_to_40_percent_of_every_view():
    names, views, _, boxes = demo_views()
    assert len(names) >= 6 and views.shape == (len(names), 4, 96, 96, 3) and views.dtype == np.uint8
    covered = boxes[..., 2] * boxes[..., 3] / 96**2
    assert covered.min() >= 0.1 and covered.max() <= 0.4, covered
    corners = np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], axis=-1)
    assert corners.min() >= -1e-4 and corners.max() <= 96 + 1e-4


@pytest.mark.usefixtures("photographs")
@pytest.mark.parametrize("num_uavs", [1, 2, 8, 10])
def test_other_numbers_of_views_still_see_the_object(num_uavs):
    _, views, _, boxes = demo_views(num_uavs, 32)
    assert views.shape[1:3] == (num_uavs, 32)
    assert (boxes[..., 2] * boxes[..., 3]).min() > 0.02 * 32**2


@pytest.mark.usefixtures("photographs")
def test_cameras_are_the_views_with_more_pixels_and_a_small_fraction_widens_both():
    near, wide = (demo_views(2, 32, camera_size=128, **options) for options in ({}, {"box_fraction": 0.02}))
    for found in (near, wide):
        small = found.cameras.reshape(*found.cameras.shape[:2], 32, 4, 32, 4, 3).mean((3, 5))
        assert found.cameras.shape == (*found.views.shape[:2], 128, 128, 3)
        assert np.abs(small - found.views).mean() < 4
    areas = [np.prod(found.boxes[..., 2:], axis=-1).mean(1) for found in (near, wide)]
    assert np.all(areas[1] <= areas[0]) and np.median(areas[1] / areas[0]) < 0.8


@pytest.mark.usefixtures("photographs")
def test_pictures_are_photographs_and_boxes_hold_the_object():
    """The measured boxes stand out from their surroundings by what can be counted: colour or detail."""
    for picture in DEMO_PICTURES:
        image, (x, y, w, h) = load_demo_picture(picture)
        assert image.shape[:2] == picture.shape and len(np.unique(image)) > 100
        assert 0 <= x - w / 2 < x + w / 2 <= image.shape[1] and 0 <= y - h / 2 < y + h / 2 <= image.shape[0]
    coin, (x, y, w, h) = load_demo_picture(next(item for item in DEMO_PICTURES if item.name == "coins"))
    bright = coin[..., 0] > 90
    inside = bright[int(y - h / 2) : int(y + h / 2), int(x - w / 2) : int(x + w / 2)].mean()
    ring = bright[int(y - h) : int(y + h), int(x - w) : int(x + w)].mean()
    assert inside > 0.6 > 2 * (4 * ring - inside) / 3


@pytest.mark.usefixtures("photographs")
def test_the_demo_imports_neither_scikit_image_nor_jax():
    code = (
        "import sys; from lvm_mtc.data import demo_views; demo_views(2, 32); "
        "print(sorted({'skimage', 'jax', 'flax', 'scipy', 'matplotlib', 'tqdm'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"scikit-image is not installed.*pip install 'lvm-mtc\[demo\]'"):
        demo_views()
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ImageError, match="expected the data folder of a scikit-image wheel"):
        demo_picture_folder()
    (tmp_path / "data").mkdir()
    with pytest.raises(ImageError, match="astronaut.png: does not exist"):
        demo_views()


@pytest.mark.usefixtures("photographs")
def test_another_picture_under_the_name_is_refused():
    picture = demo_pictures.DEMO_PICTURES[0]._replace(shape=(10, 20))
    with pytest.raises(ImageError, match=r"has shape \(512, 512\); expected \(10, 20\), in which the box was measured"):
        load_demo_picture(picture)
