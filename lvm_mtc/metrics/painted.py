"""What sentences are worth that arrive in place of pictures: painted, each different one once, and judged."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lvm_mtc.data.captions import Vocabulary
from lvm_mtc.data.grammar import understand
from lvm_mtc.link import describe
from lvm_mtc.metrics.judges import Judge
from lvm_mtc.schemes.scheme import Source, check_pictures

Paint = Callable[[Sequence[str], int], np.ndarray]
"""From sentences and a seed to pictures ``[n, height, width, 3]`` in [0, 1]; a ``knowledge.generators.Generator``."""


def painted_accuracy(
    name: str, paint: Paint, vocabulary: Vocabulary, classify: Callable[[Any, np.ndarray], Any], params: Any,
    seed: int = 0, of_paint: Any = None,
) -> Judge:  # fmt: skip
    """Share of sentences whose painted picture shows its class to a classifier, a judge on the host.

    Args:
        name: Of the metric.
        paint: The generator.
        vocabulary: Of the sentences' numbers.
        classify: From (parameters, pictures) to scores ``[n, num_classes]``.
        params: Of the classifier.
        seed: Of the generator.
        of_paint: Arrays that decide what the generator paints, for the sweep's key; a function's code is in it anyway.
    """
    own = {"paint": paint if inspect.isfunction(paint) else getattr(paint, "function", None), "classify": classify}
    measure = _Painted(vocabulary, _Verdicts(paint, classify, params, seed), own)
    hashed = {"judge": params, "paint": of_paint, "words": np.array(vocabulary.words), "seed": np.int64(seed),
              "name": np.array(getattr(paint, "name", ""))}  # fmt: skip
    return Judge(name=name, measure=measure, params=hashed, needs_labels=True, on_host=True)


def named_accuracy(vocabulary: Vocabulary) -> Judge:
    """Share of sentences that name the right class, ``accuracy_named``, a judge on the host."""
    measure = _Painted(vocabulary, lambda texts: understand(texts).label, {})
    params = {"words": np.array(vocabulary.words)}
    return Judge(name="accuracy_named", measure=measure, params=params, needs_labels=True, on_host=True)


class _Verdicts:
    """Classes that a classifier sees in painted sentences; a sentence that came before is not painted again."""

    def __init__(self, paint: Paint, classify: Callable, params: Any, seed: int):
        self._paint, self._classify, self._params, self._seed = paint, classify, params, seed
        self._known: dict[str, int] = {}

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            pictures = np.asarray(self._paint(new, self._seed))
            if pictures.ndim != 4 or len(pictures) != len(new):
                raise ValueError(f"generator must give [{len(new)}, height, width, 3], got {pictures.shape}")
            check_pictures("what a generator gives", pictures)
            pictures = pictures.astype(np.float32)
            seen = np.asarray(self._classify(self._params, pictures)).argmax(-1)
            self._known |= dict(zip(new, seen.tolist(), strict=True))
        return np.array([self._known[text] for text in texts], np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class _Painted:
    vocabulary: Vocabulary
    verdicts: Callable[[Sequence[str]], np.ndarray]
    own: Mapping[str, Any]

    def described(self) -> dict[str, Any]:
        """Code that is somebody's own, for the sweep's key."""
        return describe(self.own, "own")

    def __call__(self, params: Any, source: Source, words: np.ndarray) -> np.ndarray:
        labels = np.asarray(source.hints["labels"])
        texts = self.vocabulary.decode(words.reshape(-1, words.shape[-1]))
        return (self.verdicts(texts).reshape(words.shape[:-1]) == labels).astype(np.float32)


def semantic_service_quality(accuracy: np.ndarray, clean: float) -> np.ndarray:
    """SSQ (Eq. 22): accuracy on what arrives over that on what was sent, ``clean`` > 0; above 1 it is no quality.

    Its floor is that of chance: accuracy 1 / classes over ``clean``, for two classes more than a half.
    """
    if not 0 < clean <= 1:
        raise ValueError(f"clean must lie in (0, 1], got {clean!r}")
    return np.asarray(accuracy) / clean
