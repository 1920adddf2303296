import numpy as np
import pytest

from lvm_mtc.data.detection_packing import DetectionSet
from lvm_mtc.data.voc import VOC_CLASSES

DOG, PERSON = VOC_CLASSES.index("dog"), VOC_CLASSES.index("person")


@pytest.fixture(scope="session")
def two_pictures():
    """32 x 32 with a dog to the left and a person to the right; 24 x 32 with one dog in the middle."""
    rng = np.random.default_rng(0)
    pictures = np.full((2, 32, 32, 3), 114, np.uint8)
    pictures[0] = rng.integers(0, 255, (32, 32, 3))
    pictures[1, :24] = rng.integers(0, 255, (24, 32, 3))
    boxes = np.zeros((2, 3, 4), np.float32)
    boxes[0, :2] = [8, 16, 10, 20], [24, 16, 10, 20]
    boxes[1, 0] = [16, 12, 10, 10]
    valid = np.array([[True, True, False], [True, False, False]])
    labels = np.array([[DOG, PERSON, 0], [DOG, 0, 0]], np.int32)
    return DetectionSet(pictures, np.array([[32, 32], [24, 32]], np.int32), boxes, labels, valid, np.array(["a", "b"]))
