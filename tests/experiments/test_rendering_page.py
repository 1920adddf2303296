"""The page about the renderer shows what its file of results says, and the study lifts and looks as it says."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.rendering import lego
from experiments.rendering.lift import CAPACITY, filled, lifted
from experiments.rendering.page import tables
from lvm_mtc.report.pages import fill_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = json.loads((DOCS / "rendering" / "results.json").read_text())
PAGE = (DOCS / "rendering.md").read_text()


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE, "run python -m experiments.rendering.measure --page-only"
    drifted = copy.deepcopy(RESULTS)
    drifted["lifted"][0]["psnr_1_db"] += 1
    assert fill_page(PAGE, tables(drifted)) != PAGE


def test_results_say_what_the_page_says():
    rows = {(r["source"], r["density"], r["views"], r["dilation"]): r for r in RESULTS["lifted"]}
    for source in ("synthetic", "Middlebury"):
        for density in CAPACITY:
            both, wide, left = (rows[source, density, *of] for of in ((2, 0.05), (2, 0.3), (1, 0.05)))
            assert both["psnr_1_db"] > max(wide["psnr_1_db"], left["psnr_1_db"])
        assert rows[source, 1, 2, 0.05]["psnr_1_db"] > rows[source, 2, 2, 0.05]["psnr_1_db"]
    assert all(row["overflow"] == 0 for row in RESULTS["lifted"])
    fit = RESULTS["lego"]
    assert fit["largest_overflow"] == fit["test"]["overflow"] == 0 and fit["test"]["psnr_db"] > 22


def test_unknown_disparity_is_the_smaller_of_its_neighbours():
    known = np.float32([[0, 3, 0, 0, 2, 5, 0], [0] * 7, [4, 0, 0, 0, 0, 0, 9]])
    want = [[3, 3, 2, 2, 2, 5, 5], [1] * 7, [4, 4, 4, 4, 4, 4, 9]]
    np.testing.assert_array_equal(filled(known), want)


@pytest.mark.parametrize("density", [1, 2])
def test_lifted_pixels_lie_where_both_views_see_them(density):
    rng, disparity = np.random.default_rng(0), np.zeros((2, 8, 12), np.float32)
    disparity[0], disparity[1] = 4.0, 2.0
    scene = lifted(rng.random((2, 8, 12, 3)), disparity, density)
    rows, columns = 8 // density, 12 // density
    for view, (d, place) in enumerate(((4.0, 0.0), (2.0, 1.0))):
        mean = np.asarray(scene.mean).reshape(2, rows, columns, 3)[view] - [place, 0, 0]
        np.testing.assert_allclose(mean[..., 2], 12 / d, rtol=1e-6)
        column = 12 * mean[..., 0] / mean[..., 2] + 6
        np.testing.assert_allclose(column[0], (np.arange(columns) + 0.5) * density, rtol=1e-5)
    np.testing.assert_allclose(scene.scale[0] * 4.0, 0.42 * density * np.array([1, 1, 0.2]), rtol=1e-5)


@pytest.mark.slow
def test_the_hull_of_a_ball_is_the_ball(tmp_path):
    """Cameras around a ball beside the origin; with their axes the wrong way round they would not see it."""
    radius, away, ball, angle = 0.5, 4.0, np.array([0.3, -0.2, 0.4]), 0.7
    frames, rng = [], np.random.default_rng(1)
    (tmp_path / "train").mkdir()
    y, x = np.mgrid[:100, :100] - 49.5
    for number in range(24):
        back = rng.normal(size=3)
        back /= np.linalg.norm(back)
        right = np.cross([0, 0, 1], back)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = np.stack([right, np.cross(back, right), back], axis=1), away * back
        rays = np.stack([x, -y, np.full_like(x, -50 / math.tan(angle / 2))], axis=-1) @ pose[:3, :3].T
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        apart = np.linalg.norm(np.cross(rays, ball - pose[:3, 3]), axis=-1)
        pixels = np.zeros((100, 100, 4), np.uint8)
        pixels[apart < radius] = [255, 0, 0, 255]
        Image.fromarray(pixels).save(tmp_path / "train" / f"{number}.png")
        frames.append({"file": f"{number}.png", "transform_matrix": pose.tolist()})
    (tmp_path / "transforms_train.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))
    views = lego.load_views(tmp_path, "train")
    assert views.pictures.shape == (24, 50, 50, 3) and set(np.unique(views.pictures[..., 0])) == {1.0}
    cells = lego.hull(views)
    assert np.linalg.norm(cells - ball, axis=1).max() < 1.3 * radius
    volume = len(cells) * (2 * lego.REACH / lego.GRID) ** 3
    assert 1 < volume / (4 / 3 * np.pi * radius**3) < 1.4
