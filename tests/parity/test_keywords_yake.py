"""Keywords of questions against the reference implementation of YAKE (needs yake)."""

import itertools

import pytest

from lvm_mtc.knowledge.keywords import STOP_WORDS, extract_keywords

yake = pytest.importorskip("yake", reason="needs yake")

pytestmark = pytest.mark.parity

THINGS = (
    "car", "red car", "traffic light", "bicycle", "pedestrian", "truck", "dog", "motorcycle", "stop sign", "bus",
    "tree", "white van", "speed limit sign", "building", "bird", "person", "parked vehicle", "road", "crossing", "lamp",
)  # fmt: skip
TEXTS = (
    "is there a {} in the picture?", "how many {} can you see?", "where is the largest {}?", "what color is the {}?",
    "what is behind the {} in front of us?", "Is the {} near or far?", "which direction does the {} move?",
    "Can you tell me how fast the {} drives on this street?", "what does the {} on the left side of the road show?",
    "Describe weather and visibility around the {} please",
)  # fmt: skip
QUESTIONS = [text.format(thing) for text, thing in itertools.product(TEXTS, THINGS)]


def test_scores_of_200_questions():
    theirs = yake.KeywordExtractor(lan="en", n=3, dedupLim=1, windowsSize=1, stopwords=set(STOP_WORDS), top=1000)
    assert len(set(QUESTIONS)) == 200
    for question in QUESTIONS:
        # The package keeps capitals, and takes words of two letters for stop words, of which the paper says nothing.
        want = {text.lower(): score for text, score in theirs.extract_keywords(question)}
        own = [
            found for found in extract_keywords(question) if all(len(found.text.split()[end]) > 2 for end in (0, -1))
        ]
        assert dict(own) == pytest.approx(want, rel=1e-6), question
        scores = [want[keyword.text] for keyword in own]
        assert scores == sorted(scores), question
