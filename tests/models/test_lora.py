"""Low-rank adapters: zero at the start, merged = unmerged, rank, reach, convolutions, scanned layers, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.lora import Lora, truncate
from lvm_mtc.models.transformer import Block, stack_layers
from lvm_mtc.models.weights import flatten_params

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(scope="module")
def block():
    module, x = Block(num_heads=2), jax.random.normal(jax.random.key(1), (3, 5, 8))
    return module, x, {"tower": {"block0": jax.jit(module.init)(jax.random.key(0), x)["params"]}}


def drawn(adapters, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), jnp.float32), adapters)


def test_starts_as_the_base_bit_for_bit_and_counts_what_it_should(block):
    _, _, params = block
    lora = Lora(rank=3)
    adapters = lora.init(jax.random.key(2), params)
    merged = flatten_params(lora.merge(params, adapters))
    assert all((np.asarray(merged[name]) == leaf).all() for name, leaf in flatten_params(params).items())
    width = 8  # qkv, proj, fc1 and fc2 of a block take (w + 3w) + 2w + (w + 4w) + (4w + w) = 16 w numbers a rank
    assert sum(leaf.size for leaf in jax.tree.leaves(adapters)) == 16 * width * lora.rank
    a = np.concatenate([factors["a"].ravel() for factors in Lora(rank=64).init(jax.random.key(3), params).values()])
    assert abs(a.var() * 64 - 1) < 5 * (2 / a.size) ** 0.5


def test_merged_equals_the_path_beside_the_kernel(block):
    """x W + alpha / r (x A) B, in float64, for the first layer; and only what a pattern names is changed."""
    _, x, params = block
    lora = Lora(rank=2, alpha=6.0, targets=(r".*/fc1/kernel",))
    adapters = drawn(lora.init(jax.random.key(0), params))
    merged = flatten_params(lora.merge(params, adapters))
    flat = flatten_params(params)
    changed = [name for name in flat if not np.array_equal(flat[name], merged[name])]
    (name,) = adapters
    assert changed == [name] == ["tower/block0/fc1/kernel"]
    x, kernel, a, b = (np.asarray(v, np.float64) for v in (x, flat[name], adapters[name]["a"], adapters[name]["b"]))
    np.testing.assert_allclose(x @ np.asarray(merged[name], np.float64), x @ kernel + 3 * (x @ a) @ b, atol=1e-5)
    assert np.linalg.matrix_rank(np.asarray(merged[name], np.float64) - kernel, tol=1e-4) == 2


def test_gradients_reach_adapters_only_where_b_is_not_zero(block):
    """At the start the gradient of A is zero and that of B is A^T times the kernel's, scaled: the chain rule."""
    module, x, params = block
    lora = Lora(rank=2, alpha=4.0, targets=(r".*/proj/kernel",))
    adapters = lora.init(jax.random.key(4), params)

    def loss(params):
        return jnp.mean(module.apply({"params": params["tower"]["block0"]}, x) ** 2)

    both = jax.jit(lambda: (jax.grad(loss)(params), jax.grad(lambda a: loss(lora.merge(params, a)))(adapters)))
    of_kernel, of_adapters = both()
    (name,) = adapters
    g = np.asarray(of_kernel["tower"]["block0"]["proj"]["kernel"])
    assert not np.any(of_adapters[name]["a"])
    np.testing.assert_allclose(of_adapters[name]["b"], 2 * np.asarray(adapters[name]["a"]).T @ g, atol=1e-6)


def test_full_rank_reaches_any_update_and_truncation_is_the_best_one():
    rng = np.random.default_rng(0)
    update = rng.normal(size=(2, 7, 5))
    a, b = truncate(update, 5)
    np.testing.assert_allclose(a @ b, update, atol=1e-12)
    a, b = truncate(update, 2)
    discarded = np.linalg.svd(update, compute_uv=False)[:, 2:]
    np.testing.assert_allclose(((a @ b - update) ** 2).sum((1, 2)), (discarded**2).sum(1), rtol=1e-10)


def test_scanned_layers_and_convolutions(block):
    _, _, params = block
    two = {"tower": {"block0": params["tower"]["block0"], "block1": drawn(params["tower"]["block0"])}}
    lora, stacked = Lora(rank=2), stack_layers(two)
    looped = drawn(lora.init(jax.random.key(0), two))
    scanned = {
        name.replace("block0", "blocks"): jax.tree.map(
            lambda a, b: jnp.stack([a, b]), looped[name], looped[name.replace("block0", "block1")]
        )
        for name in looped
        if "block0" in name
    }
    assert jax.tree.map(jnp.shape, lora.init(jax.random.key(0), stacked)) == jax.tree.map(jnp.shape, scanned)
    wanted = flatten_params(stack_layers(lora.merge(two, looped)))
    for name, leaf in flatten_params(lora.merge(stacked, scanned)).items():
        np.testing.assert_allclose(leaf, wanted[name], atol=1e-6)

    conv = {"layer": {"kernel": jnp.zeros((3, 3, 4, 5))}}
    lora = Lora(rank=2, targets=(".*",))
    adapters = drawn(lora.init(jax.random.key(0), conv))
    factors = adapters["layer/kernel"]
    assert factors["a"].shape == (36, 2) and factors["b"].shape == (2, 5)
    got = lora.merge(conv, adapters)["layer"]["kernel"]
    np.testing.assert_allclose(got.reshape(36, 5), 2 * factors["a"] @ factors["b"], atol=1e-5)


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        (Lora(rank=0), r"Lora.rank must be at least 1, got 0"),
        (Lora(targets=("nothing",)), r"\('nothing',\) match none of 4 kernels, such as tower/block0/fc1/kernel"),
        (Lora(targets=("(",)), r"Lora.targets \('\(',\)"),
    ],
)
def test_wrong_choices_are_named(block, lora, message):
    with pytest.raises(ValueError, match=message):
        lora.init(jax.random.key(0), block[2])


def test_adapters_of_other_kernels_are_refused(block):
    params, lora = block[2], Lora()
    with pytest.raises(ValueError, match="adapter 'x/kernel' has no such kernel"):
        lora.merge(params, {"x/kernel": {"a": jnp.zeros((8, 4)), "b": jnp.zeros((4, 8))}})
    with pytest.raises(ValueError, match=r"is for a matrix of \(7, 8\), and its kernel is \(8, 8\)"):
        lora.merge(params, {"tower/block0/proj/kernel": {"a": jnp.zeros((7, 4)), "b": jnp.zeros((4, 8))}})
