"""AdamW, and Muon for chosen matrices, with linear warm-up and cosine decay."""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from lvm_mtc.config import require_number
from lvm_mtc.training.state import path_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Numbers of the optimiser.

    Attributes:
        learning_rate: Peak learning rate, > 0.
        warmup_steps: Steps of linear warm-up, >= 0.
        total_steps: Step at which the cosine ends, after which the rate stays; None takes the run's own.
        end_fraction: Learning rate at the end, as a fraction of the peak, in [0, 1].
        weight_decay: Decoupled weight decay of the matrices, >= 0.
        clip_norm: Largest global gradient norm, > 0; None leaves gradients as they are.
        b1: Decay of AdamW's first moment, in [0, 1).
        b2: Decay of AdamW's second moment, in [0, 1).
        eps: AdamW's epsilon, > 0.
        slow: Parameters with one of these words in their name learn at ``slow_factor`` times the rate, for example
            matrices that start at a good solution beside others that start at zero.
        slow_factor: In (0, 1].
        muon: Matrices and convolution kernels with one of these words in their name are updated by Muon; AdamW keeps
            the rest.
        muon_learning_rate: Muon's peak learning rate, > 0; it rises and falls as AdamW's does.
    """

    learning_rate: float = 1e-3
    warmup_steps: int = 0
    total_steps: int | None = None
    end_fraction: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8
    slow: tuple[str, ...] = ()
    slow_factor: float = 1.0
    muon: tuple[str, ...] = ()
    muon_learning_rate: float = 1e-2

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type in (float, float | None) and value is not None:
                require_number("OptimizerConfig", field.name, value)
        end = self.total_steps
        checks = {
            "learning_rate": (self.learning_rate > 0, "> 0"),
            "warmup_steps": (self.warmup_steps >= 0, ">= 0"),
            "total_steps": (end is None or end > self.warmup_steps, f"> warmup_steps = {self.warmup_steps}"),
            "end_fraction": (0 <= self.end_fraction <= 1, "in [0, 1]"),
            "weight_decay": (self.weight_decay >= 0, ">= 0"),
            "clip_norm": (self.clip_norm is None or self.clip_norm > 0, "> 0 or None"),
            "b1": (0 <= self.b1 < 1, "in [0, 1)"),
            "b2": (0 <= self.b2 < 1, "in [0, 1)"),
            "eps": (self.eps > 0, "> 0"),
            "slow_factor": (0 < self.slow_factor <= 1, "in (0, 1]"),
            "muon_learning_rate": (self.muon_learning_rate > 0, "> 0"),
        }
        for name, (passed, wanted) in checks.items():
            if not passed:
                raise ValueError(f"OptimizerConfig.{name} must be {wanted}, got {getattr(self, name)}")


def warmup_cosine(config: OptimizerConfig, *ends: int) -> Callable:
    """Learning rate of an update as a function of the number of updates done before it.

    With peak p, warm-up length w and end fraction f, up to the first end T: p (n + 1) / w for n < w, else
    p (f + (1 - f) (1 + cos(pi (n - w) / (T - w))) / 2). From each end to the next the same again, warm-up and cosine;
    p f after the last. The first update already moves, unlike optax's schedule of the same name.

    A part that is not longer than its warm-up is a ValueError.
    """
    warmup, peak, final = config.warmup_steps, config.learning_rate, config.end_fraction
    parts = list(itertools.pairwise((0, *ends)))
    for begin, end in parts:
        if end - begin <= warmup:
            after = f" - {begin} done before" if begin else ""
            raise ValueError(f"OptimizerConfig.warmup_steps must be < total_steps = {end}{after}, got {warmup}")

    def part(count, length):
        count = jnp.asarray(count, jnp.float32)
        rising = peak * (count + 1) / max(warmup, 1)
        progress = jnp.clip((count - warmup) / (length - warmup), 0.0, 1.0)
        falling = peak * (final + (1 - final) * 0.5 * (1 + jnp.cos(jnp.pi * progress)))
        return jnp.where(count < warmup, rising, falling)

    return optax.join_schedules([functools.partial(part, length=end - begin) for begin, end in parts], ends[:-1])


def decay_mask(params):
    """True for the leaves that weight decay acts on: matrices and larger, but no biases, scales and row vectors."""

    def decays(path, leaf):
        name = path_name(path).rsplit("/", 1)[-1]
        return name not in ("bias", "scale") and sum(size > 1 for size in leaf.shape) >= 2

    return jax.tree_util.tree_map_with_path(decays, params)


def named_mask(params, words: tuple[str, ...]):
    """True for the leaves that have one of ``words`` in their name."""
    return jax.tree_util.tree_map_with_path(lambda path, _: any(word in path_name(path) for word in words), params)


def make_optimizer(config: OptimizerConfig, *ends: int) -> tuple[optax.GradientTransformation, Callable]:
    """Builds the optimiser.

    ``ends`` are those of :func:`warmup_cosine`, used where ``config.total_steps`` is None: the length of the run,
    behind those that it had before it went on.

    Returns:
        optimizer: AdamW and, where asked for, Muon, with gradients clipped by their global norm first.
        schedule: AdamW's learning rate as a function of the number of updates done.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019); Jordan et al., Muon (2024), whose
    updates are scaled to 0.2 times the root mean square of AdamW's, as Liu et al., Muon is Scalable for LLM Training
    (2025), have it.
    """
    ends = ends if config.total_steps is None else (config.total_steps,)
    schedule = warmup_cosine(config, *ends)
    adamw = optax.adamw(
        schedule, b1=config.b1, b2=config.b2, eps=config.eps, weight_decay=config.weight_decay, mask=decay_mask
    )
    if config.muon:
        adamw = _with_muon(config, ends, adamw)
    slow = optax.masked(optax.scale(config.slow_factor), lambda params: named_mask(params, config.slow))
    clip = optax.identity() if config.clip_norm is None else optax.clip_by_global_norm(config.clip_norm)
    return optax.chain(clip, adamw, slow), schedule


def _with_muon(config: OptimizerConfig, ends: tuple[int, ...], adamw: optax.GradientTransformation):
    """Muon for leaves of two axes or more that have one of ``config.muon`` in their name, ``adamw`` for the rest."""
    schedule = warmup_cosine(dataclasses.replace(config, learning_rate=config.muon_learning_rate), *ends)

    def read(leaf):  # the last axis of a kernel is its output, all before are its input
        return optax.contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

    muon = optax.contrib.muon(
        schedule,
        weight_decay=config.weight_decay,
        consistent_rms=0.2,
        muon_weight_dimension_numbers=lambda params: jax.tree.map(read, params),
    )

    def labels(params):
        named = named_mask(params, config.muon)
        return jax.tree.map(lambda leaf, known: "muon" if known and leaf.ndim > 1 else "adamw", params, named)

    return optax.multi_transform({"muon": muon, "adamw": adamw}, labels)
