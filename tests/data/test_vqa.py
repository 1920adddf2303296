"""Questions and their answers, from boxes by hand."""

import numpy as np
import pytest

from lvm_mtc.data.voc import VocAnnotation, VocObject
from lvm_mtc.data.vqa import (
    ANSWERS,
    KINDS,
    SUBJECTS,
    balanced,
    floor_accuracy,
    majority_answers,
    question_kind,
    question_text,
    questions_of,
)

SCENE = VocAnnotation(
    190, 320,
    (
        VocObject("vehicle", (50.0, 100.0, 60.0, 40.0), False),
        VocObject("vehicle", (300.0, 90.0, 5.0, 4.0), False),
        VocObject("traffic_light", (290.0, 40.0, 3.0, 5.0), False),  # 15 square pixels: too small
        VocObject("traffic_sign", (160.0, 40.0, 10.0, 10.0), False),
        VocObject("dog", (160.0, 40.0, 100.0, 100.0), False),
    ),
)  # fmt: skip


def _told(questions):
    return {(KINDS[q.kind], SUBJECTS[q.subject]): ANSWERS[q.answer] for q in questions}


def test_answers_of_a_scene():
    told = _told(questions_of(SCENE))
    assert told == {
        ("is there", "vehicle"): "yes", ("how many", "vehicle"): "2", ("where", "vehicle"): "left",
        ("near or far", "vehicle"): "near", ("is there", "bicycle"): "no", ("is there", "motorbike"): "no",
        ("is there", "traffic light"): "no", ("how many", "traffic light"): "0", ("is there", "traffic sign"): "yes",
        ("where", "traffic sign"): "middle",
    }  # fmt: skip
    mirrored = _told(questions_of(SCENE, mirrored=True))
    assert {asked for asked in told if told[asked] != mirrored[asked]} == {("where", "vehicle")}
    assert mirrored["where", "vehicle"] == "right"
    assert {s for _, s in _told(questions_of(SCENE, ("bicycle",)))} == {"bicycle"}


def test_texts_ask_what_they_ask():
    for kind in range(len(KINDS)):
        for subject in range(len(SUBJECTS)):
            assert question_kind(question_text(kind, subject)) == kind
    assert question_kind("How many cars are there?") == 1 and question_kind("Are there any bikes?") == 0
    with pytest.raises(ValueError, match="question 'why me' is of no kind"):
        question_kind("why me")


def test_balance_and_floor():
    rng = np.random.default_rng(0)
    yes = rng.random((500, 2)) < [[0.2, 0.9]]
    questions = np.array([(0, s, 0 if y else 1) for row in yes for s, y in enumerate(row)] + [(1, 0, 2)] * 7)
    keep = questions[balanced(questions)]
    for subject in (0, 1):
        own = keep[(keep[:, 0] == 0) & (keep[:, 1] == subject)]
        assert (own[:, 2] == 0).sum() == (own[:, 2] == 1).sum() == min(yes[:, subject].sum(), (~yes[:, subject]).sum())
    assert (keep[:, 0] == 1).sum() == 7
    assert majority_answers(questions)[0, 0] == 1 and majority_answers(questions)[0, 1] == 0
    assert floor_accuracy(questions, keep[keep[:, 0] == 0]) == 0.5
    assert floor_accuracy(questions[:2], np.array([[3, 0, 9]])) == 0.0
