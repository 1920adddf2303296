"""What a recipe of a scheme for text trains on: packed sentences that stay on the device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.data.captions import load_sentences
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.training.pictures import TrainingData, check_packed


def load_training_sentences(path: str | Path, config: Any, num_groups: int, seed: int) -> TrainingData:
    """Reads packed sentences (``experiments/text/pack_captions.py``).

    ``config`` is the scheme's, whose ``vocabulary`` and ``num_words`` they must be packed for; ``num_groups`` and
    ``seed`` are not used. What the data say of themselves has the vocabulary, ``"words"``, so that weights do too.

    Raises:
        ValueError: if the file is of another kind, or packed for other sizes.
    """
    packed = load_sentences(path)
    check_packed(path, config, vocabulary=len(packed.words) + 1, num_words=packed.sentences.shape[1])
    count, total = len(packed.sentences), int(packed.sentences.sum(dtype=np.uint64))
    about = {"file": Path(path).name, "sentences": count, "sum": total, "words": packed.words.tolist()}
    sentences = packed.sentences
    return TrainingData({"sentences": sentences}, sentences, {"sentences": count, "sum": total}, about)


def draw_sentences(data: Any, keys: Sequence[jax.Array], lead: tuple[int, int], config: Any, ranges: Any) -> Source:
    """Sentences at random, ``[groups, num_uavs, num_words]`` int32.

    Args:
        data: ``{"sentences": [num_sentences, num_words] uint16}``.
        keys: Of which the first is used.
        lead: Groups, and UAVs in a group: each gets a sentence of its own.
        config: Not used, and nor are the ``ranges``.
    """
    index = jax.random.randint(keys[0], lead, 0, data["sentences"].shape[0])
    return Source(data["sentences"][index].astype(jnp.int32))
