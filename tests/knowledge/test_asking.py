"""Keywords, matching, attention and slices: by hand, by brute force, and their invariances."""

import itertools
import math

import numpy as np
import pytest

from lvm_mtc.data.word_vectors import WordVectors
from lvm_mtc.knowledge.asking import Seen, ask
from lvm_mtc.knowledge.attention import patch_weights, slice_windows, spectral_residual, subjective_map
from lvm_mtc.knowledge.keywords import extract_keywords
from lvm_mtc.knowledge.matching import match_labels
from lvm_mtc.models.patch_features import PICTURE, grid_places

WORDS = ("car", "cars", "truck", "light", "traffic", "weather")
VECTORS = np.array([[1, 0, 0], [0.9, 0.1, 0], [0.8, 0.6, 0], [0, 0, 1], [0, 0.6, 0.8], [0, 1, 0.1]], np.float32)


@pytest.fixture(scope="module")
def words():
    return WordVectors({word: i for i, word in enumerate(WORDS)}, VECTORS / np.linalg.norm(VECTORS, axis=1)[:, None])


def test_scores_of_one_sentence_by_hand():
    scores = dict(extract_keywords("what color is the red car in front?"))
    position = math.log(math.log(3))
    inside, at_the_end = 4.5 * position, 2 * position
    for word in ("color", "red", "car"):
        assert scores[word] == pytest.approx(inside / (1 + inside)) == pytest.approx(0.2973, abs=1e-4)
    assert scores["front"] == pytest.approx(at_the_end / (1 + at_the_end)) == pytest.approx(0.1583, abs=1e-4)
    assert scores["red car"] == pytest.approx(inside**2 / (1 + 2 * inside))
    assert scores["front"] < scores["car"]  # within one sentence only places differ


def test_repetition_capitals_and_stop_words_inside():
    text = "The Oslo road is closed. Take the road of steel, the road of Oslo. NATO roads differ."
    scores = dict(extract_keywords(text))
    # road: thrice in two of three sentences; by the formulas of the paper.
    counts = {"oslo": 2, "road": 3, "closed": 1, "take": 1, "steel": 1, "nato": 1, "roads": 1, "differ": 1}
    usual = np.mean(list(counts.values())) + np.std(list(counts.values()))
    related = 1 + (2 / 3 + 2 / 3) * 3 / 3
    road = related * math.log(math.log(3 + 1)) / ((3 / usual + 2 / 3) / related)
    assert scores["road"] == pytest.approx(road / (3 * (1 + road)))
    sure = 2 / 3 * 1 / 1
    related = 1 + (1 + 0) * 1 / 3
    steel = related * math.log(math.log(3 + 1)) / ((1 / usual + 1 / 3) / related)
    assert scores["road of steel"] == pytest.approx(road * steel * (2 - sure) / (1 + road + steel - (1 - sure)))
    assert not any(k.startswith("the ") or k.endswith(" of") for k in scores)
    assert all(len(keyword.split()) <= 3 for keyword in scores) and extract_keywords("") == []


def test_the_longest_keyword_has_a_word():
    with pytest.raises(ValueError, match="longest must be at least 1, got 0"):
        extract_keywords("a car", longest=0)


def test_matching(words):
    labels = ("truck", "car", "traffic light")
    assert match_labels(["car"], labels, words)[:2] == (("car",), "car")
    assert match_labels(["car"], labels, words).similarity == pytest.approx(1.0)
    turned = match_labels(["light traffic"], labels, words)
    assert turned.labels == ("traffic light",) and turned.similarity == pytest.approx(1.0, abs=1e-6)
    assert match_labels(["fast cars"], labels, words).labels == ("car",)  # "fast" has no vector
    assert match_labels(["cars"], labels, words, every=True).labels == ("car", "truck")
    # Neither the order of the keywords nor their scores matter, nor how often a label was detected.
    for keywords in itertools.permutations(["weather", "cars", "light"]):
        assert match_labels(keywords, labels * 3, words) == match_labels(["light", "weather", "cars"], labels, words)


def test_no_match_says_why(words):
    low = match_labels(["weather"], ("car",), words)
    assert low.labels == () and "'car', has cosine 0.00 < 0.65" in low.note
    assert match_labels(["weather"], ("car",), words, threshold=None).labels == ("car",)
    assert "no keyword" in match_labels(["quark"], ("car",), words).note
    assert "nothing was detected" in match_labels(["car"], (), words).note


def test_patch_weights_are_means():
    rng = np.random.default_rng(0)
    attention = rng.random(PICTURE)
    places = grid_places(np.array([0, 0, 1, 1], np.float32))
    want = attention.reshape(6, 32, 10, 32).mean(axis=(1, 3)).reshape(-1)
    np.testing.assert_allclose(patch_weights(attention, places), want, atol=1e-6)
    # A window whose patches are parts of pixels: means over a finer picture.
    window = np.array([0.25, 0.5, 0.275, 0.525], np.float32)
    fine = attention.repeat(10, axis=0).repeat(10, axis=1)
    crop = fine[960:1008, 800:880].reshape(6, 8, 10, 8).mean(axis=(1, 3)).reshape(-1)
    np.testing.assert_allclose(patch_weights(attention, grid_places(window)), crop, atol=2e-4)


