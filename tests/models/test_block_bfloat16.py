"""A transformer block in bfloat16 against float64, within the bound that its roundings allow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from lvm_mtc.models.transformer import Block

pytestmark = pytest.mark.usefixtures("fast_compile")


class Running:
    """A value with a bound of its error, propagated operation by operation (running error analysis).

    ``u`` is bfloat16's unit roundoff; sums are float32, whose own rounding ``f32`` stands for anything done there.
    """

    u, f32 = 2.0**-8, 2.0**-18

    def __init__(self, value, bound=0.0):
        self.value, self.bound = value, np.broadcast_to(bound, np.shape(value)).astype(np.float64)

    def rounded(self):
        return Running(self.value, self.bound + self.u * (np.abs(self.value) + self.bound))

    def __add__(self, other):
        return Running(self.value + other.value, self.bound + other.bound)

    def einsum(self, formula, other):
        product, upper = (
            np.einsum(formula, a, b)
            for a, b in ((self.value, other.value), (abs(self.value) + self.bound, abs(other.value) + other.bound))
        )
        return Running(product, upper * (1 + self.f32) - np.einsum(formula, abs(self.value), abs(other.value)))

    def dense(self, p):
        kernel, bias = (Running(np.float64(p[name])).rounded() for name in ("kernel", "bias"))
        y = self.einsum("nd,de->ne", kernel).rounded()
        return (y + Running(np.broadcast_to(bias.value, y.value.shape), bias.bound)).rounded()

    def layer_norm(self, p):
        # Centred values move by c; their root mean square, being a norm, by no more than that of c.
        centred = self.value - self.value.mean(-1, keepdims=True)
        c = self.bound + self.bound.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        c_rms = np.sqrt((c**2).mean(-1, keepdims=True))
        y = centred / scale
        bound = np.abs(p["scale"]) * ((c + np.abs(y) * c_rms) / (scale - c_rms) + self.f32 * (1 + np.abs(y)))
        return Running(y * p["scale"] + p["bias"], bound).rounded()

    def softmax(self):
        weights = np.exp(self.value - self.value.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return Running(weights, weights * np.expm1(2 * self.bound.max(-1, keepdims=True) + self.f32)).rounded()

    def gelu(self):
        # Its slope is at most 1.13. x / 2 * erfc(-x / sqrt(2)) in bfloat16: u abs(x) for rounding erfc, as much for the
        # product, half as much for the argument.
        value = 0.5 * self.value * (1 + erf(self.value / np.sqrt(2)))
        return Running(value, 1.13 * self.bound + 2.6 * self.u * (np.abs(self.value) + self.bound))


def running_block(x, p, heads):
    n, width = x.value.shape
    qkv = x.layer_norm(p["norm1"]).dense(p["qkv"])
    q, k, v = (Running(*(np.reshape(a, (n, 3, heads, -1))[:, i] for a in (qkv.value, qkv.bound))) for i in range(3))
    logits = q.einsum("qhd,khd->hqk", k)
    root = np.sqrt(width / heads)
    weights = Running(logits.value / root, logits.bound / root).softmax()
    y = weights.einsum("hqk,khd->qhd", v).rounded()
    x = (x + Running(y.value.reshape(n, width), y.bound.reshape(n, width)).dense(p["proj"])).rounded()
    return (x + x.layer_norm(p["norm2"]).dense(p["fc1"]).gelu().dense(p["fc2"])).rounded()


def random_params(seed):
    """Of a block; small, as a bound for the worst case grows with every product."""
    rng, shapes = np.random.default_rng(seed), jax.eval_shape(Block(2).init, jax.random.key(0), jnp.zeros((7, 16)))
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(0.1, 0.1, a.shape), jnp.float32), shapes["params"])


def test_bfloat16_block_is_within_its_running_error_bound():
    params, other = random_params(0), random_params(1)
    x = jax.random.normal(jax.random.key(5), (7, 16)).astype(jnp.bfloat16)
    block = jax.jit(Block(2, dtype="bfloat16").apply)
    got = block({"params": params}, x)
    want = running_block(Running(np.float64(x)), jax.tree.map(np.float64, params), 2)
    error = np.abs(np.float64(got) - want.value)
    assert got.dtype == jnp.bfloat16
    assert (error <= want.bound).all(), (error / want.bound).max()
    assert error.max() > Running.u / 4  # it does compute in bfloat16
    assert want.bound.mean() < 0.5 * np.abs(want.value).mean()  # and the bound says something
    assert (np.abs(np.float64(block({"params": other}, x)) - want.value) > want.bound).any()
