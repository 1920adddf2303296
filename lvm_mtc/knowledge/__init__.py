"""Where is the object? Sources of ``loc``: a prior, annotations, and the knowledge base (Eq. 9-14).

All are called the same way, ``loc = source(images, task_text)``. A :class:`KnowledgeBase` is a detector and a goal
filter, which ranks the detector's boxes against the text; its ``locate`` also says which filter it used.
"""

from lvm_mtc.knowledge.base import Candidates, KnowledgeBase, Located
from lvm_mtc.knowledge.detectors import flashsam_detector
from lvm_mtc.knowledge.filters import (
    FILTERS,
    ClassifierWordsFilter,
    ClipFilter,
    GoalFilter,
    LabelFilter,
    Query,
    ScoreFilter,
)
from lvm_mtc.knowledge.priors import LocSource, annotated, center_prior

__all__ = [
    "FILTERS",
    "Candidates",
    "ClassifierWordsFilter",
    "ClipFilter",
    "GoalFilter",
    "KnowledgeBase",
    "LabelFilter",
    "LocSource",
    "Located",
    "Query",
    "ScoreFilter",
    "annotated",
    "center_prior",
    "flashsam_detector",
]
