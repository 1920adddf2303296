import copy
import json
import re

import numpy as np
import pytest

from lvm_mtc.data.annotations import AnnotationError
from lvm_mtc.data.coco import coco_boxes, read_coco
from lvm_mtc.data.rle import decode_rle

MASK = np.zeros((60, 80), bool)
MASK[10:40, 20:50] = True
CONTENT = {
    "info": {"year": 2017},
    "images": [
        {"id": 9, "file_name": "000009.jpg", "height": 60, "width": 80},
        {"id": 2, "file_name": "val/000002.jpg", "height": 100, "width": 50},
    ],
    "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 18, "bbox": [20, 10, 30, 30.0], "iscrowd": 0,
         "segmentation": [[20, 10, 50, 10, 50, 40]]},
        {"id": 2, "image_id": 9, "category_id": 1, "bbox": [20, 10, 30, 30], "iscrowd": 1,
         "segmentation": {"size": [60, 80], "counts": [1210, *[30, 30] * 29, 30, 1820]}},
    ],
}  # fmt: skip


def write(tmp_path, content):
    path = tmp_path / "instances.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_boxes_classes_and_masks_are_read(tmp_path):
    read = read_coco(write(tmp_path, CONTENT))
    assert read.classes == ("person", "dog")
    first, second = read.pictures
    assert (first.name, first.height, first.width) == ("000009.jpg", 60, 80)
    assert second.objects == () and second.name == "val/000002.jpg"
    dog, crowd = first.objects
    assert (dog.label, dog.box, dog.crowd, dog.mask) == (1, (35, 25, 30, 30), False, None)
    assert crowd.crowd and crowd.label == 0
    np.testing.assert_array_equal(decode_rle(crowd.mask), MASK)
    rows, columns = np.nonzero(MASK)
    assert crowd.box == ((columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2, 30, 30)


def test_boxes_as_arrays_leave_crowds_out(tmp_path):
    first, second = read_coco(write(tmp_path, CONTENT)).pictures
    boxes, labels = coco_boxes(first)
    np.testing.assert_array_equal(boxes, [[35, 25, 30, 30]])
    np.testing.assert_array_equal(labels, [1])
    assert len(coco_boxes(first, crowds=True)[0]) == 2 and coco_boxes(second)[0].shape == (0, 4)


def test_boxes_that_were_rounded_outwards_are_clipped(tmp_path):
    content = copy.deepcopy(CONTENT)
    content["annotations"] = [dict(content["annotations"][0], bbox=[-0.5, 0, 81, 60.9])]
    assert read_coco(write(tmp_path, content)).pictures[0].objects[0].box == (40, 30, 80, 60)


def changed(path, value):
    """CONTENT with one place changed; value None deletes it."""
    content = copy.deepcopy(CONTENT)
    node = content
    for step in path[:-1]:
        node = node[step]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return content


BAD = {
    "empty": ("", "is empty|not JSON"),
    "cut off": (json.dumps(CONTENT)[:200], "is not JSON, or cut off"),
    "deep": ("[" * 100_000, "is not JSON"),
    "a list": ("[]", "holds a list; expected one object"),
    "no images": (changed(["images"], None), "has no 'images'; expected a list"),
    "no annotations": (changed(["annotations"], None), "has no 'annotations'"),
    "no categories": (changed(["categories"], None), "has no 'categories'"),
    "no name": (changed(["images", 1, "file_name"], None), r"images\[1\] has no 'file_name'; expected a text"),
    "climbing name": (changed(["images", 0, "file_name"], "../a.jpg"), r"images\[0\]: 'file_name' is '../a.jpg'"),
    "absolute name": (changed(["images", 0, "file_name"], "/etc/passwd"), "below the picture folder"),
    "no height": (changed(["images", 0, "height"], None), r"images\[0\] has no 'height'"),
    "half a pixel": (changed(["images", 0, "width"], 80.5), "the size is 80.5 x 60; expected positive whole numbers"),
    "height zero": (changed(["images", 0, "height"], 0), "the size is 80 x 0"),
    "height bool": (changed(["images", 0, "height"], True), "'height' is True; expected a number"),
    "twice": (changed(["images", 0, "id"], 2), r"images\[1\]: 'id' 2 comes a second time"),
    "class twice": (changed(["categories", 0, "id"], 1), r"categories\[1\]: 'id' 1 comes a second time"),
    "no box": (changed(["annotations", 1, "bbox"], None), r"annotations\[1\] has no 'bbox'"),
    "three numbers": (changed(["annotations", 0, "bbox"], [1, 2, 3]), "expected four numbers"),
    "a word": (changed(["annotations", 0, "bbox"], [1, 2, 3, "x"]), "expected four numbers"),
    "nan": (json.dumps(changed(["annotations", 0, "bbox"], [1, 2, 3, float("nan")])), "expected four numbers"),
    "huge": (changed(["annotations", 0, "bbox"], [1, 2, 3, 10**400]), "expected four numbers"),
    "empty box": (changed(["annotations", 0, "bbox"], []), r"'bbox' is \[\]; expected four numbers"),
    "no area": (changed(["annotations", 0, "bbox"], [1, 2, 0, 5]), "has no area; expected a width and height above 0"),
    "no height of a box": (changed(["annotations", 0, "bbox"], [1, 2, 5, 0.0]), "a width and height above 0"),
    "vanishing width": (changed(["annotations", 0, "bbox"], [50, 2, 1e-20, 5]), "a width and height above 0"),
    "outside": (changed(["annotations", 0, "bbox"], [70, 10, 30, 30]), "reaches outside the picture of 80 x 60"),
    "beside": (changed(["annotations", 0, "bbox"], [80.2, 10, 0.5, 30]), "reaches outside"),
    "no picture": (changed(["annotations", 0, "image_id"], 3), "'image_id' is 3; expected the id of one of 2 images"),
    "no class": (changed(["annotations", 0, "category_id"], 3), "'category_id' is 3"),
    "object is a number": (changed(["annotations", 0], 3), r"annotations\[0\] is 3; expected an object"),
    "mask size": (changed(["annotations", 1, "segmentation", "size"], [60, 81]), r"of \[60, 81\], not \[60, 80\]"),
    "mask runs": (changed(["annotations", 1, "segmentation", "counts"], None), "'counts' is a NoneType"),
}  # fmt: skip


# Of these nothing is left.
WHOLE = ("empty", "cut off", "deep", "a list", "no images", "no annotations", "no categories")


@pytest.mark.parametrize(("case", "strict"), [(case, True) for case in BAD] + [(case, False) for case in WHOLE])
def test_bad_files_are_refused_in_one_line(tmp_path, case, strict):
    content, reason = BAD[case]
    path = write(tmp_path, content)
    with pytest.raises(AnnotationError, match=reason) as caught:
        read_coco(path, strict=strict)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("case", [case for case in BAD if case not in WHOLE])
def test_an_entry_that_cannot_be_used_is_left_out_and_counted(tmp_path, caplog, case):
    content, reason = BAD[case]
    path = write(tmp_path, content)
    read = read_coco(path)
    assert re.search(reason, read.left_out[0]) and all("\n" not in line for line in read.left_out)
    entries = sum(len(part) for name, part in CONTENT.items() if name != "info")
    places = [line.removeprefix(f"{path}: ").partition("]")[0] for line in read.left_out]
    assert len(set(places)) == len(places), "each entry once"
    objects = sum(len(picture.objects) for picture in read.pictures)
    assert len(read.classes) + len(read.pictures) + objects + len(places) == entries
    (record,) = caplog.records
    line = record.getMessage()
    assert line.startswith(f"{path}: left out {len(places)} of {entries} entries; expected ") and "\n" not in line


def test_the_line_counts_the_reasons(tmp_path, caplog):
    """The published training file holds two boxes of height 0 among 860,001."""
    good = CONTENT["annotations"][0]
    boxes = [[10, 10, 5, 0.0], [1, 2, 3, 4], [0, 0, 0, 9], [], [70, 0, 30, 30], [5, 5, 5, 5]]
    content = dict(CONTENT, annotations=[dict(good, bbox=box) for box in boxes])
    read = read_coco(write(tmp_path, content))
    np.testing.assert_array_equal(coco_boxes(read.pictures[0])[0], [[2.5, 4, 3, 4], [7.5, 7.5, 5, 5]])
    assert caplog.messages == [
        f"{tmp_path / 'instances.json'}: left out 4 of 10 entries; expected a width and height above 0 (2), "
        "four numbers (left, top, width, height) (1), a box inside it (1)"
    ]
    caplog.clear()
    assert read_coco(write(tmp_path, CONTENT)).left_out == () and not caplog.records


def test_a_size_may_be_written_with_a_point(tmp_path):
    content = changed(["images", 0, "width"], 80.0)
    assert read_coco(write(tmp_path, content), strict=True) == read_coco(write(tmp_path, CONTENT))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AnnotationError, match="none.json: does not exist"):
        read_coco(tmp_path / "none.json")
