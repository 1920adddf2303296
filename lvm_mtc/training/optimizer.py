"""AdamW with linear warm-up and cosine decay."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from lvm_mtc.training.state import path_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Numbers of the optimiser.

    Attributes:
        learning_rate: Peak learning rate, > 0.
        warmup_steps: Steps of linear warm-up, >= 0.
        total_steps: Step at which the cosine ends; None takes the run's own ``total_steps``.
        end_fraction: Learning rate at the end, as a fraction of the peak, in [0, 1].
        weight_decay: Decoupled weight decay of the matrices, >= 0.
        clip_norm: Largest global gradient norm, > 0; None leaves gradients as they are.
        b1: Decay of AdamW's first moment, in [0, 1).
        b2: Decay of AdamW's second moment, in [0, 1).
        eps: AdamW's epsilon, > 0.
        slow: Parameters with one of these words in their name learn at ``slow_factor`` times the rate, for example
            matrices that start at a good solution beside others that start at zero.
        slow_factor: In (0, 1].
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

    def __post_init__(self):
        checks = {
            "learning_rate": (self.learning_rate > 0, "> 0"),
            "warmup_steps": (self.warmup_steps >= 0, ">= 0"),
            "total_steps": (
                self.total_steps is None or self.total_steps > self.warmup_steps,
                f"larger than warmup_steps = {self.warmup_steps}",
            ),
            "end_fraction": (0 <= self.end_fraction <= 1, "in [0, 1]"),
            "weight_decay": (self.weight_decay >= 0, ">= 0"),
            "clip_norm": (self.clip_norm is None or self.clip_norm > 0, "> 0 or None"),
            "b1": (0 <= self.b1 < 1, "in [0, 1)"),
            "b2": (0 <= self.b2 < 1, "in [0, 1)"),
            "eps": (self.eps > 0, "> 0"),
            "slow_factor": (0 < self.slow_factor <= 1, "in (0, 1]"),
        }
        for name, (passed, wanted) in checks.items():
            if not passed:
                raise ValueError(f"OptimizerConfig.{name} must be {wanted}, got {getattr(self, name)}")


def warmup_cosine(config: OptimizerConfig, total_steps: int) -> Callable:
    """Learning rate of an update as a function of the number of updates done before it.

    With peak p, warm-up length w and end fraction f: p (n + 1) / w for n < w, else
    p (f + (1 - f) (1 + cos(pi (n - w) / (total_steps - w))) / 2), and p f after ``total_steps``.
    The first update already moves, unlike optax's schedule of the same name.
    """
    warmup, peak, end = config.warmup_steps, config.learning_rate, config.end_fraction

    def schedule(count):
        count = jnp.asarray(count, jnp.float32)
        rising = peak * (count + 1) / max(warmup, 1)
        progress = jnp.clip((count - warmup) / (total_steps - warmup), 0.0, 1.0)
        falling = peak * (end + (1 - end) * 0.5 * (1 + jnp.cos(jnp.pi * progress)))
        return jnp.where(count < warmup, rising, falling)

    return schedule


def decay_mask(params):
    """True for the leaves that weight decay acts on: matrices and larger, but no biases, scales and row vectors."""

    def decays(path, leaf):
        name = path_name(path).rsplit("/", 1)[-1]
        return name not in ("bias", "scale") and sum(size > 1 for size in leaf.shape) >= 2

    return jax.tree_util.tree_map_with_path(decays, params)


def slow_mask(params, words: tuple[str, ...]):
    """True for the leaves that have one of ``words`` in their name."""
    return jax.tree_util.tree_map_with_path(lambda path, _: any(word in path_name(path) for word in words), params)


def make_optimizer(config: OptimizerConfig, total_steps: int) -> tuple[optax.GradientTransformation, Callable]:
    """Builds the optimiser.

    Args:
        config: Its numbers.
        total_steps: Length of the run, used where ``config.total_steps`` is None.

    Returns:
        optimizer: AdamW, with gradients clipped by their global norm first.
        schedule: Learning rate as a function of the number of updates done.

    Raises:
        ValueError: if the run is not longer than its warm-up.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019).
    """
    length = total_steps if config.total_steps is None else config.total_steps
    if length <= config.warmup_steps:
        raise ValueError(f"OptimizerConfig.warmup_steps must be < total_steps = {length}, got {config.warmup_steps}")
    schedule = warmup_cosine(config, length)
    adamw = optax.adamw(
        schedule, b1=config.b1, b2=config.b2, eps=config.eps, weight_decay=config.weight_decay, mask=decay_mask
    )
    slow = optax.masked(optax.scale(config.slow_factor), lambda params: slow_mask(params, config.slow))
    clip = optax.identity() if config.clip_norm is None else optax.clip_by_global_norm(config.clip_norm)
    return optax.chain(clip, adamw, slow), schedule
