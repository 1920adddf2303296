"""Stereo pairs: disparity says where the other view shows the same, whatever is cut, scaled, mirrored or made."""

import json

import numpy as np
import pytest
from PIL import Image

from lvm_mtc.data.images import ImageError
from lvm_mtc.data.stereo import (
    StereoError,
    StereoPairs,
    joined,
    load_packed_stereo,
    load_pair,
    load_stereo,
    random_crops,
    save_stereo,
    vertical_mismatch,
)
from lvm_mtc.data.synthetic_stereo import Plane, Scene, random_scene, synthetic_stereo


@pytest.fixture(scope="module")
def pairs():
    return synthetic_stereo(3, (32, 48), seed=1)


def texture(side=64):
    y, x = np.mgrid[:side, :side] / side
    return np.uint8(127 + 100 * np.stack([np.sin(9 * x), np.cos(7 * y), np.sin(5 * (x + y))], axis=-1))


def plane(d0, slope=(0.0, 0.0), centre=(24, 16), half_axes=(np.inf, np.inf), frequency=1 / 64):
    return Plane((d0, *slope), centre, half_axes, 0.0, True, texture(), frequency)


def from_the_other(picture, shift):
    """``picture`` at columns x - shift, linear between columns, and where that lies within it."""
    height, width = picture.shape[:2]
    x = np.arange(width)[None] - shift
    first = np.clip(np.int64(np.floor(x)), 0, width - 2)
    part, y = (x - first)[..., None], np.arange(height)[:, None]
    return picture[y, first] * (1 - part) + picture[y, first + 1] * part, (x >= 0) & (x <= width - 1)


def median_psnr(a, b, where):
    return 10 * np.log10(255**2 / np.median(((a - b) ** 2).mean(-1)[where]))


def check_disparity(pairs, least):
    for views, known in zip(np.float64(pairs.pictures), pairs.disparity, strict=True):
        for view, sign in ((0, 1), (1, -1)):
            seen, inside = from_the_other(views[1 - view], sign * known[view])
            wrong, inside_too = from_the_other(views[1 - view], -sign * known[view])
            right = median_psnr(seen, views[view], inside & (known[view] > 0))
            assert right > least
            assert right > 8 + median_psnr(wrong, views[view], inside_too & (known[view] > 0))


