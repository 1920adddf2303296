"""What the stereo study's views are held against: scenes from other places, rectified triples."""

import numpy as np
import pytest
from PIL import Image

from experiments.stereo import digital, places, thirds
from experiments.stereo.pack import MAX_DISPARITY, SIZE
from lvm_mtc.data.llff import read_llff
from lvm_mtc.data.synthetic_stereo import synthetic_stereo

RNG = np.random.default_rng(0)


def test_views_from_places_are_of_the_scenes_that_are_sent(monkeypatch):
    textures = [RNG.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(3)]
    monkeypatch.setattr(places, "textures_of", lambda data, split, seed: textures)
    monkeypatch.setattr(places, "SCENES", 2)
    pairs = synthetic_stereo(2, SIZE, seed=places.SEED, textures=textures, max_disparity=MAX_DISPARITY)
    left, middle, right = np.moveaxis(places.views_from(None, (0.0, 0.5, 1.0)), 1, 0)
    np.testing.assert_array_equal(np.stack([left, right], axis=1), pairs.pictures)
    np.testing.assert_array_equal(middle, pairs.middle)


def test_a_row_a_place_and_none_where_the_view_is_the_truth():
    true = np.float32(RNG.uniform(0.2, 0.8, (3, len(places.PLACES), 8, 8, 3)))
    seen = true + np.float32([0.1])
    seen[:, 1] = true[:, 1]
    rows = list(places.rows(true, {"one": places.Seen(seen, 4)}))
    assert [row["place"] for row in rows] == [place for place in places.PLACES if place != 0]
    # An error of 0.1 everywhere is 20 dB.
    assert all(row["psnr_db"] == pytest.approx(20, abs=1e-4) and row["overflow"] == 4 for row in rows)


def test_pairs_side_by_side_and_back():
    pictures = RNG.integers(0, 256, (2, 2, 4, 6, 3), np.uint8)
    assert digital.beside(pictures).shape == (2, 4, 12, 3)
    np.testing.assert_array_equal(digital.halves(digital.beside(pictures)), pictures)


def capture(folder, order=(0, 1, 2)):
    """Three photographs of 32 x 24 pixels from cameras on the x axis at 0, 0.5 and 2, which look along z."""
    x = np.array([0, 0.5, 2.0])[list(order)]
    rows = [[[0, 1, 0, at, 24], [1, 0, 0, 0, 32], [0, 0, -1, 0, 20]] for at in x]
    np.save(folder / "poses_bounds.npy", np.concatenate([np.float64(rows).reshape(3, 15), [[4.0, 9.0]] * 3], axis=1))
    views = RNG.integers(0, 256, (3, 24, 32, 3), np.uint8)[list(order)]
    for number, view in enumerate(views):
        Image.fromarray(view).save(folder / f"{number:03d}.png")
    return views


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_a_triple_is_the_left_the_right_and_the_middle_view_of_a_capture(tmp_path, monkeypatch, order):
    views = capture(tmp_path, order)
    monkeypatch.setattr(thirds, "SIZE", (12, 16))
    triple = thirds.triple_of(tmp_path, read_llff(tmp_path / "poses_bounds.npy"), (0, 1, 2))
    assert triple.numbers == order and triple.place == pytest.approx(0.25)
    wanted = smoothed(views[list(order)][[0, 2, 1]])
    assert np.abs(triple.views - wanted).max() <= 0.5 + 1e-9  # rounding to 8 bits
    assert triple.valid[:, 1:-1, 1:-1].all()
    geometry = triple.geometry
    assert geometry["turned_deg"] == pytest.approx(0, abs=1e-5)
    # Half of 20 pixels, times the baseline 2, over the depth 4.
    assert geometry["largest_disparity"] == pytest.approx(5) and geometry["rows_off"] == pytest.approx(0, abs=1e-12)


def smoothed(views):
    """Means of 2 x 2 pixels with weights of rays at 1/4 and 3/4 between the centres, ``[n, H / 2, W / 2, 3]``."""
    weights = np.array([1, 7, 7, 1]) / 16  # rays at -3/4, -1/4, 1/4, 3/4 pixels from the edge between both
    padded = np.pad(np.float64(views), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    for axis in (1, 2):
        cut = [np.take(padded, np.arange(i, i + padded.shape[axis] - 3, 2), axis) for i in range(4)]
        padded = sum(w * part for w, part in zip(weights, cut, strict=True))
    return padded