def test_subjective_map_and_saliency():
    boxes = np.array([[10, 20, 8, 6], [100, 50, 300, 2]], np.float64)
    attention = subjective_map(boxes, *PICTURE)
    assert attention.sum() == 8 * 6 + 250 * 2 and attention[20, 10] == attention[50, 249] == 1 == 1 + attention[30, 10]
    assert subjective_map(np.zeros((0, 4)), *PICTURE).sum() == 0
    # Vertical stripes, with a patch of horizontal ones.
    rows, columns = np.sin(np.mgrid[: PICTURE[0], : PICTURE[1]] / 5)
    image = np.broadcast_to(0.5 + 0.3 * columns[None, :, :, None], (1, *PICTURE, 3)).copy()
    image[0, 96:128, 160:192] = 0.5 + 0.3 * rows[96:128, 160:192, None]
    maps = spectral_residual(image)
    assert maps.shape == (1, *PICTURE) and maps.max() == 1 and maps.min() >= 0
    assert patch_weights(maps[0], grid_places(np.array([0, 0, 1, 1.0]))).argmax() == 35
    shifted = spectral_residual(np.roll(image, 8, axis=1))
    np.testing.assert_allclose(shifted, np.roll(maps, 8, axis=1), atol=1e-5)
    with pytest.raises(ValueError, match="sides that 4 divides"):
        spectral_residual(image[:, :-2])


WINDOWS = [
    ((0.5, 0.5, 1, 1), (0, 0, 1, 1)),
    ((0.9, 0.5, 0.2, 0.1), (0.76, 0.38, 1, 0.62)),
    ((0.5, 0.5, 0.2, 0.4), (0.26, 0.26, 0.74, 0.74)),
]


@pytest.mark.parametrize(("box", "window"), WINDOWS)
def test_matched_windows(box, window):
    got = slice_windows("matched", np.array([box]))
    np.testing.assert_allclose(got, [window], atol=1e-6)
    assert got.min() >= 0 and got.max() <= 1
    assert len(slice_windows("matched", np.zeros((0, 4)))) == len(slice_windows("base")) == 0
    assert slice_windows("grid").shape == (4, 4)
    with pytest.raises(ValueError, match="slices must be one of base, grid, matched, got 'all'"):
        slice_windows("all")


def test_softened_boxes_and_the_largest_of_a_patch():
    boxes = np.array([[100.0, 60.0, 40.0, 30.0]])
    hard, soft = (subjective_map(boxes, *PICTURE, blur=blur) for blur in (0.0, 4.0))
    assert 0.99 < soft.sum() / hard.sum() < 1.01 and soft.max() < 1.0 + 1e-12 and soft[60, 100] > 0.99
    # On the middle of a long edge a Gaussian leaves half; three deviations outside next to nothing.
    assert soft[60, 79:81].mean() == pytest.approx(0.5, abs=1e-3) and soft[60, 80 - 12] < 2e-3
    places = grid_places(np.array([0, 0, 1, 1], np.float32))
    want = hard.reshape(6, 32, 10, 32).max(axis=(1, 3)).reshape(-1)
    np.testing.assert_array_equal(patch_weights(hard, places, reduce="max"), want)
    rng = np.random.default_rng(0)
    noise = rng.random(PICTURE)
    small = grid_places(np.float32([0.31, 0.27, 0.33, 0.29]))  # less than a pixel wide each
    largest, mean = (patch_weights(noise, small, reduce=reduce) for reduce in ("max", "mean"))
    assert np.isin(largest, noise).all() and (largest >= mean - 1e-6).all()
    with pytest.raises(ValueError, match="reduce must be one of mean, max, got 'sum'"):
        patch_weights(hard, places, reduce="sum")


def test_ask(words):
    boxes = np.array([[0.25, 0.5, 0.1, 0.2], [0.75, 0.5, 0.1, 0.2]])
    seen = Seen(np.zeros((*PICTURE, 3)), np.zeros((60, 4)), boxes, ("car", "traffic light"), np.ones(PICTURE))
    asked = ask(seen, "how many cars are there?", words, slices="matched")
    assert asked.match.labels == ("car",) and asked.windows.shape == (2, 4) and asked.subjective.shape == (2, 60)
    assert asked.attention[:, :160].sum() > 0 == asked.attention[:, 160:].sum()
    assert asked.subjective[0].sum() * 32 * 32 == pytest.approx(asked.attention.sum(), rel=1e-5)
    assert asked.subjective[1].mean() > asked.subjective[0].mean()  # the slice is where the car is
    np.testing.assert_allclose(asked.objective, 1.0, atol=1e-4)
    nothing = ask(seen, "how is the weather?", words, slices="matched")
    assert nothing.match.labels == () and nothing.windows.shape == (1, 4) and nothing.subjective.sum() == 0
