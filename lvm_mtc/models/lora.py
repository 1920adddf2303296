"""Low-rank adapters for the kernels of any parameters, without touching the modules that use them.

A kernel ``[inputs..., outputs]`` is read as the matrix of its outputs by all its inputs, so dense layers and
convolutions are adapted alike. Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (2022).
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.transformer import STACKED
from lvm_mtc.models.weights import flatten_params, unflatten_params

Adapters = dict[str, dict[str, jax.Array]]
"""Name of a kernel, ``"a/b/kernel"``, to ``a [inputs, rank]`` and ``b [rank, outputs]``; layers of a scan lead."""


class Lora(NamedTuple):
    """Which kernels are adapted, and how.

    Attributes:
        rank: Of the update of each kernel at most.
        alpha: The update is ``alpha / rank`` times A B.
        targets: Regular expressions, one of which a kernel's whole name ``"a/b/kernel"`` must match.
    """

    rank: int = 4
    alpha: float = 4.0
    targets: tuple[str, ...] = (r".*/(qkv|proj|fc1|fc2)/kernel",)

    def names(self, params: Mapping[str, Any]) -> list[str]:
        """Kernels of ``params``, or of their shapes, that are adapted.

        Raises:
            ValueError: if there are none, a pattern is no regular expression, or the rank is below 1.
        """
        if self.rank < 1:
            raise ValueError(f"Lora.rank must be at least 1, got {self.rank!r}")
        try:
            patterns = [re.compile(target) for target in self.targets]
        except re.error as error:
            raise ValueError(f"Lora.targets {self.targets!r}: {error}") from None
        flat = {name: leaf for name, leaf in flatten_params(params).items() if name.rpartition("/")[2] == "kernel"}
        found = [name for name in flat if any(pattern.fullmatch(name) for pattern in patterns)]
        if not found:
            raise ValueError(
                f"Lora.targets {self.targets!r} match none of {len(flat)} kernels, such as {min(flat, default='-')}"
            )
        return found

    def init(self, key: jax.Array, params: Mapping[str, Any]) -> Adapters:
        """Adapters that change nothing yet: A is drawn from N(0, 1 / rank), B is zero."""
        adapters = {}
        for number, name in enumerate(self.names(params)):
            layers, inputs, outputs = _sizes(name, flatten_params(params)[name].shape)
            a = jax.random.normal(jax.random.fold_in(key, number), (*layers, inputs, self.rank)) * self.rank**-0.5
            adapters[name] = {"a": a, "b": jnp.zeros((*layers, self.rank, outputs))}
        return adapters

    def merge(self, params: Mapping[str, Any], adapters: Adapters) -> dict[str, Any]:
        """``params`` with ``kernel + alpha / rank A B`` in place of each adapted kernel.

        Raises:
            ValueError: if an adapter's kernel is not there, or is of another size.
        """
        flat = flatten_params(params)
        for name, factors in adapters.items():
            if name not in flat:
                raise ValueError(f"adapter {name!r} has no such kernel among the parameters")
            update = self.alpha / self.rank * jnp.matmul(factors["a"], factors["b"], precision="highest")
            layers, *sizes = _sizes(name, flat[name].shape)
            if update.shape != (*layers, *sizes):
                raise ValueError(
                    f"adapter {name!r} is for a matrix of {update.shape}, and its kernel is {flat[name].shape}"
                )
            flat[name] = flat[name] + update.reshape(flat[name].shape)
        return unflatten_params(flat)


def _sizes(name: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
    """Axis of layers, if there is one, inputs and outputs of a kernel."""
    lead = 1 if STACKED in name.split("/") else 0
    return shape[:lead], math.prod(shape[lead:-1]), shape[-1]


def truncate(update: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Best ``a [..., m, rank]`` and ``b [..., rank, n]`` for ``update [..., m, n]``: a truncated SVD, evenly split."""
    u, s, v = np.linalg.svd(np.asarray(update, np.float64), full_matrices=False)
    root = np.sqrt(s[..., :rank])
    return u[..., :rank] * root[..., None, :], root[..., None] * v[..., :rank, :]
