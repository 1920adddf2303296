"""Packed questions of presence as a source."""

from typing import Any

import numpy as np

from lvm_mtc.data.presence import PackedPresence
from lvm_mtc.schemes.scheme import Source


def presence_source(packed: PackedPresence, index: Any) -> Source:
    """Questions ``index`` (``[batch, num_uavs]`` int), a device each; NumPy arrays give NumPy, JAX's give JAX."""
    picture, name, answer = (packed.question[index][..., i] for i in range(3))

    def sentence(numbers):
        return packed.words[numbers] * (numbers >= 0)[..., None], numbers >= 0

    words, valid = sentence(packed.asked[name])
    described, described_valid = sentence(packed.described[picture])
    data = {
        "picture": packed.features[picture].astype(np.float32), "words": words, "words_valid": valid, "answer": answer
    }  # fmt: skip
    return Source(data, {"described": described, "described_valid": described_valid})
