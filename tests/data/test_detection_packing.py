import numpy as np
import pytest
from PIL import Image

from lvm_mtc.data.detection_packing import (
    GREY,
    DetectionSet,
    LabelledSource,
    check_detection_set,
    letterbox,
    load_detection_set,
    pack_labelled,
    save_detection_sets,
)
from lvm_mtc.data.voc import load_voc, voc_boxes


@pytest.fixture
def sources(tmp_path):
    """Two pictures with a white rectangle each, lying and standing, and their boxes."""
    listed = []
    for name, (height, width), (x, y, w, h) in (("a", (60, 120), (40, 20, 40, 20)), ("b", (90, 45), (20, 50, 30, 60))):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[y - h // 2 : y + h // 2, x - w // 2 : x + w // 2] = 255
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
        boxes = np.array([[5, 5, 2, 2], [x, y, w, h], [6, 6, 3, 3]], float)
        listed.append(LabelledSource(name, tmp_path / f"{name}.png", boxes, np.array([1, 7, 2])))
    return listed


def test_content_lies_in_the_corner_and_boxes_go_with_it(sources):
    packed = pack_labelled(sources, 32, 4)
    assert packed.pictures.shape == (2, 32, 32, 3) and packed.boxes.shape == (2, 4, 4)
    assert packed.extents.tolist() == [[16, 32], [32, 16]] and packed.source.tolist() == ["a", "b"]
    assert np.all(packed.pictures[0, 16:] == GREY) and np.all(packed.pictures[1, :, 16:] == GREY)
    for i in range(2):
        height, width = packed.extents[i]
        rows, columns = np.nonzero(packed.pictures[i, :height, :width, 0] > 127)
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        wanted = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
        np.testing.assert_allclose(packed.boxes[i, 0], wanted, atol=1.01)
    # Largest first, padding zero.
    assert packed.labels.tolist() == [[7, 2, 1, 0]] * 2 and packed.valid.tolist() == [[True] * 3 + [False]] * 2
    assert np.all(packed.boxes[:, 3] == 0)


def test_of_too_many_boxes_the_largest_stay(sources):
    assert pack_labelled(sources, 32, 2).labels.tolist() == [[7, 2]] * 2


def test_a_picture_of_the_right_size_is_not_touched():
    picture = np.random.default_rng(0).integers(0, 256, (20, 32, 3), dtype=np.uint8)
    packed, extent, scale = letterbox(picture, 32)
    assert np.array_equal(packed[:20], picture) and extent == (20, 32) and scale == (1, 1)
    assert letterbox(np.zeros((1, 400), np.uint8), 32)[1] == (1, 32)


def test_a_file_gives_back_its_sets(sources, tmp_path):
    sets = {"train": pack_labelled(sources, 32, 3), "val": pack_labelled(sources[:1], 32, 2)}
    save_detection_sets(tmp_path / "deep" / "packed.npz", sets)
    for name, one in sets.items():
        for a, b in zip(load_detection_set(tmp_path / "deep" / "packed.npz", name), one, strict=True):
            np.testing.assert_array_equal(a, b)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["packed.npz"]
    with pytest.raises(ValueError, match="lacks test_pictures, test_extents"):
        load_detection_set(tmp_path / "deep" / "packed.npz", "test")


def test_damaged_files_are_refused(sources, tmp_path):
    path = tmp_path / "packed.npz"
    with pytest.raises(ValueError, match="does not exist"):
        load_detection_set(path, "train")
    save_detection_sets(path, {"train": pack_labelled(sources, 32, 3)})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="no whole archive .*pack_detection.py"):
        load_detection_set(path, "train")


def test_parts_that_do_not_fit_are_named(sources):
    packed = pack_labelled(sources, 32, 3)
    for changes, message in (
        ({"pictures": packed.pictures.astype(float)}, "pictures is float64"),
        ({"pictures": packed.pictures[:, :16]}, r"expected uint8 \[M, S, S, 3\]"),
        ({"pictures": packed.pictures[:0]}, "M > 0"),
        ({"boxes": packed.boxes[:, :2]}, r"boxes has shape \(2, 2, 4\); expected \(2, 3, 4\)"),
        ({"extents": packed.extents[:1]}, r"extents has shape \(1, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            check_detection_set(packed._replace(**changes))
    assert isinstance(check_detection_set(packed), DetectionSet)


@pytest.mark.parametrize(
    "boxes, labels, message",
    [
        (np.zeros((0, 3)), None, r"boxes \(0, 3\)"),
        (np.ones((2, 4)), np.zeros(3, int), r"labels \(3,\)"),
        (np.array([[1, 1, 0, 2.0]]), None, "width and height above 0"),
        (np.array([[1, np.nan, 1, 2.0]]), None, "finite numbers"),
    ],
)
def test_bad_boxes_are_refused_with_the_picture(sources, boxes, labels, message):
    bad = sources[0]._replace(boxes=boxes, labels=labels)
    with pytest.raises(ValueError, match=message) as caught:
        pack_labelled([bad], 32, 3)
    assert str(caught.value).startswith(str(bad.path))


def test_nothing_to_pack_is_refused(sources):
    with pytest.raises(ValueError, match="name no picture"):
        pack_labelled([], 32, 3)
    with pytest.raises(ValueError, match="max_objects must be at least 1, got 0"):
        pack_labelled(sources, 32, 0)
    assert not pack_labelled([sources[0]._replace(boxes=np.zeros((0, 4)), labels=None)], 32, 3).valid.any()


def test_the_real_pictures_keep_their_boxes(shared_data):
    examples = load_voc(shared_data / "voc2012_320", "val")[:5]
    packed = pack_labelled([LabelledSource(e.name, e.image_path, voc_boxes(e.annotation)) for e in examples], 160, 20)
    for i, example in enumerate(examples):
        boxes = voc_boxes(example.annotation)
        order = np.argsort(-boxes[:, 2] * boxes[:, 3], kind="stable")
        np.testing.assert_allclose(packed.boxes[i, : len(boxes)], boxes[order] / 2, rtol=0.01)
