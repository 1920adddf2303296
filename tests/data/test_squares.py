"""VOC's pictures at their own size, and squares and their object in closed form."""

import numpy as np
import pytest

from lvm_mtc.data.images import load_image
from lvm_mtc.data.resizing import resize_image
from lvm_mtc.data.squares import cut_squares, pack_voc
from lvm_mtc.data.voc import VOC_CLASSES, load_voc, voc_boxes


def test_pictures_are_the_files_own_pixels(shared_data):
    packed = pack_voc(shared_data / "voc2012_320", "val", 3)
    for i, example in enumerate(load_voc(shared_data / "voc2012_320", "val")[:3]):
        height, width = packed.extents[i]
        np.testing.assert_array_equal(packed.pictures[i, :height, :width], load_image(example.image_path))
        boxes = voc_boxes(example.annotation)
        assert packed.valid[i].sum() == len(boxes)
        np.testing.assert_allclose(sorted(packed.boxes[i, : len(boxes)].tolist()), sorted(boxes.tolist()), rtol=1e-6)
        names = [VOC_CLASSES[label] for label in packed.labels[i, : len(boxes)]]
        assert sorted(names) == sorted(item.name for item in example.annotation.objects)


def test_too_many_objects_are_refused(shared_data):
    with pytest.raises(ValueError, match="needs a longer side of 320 pixels and 1 to 0 objects"):
        pack_voc(shared_data / "voc2012_320", "val", 1, max_objects=0)


def test_the_object_is_the_largest_in_the_square(two_pictures):
    wide = two_pictures._replace(boxes=two_pictures.boxes.copy(), valid=two_pictures.valid.copy())
    # In a picture of 24 x 32 the square is 4 to 28; of the wide box 4 x 24 are left in it, of the other 10 x 10.
    wide.boxes[1, :2] = [0, 12, 16, 24], [16, 12, 10, 10]
    wide.valid[1, 1] = True
    squares = cut_squares(wide, 48)
    np.testing.assert_array_equal(squares.whole[0], two_pictures.pictures[0])
    for size, got in ((32, squares.whole[1]), (48, squares.views[1])):
        want = resize_image(two_pictures.pictures[1, :24], size, window=(4, 0, 28, 24))
        np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(squares.boxes, [[12, 24, 15, 30], [24, 24, 20, 20]])
    np.testing.assert_array_equal(squares.label, [two_pictures.labels[0, 0], two_pictures.labels[1, 1]])
    np.testing.assert_array_equal(squares.alone, [False, False])
    assert cut_squares(two_pictures, 48).alone.tolist() == [False, True]
