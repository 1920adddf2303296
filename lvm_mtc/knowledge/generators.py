"""Generators: what paints a picture of a sentence, behind the link."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.config import from_dict, require_count, require_number, require_one_of
from lvm_mtc.data.grammar import Facts, understand
from lvm_mtc.knowledge.own import own_function
from lvm_mtc.models.flow import SOLVERS, FlowConfig, FlowUNet, guided, integrate
from lvm_mtc.models.weights import SHIPPED, load_described

GENERATOR_WEIGHTS = SHIPPED / "painter.npz"
_BATCH = 8


class Generator(Protocol):
    """Runs on the host, and may call anything."""

    name: str

    def __call__(self, texts: Sequence[str], seed: int) -> np.ndarray:
        """Pictures ``[n, height, width, 3]`` float32 in [0, 1]; equal text and seed give an equal picture."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FlowGenerator:
    """The trained network; it hears class and colours (``data.grammar.understand``) and nothing else of a sentence.

    Attributes:
        config: Of the network.
        params: Its parameters.
        guidance: How far to go from what would be painted without a sentence; 1: as far as was learned.
        steps: Of the solver.
        solver: ``"euler"`` or ``"heun"``.
    """

    config: FlowConfig
    params: Any
    guidance: float = 5.0
    steps: int = 8
    solver: str = "euler"
    name: str = "flow"

    def __post_init__(self):
        require_count("FlowGenerator", "steps", self.steps)
        require_one_of("FlowGenerator", "solver", self.solver, SOLVERS)
        require_number("FlowGenerator", "guidance", self.guidance, least=0.0)

    def __call__(self, texts: Sequence[str], seed: int) -> np.ndarray:
        """As :class:`Generator`; sentences that say the same give the same picture."""
        rows = np.stack(understand(texts), axis=-1).reshape(-1, 3)
        told, place = np.unique(rows, axis=0, return_inverse=True)
        side = self.config.image_size
        noise = [_draw(seed, row.tolist()).standard_normal((side, side, 3), np.float32) for row in told]
        parts = []
        for start in range(0, len(told), _BATCH):
            take = np.minimum(np.arange(start, start + _BATCH), len(told) - 1)
            parts.append(self._paint(np.stack([noise[i] for i in take]), told[take].astype(np.int32)))
        painted = np.concatenate(parts) if parts else np.zeros((0, side, side, 3), np.float32)
        return painted[place.reshape(-1)]

    def _paint(self, noise: np.ndarray, facts: np.ndarray) -> np.ndarray:
        def velocity(x, t):
            return _velocity(self.config, self.params, x, t, facts, np.float32(self.guidance))

        x = integrate(velocity, jnp.asarray(noise), self.steps, self.solver)
        return np.clip(np.asarray(x) / 2 + 0.5, 0, 1)


@functools.partial(jax.jit, static_argnums=0)
def _velocity(config: FlowConfig, params: Any, x: jax.Array, t: jax.Array, facts: jax.Array, guidance: jax.Array):
    return guided(FlowUNet(config), params, facts, guidance)(x, t)


@dataclasses.dataclass(frozen=True, eq=False)
class RetrievalGenerator:
    """Returns a picture that it knows: of the class that is named, then of the colours.

    It reconstructs nothing; what it shows was never sent.

    Attributes:
        pictures: That it knows, ``[m, height, width, 3]`` uint8.
        facts: What captions say of them, ``[m]`` each.
    """

    pictures: np.ndarray
    facts: Facts
    name: str = "retrieval"

    def __call__(self, texts: Sequence[str], seed: int) -> np.ndarray:
        """As :class:`Generator`; of equally good pictures the seed takes one."""
        found = [self.find(row, seed) for row in zip(*understand(texts), strict=True)]
        return self.pictures[found].astype(np.float32) / 255

    def find(self, said: Sequence[int], seed: int) -> int:
        """Place of the picture for what is said: class, the object's colour, the one behind it."""
        worth = sum(weight * (of == one) for weight, of, one in zip((4, 2, 1), self.facts, said, strict=True))
        best = np.flatnonzero(worth == worth.max())
        return int(best[_draw(seed, [int(one) for one in said]).integers(len(best))])


def _draw(seed: int, said: Sequence[int]) -> np.random.Generator:
    digest = hashlib.sha256(repr((seed, *said)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def load_generator(place: str | os.PathLike = GENERATOR_WEIGHTS, **options: Any) -> Callable:
    """A generator: the shipped weights or another such file, or ``"module:function"``.

    ``options`` are fields of :class:`FlowGenerator`; guidance is the file's own where it is not given.

    Raises:
        FileNotFoundError: if there is no such weights file.
        ValueError: if it is not a generator's, or there is no such function.
    """
    if ":" in str(place):
        return own_function("generator", str(place))
    params, config, metadata = load_described(place, "generator", "painter")
    options = {"guidance": metadata.get("guidance", FlowGenerator.guidance)} | options
    network = from_dict(FlowConfig, config, where="painter")
    return FlowGenerator(config=network, params=jax.tree.map(jnp.asarray, params), **options)