def test_a_plane_parallel_to_the_views_is_shifted_by_its_disparity():
    left, middle, right = (Scene((plane(4.0),), (32, 48)).view(place)[0] for place in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(left[:, 4:], right[:, :-4])
    np.testing.assert_array_equal(left[:, 2:], middle[:, :-2])
    assert (left[:, 4:] != left[:, :-4]).any()


def test_a_slanted_plane_is_brought_over_by_its_disparity():
    scene = Scene((plane(5.0, (0.06, -0.04)),), (32, 48))
    (left, d_left), (right, d_right) = scene.view(0.0), scene.view(1.0)
    assert d_left[16, 24] == pytest.approx(d_right[16, 24 - 5], abs=0.05) == pytest.approx(5, abs=0.3)
    seen, inside = from_the_other(np.float64(right), d_left)
    assert np.abs(seen - left)[inside].max() < 2
    there, inside = from_the_other(d_right[..., None], d_left)
    np.testing.assert_allclose(there[..., 0][inside], d_left[inside], atol=1e-4)


def test_behind_a_near_plane_as_many_columns_are_hidden_as_disparities_differ():
    near = plane(9.0, half_axes=(8, 6))
    scene = Scene((plane(2.0), near), (32, 48))
    d_left, d_right = scene.view(0.0)[1], scene.view(1.0)[1]
    there, inside = from_the_other(d_right[..., None], d_left)
    hidden = (np.abs(there[..., 0] - d_left) > 0.5) & inside
    rows = np.flatnonzero((d_left == 9).any(1))
    assert len(rows) == 12
    np.testing.assert_array_equal(hidden.sum(1)[rows], 9 - 2)
    assert not np.delete(hidden, rows, axis=0).any()


def test_synthetic_scenes(pairs):
    check_disparity(pairs, 30)
    assert 0.3 <= pairs.disparity.min() and pairs.disparity.max() <= 10
    assert pairs.focal_length == 48 and pairs.baseline == 1 and pairs.size == (32, 48)
    again = synthetic_stereo(2, (32, 48), seed=1)
    np.testing.assert_array_equal(again.pictures, pairs.pictures[:2])
    assert (synthetic_stereo(1, (32, 48), seed=2).pictures != pairs.pictures[:1]).mean() > 0.5
    rng = np.random.default_rng(0)
    cut = random_scene(rng, 32, [texture(), texture(40)], 6.0)
    assert all(part.texture.shape == (160, 160, 3) for part in cut.planes) and 4 <= len(cut.planes) <= 7


def test_windows_and_mirrors_keep_disparity(pairs):
    cut = pairs.crop(4, 10, (24, 36))
    np.testing.assert_array_equal(cut.pictures[1, 0], pairs.pictures[1, 0, 4:28, 10:46])
    np.testing.assert_array_equal(cut.middle[1], pairs.middle[1, 4:28, 10:46])
    assert cut.focal_length == pairs.focal_length
    mirror = pairs.mirrored()
    check_disparity(mirror, 30)
    np.testing.assert_array_equal(mirror.pictures[:, 0, :, ::-1], pairs.pictures[:, 1])
    np.testing.assert_array_equal(mirror.mirrored().disparity, pairs.disparity)
    crops = random_crops(pairs, 16, 5, np.random.default_rng(3))
    assert crops.pictures.shape == (5, 2, 16, 16, 3) and crops.middle.shape == (5, 16, 16, 3)
    found = np.lib.stride_tricks.sliding_window_view(pairs.disparity, (16, 16), axis=(2, 3))
    for known in crops.disparity:
        assert (found == known[None, :, None, None]).all((1, 4, 5)).any()
    both = joined([pairs, pairs.take([0])])
    assert len(both) == 4
    np.testing.assert_array_equal(both.middle[3], pairs.middle[0])
    with pytest.raises(StereoError, match="pairs differ in size, focal length or baseline"):
        joined([pairs, crops])
    with pytest.raises(StereoError, match=r"a window of 32 x 32 at \(1, 0\) reaches out of \(32, 48\)"):
        pairs.crop(1, 0, 32)
    with pytest.raises(StereoError, match="size 33 x 33 does not fit in pairs of 32 x 48"):
        random_crops(pairs, 33, 1, np.random.default_rng(0))


def test_a_file_gives_back_what_was_saved(pairs, tmp_path):
    save_stereo(tmp_path / "pairs.npz", pairs)
    back = load_packed_stereo(tmp_path / "pairs.npz")
    for name in ("pictures", "disparity", "middle", "focal_length", "baseline"):
        np.testing.assert_array_equal(getattr(back, name), getattr(pairs, name))
    with pytest.raises(StereoError, match="no.npz: there is no such file of stereo pairs"):
        load_packed_stereo(tmp_path / "no.npz")
    np.savez(tmp_path / "other.npz", pictures=pairs.pictures)
    with pytest.raises(StereoError, match="other.npz is not a file of stereo pairs"):
        load_packed_stereo(tmp_path / "other.npz")


@pytest.fixture
def folder(pairs, tmp_path):
    """Two scenes; the first has disparity in steps of a third of a pixel."""
    for i, name in enumerate(("b2", "b10")):
        (tmp_path / name).mkdir()
        for view, side in enumerate(("left", "right")):
            Image.fromarray(pairs.pictures[i, view]).save(tmp_path / name / f"{side}.png")
            if not i:
                grey = Image.fromarray(np.uint8(np.round(3 * pairs.disparity[i, view])))
                grey.save(tmp_path / name / f"disp_{side}.png")
    (tmp_path / "disparity.json").write_text(json.dumps({"b2": {"scale": 3}}))
    return tmp_path


def test_a_folder_of_scenes(folder, pairs):
    found, names = load_stereo(folder, (32, 48))
    assert names == ("b2", "b10")
    np.testing.assert_array_equal(found.pictures, pairs.pictures[:2])
    np.testing.assert_allclose(found.disparity[0], pairs.disparity[0], atol=1 / 6 + 1e-6)
    assert not found.disparity[1].any()
    half, _ = load_stereo(folder, (16, 16), limit=1)
    # Of 48 columns the middle 32 are left, at half of the scale.
    want = np.round(3 * pairs.disparity[0, :, 1::2, 9:40:2]) / 3 / 2
    np.testing.assert_allclose(half.disparity[0], want, atol=1e-6)
    assert load_stereo(folder, 16, limit=1)[0].focal_length == 16


def test_the_scale_may_have_a_byte_order_mark(folder):
    plain, _ = load_stereo(folder, 16)
    (folder / "disparity.json").write_text('{"b2": {"scale": 3}}', encoding="utf-8-sig")
    np.testing.assert_array_equal(load_stereo(folder, 16)[0].disparity, plain.disparity)


@pytest.mark.parametrize("mode", ["I;16", "RGB", "P"])
def test_disparity_that_is_not_grey_of_8_bits_is_refused(folder, mode):
    # The upper byte of 16 bits, the first of three colours or the number of a palette would be other disparities.
    grey = Image.open(folder / "b2" / "disp_left.png")
    other = Image.fromarray(np.uint16(grey) * 256) if mode == "I;16" else grey.convert(mode)
    other.save(folder / "b2" / "disp_left.png")
    with pytest.raises(StereoError, match=f"disp_left.png: is a picture of Pillow's mode {mode}; expected grey of 8"):
        load_stereo(folder, 16)


def test_folders_that_hold_no_scenes_are_refused(folder):
    (folder / "disparity.json").write_text('{"b2": {"scale": 0}}')
    with pytest.raises(StereoError, match="disparity.json: scale of b2 must be positive and finite, got 0.0"):
        load_stereo(folder, 16)
    (folder / "disparity.json").write_text('{"b2": 3}')
    with pytest.raises(StereoError, match=r'disparity.json: expected \{"<scene>": \{"scale": 3\}\}'):
        load_stereo(folder, 16)
    (folder / "disparity.json").unlink()
    with pytest.raises(StereoError, match="b2: has disparity, and disparity.json beside it does not say its scale"):
        load_stereo(folder, 16)
    (folder / "b2" / "right.png").unlink()
    with pytest.raises(StereoError, match="b2: holds no picture right; expected left.png and right.png"):
        load_stereo(folder, 16)
    with pytest.raises(StereoError, match="b10: holds no scene"):
        load_stereo(folder / "b10", 16)
    with pytest.raises(StereoError, match="nowhere: does not exist; expected a folder"):
        load_stereo(folder / "nowhere", 16)


def test_a_pair_of_files(folder, pairs, recwarn):
    left, right = folder / "b10" / "left.png", folder / "b10" / "right.png"
    np.testing.assert_array_equal(load_pair(left, right, (32, 48)).pictures, pairs.pictures[1:2])
    assert not recwarn.list
    Image.fromarray(pairs.pictures[1, 1, :30]).save(right)
    with pytest.raises(
        StereoError, match="views are of different sizes, 48 x 32 and 48 x 30; expected a rectified pair"
    ):
        load_pair(left, right, 16)
    Image.fromarray(np.roll(pairs.pictures[1, 1], 2, axis=0)).save(right)
    with pytest.warns(UserWarning, match="right.png: rows differ by 2 pixels in the median; rectify the pair first"):
        load_pair(left, right, (32, 48))
    with pytest.raises(ImageError, match="no.png: does not exist"):
        load_pair(left, folder / "no.png", 16)


def test_rows_without_contrast_match_anywhere():
    assert vertical_mismatch(np.zeros((2, 48, 48, 3), np.uint8)) == 0


def test_real_pairs(shared_data):
    found, names = load_stereo(shared_data / "stereo" / "test", (80, 96))
    assert len(names) == 8 and found.disparity.max() < 17 and (found.disparity == 0).mean() < 0.02
    check_disparity(found, 30)
    assert all(vertical_mismatch(views) <= 0.5 for views in found.pictures)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pictures": np.zeros((1, 2, 8, 8, 4), np.uint8)}, r"pictures must be \[n, 2, H, W, 3\] uint8, got \(1, 2, 8"),
        ({"pictures": np.zeros((1, 2, 8, 8, 3))}, "pictures must be .* float64"),
        ({"disparity": np.zeros((1, 8, 8))}, r"disparity must be \[1, 2, 8, 8\] as the pictures, got \[1, 8, 8\]"),
        ({"disparity": np.full((1, 2, 8, 8), -1.0)}, "disparity must be finite and not negative, with 0 for unknown"),
        ({"middle": np.zeros((1, 8, 7, 3), np.uint8)}, r"middle must be \[1, 8, 8, 3\] uint8"),
        ({"focal_length": 1e39}, "focal_length must be positive and finite, got 1e\\+39"),
        ({"focal_length": 0.0}, "focal_length must be positive and finite, got 0.0"),
        ({"baseline": -1.0}, "baseline must be positive and finite, got -1.0"),
    ],
)
def test_pairs_that_are_none_are_refused(change, message):
    with pytest.raises(StereoError, match=message):
        StereoPairs(**{"pictures": np.zeros((1, 2, 8, 8, 3), np.uint8), **change})


def test_scenes_that_cannot_be_made_are_refused():
    with pytest.raises(StereoError, match="num must be at least 1, got 0"):
        synthetic_stereo(0, 16, seed=0)
    with pytest.raises(StereoError, match="max_disparity must lie in 4 ... 16, the width, got 20"):
        synthetic_stereo(1, 16, seed=0, max_disparity=20)
    with pytest.raises(StereoError, match="textures must hold a picture at least, got none"):
        synthetic_stereo(1, 16, seed=0, textures=[])
