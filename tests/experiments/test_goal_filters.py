"""What a filter picks for the class of an object, on two pictures whose answer is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.knowledge_base import goal_filters
from experiments.knowledge_base.goal_filters import (
    TEXTS,
    Queries,
    as_candidates,
    judge_boxes,
    measure_filters,
    measure_powers,
    queries_of,
    share,
    similarities,
)
from lvm_mtc.data.voc import VOC_CLASSES
from lvm_mtc.knowledge import KnowledgeBase, LabelFilter, Query, ScoreFilter
from lvm_mtc.knowledge.crops import crop_boxes
from lvm_mtc.models.detection import Detections

pytestmark = pytest.mark.usefixtures("fast_compile")


class Redness:
    """A filter that looks at crops: how red they are, or how little."""

    name = "redness"
    params = None

    def prepare(self, task_text):
        if task_text == "useless":
            return Query(None, "the text is useless")
        return Query(np.float32(1 if task_text == "red" else -1))

    def score(self, params, query, images, candidates):
        return query * crop_boxes(images, candidates.boxes, 8).mean(axis=(2, 3))[..., 0]


class Told:
    """A filter with a power of the score, of which P(text | crop) is known: 0.5 in the second place, 0.4 elsewhere."""

    name = "told"
    params = None
    score_power = 0.5

    def prepare(self, task_text):
        return Query(np.float32(1))

    def score(self, params, query, images, candidates):
        alone = jnp.where(jnp.arange(candidates.scores.shape[1]) == 1, 0.5, 0.4)
        return query * alone[None] * candidates.scores**self.score_power


def found(*pictures):
    """Detections of a list of (box, score, label) per picture, three places each."""
    places = Detections(
        np.zeros((len(pictures), 3, 4), np.float32), np.zeros((len(pictures), 3), np.float32),
        np.zeros((len(pictures), 3), np.int32), np.zeros((len(pictures), 3), bool),
    )  # fmt: skip
    for i, boxes in enumerate(pictures):
        for j, entry in enumerate(boxes):
            for array, value in zip(places, (*entry, True), strict=True):
                array[i, j] = value
    return places


DOG, PERSON = (VOC_CLASSES.index(name) for name in ("dog", "person"))
ON_DOG, ON_PERSON, WIDE = [8, 16, 10, 20], [24, 16, 10, 20], [16, 16, 32, 32]


def test_texts_are_plain_words():
    assert len(TEXTS) == 20
    for name, text in (("dog", "a dog"), ("aeroplane", "an aeroplane"), ("pottedplant", "a potted plant")):
        assert TEXTS[VOC_CLASSES.index(name)] == text


def test_queries_are_the_classes_of_each_picture(two_pictures):
    queries = queries_of(two_pictures)
    np.testing.assert_array_equal(queries.picture, [0, 0, 1])
    np.testing.assert_array_equal(queries.label, [DOG, PERSON, DOG])
    np.testing.assert_array_equal(queries.several, [True, True, False])


def test_candidates_are_sorted_clipped_and_never_none():
    boxes = found([(ON_DOG, 0.2, 7), ([30, 16, 8, 8], 0.9, 3), ([80, 80, 4, 4], 0.95, 1)], [])
    got = as_candidates(boxes, np.array([[32, 32], [24, 32]]), 4)
    np.testing.assert_array_equal(got.valid, [[True, True, False, False], [True, False, False, False]])
    np.testing.assert_allclose(got.boxes[0, :2], [[29, 16, 6, 8], ON_DOG])  # what lies outside is gone
    np.testing.assert_allclose(got.scores[0], [0.9, 0.2, 0, 0])
    np.testing.assert_array_equal(got.labels[0, :2], [3, 7])
    np.testing.assert_allclose(got.boxes[1, 0], [16, 12, 16, 12])  # the centre prior
    assert as_candidates(boxes, np.array([[32, 32], [24, 32]]), 1).scores.tolist() == [[np.float32(0.9)], [1]]


def test_similarities_are_those_of_the_knowledge_base(two_pictures):
    boxes = found([(ON_DOG, 0.9, 0), (ON_PERSON, 0.8, 0), (WIDE, 0.7, 0)], [([16, 14, 12, 18], 0.5, 0)])
    candidates = as_candidates(boxes, two_pictures.extents, 16)
    texts = ["red", "useless", "not red"]
    got = similarities(Redness(), texts, two_pictures.pictures, two_pictures.extents, candidates)
    assert got.shape == (2, 3, 16)
    assert (got[0, 0, :3] != 0).all() and (got[:, 0] == -got[:, 2])[candidates.valid].all()
    for i, (height, width) in enumerate(two_pictures.extents):
        one = Detections(*(a[i : i + 1] for a in boxes))
        base = KnowledgeBase(detect=lambda params, images: params, params=one, goal_filter=Redness())
        for t, text in enumerate(texts):
            located = base.locate(two_pictures.pictures[i, :height, :width], text)
            assert got[i, t].argmax() == located.choice
            # The second picture's box touches its lower edge, where the border is not seen.
            np.testing.assert_allclose(got[i, t, :3], located.candidates.similarity, atol=0.01)


def test_a_box_is_right_by_its_class(two_pictures):
    queries = queries_of(two_pictures)
    boxes = np.tile(np.float32([ON_DOG, ON_PERSON, WIDE, [2, 2, 1, 1]]), (3, 1, 1))
    boxes[2] = [[16, 12, 10, 10], [16, 12, 20, 10], [16, 12, 21, 10], [16, 12, 30, 10]]
    hits = judge_boxes(boxes, queries, two_pictures)
    # 200 / 1024 of the wide box is too little; exactly half is enough; and a box beside everything overlaps nothing.
    np.testing.assert_array_equal(hits.iou, [[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0]])
    np.testing.assert_array_equal(hits.overlap, [[1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 1]])


def test_share_is_over_queries_and_its_interval_over_pictures():
    assert share(np.array([True, False, True, True]), np.array([0, 0, 5, 9])).value == 0.75
    rng = np.random.default_rng(0)
    hits = rng.random(400) < 0.3
    once = share(hits, np.arange(400))
    half = 1.96 * (hits.mean() * (1 - hits.mean()) / 400) ** 0.5
    np.testing.assert_allclose(once, [hits.mean(), hits.mean() - half, hits.mean() + half], atol=0.25 * half)
    # The same answers asked three times are no more pictures.
    assert share(np.repeat(hits, 3), np.repeat(np.arange(400), 3)) == pytest.approx(once)
    assert share(np.ones(3), np.arange(3)) == (1, 1, 1)
    with pytest.raises(ValueError, match="two or more pictures, got 1"):
        share(np.ones(3), np.zeros(3))


def test_filters_beside_chance_and_the_best_choice(two_pictures):
    boxes = found([(ON_DOG, 0.9, DOG), (ON_PERSON, 0.8, PERSON), (WIDE, 0.7, DOG)], [([16, 12, 10, 10], 0.5, DOG)])
    candidates = as_candidates(boxes, two_pictures.extents, 16)
    filters = ScoreFilter(size_power=0), LabelFilter(VOC_CLASSES)
    rows = {row["filter"]: row for row in measure_filters("told", candidates, filters, two_pictures)}
    assert list(rows) == ["random candidate", "score", "label", "best candidate"]
    want = {"random candidate": (1 / 3 + 1 / 3 + 1) / 3, "score": 2 / 3, "label": 1, "best candidate": 1}
    assert {name: row["all"]["iou"].value for name, row in rows.items()} == pytest.approx(want)
    assert rows["random candidate"]["all"]["overlap"].value == pytest.approx((2 / 3 + 1 / 3 + 1) / 3)
    assert rows["score"]["all"]["queries"] == 3
    # The share of the area to 1/4 lets the wide box win over the dog's: 0.7 > 0.9 * (200 / 1024)**(1/4) = 0.60.
    by_size = measure_filters("told", candidates, (ScoreFilter(),), two_pictures)[1]
    assert by_size["filter"] == "score" and by_size["all"]["iou"].value == pytest.approx(1 / 3)


def test_several_classes_alone_are_a_group(two_pictures, monkeypatch):
    boxes = as_candidates(found([(ON_DOG, 0.9, DOG)], [([16, 12, 10, 10], 0.5, DOG)]), two_pictures.extents, 16)
    queries = Queries(np.array([0, 0, 1]), np.array([DOG, PERSON, DOG]), np.array([True, True, True]))
    monkeypatch.setattr(goal_filters, "queries_of", lambda truth: queries._replace(several=np.array([1, 1, 1], bool)))
    row = measure_filters("told", boxes, (ScoreFilter(),), two_pictures)[1]
    assert row["several"] == row["all"] and row["several"]["iou"].value == pytest.approx(2 / 3)


def test_a_power_of_the_score_turns_the_choice(two_pictures):
    """0.4 against 0.5, with scores of 0.9 and 0.6: the first wins from a power of log(5/4) / log(3/2) = 0.55 on."""
    boxes = found([(ON_DOG, 0.9, 0), (ON_PERSON, 0.6, 0)], [([16, 12, 10, 10], 0.5, 0)])
    candidates = as_candidates(boxes, two_pictures.extents, 16)
    rows = measure_powers(Told(), {"some": candidates}, two_pictures)
    assert [row["power"] for row in rows] == list(goal_filters.POWERS) and rows[0]["candidates"] == "some"
    # Either way one of the first picture's two queries is right, the dog's or the person's.
    assert [row["iou"].value for row in rows] == pytest.approx([2 / 3] * len(rows))
    only_person = two_pictures._replace(valid=np.array([[False, True, False], [True, False, False]]))
    shares = [row["iou"].value for row in measure_powers(Told(), {"some": candidates}, only_person)]
    assert shares == [1, 1, 1, 0.5, 0.5, 0.5]
