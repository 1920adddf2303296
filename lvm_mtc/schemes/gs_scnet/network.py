"""Networks of the stereo codec; all see the canonical form of ``disparity.py``, both views with the same weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.conditioned import INIT, Residual, normalize
from lvm_mtc.models.patches import patchify, unpatchify
from lvm_mtc.models.products import Dense
from lvm_mtc.schemes.gs_scnet.disparity import around, cost_volume, partner, soft_argmax, visible, warp

PATCH, COARSE = 8, 4
"""Pixels along a side of a position of the latents, and of one of the matching."""
SHARPNESS = 200.0
"""Of the soft argmax, for differences of pictures in [0, 1]: nearly the least cost, as block matching has it."""
GREY, CONTRAST = 0.45, 4.0
NUMBERS = 14
"""Of a Gaussian: offset (2), disparity, logarithms of scales (3), quaternion (4), opacity, colour (3)."""
FUSIONS = ("disparity", "concat", "none")
_ZEROS = nn.initializers.zeros


class Matching(nn.Module):
    """Disparity by a cost volume and a soft argmax, pixels at a quarter of the scale.

    It starts as block matching: the costs are absolute differences of squares of 4 and of 12 pixels. What is learned
    adds to them what their neighbourhood tells, such as where the other view shows nothing to match.

    Attributes:
        max_disparity: Pixels.
        width: Features of a place.
    """

    max_disparity: int
    width: int = 32

    @nn.compact
    def __call__(self, views: jax.Array) -> jax.Array:
        """Maps pictures ``[n, 2, H, W, 3]`` to ``[n, 2, H / 4, W / 4]``.

        Source: cost volumes of DispNet-C (Mayer et al., 2016), the regression of GC-Net (Kendall et al., 2017).
        """
        num = self.max_disparity + 1
        cost = cost_volume(views, partner(views), num, COARSE)
        cost = -SHARPNESS * flat(cost + around(cost)) / 2
        own = flat(to_grid((views - GREY) * CONTRAST, COARSE))
        seen = jnp.concatenate([nn.softmax(cost), own], axis=-1)
        seen = Dense(self.width, kernel_init=INIT, name="volume")(seen)
        for number in range(2):
            seen = Residual(name=f"context{number}")(seen)
        found = soft_argmax(cost + Dense(num, kernel_init=_ZEROS, name="logits")(normalize(seen)))
        return found.reshape(*views.shape[:2], *found.shape[1:])


class Fusion(nn.Module):
    """Adds to features of a view what the other view has where the disparity points; starts as the identity.

    Attributes:
        kind: One of ``FUSIONS``; ``"concat"`` looks at the same place of the other view, ``"none"`` nowhere. All have
            the same parameters.
    """

    kind: str

    @nn.compact
    def __call__(self, x: jax.Array, disparity: jax.Array) -> jax.Array:
        """Maps features ``[n, 2, h, w, width]`` to their own shape; ``disparity [n, 2, h, w]`` is in pixels."""
        width, other = x.shape[-1], partner(x)
        if self.kind == "disparity":
            seen = visible(disparity, PATCH)[..., None]
            other = seen * warp(other, disparity / PATCH)
            difference = seen * x - other
        else:
            difference = x - other
        told = jnp.concatenate([x, other, difference], axis=-1)
        told = nn.gelu(Dense(width, kernel_init=INIT, name="look")(told))
        added = Dense(width, kernel_init=_ZEROS, name="add")(told)
        return x if self.kind == "none" else x + added


class Encoder(nn.Module):
    """Pictures and their disparity to what the learned branch adds to the latents; at first nothing.

    Attributes:
        width: Features of a position.
        num_latents: Real latents of a position.
        fusion: Kind of fusion.
    """

    width: int
    num_latents: int
    fusion: str

    @nn.compact
    def __call__(self, views: jax.Array, disparity: jax.Array) -> jax.Array:
        """Maps ``[n, 2, H, W, 3]`` and ``[n, 2, h, w]``, pixels, to ``[n, 2, h, w, num_latents]``."""
        x = Dense(self.width, kernel_init=INIT, name="embed")(to_grid((views - GREY) * CONTRAST, PATCH))
        shape = x.shape
        x = flat(x)
        for number in range(2):
            x = Residual(name=f"before{number}")(x)
        x = Fusion(self.fusion, name="fusion")(x.reshape(shape), disparity)
        return Dense(self.num_latents, kernel_init=_ZEROS, name="latents")(normalize(x))


class Trunk(nn.Module):
    """What arrived, with its noise and disparity, to features of which pictures or Gaussians are made.

    Attributes:
        width: Features of a position.
        fusion: Kind of fusion.
    """

    width: int
    fusion: str

    @nn.compact
    def __call__(self, told: jax.Array, disparity: jax.Array) -> jax.Array:
        """Maps ``[n, 2, h, w, features]`` and ``[n, 2, h, w]``, pixels, to ``[n, 2, h, w, width]``."""
        x = Dense(self.width, kernel_init=INIT, name="embed")(told)
        x = flat(x)
        x = Residual(name="before")(x).reshape(*told.shape[:-1], self.width)
        x = flat(Fusion(self.fusion, name="fusion")(x, disparity))
        for number in range(3):
            x = Residual(name=f"behind{number}")(x)
        return normalize(x).reshape(*told.shape[:-1], self.width)


class Pixels(nn.Module):
    """Features to what is added to a picture, at first nothing.

    Attributes:
        width: Features at half of the scale.
    """

    width: int = 32

    @nn.compact
    def __call__(self, x: jax.Array, pictures: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Pictures, and features at half of the scale ``[n, 2, H / 2, W / 2, width]``.

        Args:
            x: ``[n, 2, h, w, features]``.
            pictures: First ones, ``[n, 2, H, W, 3]``.
        """
        size, half = pictures.shape[2:4], tuple(side // 2 for side in pictures.shape[2:4])
        x = Dense(self.width * (PATCH // 2) ** 2, kernel_init=INIT, name="finer")(flat(x))
        x = unpatchify(x.reshape(len(x), -1, x.shape[-1]), PATCH // 2, half)
        own = Dense(self.width, kernel_init=INIT, name="first")(flat(to_grid((pictures - GREY) * CONTRAST, 2)))
        x = x + own
        for number in range(2):
            x = Residual(name=f"paint{number}")(x)
        x = normalize(x)
        change = Dense(12, kernel_init=_ZEROS, name="change")(x)
        change = unpatchify(change.reshape(len(change), -1, 12), 2, size)
        return pictures + change.reshape(pictures.shape) / CONTRAST, x.reshape(*pictures.shape[:2], *half, -1)


class Lift(nn.Module):
    """Features at half of the scale to what Gaussians are made of; at first all numbers are 0.

    Attributes:
        density: Pixels from one Gaussian to the next, 1 or 2.
    """

    density: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[n, 2, H / 2, W / 2, features]`` to ``[n, 2, H / density, W / density, 14]``."""
        fine, size = 2 // self.density, tuple(2 * side // self.density for side in x.shape[2:4])
        seen = normalize(Residual(name="lift")(flat(x)))
        numbers = Dense(NUMBERS * fine**2, kernel_init=_ZEROS, name="numbers")(seen)
        numbers = unpatchify(numbers.reshape(len(numbers), -1, NUMBERS * fine**2), fine, size)
        return numbers.reshape(*x.shape[:2], *size, NUMBERS)


def to_grid(pictures: jax.Array, side: int) -> jax.Array:
    """``[..., H, W, c]`` to ``[..., H / side, W / side, side^2 c]``."""
    rows, columns = (length // side for length in pictures.shape[-3:-1])
    return patchify(pictures, side).reshape(*pictures.shape[:-3], rows, columns, -1)


def flat(x: jax.Array) -> jax.Array:
    """``[n, 2, ...]`` to ``[2 n, ...]``."""
    return x.reshape(-1, *x.shape[2:])
