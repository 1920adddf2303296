"""Colours of pictures, and captions by a grammar."""

import numpy as np
import pytest

from lvm_mtc.data.colours import _SRGB, COLOURS, main_colours, nearest_colour, to_lab
from lvm_mtc.data.grammar import CLASS_WORDS, UNSAID, Facts, describe, facts_of, understand


def test_lab_is_that_of_the_standard():
    # Published values of sRGB's corners under D65 (Lindbloom), to the three decimals of the matrix used here.
    pixels = np.array([(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    known = [(100, 0, 0), (0, 0, 0), (53.24, 80.09, 67.20), (87.73, -86.18, 83.18), (32.30, 79.19, -107.86)]
    np.testing.assert_allclose(to_lab(pixels), known, atol=0.1)


def test_a_colour_is_nearest_to_itself_and_gray_is_shunned():
    np.testing.assert_array_equal(nearest_colour(_SRGB), np.arange(len(COLOURS)))
    assert COLOURS[int(nearest_colour(np.uint8([90, 70, 60])))] == "brown"


def test_rim_and_centre_are_told_apart():
    pictures = np.zeros((2, 32, 32, 3), np.uint8)
    pictures[0], pictures[1] = _SRGB[COLOURS.index("green")], _SRGB[COLOURS.index("blue")]
    pictures[0, 8:24, 8:24], pictures[1, 8:24, 8:24] = (_SRGB[COLOURS.index(c)] for c in ("red", "orange"))
    pictures[:, -4:, 4:-4] = _SRGB[COLOURS.index("pink")]  # what it stands on is not behind it
    facts = facts_of(pictures, np.array([5, 0]))
    assert describe(facts) == ["a red dog on a green background", "an orange airplane on a blue background"]
    fore, back = main_colours(pictures)
    assert (COLOURS[fore[1]], COLOURS[back[1]]) == ("orange", "blue")


def test_every_caption_is_understood():
    every = Facts(*(a.reshape(-1) for a in np.indices((len(CLASS_WORDS), len(COLOURS), len(COLOURS)))))
    for said, meant in zip(understand(describe(every)), every, strict=True):
        np.testing.assert_array_equal(said, meant)
    assert len(set(describe(every))) == len(every.label)


@pytest.mark.parametrize(
    ("text", "label", "fore", "back"),
    [
        ("a brown on a green background", None, "brown", "green"),
        ("two dogs", None, None, None),
        ("dog", "dog", None, None),
        ("the cat sees a dog on a red sofa", "cat", None, "red"),
        ("a white brown cat", "cat", "brown", None),
    ],
)
def test_what_is_not_said_stays_unsaid(text, label, fore, back):
    wanted = [UNSAID if word is None else table.index(word)
              for table, word in ((CLASS_WORDS, label), (COLOURS, fore), (COLOURS, back))]  # fmt: skip
    assert [int(column[0]) for column in understand([text])] == wanted


def test_no_sentences_say_nothing():
    assert [column.shape for column in understand([])] == [(0,)] * 3
