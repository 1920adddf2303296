"""What a recipe of a scheme for questions trains on: packed questions that stay on the device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lvm_mtc.data.packed_questions import PackedQuestions, load_questions
from lvm_mtc.schemes.question_source import question_source
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.training.pictures import TrainingData, check_packed


def load_training_questions(path: str | Path, config: Any, num_groups: int, seed: int) -> TrainingData:
    """Reads packed questions (``experiments/fa_semcom/pack.py``) for the shapes of the scheme's ``config``.

    ``num_groups`` and ``seed`` are not used.

    Raises:
        ValueError: if the file is of another kind, or packed for other sizes.
    """
    packed = load_questions(path)
    tokens, size = packed.chosen.shape[1] * packed.patches.shape[1], packed.patches.shape[2]
    check_packed(path, config, num_patches=tokens, patch_size=size)
    total = float(np.float64(packed.patches[:, 0]).sum())
    identity = {"questions": len(packed.answer), "pictures": len(packed.names), "sum": total}
    kinds = packed.question[:, 0] * 100 + packed.question[:, 1] * 20 + packed.answer
    counts = np.unique(kinds, return_inverse=True, return_counts=True)
    # Rare answers are drawn more often than they occur, common ones less: by the root of their number.
    weight = 1 / np.sqrt(counts[2][counts[1]])
    data = {"packed": packed._replace(names=np.zeros(0)), "until": np.float32(weight.cumsum() / weight.sum())}
    sample = packed.patches.reshape(-1, size)[:: max(1, packed.patches.size // size // 50_000)]
    return TrainingData(data, sample, identity, {"file": Path(path).name, **identity})


def draw_questions(data: Any, keys: Sequence[jax.Array], lead: tuple[int, int], config: Any, ranges: Any) -> Source:
    """Questions at random, those with rare answers more often.

    Args:
        data: What :func:`load_training_questions` gives.
        keys: Of which the first is used.
        lead: Groups, and vehicles in a group: each asks a question of its own.
        config: Not used, and nor are the ``ranges``.
    """
    at = jax.random.uniform(keys[0], lead)
    packed: PackedQuestions = data["packed"]
    index = jax.numpy.minimum(jax.numpy.searchsorted(data["until"], at), data["until"].shape[0] - 1)
    return question_source(packed, index)
