"""The knowledge base (Eq. 14): a detector proposes boxes, a goal filter picks the one that the task text is about."""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.config import require_number
from lvm_mtc.data import boxes as data_boxes
from lvm_mtc.data.boxes import CENTER_PRIOR_FRACTION
from lvm_mtc.knowledge.crops import clip_boxes
from lvm_mtc.knowledge.filters import GoalFilter, Query, ScoreFilter
from lvm_mtc.models.detection import Detections

_LOG = logging.getLogger(__name__)

Detect = Callable[[Any, jax.Array], Detections]
"""``(params, images [batch, height, width, 3] in [0, 1]) -> Detections`` in pixels of these images; can be traced."""


class Candidates(NamedTuple):
    """The boxes that a filter ranked, best detector score first; places that no box fills come last.

    Attributes:
        boxes: ``[..., num_candidates, 4]``, ``(x, y, w, h)``, centre, pixels, inside the picture; 0 where not valid.
        scores: ``[..., num_candidates]``, the detector's; 0 where not valid.
        labels: ``[..., num_candidates]`` int32, the detector's; -1 where not valid.
        similarity: ``[..., num_candidates]``, the filter's (Eq. 12); minus infinity where not valid.
        valid: ``[..., num_candidates]`` bool.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    similarity: np.ndarray
    valid: np.ndarray


class Located(NamedTuple):
    """Where the object is, and how that was found.

    Attributes:
        loc: ``[..., 4]`` float32, ``(x, y, w, h)``, centre, pixels: the winner with its margin, or the centre prior.
        filter: Name of the filter that was used; ``"score"`` where the text was of no use to the one asked for.
        note: Why another filter was used than the one asked for; empty otherwise.
        found: ``[...]`` bool, False where no candidate was valid.
        choice: ``[...]`` int32, the winner's place among the candidates; -1 where nothing was found.
        candidates: What was ranked.
    """

    loc: np.ndarray
    filter: str
    note: str
    found: np.ndarray
    choice: np.ndarray
    candidates: Candidates


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KnowledgeBase:
    """A detector and a goal filter: ``loc = knowledge_base(images, task_text)``.

    Attributes:
        detect: The detector; a function that stays the same object, since it keys the compiled program.
        params: Of the detector.
        goal_filter: What ranks the boxes.
        max_candidates: Boxes per picture that are ranked, those with the best detector scores: the cost of CLIP is
            proportional to it.
        margin: Share of the winner's width and height that ``loc`` has more on every side, >= 0. A detected box often
            lies a little off, and masks that miss a rim of the object cost more than masks that cover some background
            (``docs/knowledge_base.md``).
        prior_fraction: Area of the centred box that stands in where nothing is found, over the picture's, in (0, 1].
    """

    detect: Detect
    params: Any
    goal_filter: GoalFilter = dataclasses.field(default_factory=ScoreFilter)
    max_candidates: int = 16
    margin: float = 0.1
    prior_fraction: float = CENTER_PRIOR_FRACTION

    def __post_init__(self):
        if self.max_candidates < 1:
            raise ValueError(f"KnowledgeBase.max_candidates must be at least 1, got {self.max_candidates}")
        require_number("KnowledgeBase", "margin", self.margin, 0.0)
        if not 0 < self.prior_fraction <= 1:
            raise ValueError(f"KnowledgeBase.prior_fraction must lie in (0, 1], got {self.prior_fraction!r}")

    def __call__(self, images: Any, task_text: str = "") -> np.ndarray:
        """One box per picture, ``[..., 4]``; :meth:`locate` without the rest, which goes to the log (level INFO)."""
        located = self.locate(images, task_text)
        count = f"{int(located.found.sum())} of {located.found.size} pictures"
        _LOG.info("filter %r found %s%s", located.filter, count, f" ({located.note})" if located.note else "")
        return located.loc

    def locate(self, images: Any, task_text: str = "", *, data_range: float = 1.0) -> Located:
        """Finds the object that a text is about in every picture.

        Detection, crops and ranking are one compiled program per shape of the pictures; another text compiles nothing.

        Args:
            images: ``[..., height, width, 3]``, float in [0, data_range] (a tenth of it outside is let pass), or uint8.
            task_text: What the task is about, such as "a dog". Empty: the score filter chooses.
            data_range: White of floating-point pictures, > 0; black is 0.
        """
        images = unit_pictures(images, data_range)
        goal_filter, query = self._query(task_text)
        lead, size = images.shape[:-3], images.shape[-3:]
        if 0 in lead:
            raise ValueError(f"images {images.shape} hold no picture")
        best, choice, any_box, candidates = _locate(
            self.params, goal_filter.params, query.array, images.reshape(-1, *size),
            detect=self.detect, rank=goal_filter.score, max_candidates=self.max_candidates,
        )  # fmt: skip
        prior = data_boxes.center_prior(*size[:2], self.prior_fraction).astype(np.float32)
        winner = data_boxes.enlarge_box(best, self.margin, *size[:2]).astype(np.float32)
        loc = np.where(np.asarray(any_box)[:, None], winner, prior)
        arrays = loc, any_box, choice, candidates
        shaped = jax.tree.map(lambda a: np.asarray(a).reshape((*lead, *a.shape[1:])), arrays)
        return Located(shaped[0], goal_filter.name, query.note, *shaped[1:])

    def _query(self, task_text: str) -> tuple[GoalFilter, Query]:
        """The filter that can use this text, and the text prepared for it."""
        if not isinstance(task_text, str):
            raise ValueError(f"task_text must be a string, got {type(task_text).__name__}")
        blank = Query(None, "the task text is empty")
        query = self.goal_filter.prepare(task_text) if task_text.strip() else blank
        if query.array is not None:
            return self.goal_filter, query
        by_score = self.goal_filter if isinstance(self.goal_filter, ScoreFilter) else _BY_SCORE
        return by_score, by_score.prepare(task_text)._replace(note=query.note)


_BY_SCORE = ScoreFilter()


@functools.partial(jax.jit, static_argnames=("detect", "rank", "max_candidates"))
def _locate(detector_params, filter_params, query, images, *, detect, rank, max_candidates):
    detections = detect(detector_params, images)
    boxes, valid = clip_boxes(detections.boxes, detections.valid, *images.shape[1:3])
    scores = jnp.where(valid, detections.scores, -jnp.inf)
    # A stable order: of equal scores the detector's first box stays first.
    _, ids = jax.lax.top_k(scores, min(max_candidates, scores.shape[1]))
    valid = jnp.take_along_axis(valid, ids, axis=1)
    candidates = Detections(
        jnp.take_along_axis(boxes, ids[..., None], axis=1),
        jnp.where(valid, jnp.take_along_axis(detections.scores, ids, axis=1), 0),
        jnp.where(valid, jnp.take_along_axis(detections.labels, ids, axis=1), -1),
        valid,
    )
    similarity = jnp.where(valid, rank(filter_params, query, images, candidates), -jnp.inf)
    choice = jnp.argmax(similarity, axis=1).astype(jnp.int32)
    best = jnp.take_along_axis(candidates.boxes, choice[:, None, None], axis=1)[:, 0]
    any_box = jnp.any(valid, axis=1)
    return best, jnp.where(any_box, choice, -1), any_box, Candidates(*candidates[:3], similarity, valid)


def unit_pictures(images: Any, data_range: float = 1.0) -> np.ndarray | jax.Array:
    """Pictures ``[..., height, width, 3]``, float in [0, data_range] or uint8, as float32 in [0, 1].

    Raises:
        ValueError: if they are something else, or a number lies more than a tenth of the range outside.
    """
    if not isinstance(images, jax.Array):
        images = np.asarray(images)
    if images.ndim < 3 or images.shape[-1] != 3 or 0 in images.shape[-3:]:
        raise ValueError(f"images must be pictures [..., height, width, 3], got shape {images.shape}")
    if images.dtype == np.uint8:
        return np.asarray(images, np.float32) / np.float32(255)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be floating-point numbers in [0, {data_range:g}] or uint8, got {images.dtype}")
    if not 0 < data_range < np.inf:
        raise ValueError(f"data_range must be > 0 and finite, got {data_range!r}")
    images = images.astype(np.float32)
    low, high = (float(value) for value in (images.min(initial=0), images.max(initial=0)))
    if (images != images).any():  # XLA leaves NaN out of the extremes of long arrays on CPUs
        low = high = np.nan
    if not (-0.1 * data_range <= low and high <= 1.1 * data_range):
        expected = f"expected 0 to {data_range:g}: scale them, or pass data_range"
        raise ValueError(f"images hold {low:.4g} to {high:.4g}, {expected}")
    return images if data_range == 1 else images / np.float32(data_range)
