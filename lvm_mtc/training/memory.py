"""Memory-assisted continual learning: what of a stream is kept to be trained on again (Eq. 13-16, Algorithm 1).

New samples fill a short-term memory (STM); whenever it is full, samples of it enter the long-term memory (LTM) by a
rule, and it is emptied. NumPy; the whole state is a few arrays, so that it can stand in a checkpoint.
"""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.config import require_count, require_number, require_one_of
from lvm_mtc.data.packing import load_arrays

RULES = ("coverage", "none", "literal", "below", "reservoir", "joint")
SIMILARITIES = ("rbf", "printed")
Features = Callable[[np.ndarray], np.ndarray]
"""From samples ``[n, ...]`` to vectors ``[n, width]``: the semantic encoder as it is now."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """How a memory chooses.

    Attributes:
        rule: ``"coverage"``: of both memories the ``ltm_capacity`` samples that lie farthest apart; ``"reservoir"``:
            each sample of the stream with the same probability; ``"literal"``: Eq. 16 as printed, which keeps what is
            like the LTM, without limit; ``"below"``: what is unlike it, as the text around has it, until it is full;
            ``"joint"``: everything; ``"none"``: nothing.
        stm_capacity: Samples of the short-term memory.
        ltm_capacity: Samples of the long-term memory.
        tau: Scale of the kernel; None: the median distance of what is compared.
        threshold: lambda of Eq. 16, in [0, 1].
        similarity: ``"rbf"``, Eq. 13, or ``"printed"``, Eq. 14, which is another number.
        seed: Of the reservoir.
    """

    rule: str = "coverage"
    stm_capacity: int = 500
    ltm_capacity: int = 500
    tau: float | None = None
    threshold: float = 0.05
    similarity: str = "rbf"
    seed: int = 0

    def __post_init__(self):
        require_one_of("MemoryConfig", "rule", self.rule, RULES)
        require_one_of("MemoryConfig", "similarity", self.similarity, SIMILARITIES)
        for field in ("stm_capacity", "ltm_capacity"):
            require_count("MemoryConfig", field, getattr(self, field))
        require_number("MemoryConfig", "threshold", self.threshold, 0.0, most=1.0)
        if self.tau is not None:
            require_number("MemoryConfig", "tau", self.tau, 0.0, strict=True)


class SampleMemory(NamedTuple):
    """What is kept.

    Attributes:
        stm: Short-term memory, ``[up to stm_capacity - 1, ...]``.
        ltm: Long-term memory, ``[m, ...]``.
        seen: Samples that came through the STM so far.
    """

    stm: np.ndarray
    ltm: np.ndarray
    seen: int = 0


def empty_memory(sample: np.ndarray) -> SampleMemory:
    """A memory for samples of the shape and type of one."""
    nothing = np.zeros((0, *np.shape(sample)), np.asarray(sample).dtype)
    return SampleMemory(nothing, nothing)


def remember(config: MemoryConfig, memory: SampleMemory, samples: np.ndarray, features: Features) -> SampleMemory:
    """A memory after ``samples [n, ...]``; a sample that finds the STM full is stored after the selection."""
    for start in range(0, len(samples), config.stm_capacity):
        waiting = np.concatenate([memory.stm, samples[start : start + config.stm_capacity]])
        if len(waiting) >= config.stm_capacity:
            full, waiting = np.split(waiting, [config.stm_capacity])
            ltm = _selected(config, memory, full, features)
            memory = SampleMemory(waiting, ltm, memory.seen + len(full))
        else:
            memory = memory._replace(stm=waiting)
    return memory


def _selected(config: MemoryConfig, memory: SampleMemory, stm: np.ndarray, features: Features) -> np.ndarray:
    """The next long-term memory from a full short-term one."""
    ltm, room = memory.ltm, config.ltm_capacity
    if config.rule == "none":
        return ltm
    if config.rule == "joint":
        return np.concatenate([ltm, stm])
    if config.rule == "reservoir":
        return _reservoir(config, ltm, stm, memory.seen)
    if config.rule == "coverage":
        pool = np.concatenate([ltm, stm])
        pool = pool[np.sort(np.unique(pool.reshape(len(pool), -1), axis=0, return_index=True)[1])]
        return pool[np.sort(farthest(kernel_distances(config, features(pool)), room))]
    if not len(ltm):  # Eq. 15 is 0 / 0: the first STM enters as it is
        return stm if config.rule == "literal" else stm[:room]
    relevance = similarities(config, features(stm), features(ltm)).mean(1)
    if config.rule == "literal":
        return np.concatenate([ltm, stm[relevance > config.threshold]])
    return np.concatenate([ltm, stm[relevance < config.threshold]])[:room]


def similarities(config: MemoryConfig, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Eq. 13 (or 14) of all pairs of ``a [n, width]`` and ``b [m, width]``, ``[n, m]`` float64 in [0, 1]."""
    squared = squared_distances(a, b)
    tau2 = np.median(squared[squared > 0]) if config.tau is None and squared.any() else (config.tau or 1.0) ** 2
    if config.similarity == "printed":
        squared = (np.asarray(a, np.float64) @ np.asarray(b, np.float64).T) ** 2
    return np.exp(-squared / (2 * tau2))


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances of all pairs, ``[n, m]`` float64, >= 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    centre = b.mean(0) if len(b) else 0.0
    a, b = a - centre, b - centre
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0)


