"""What a recipe of a scheme for questions of presence trains on: a packed file that stays on the device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lvm_mtc.data.presence import load_presence
from lvm_mtc.schemes.presence_source import presence_source
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.training.pictures import TrainingData, check_packed


def load_training_presence(path: str | Path, config: Any, num_groups: int, seed: int) -> TrainingData:
    """Reads ``experiments/multimodal/pack.py``'s file for the shapes of ``config``; the others are not used.

    Raises:
        ValueError: if the file is of another kind, or packed for other sizes.
    """
    packed = load_presence(path)
    check_packed(path, config, num_places=packed.features.shape[1], place_width=packed.features.shape[2],
                 word_width=packed.words.shape[1])  # fmt: skip
    total = float(np.float64(packed.features).sum())
    identity = {"questions": len(packed.question), "pictures": len(packed.features), "sum": total}
    return TrainingData({"packed": packed}, packed.features[:64], identity, {"file": Path(path).name, **identity})


def draw_presence(data: Any, keys: Sequence[jax.Array], lead: tuple[int, int], config: Any, ranges: Any) -> Source:
    """Questions at random.

    Args:
        data: What :func:`load_training_presence` gives.
        keys: Of which the first is used.
        lead: Groups, and devices in a group: each asks a question of its own.
        config: Not used, and nor are the ``ranges``.
    """
    packed = data["packed"]
    return presence_source(packed, jax.random.randint(keys[0], lead, 0, packed.question.shape[0]))
