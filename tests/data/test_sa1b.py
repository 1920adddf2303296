import copy
import json

import numpy as np
import pytest
from PIL import Image

from lvm_mtc.data.rle import decode_rle, mask_box
from lvm_mtc.data.sa1b import Sa1bError, load_sa1b, read_sa1b_annotation, sa1b_boxes

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
    assert item.box == mask_box(MASK) == (5.5, 4.5, 5, 5)
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
    "fraction": (changed(["image", "width"], 12.5), "'width' is 12.5; expected a whole number"),
    "no box": (changed([*FIRST, "bbox"], None), r"annotations\[0\] has no 'bbox'"),
    "outside": (changed([*FIRST, "bbox"], [3, 2, 55, 5]), "reaches outside the picture of 12 x 10"),
    "no mask": (changed([*FIRST, "segmentation"], None), "has no 'segmentation'"),
    "no size": (changed([*FIRST, "segmentation", "size"], None), "'segmentation' has no 'size'"),
    "other size": (changed([*FIRST, "segmentation", "size"], [12, 10]), r"is of \[12, 10\]; expected .* \[10, 12\]"),
    "no counts": (changed([*FIRST, "segmentation", "counts"], None), "'counts' is a NoneType"),
    "no quality": (changed([*FIRST, "predicted_iou"], None), "has no 'predicted_iou'; expected a number"),
    "no stability": (changed([*FIRST, "stability_score"], "high"), "'stability_score' is 'high'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_annotations_are_refused_in_one_line(tmp_path, case):
    content, reason = BAD[case]
    path = write(tmp_path, content)
    with pytest.raises(Sa1bError, match=reason) as caught:
        read_sa1b_annotation(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_folder_is_listed_with_its_pictures(tmp_path):
    for number in (2, 1):
        write(tmp_path, changed(["image", "file_name"], f"sa_{number}.jpg"), f"sa_{number}.json")
        Image.new("RGB", (12, 10)).save(tmp_path / f"sa_{number}.jpg")
    examples = load_sa1b(tmp_path)
    assert [example.image_path.name for example in examples] == ["sa_1.jpg", "sa_2.jpg"]
    (tmp_path / "sa_2.jpg").unlink()
    with pytest.raises(Sa1bError, match="sa_2.jpg: does not exist"):
        load_sa1b(tmp_path)


def test_a_folder_without_annotations_is_refused(tmp_path):
    with pytest.raises(Sa1bError, match="holds no annotation"):
        load_sa1b(tmp_path)
    with pytest.raises(Sa1bError, match="does not exist"):
        load_sa1b(tmp_path / "none")
