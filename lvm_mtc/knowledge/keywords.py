"""Keywords of a text by YAKE: statistics of the text itself, no corpus and no weights.

Source: Campos et al., YAKE! Keyword extraction from single documents using multiple local features (2020), Eq. 1-8,
written from the paper. Window of co-occurrence 1. Lower scores are better.
"""

import math
import re
import statistics
from collections import Counter, defaultdict
from typing import NamedTuple

STOP_WORDS = frozenset(
    "a about above after again all also am an and any are as at be because been before being below between both but by "
    "can could did do does doing down during each few for from further get given had has have having he her here hers "
    "him his how i if in into is it its just let many may me might more most much must my no nor not now of off on "
    "once only or other our out over own please same shall she should so some such tell than that the their them then "
    "there these they this those through to too under until up very was we were what when where which while who whom "
    "why will with would you your".split()
)
"""English words that begin and end no keyword."""


class Keyword(NamedTuple):
    """One to a few words in lower case, and their score, > 0; the lower the better."""

    text: str
    score: float


def extract_keywords(text: str, *, longest: int = 3, stop_words: frozenset[str] = STOP_WORDS) -> list[Keyword]:
    """Keywords, the best first; equal scores as they stand in the text.

    Args:
        text: Any text, a question say.
        longest: Words of a keyword at most.
        stop_words: In lower case.
    """
    if longest < 1:
        raise ValueError(f"longest must be at least 1, got {longest}")
    sentences = [words for part in re.split(r"(?<=[.!?])\s+", text) if (words := _chunks(part))]
    scores, pairs, counts = _word_scores(sentences, stop_words)
    found: Counter = Counter()
    for chunks in sentences:
        for chunk in chunks:
            words = [word.lower() for word in chunk]
            for start in range(len(words)):
                for stop in range(start + 1, min(start + longest, len(words)) + 1):
                    if words[start] not in stop_words and words[stop - 1] not in stop_words:
                        found[tuple(words[start:stop])] += 1
    keywords = []
    for words, count in found.items():
        product, total = 1.0, 0.0
        for place, word in enumerate(words):
            if word in stop_words:
                # A stop word inside counts by how surely it stands between its neighbours.
                before, after = words[place - 1], words[place + 1]
                sure = pairs[before, word] / counts[before] * pairs[word, after] / counts[after]
                product, total = product * (2 - sure), total - (1 - sure)
            else:
                product, total = product * scores[word], total + scores[word]
        keywords.append(Keyword(" ".join(words), product / (count * (1 + total))))
    return sorted(keywords, key=lambda keyword: keyword.score)


def _chunks(sentence: str) -> list[list[str]]:
    """Runs of words between marks of punctuation, numbers left out."""
    runs = (re.findall(r"[A-Za-z][\w'-]*", run) for run in re.split(r"[^\w\s'-]", sentence))
    return [run for run in runs if run]


def _word_scores(
    sentences: list[list[list[str]]], stop_words: frozenset[str]
) -> tuple[dict[str, float], Counter, Counter]:
    """S(t) of each word that is no stop word (Eq. 6), and how often pairs and words occur."""
    counts, upper, acronym, pairs = Counter(), Counter(), Counter(), Counter()
    places, left, right = defaultdict(list), defaultdict(Counter), defaultdict(Counter)
    for number, chunks in enumerate(sentences):
        first = True
        for chunk in chunks:
            for place, word in enumerate(chunk):
                low = word.lower()
                counts[low] += 1
                places[low].append(number)
                acronym[low] += word.isupper() and len(word) > 1
                upper[low] += word[0].isupper() and not first
                first = False
                if place:
                    before = chunk[place - 1].lower()
                    pairs[before, low] += 1
                    left[low][before] += 1
                    right[before][low] += 1
    valid = [counts[word] for word in counts if word not in stop_words]
    if not valid:
        return {}, pairs, counts
    usual, most = statistics.fmean(valid) + statistics.pstdev(valid), max(counts.values())
    scores = {}
    for word, count in counts.items():
        if word in stop_words:
            continue
        case = max(upper[word], acronym[word]) / (1 + math.log(count))
        position = math.log(math.log(3 + statistics.median(places[word])))
        neighbours = sum(len(side) / max(side.total(), 1) for side in (left[word], right[word]))
        related = 1 + neighbours * count / most
        spread = len(set(places[word])) / len(sentences)
        scores[word] = related * position / (case + (count / usual + spread) / related)
    return scores, pairs, counts
