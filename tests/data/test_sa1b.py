import copy
import json
import re

import numpy as np
import pytest
from PIL import Image

from lvm_mtc.data.annotations import AnnotationError
from lvm_mtc.data.rle import decode_rle
from lvm_mtc.data.sa1b import load_sa1b, read_sa1b_annotation, sa1b_boxes

# A 12 x 10 picture with a rectangle of rows 2-6 and columns 3-7, as pycocotools compresses it.
MASK = np.zeros((10, 12), bool)
MASK[2:7, 3:8] = True
COUNTS = "P1550000000V1"
CONTENT = {
    "image": {"image_id": 1, "width": 12, "height": 10, "file_name": "sa_1.jpg"},
    "annotations": [
        {
            "id": 5, "bbox": [3, 2, 5, 5], "area": 25, "predicted_iou": 0.97, "stability_score": 1,
            "point_coords": [[4.0, 4.0]], "crop_box": [0, 0, 12, 10],
            "segmentation": {"size": [10, 12], "counts": COUNTS},
        }
    ],
}  # fmt: skip


def write(tmp_path, content, name="sa_1.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_box_and_mask_belong_together(tmp_path):
    read = read_sa1b_annotation(write(tmp_path, CONTENT))
    assert (read.name, read.height, read.width) == ("sa_1.jpg", 10, 12)
    (item,) = read.objects
    np.testing.assert_array_equal(decode_rle(item.mask), MASK)
    assert item.box == (5.5, 4.5, 5, 5)
    assert (item.predicted_iou, item.stability_score) == (0.97, 1.0)


def test_small_parts_can_be_left_out(tmp_path):
    read = read_sa1b_annotation(write(tmp_path, CONTENT))
    np.testing.assert_array_equal(sa1b_boxes(read, min_area=0.2), [[5.5, 4.5, 5, 5]])
    assert sa1b_boxes(read, min_area=0.21).shape == (0, 4)


def changed(path, value):
    content = copy.deepcopy(CONTENT)
    node = content
    for step in path[:-1]:
        node = node[step]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return content


FIRST = ["annotations", 0]
BAD = {
    "cut off": (json.dumps(CONTENT)[:99], "is not JSON, or cut off"),
    "no image": (changed(["image"], None), "has no 'image'; expected an object"),
    "image is text": (changed(["image"], "sa_1.jpg"), "'image' is 'sa_1.jpg'; expected an object"),
    "no annotations": (changed(["annotations"], None), "has no 'annotations'"),
    "no name": (changed(["image", "file_name"], None), "'image' has no 'file_name'"),
    "climbing name": (changed(["image", "file_name"], "../sa_1.jpg"), "expected a plain file name"),
    "no width": (changed(["image", "width"], None), "'image' has no 'width'"),
    "fraction": (changed(["image", "width"], 12.5), "the size is 12.5 x 10; expected positive whole numbers"),
    "no box": (changed([*FIRST, "bbox"], None), r"annotations\[0\] has no 'bbox'"),
    "no area": (changed([*FIRST, "bbox"], [3, 2, 0, 5]), "has no area; expected a width and height above 0"),
    "outside": (changed([*FIRST, "bbox"], [3, 2, 55, 5]), "reaches outside the picture of 12 x 10"),
    "no mask": (changed([*FIRST, "segmentation"], None), "has no 'segmentation'"),
    "no size": (changed([*FIRST, "segmentation", "size"], None), "'segmentation' has no 'size'"),
    "other size": (changed([*FIRST, "segmentation", "size"], [12, 10]), r"is of \[12, 10\], not \[10, 12\]"),
    "no counts": (changed([*FIRST, "segmentation", "counts"], None), "'counts' is a NoneType"),
    "no quality": (changed([*FIRST, "predicted_iou"], None), "has no 'predicted_iou'; expected a number"),
    "no stability": (changed([*FIRST, "stability_score"], "high"), "'stability_score' is 'high'"),
}


# Of these nothing is left.
WHOLE = (
    "cut off", "no image", "image is text", "no annotations", "no name", "climbing name", "no width", "fraction",
)  # fmt: skip


@pytest.mark.parametrize(("case", "strict"), [(case, True) for case in BAD] + [(case, False) for case in WHOLE])
def test_bad_annotations_are_refused_in_one_line(tmp_path, case, strict):
    content, reason = BAD[case]
    path = write(tmp_path, content)
    with pytest.raises(AnnotationError, match=reason) as caught:
        read_sa1b_annotation(path, strict=strict)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("case", [case for case in BAD if case not in WHOLE])
def test_an_object_that_cannot_be_used_is_left_out_and_counted(tmp_path, caplog, case):
    content, reason = BAD[case]
    content["annotations"].append(CONTENT["annotations"][0])
    path = write(tmp_path, content)
    read = read_sa1b_annotation(path)
    (item,), (line,) = read.objects, read.left_out
    assert item.box == (5.5, 4.5, 5, 5) and re.search(reason, line)
    (message,) = caplog.messages
    assert message.startswith(f"{path}: left out 1 of 2 entries; expected ")


def test_a_folder_says_once_what_it_left_out(tmp_path, caplog):
    for number in (1, 2):
        content = changed([*FIRST, "bbox"], [3, 2, 0, 5])
        content["image"]["file_name"] = f"sa_{number}.jpg"
        write(tmp_path, content, f"sa_{number}.json")
        Image.new("RGB", (12, 10)).save(tmp_path / f"sa_{number}.jpg")
    assert [len(example.annotation.left_out) for example in load_sa1b(tmp_path)] == [1, 1]
    assert caplog.messages == [f"{tmp_path}: left out 2 of 2 entries; expected a width and height above 0 (2)"]
    with pytest.raises(AnnotationError, match=r"sa_1.json: annotations\[0\]: 'bbox' \[3, 2, 0, 5\] has no area"):
        load_sa1b(tmp_path, strict=True)


def test_a_folder_is_listed_with_its_pictures(tmp_path):
    for number in (10, 2, 1):
        write(tmp_path, changed(["image", "file_name"], f"sa_{number}.jpg"), f"sa_{number}.json")
        Image.new("RGB", (12, 10)).save(tmp_path / f"sa_{number}.jpg")
    examples = load_sa1b(tmp_path)
    assert [example.image_path.name for example in examples] == ["sa_1.jpg", "sa_2.jpg", "sa_10.jpg"]
    (tmp_path / "sa_2.jpg").unlink()
    with pytest.raises(AnnotationError, match="sa_2.jpg: does not exist"):
        load_sa1b(tmp_path)


def test_a_folder_without_annotations_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="holds no annotation"):
        load_sa1b(tmp_path)
    with pytest.raises(AnnotationError, match="does not exist"):
        load_sa1b(tmp_path / "none")
