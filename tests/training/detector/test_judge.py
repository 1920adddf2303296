"""Scores of known detections, and YOLOX-nano's boxes and labels from the numbers of its network."""

from types import SimpleNamespace

import numpy as np
import pytest

from lvm_mtc.models.detection import Detections, anchor_points
from lvm_mtc.models.yolox import COCO_CLASSES
from lvm_mtc.training.detector import yolox
from lvm_mtc.training.detector.judge import PROTOCOL, as_json, center_boxes, score


def test_perfect_boxes_are_perfect(two_pictures):
    boxes = Detections(two_pictures.boxes, np.float32(two_pictures.valid), two_pictures.labels, two_pictures.valid)
    numbers = as_json(score(boxes, two_pictures))
    assert numbers["ap50"] == numbers["recall_at_10"] == numbers["top_box"] == [1, 1, 1]
    assert (numbers["pictures"], numbers["objects"], numbers["protocol"]) == (2, 3, PROTOCOL)


def test_one_box_in_the_centre(two_pictures):
    boxes = center_boxes(two_pictures, 0.25)
    np.testing.assert_allclose(boxes.boxes[:, 0], [[16, 16, 16, 16], [16, 12, 16, 12]])
    found = score(boxes, two_pictures)
    # IoU 100 / 192 with the second picture's dog; of three objects one is found, by one of two boxes of equal score.
    assert found.recall_at_10.value == pytest.approx(1 / 3) and found.top_box.value == 0.5
    assert found.ap50.value == pytest.approx(34 / 101 * 0.5)


def test_yolox_boxes_scores_and_labels():
    """Two anchors say something: 2 strides right and 1 down of their cells, e^0.5 and 1 strides wide and high."""
    points, strides = (np.asarray(a) for a in anchor_points(yolox.SIZE, yolox.SIZE))
    out = np.zeros((1, len(points), 85), np.float32)
    for anchor, objectness, label, confidence in ((100, 0.5, 16, 0.8), (3000, 0.9, 58, 0.9)):
        out[0, anchor, :5] = 2, 1, 0.5, 0, objectness
        out[0, anchor, 5 + label] = confidence
    detector = object.__new__(yolox.YoloxNano)
    detector._session = SimpleNamespace(run=lambda outputs, inputs: [out])
    detector._cells, detector._strides = points / strides[:, None] - 0.5, strides[:, None]
    picture = np.zeros((104, 208, 3), np.uint8)  # half of the network's input
    boxes, scores, labels = detector(picture, score_threshold=0.1)
    np.testing.assert_allclose(scores, [0.81, 0.4], rtol=1e-6)
    assert [COCO_CLASSES[label] for label in labels] == ["potted plant", "dog"]
    for box, anchor in zip(boxes, (3000, 100), strict=True):
        stride = strides[anchor]
        corner = points[anchor] - stride / 2  # of the cell, whose centre the point is
        want = [*(corner + np.array([2, 1]) * stride), np.exp(0.5) * stride, stride]
        np.testing.assert_allclose(box, np.array(want) / 2, rtol=1e-5)
    assert len(set(COCO_CLASSES)) == 80


def test_suppression_drops_the_worse_of_two_that_overlap():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [30, 0, 10, 10], [60, 0, 10, 10]], float)  # IoU 9 / 11
    scores = np.array([0.5, 0.9, 0.3, 0.01])
    assert yolox.suppress(boxes, scores, 10, 0.7, 0.1).tolist() == [1, 2]
    assert yolox.suppress(boxes, scores, 10, 0.9, 0.1).tolist() == [1, 0, 2]
    assert yolox.suppress(boxes, scores, 1, 0.9, 0.1).tolist() == [1]