def kernel_distances(config: MemoryConfig, vectors: np.ndarray) -> np.ndarray:
    """Squared distances in the kernel's space, k(a, a) + k(b, b) - 2 k(a, b), ``[n, n]``."""
    kernel = similarities(config, vectors, vectors)
    own = np.diag(kernel)
    return own[:, None] + own - 2 * kernel


def farthest(distances: np.ndarray, count: int) -> np.ndarray:
    """Places of ``count`` points, the first one and then each that is farthest from all before it.

    Source: Gonzalez, Clustering to minimize the maximum intercluster distance (1985).
    """
    chosen, nearest = [0], distances[0].copy()
    while len(chosen) < min(count, len(distances)):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distances[chosen[-1]])
        nearest[chosen] = -np.inf
    return np.array(chosen)


def _reservoir(config: MemoryConfig, ltm: np.ndarray, stm: np.ndarray, seen: int) -> np.ndarray:
    """Algorithm R. Source: Vitter, Random Sampling with a Reservoir (1985)."""
    kept, random = list(ltm), np.random.default_rng((config.seed, seen))
    for number, sample in enumerate(stm, start=seen):
        if number < config.ltm_capacity:
            kept.append(sample)
        elif (place := int(random.integers(number + 1))) < config.ltm_capacity:
            kept[place] = sample
    return np.array(kept, stm.dtype)


def replayed(
    memory: SampleMemory, new: np.ndarray, size: int, stm_share: float, random: np.random.Generator
) -> np.ndarray:
    """A batch: ``stm_share`` of it of ``new`` samples, the rest of the LTM; all new while that is empty."""
    fresh = size if not len(memory.ltm) else round(size * stm_share)
    take = [new[random.integers(len(new), size=fresh)]]
    if fresh < size:
        take.append(memory.ltm[random.integers(len(memory.ltm), size=size - fresh)])
    return np.concatenate(take)


def save_memory(path: str | os.PathLike, memory: SampleMemory) -> None:
    """Writes a memory; the file appears under its name only when it is complete."""
    temporary = Path(path).with_name(f".{Path(path).name}.tmp")
    with open(temporary, "wb") as file:
        np.savez(file, **memory._asdict())
    os.replace(temporary, path)


def load_memory(path: str | os.PathLike) -> SampleMemory:
    """Reads what :func:`save_memory` wrote; ``ValueError`` for any other file."""
    stm, ltm, seen = load_arrays(path, SampleMemory._fields, "a file of save_memory")
    if stm.shape[1:] != ltm.shape[1:] or seen.shape or not np.issubdtype(seen.dtype, np.integer):
        described = ", ".join(f"{array.dtype} {array.shape}" for array in (stm, ltm, seen))
        raise ValueError(f"{path}: stm, ltm and seen must be samples of one shape and a whole number, got {described}")
    return SampleMemory(stm, ltm, int(seen))
