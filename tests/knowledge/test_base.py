"""The knowledge base: one call, which filter it used, fallbacks, many and odd boxes, wrong input."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.knowledge import KnowledgeBase, LabelFilter, Query, ScoreFilter, center_prior
from lvm_mtc.knowledge.base import unit_pictures
from lvm_mtc.models.detection import Detections

pytestmark = pytest.mark.usefixtures("fast_compile")

IMAGES = np.linspace(0, 1, 2 * 3 * 32 * 48 * 3, dtype=np.float32).reshape(2, 3, 32, 48, 3)
CLASSES = ("person", "dog", "pottedplant", "motorbike")


def told(params, images):
    """A detector that says what it was told, the same for every picture."""
    batch = images.shape[0]
    return Detections(*(jnp.broadcast_to(a, (batch, *a.shape)) for a in params))


def detections(boxes, scores, labels=None, valid=None):
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    count = len(boxes)
    labels = np.zeros(count, np.int32) if labels is None else np.asarray(labels, np.int32)
    return Detections(boxes, np.asarray(scores, np.float32), labels, np.ones(count, bool) if valid is None else valid)


THREE = detections([[10, 10, 4, 4], [20, 12, 8, 6], [40, 20, 10, 10]], [0.9, 0.8, 0.3], [0, 1, 1])


class Brightness:
    """A filter whose answer is known in closed form: the picture's value at the box's centre."""

    name = "brightness"
    params = None

    def prepare(self, task_text):
        if task_text == "useless":
            return Query(None, "the text is useless")
        return Query(np.float32(-1 if task_text == "dark" else 1))

    def score(self, params, query, images, candidates):
        x, y = (candidates.boxes[..., i].astype(jnp.int32) for i in (0, 1))
        return query * jax.vmap(lambda image, x, y: image[y, x, 0])(images, x, y)


def test_one_call_picks_the_largest_similarity():
    base = KnowledgeBase(margin=0, detect=told, params=THREE, goal_filter=Brightness())
    located = base.locate(IMAGES, "bright")
    assert located.filter == "brightness" and located.note == "" and located.found.all()
    want = np.stack([IMAGES[..., 10, 10, 0], IMAGES[..., 12, 20, 0], IMAGES[..., 20, 40, 0]], -1)
    np.testing.assert_allclose(located.candidates.similarity[..., :3], want, rtol=1e-6)
    assert (located.choice == 2).all() and located.loc.shape == (2, 3, 4) and located.loc.dtype == np.float32
    np.testing.assert_array_equal(located.loc[1, 2], THREE.boxes[2])
    # Another text, another box.
    np.testing.assert_array_equal(base.locate(IMAGES, "dark").loc[0, 0], THREE.boxes[0])
    np.testing.assert_array_equal(base(IMAGES, "bright"), located.loc)


def test_leading_axes_and_uint8_do_not_matter():
    base = KnowledgeBase(margin=0, detect=told, params=THREE, goal_filter=Brightness())
    all_at_once = base.locate(IMAGES, "bright")
    single = base.locate(jnp.asarray(IMAGES[1, 2]), "bright")
    np.testing.assert_array_equal(single.loc, all_at_once.loc[1, 2])
    assert single.found.shape == () and single.candidates.boxes.shape == (3, 4)
    eight_bits = np.round(IMAGES * 255).astype(np.uint8)
    similarity = base.locate(eight_bits, "bright").candidates.similarity
    np.testing.assert_allclose(similarity, all_at_once.candidates.similarity, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_another_data_range_is_taken_or_refused(array):
    """A picture in 0 ... 255 saturates the detector, which then finds another box without a word."""
    base = KnowledgeBase(margin=0, detect=told, params=THREE, goal_filter=Brightness())
    want = base.locate(IMAGES, "bright")
    found = base.locate(array(IMAGES * 255), "bright", data_range=255)
    np.testing.assert_allclose(found.candidates.similarity, want.candidates.similarity, rtol=1e-5)
    np.testing.assert_array_equal(found.loc, want.loc)
    for wrong, words in ((IMAGES * 255, "0 to 255"), (IMAGES * 2 - 1, "-1 to 1"), (IMAGES * np.nan, "nan to nan")):
        with pytest.raises(ValueError, match=f"images hold {words}, expected 0 to 1: scale them, or pass data_range"):
            base(array(wrong), "bright")
    large = array(np.full((2, 128, 128, 3), np.nan, np.float32))  # of so many XLA's extremes on CPUs leave NaN out
    with pytest.raises(ValueError, match="images hold nan to nan"):
        unit_pictures(large)
    np.testing.assert_array_equal(base(array(IMAGES * 1.1 - 0.05), "bright"), want.loc)
    for data_range in (0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="data_range must be > 0 and finite"):
            base.locate(IMAGES, data_range=data_range)


def test_another_text_compiles_nothing():
    traced = []

    def detect(params, images):
        traced.append(images.shape)
        return told(params, images)

    base = KnowledgeBase(margin=0, detect=detect, params=THREE, goal_filter=Brightness())
    for text in ("bright", "dark", "anything"):
        base.locate(IMAGES, text)
    assert traced == [(6, 32, 48, 3)]


def test_loc_has_a_margin_and_the_candidates_have_none():
    base = KnowledgeBase(detect=told, params=THREE, goal_filter=Brightness(), margin=0.25)
    located = base.locate(IMAGES, "bright")
    # The box about (40, 20) of 10 x 10, in pictures of 48 x 32: 2.5 pixels more on every side.
    np.testing.assert_allclose(located.loc[1, 2], [40, 20, 15, 15])
    np.testing.assert_array_equal(located.candidates.boxes[1, 2], THREE.boxes)
    assert KnowledgeBase(detect=told, params=THREE).margin == 0.1
    np.testing.assert_allclose(base.locate(IMAGES, "dark").loc[1, 2], [10, 10, 6, 6])


def test_no_object_gives_the_stated_prior_and_says_so():
    nothing = THREE._replace(valid=np.zeros(3, bool))
    base = KnowledgeBase(margin=0.3, detect=told, params=nothing, goal_filter=Brightness())
    located = base.locate(IMAGES, "bright")
    assert not located.found.any() and (located.choice == -1).all()
    np.testing.assert_array_equal(located.loc, center_prior()(IMAGES))
    assert (located.candidates.labels == -1).all() and (located.candidates.similarity == -np.inf).all()
    other = KnowledgeBase(margin=0, detect=told, params=nothing, prior_fraction=1.0).locate(IMAGES)
    np.testing.assert_array_equal(other.loc[0, 0], [24, 16, 48, 32])


@pytest.mark.parametrize(
    ("text", "note"), [("", "the task text is empty"), (" \n", "the task text is empty"), ("useless", "useless")]
)
def test_a_text_of_no_use_falls_back_to_the_score_and_says_so(text, note, caplog):
    base = KnowledgeBase(margin=0, detect=told, params=THREE, goal_filter=Brightness())
    located = base.locate(IMAGES, text)
    assert located.filter == "score" and note in located.note
    # 0.9 * 16**(1/4) = 1.80, 0.8 * 48**(1/4) = 2.11, 0.3 * 100**(1/4) = 0.95.
    np.testing.assert_array_equal(located.loc[0, 0], THREE.boxes[1])
    with caplog.at_level(logging.INFO):
        base(IMAGES, text)
    assert f"filter 'score' found 6 of 6 pictures ({located.note})" in caplog.text


def test_boxes_outside_are_clipped_or_left_out():
    boxes = [[-50, 10, 20, 20], [46, 30, 20, 20], [np.nan, 3, 4, 4], [20, 12, 8, 6]]
    base = KnowledgeBase(margin=0, detect=told, params=detections(boxes, [0.9, 0.8, 0.7, 0.6]))
    located = base.locate(IMAGES)
    np.testing.assert_array_equal(located.loc[0, 0], [42, 26, 12, 12])
    np.testing.assert_array_equal(located.candidates.valid[0, 0], [True, True, False, False])
    np.testing.assert_allclose(located.candidates.scores[0, 0], [0.8, 0.6, 0, 0])


def test_ten_thousand_boxes_and_ties():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(5, 25, (10_000, 2)), rng.uniform(1, 9, (10_000, 2))], axis=1)
    scores = np.round(rng.uniform(0, 1, 10_000), 2)
    plain = ScoreFilter(size_power=0)
    base = KnowledgeBase(margin=0, detect=told, params=detections(boxes, scores), goal_filter=plain, max_candidates=64)
    located = base.locate(IMAGES[0])
    order = np.argsort(-scores, kind="stable")[:64]
    assert located.candidates.boxes.shape == (3, 64, 4)
    np.testing.assert_allclose(located.candidates.boxes[1], boxes[order], atol=1e-5)
    np.testing.assert_allclose(located.loc[2], boxes[order[0]], atol=1e-5)


def test_labels():
    base = KnowledgeBase(margin=0, detect=told, params=THREE, goal_filter=LabelFilter(CLASSES))
    located = base.locate(IMAGES, "Look at the dogs!")
    assert located.filter == "label"
    np.testing.assert_allclose(located.candidates.similarity[0, 0], [0.9, 1.8, 1.3], rtol=1e-6)
    np.testing.assert_array_equal(located.loc[0, 0], THREE.boxes[1])
    # A class that is named but not there: still the best score, and no crash.
    np.testing.assert_array_equal(base.locate(IMAGES, "a motorcycle").loc[0, 0], THREE.boxes[0])
    nothing = base.locate(IMAGES, "a zebra")
    assert nothing.filter == "score" and nothing.note == "the text names none of the detector's 4 classes"


@pytest.mark.parametrize(
    ("text", "named"),
    [("a potted plant", 2), ("two women", 0), ("MOTORCYCLES.", 3), ("hot-dog", 1), ("dogged", None), ("🐕", None)],
)
def test_words_of_a_text_name_classes(text, named):
    query = LabelFilter(CLASSES).prepare(text).array
    assert query is None if named is None else np.flatnonzero(query).tolist() == [named]


def test_score_filter_needs_no_text():
    assert ScoreFilter().prepare("x").array is not None
    located = KnowledgeBase(margin=0, detect=told, params=THREE).locate(IMAGES, "a cat")
    assert located.filter == "score" and located.note == ""


def test_score_filter_prefers_the_larger_of_two_confident_boxes():
    boxes = [[20, 16, 4, 4], [20, 16, 16, 16], [20, 16, 32, 24]]
    params = detections(boxes, [0.8, 0.6, 0.1])

    def locate(**power):
        return KnowledgeBase(margin=0, detect=told, params=params, goal_filter=ScoreFilter(**power)).locate(IMAGES[0])

    np.testing.assert_array_equal(locate(size_power=0).loc[0], boxes[0])
    np.testing.assert_array_equal(locate(size_power=3).loc[0], boxes[2])
    located = locate()
    area = IMAGES.shape[2] * IMAGES.shape[3]
    share = np.array([16, 256, 768]) / area
    np.testing.assert_allclose(located.candidates.similarity[0], [0.8, 0.6, 0.1] * share**0.25, rtol=1e-5)
    np.testing.assert_array_equal(located.loc[0], boxes[1])  # 16 times the area is worth twice the score
    for power in (-1, np.inf, np.nan):
        with pytest.raises(ValueError, match="ScoreFilter.size_power must be a finite number >= 0"):
            ScoreFilter(size_power=power)


def test_wrong_input():
    base = KnowledgeBase(margin=0, detect=told, params=THREE)
    for images, message in (
        (np.zeros((32, 48)), r"must be pictures \[..., height, width, 3\], got shape \(32, 48\)"),
        (np.zeros((4, 32, 48, 1)), r"got shape \(4, 32, 48, 1\)"),
        (np.zeros((2, 0, 48, 3)), r"got shape \(2, 0, 48, 3\)"),
        (np.zeros((0, 32, 48, 3), np.float32), r"images \(0, 32, 48, 3\) hold no picture"),
        (np.zeros((32, 48, 3), np.int32), "must be floating-point numbers in .* or uint8, got int32"),
    ):
        with pytest.raises(ValueError, match=message):
            base.locate(images)
    with pytest.raises(ValueError, match="task_text must be a string, got NoneType"):
        base.locate(IMAGES, None)
    with pytest.raises(ValueError, match="KnowledgeBase.max_candidates must be at least 1, got 0"):
        KnowledgeBase(margin=0, detect=told, params=THREE, max_candidates=0)
    with pytest.raises(ValueError, match=r"KnowledgeBase.prior_fraction must lie in \(0, 1\], got 0"):
        KnowledgeBase(detect=told, params=THREE, prior_fraction=0)
    for margin in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"KnowledgeBase.margin must be a finite number >= 0, got {margin}"):
            KnowledgeBase(detect=told, params=THREE, margin=margin)
    with pytest.raises(ValueError, match=r"class_names must name at least two classes, got \('object',\)"):
        LabelFilter(("object",))
