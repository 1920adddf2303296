"""Packed questions as a source."""

from typing import Any

import numpy as np

from lvm_mtc.data.packed_questions import PackedQuestions
from lvm_mtc.models.patch_features import grid_places
from lvm_mtc.schemes.scheme import Source


def question_source(packed: PackedQuestions, index: Any) -> Source:
    """Questions ``index`` (``[batch, num_uavs]`` int), a vehicle each; NumPy arrays give NumPy, JAX's give JAX."""
    lead, chosen = index.shape, packed.chosen[index]
    valid = (chosen[..., None] >= 0) & np.ones(packed.objective.shape[-1], bool).reshape((1,) * chosen.ndim + (-1,))
    tokens = {
        "patches": packed.patches[chosen].astype(np.float32),
        "places": grid_places(packed.windows[chosen]),
        "objective": packed.objective[chosen],
        "subjective": packed.subjective[index],
        "valid": valid,
    }
    flat = {name: array.reshape(*lead, -1, *array.shape[len(lead) + 2 :]) for name, array in tokens.items()}
    data = {name: flat[name] for name in ("patches", "places")}
    asked = {"question": packed.question[index].astype(np.int32), "answer": packed.answer[index].astype(np.int32)}
    return Source(data | asked, {name: flat[name] for name in ("objective", "subjective", "valid")})
