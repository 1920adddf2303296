"""Questions about the objects of annotated pictures, with their answers: a small grammar instead of people who ask.

Kinds: is there an X, how many X are there (0, 1, 2, 3+), where is the largest X (left, middle, right third), is the
largest X near or far (its box higher than a fifth of the picture). Objects below 64 square pixels of a picture 640
pixels wide do not count.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.voc import VocAnnotation, VocObject

KINDS = ("is there", "how many", "where", "near or far")
SUBJECTS = ("vehicle", "bicycle", "motorbike", "traffic light", "traffic sign")
ANSWERS = ("yes", "no", "0", "1", "2", "3+", "left", "middle", "right", "near", "far")
COUNTED = ("vehicle", "traffic light")
"""Of what "how many" asks."""
NAMES = {
    "vehicle": "vehicle", "truck": "vehicle", "car": "vehicle", "bus": "vehicle",
    "bike": "bicycle", "bicycle": "bicycle", "motobike": "motorbike", "motorcycle": "motorbike",
    "scooter": "motorbike", "traffic_light": "traffic light", "traffic light": "traffic light",
    "traffic_sign": "traffic sign", "Traffic sign": "traffic sign", "stop sign": "traffic sign",
}  # fmt: skip
"""Names in annotations, and labels of COCO, to subjects."""
_SMALLEST, _WIDTH = 64, 640
_NEAR = 0.2
_TEXTS = (
    "is there a {} in the picture?",
    "how many {}s are there?",
    "where is the largest {}?",
    "is the largest {} near or far?",
)
_PATTERNS = ("how many", "where", "near|far", "is there|are there|can you see|any")


class Question(NamedTuple):
    """Places in ``KINDS``, ``SUBJECTS`` and ``ANSWERS``."""

    kind: int
    subject: int
    answer: int

    @property
    def text(self) -> str:
        """As somebody would ask it."""
        return question_text(self.kind, self.subject)


def question_text(kind: int, subject: int) -> str:
    """A question in words."""
    return _TEXTS[kind].format(SUBJECTS[subject])


def question_kind(text: str) -> int:
    """Which of ``KINDS`` a text asks; ``ValueError`` for none of them."""
    numbers = {"how many": 1, "where": 2, "near|far": 3}
    for pattern in _PATTERNS:
        if re.search(rf"\b({pattern})\b", text.lower()):
            return numbers.get(pattern, 0)
    wanted = "'is there a ...', 'how many ...', 'where is the largest ...' or 'is the largest ... near or far'"
    raise ValueError(f"question {text!r} is of no kind that can be answered: ask {wanted}")


def questions_of(
    annotation: VocAnnotation, subjects: Sequence[str] = SUBJECTS, *, mirrored: bool = False
) -> list[Question]:
    """All questions about a picture, with what its boxes answer.

    Args:
        annotation: Boxes with names in ``NAMES``; others are not asked about.
        subjects: What is annotated wherever it is seen, and so may be asked about.
        mirrored: The picture is shown mirrored.
    """
    smallest = _SMALLEST * (annotation.width / _WIDTH) ** 2
    found: dict[str, list[VocObject]] = defaultdict(list)
    for item in annotation.objects:
        if item.name in NAMES and item.box[2] * item.box[3] >= smallest:
            found[NAMES[item.name]].append(item)
    questions = []
    for subject in subjects:
        objects = found[subject]
        answers = {0: "yes" if objects else "no"}
        if subject in COUNTED:
            answers[1] = ("0", "1", "2", "3+")[min(len(objects), 3)]
        if objects:
            x, _, _, height = max(objects, key=lambda item: item.box[2] * item.box[3]).box
            third = min(int(3 * x / annotation.width), 2)
            answers[2] = ("left", "middle", "right")[2 - third if mirrored else third]
            if subject == "vehicle":
                answers[3] = "near" if height > _NEAR * annotation.height else "far"
        number = SUBJECTS.index(subject)
        questions += [Question(kind, number, ANSWERS.index(answer)) for kind, answer in answers.items()]
    return questions


def balanced(questions: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places of as many "yes" as "no" for every subject, drawn at random, and of all other kinds; sorted.

    ``questions`` are ``[n, 3]`` int: kind, subject, answer.
    """
    generator, keep = np.random.default_rng(seed), np.ones(len(questions), bool)
    for subject in range(len(SUBJECTS)):
        asked = (questions[:, 0] == 0) & (questions[:, 1] == subject)
        yes, no = (np.flatnonzero(asked & (questions[:, 2] == ANSWERS.index(answer))) for answer in ("yes", "no"))
        more = max(yes, no, key=len)
        keep[generator.permutation(more)[min(len(yes), len(no)) :]] = False
    return np.flatnonzero(keep)


def majority_answers(questions: Iterable[Sequence[int]]) -> Mapping[tuple[int, int], int]:
    """The commonest answer to each kind and subject: what answers without looking at pictures."""
    counts: dict[tuple[int, int], Counter] = defaultdict(Counter)
    for kind, subject, answer in questions:
        counts[int(kind), int(subject)][int(answer)] += 1
    return {asked: min(answers, key=lambda a: (-answers[a], a)) for asked, answers in counts.items()}


def floor_accuracy(training: np.ndarray, test: np.ndarray) -> float:
    """Accuracy on ``test`` of the commonest answers in ``training``, both ``[n, 3]``."""
    answers = majority_answers(training)
    return float(np.mean([answers.get((int(k), int(s)), -1) == a for k, s, a in test]))
