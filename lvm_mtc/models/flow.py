"""A small text-to-picture network: rectified flow from noise to a picture, told its class and two colours.

At t = 0 there is noise e, at t = 1 the picture x, between them (1 - t) e + t x; the network learns the velocity x - e.
Pictures are in [-1, 1] here.

Source: Liu et al., Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow (2023);
guidance as in Ho and Salimans, Classifier-Free Diffusion Guidance (2022).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.models.conditioned import INIT, Sizes, apply_blocks, normalize
from lvm_mtc.models.patches import patchify, unpatchify
from lvm_mtc.models.products import Dense

SOLVERS = ("euler", "heun")
Velocity = Callable[[jax.Array, jax.Array], jax.Array]
_FREQUENCIES = 32
_DROP_ALL, _DROP_COLOUR = 0.12, 0.15


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """Shapes of :class:`FlowUNet`.

    Attributes:
        image_size: Side of a picture, pixels; a multiple of 8.
        widths: Features at a half, a quarter and an eighth of the sides; multiples of 4.
        depth: Blocks at each of them, on the way down and again on the way up.
        condition: Features of what the blocks are told.
        facts: How many values each fact may have: class, and the two colours.
    """

    image_size: int = 32
    widths: tuple[int, int, int] = (56, 88, 112)
    depth: int = 2
    condition: int = 80
    facts: tuple[int, ...] = (10, 12, 12)

    def __post_init__(self):
        for field in ("image_size", "depth", "condition"):
            require_count("FlowConfig", field, getattr(self, field))
        if self.image_size % 8:
            raise ValueError(f"FlowConfig.image_size must be a multiple of 8, got {self.image_size}")
        if len(self.widths) != 3 or any(width % 4 for width in self.widths):
            raise ValueError(f"FlowConfig.widths must be three multiples of 4, got {self.widths!r}")


class FlowUNet(nn.Module):
    """Velocity of pictures on their way from noise."""

    config: FlowConfig

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array, facts: jax.Array) -> jax.Array:
        """Maps ``x [n, image_size, image_size, 3]`` at times ``t [n]`` to its own shape.

        ``facts [n, len(config.facts)]`` int; what is negative is not told.
        """
        c, condition = self.config, self._condition(t, facts)
        x = Dense(c.widths[0], kernel_init=INIT, name="stem")(_fold(x))
        kept = []
        for level, width in enumerate(c.widths):
            if level:
                x = Dense(width, kernel_init=INIT, name=f"down{level}")(_fold(x))
            x = _Level(self._sizes(level), name=f"in{level}")(x, condition)
            kept.append(x)
        for level in (2, 1, 0):
            x = jnp.concatenate([x, kept[level]], axis=-1)
            x = Dense(c.widths[level], kernel_init=INIT, name=f"join{level}")(x)
            x = _Level(self._sizes(level), name=f"out{level}")(x, condition)
            if level:
                x = _unfold(Dense(4 * c.widths[level - 1], kernel_init=INIT, name=f"up{level}")(x))
        return _unfold(Dense(12, kernel_init=nn.initializers.zeros, name="velocity")(normalize(x)))

    def _condition(self, t, facts):
        c = self.config
        frequency = np.float32(1000.0) * 1000.0 ** (-np.arange(_FREQUENCIES, dtype=np.float32) / _FREQUENCIES)
        angle = t[:, None] * frequency[None]
        waves = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)
        told = nn.silu(Dense(c.condition, kernel_init=INIT, name="time")(waves))
        told = Dense(c.condition, kernel_init=INIT, name="time_out")(told)
        for number, values in enumerate(c.facts):
            table = self.param(f"fact{number}", nn.initializers.normal(0.5), (values + 1, c.condition))
            told += table[jnp.where(facts[:, number] < 0, values, facts[:, number])]
        return nn.silu(told)

    def _sizes(self, level: int) -> Sizes:
        c = self.config
        rows = c.image_size >> level + 1
        kinds = ("convolution",) * c.depth if level == 0 else ("convolution", "attention") * c.depth
        return Sizes(c.widths[level], kinds[: c.depth], window=rows, condition=c.condition)


class _Level(nn.Module):
    sizes: Sizes

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        return apply_blocks(self.sizes, x, condition)


def _fold(x: jax.Array) -> jax.Array:
    """Squares of 2 x 2 positions as one: ``[n, rows / 2, columns / 2, 4 features]``."""
    n, rows, columns, _ = x.shape
    return patchify(x, 2).reshape(n, rows // 2, columns // 2, -1)


def _unfold(x: jax.Array) -> jax.Array:
    """Inverse of :func:`_fold`."""
    n, rows, columns, features = x.shape
    return unpatchify(x.reshape(n, rows * columns, features), 2, (2 * rows, 2 * columns))


def flow_loss(network: Any, params: Any, pictures: jax.Array, facts: jax.Array, key: jax.Array) -> jax.Array:
    """Mean squared error of the velocity at times drawn from a logistic-normal, mirrored pictures and forgotten facts.

    Args:
        network: A :class:`FlowUNet`, or what is called alike.
        params: Its parameters.
        pictures: ``[n, height, width, 3]`` in [0, 1].
        facts: ``[n, number of facts]`` int.
        key: Of all that is drawn; all facts are forgotten of 12 pictures in 100, each colour of 15 more.
    """
    n = pictures.shape[0]
    k_time, k_noise, k_mirror, k_all, k_colour = jax.random.split(key, 5)
    mirror = jax.random.bernoulli(k_mirror, shape=(n, 1, 1, 1))
    x = jnp.where(mirror, pictures[:, :, ::-1], pictures) * 2 - 1
    t = jax.nn.sigmoid(jax.random.normal(k_time, (n,)))
    noise = jax.random.normal(k_noise, x.shape)
    forget = jax.random.bernoulli(k_colour, _DROP_COLOUR, facts.shape).at[:, 0].set(False)
    facts = jnp.where(forget | jax.random.bernoulli(k_all, _DROP_ALL, (n, 1)), -1, facts)
    way = t[:, None, None, None]
    v = network.apply({"params": params}, (1 - way) * noise + way * x, t, facts)
    return jnp.mean(jnp.square(v - (x - noise)))


def guided(network: Any, params: Any, facts: jax.Array, guidance: jax.Array | float) -> Velocity:
    """Velocity of (x, t): that without facts, plus ``guidance`` times what the facts change; 1: with facts alone."""
    told = jnp.concatenate([facts, jnp.full_like(facts, -1)])

    def velocity(x: jax.Array, t: jax.Array) -> jax.Array:
        both = network.apply({"params": params}, jnp.concatenate([x, x]), jnp.full(2 * x.shape[0], t), told)
        with_facts, without = jnp.split(both, 2)
        return (1 - guidance) * without + guidance * with_facts

    return velocity


def integrate(velocity: Velocity, x: jax.Array, steps: int, solver: str = "euler") -> jax.Array:
    """Goes from t = 0 to 1 in equal steps: Euler's of order 1, or Heun's of order 2, which asks twice a step.

    Args:
        velocity: Of (x, t), t a scalar of the type of x.
        x: Where it starts, noise; NumPy or JAX.
        steps: How many.
        solver: One of ``SOLVERS``.
    """
    require_one_of("integrate", "solver", solver, SOLVERS)
    h, number = 1 / steps, x.dtype.type
    for i in range(steps):
        v = velocity(x, number(i * h))
        if solver == "heun":
            v = (v + velocity(x + h * v, number((i + 1) * h))) / 2
        x = x + h * v
    return x
