"""Heads and units taken out of CLIP's towers and WITT's windows: the same function, FLOPs, importance, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.clip import ClipVariant, clip
from lvm_mtc.models.flops import count_flops
from lvm_mtc.models.pruning import find_groups, grow, importance, prune, pruned_shapes, widths
from lvm_mtc.models.transformer import apply_blocks
from lvm_mtc.models.weights import flatten_params, unflatten_params
from lvm_mtc.schemes.witt.network import Witt, WittSizes

pytestmark = pytest.mark.usefixtures("fast_compile")

SMALL = ClipVariant(
    image_size=16, patch_size=8, image_width=12, image_depth=1, image_heads=3, text_width=8, text_depth=1, text_heads=2,
    embed_dim=6, context_length=7, vocab_size=20,
)  # fmt: skip
IMAGES = np.random.default_rng(1).uniform(size=(2, 16, 16, 3)).astype(np.float32)
WORDS = np.random.default_rng(2).integers(0, 20, (3, 7))


def drawn(shapes):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: jnp.asarray(rng.normal(scale=0.3, size=s.shape), jnp.float32), shapes)


def make(name):
    """A function of the parameters, parameters, and how many heads and units there are in each group."""
    if name == "clip":
        module, inputs = clip(SMALL, "gelu"), (IMAGES, WORDS)
        counts = {"image/block0/qkv": 3, "image/block0/fc1": 48, "text/block0/qkv": 2, "text/block0/fc1": 32}
    else:
        module, inputs = Witt(4, WittSizes((2,), (12,), (3,), 2)), (IMAGES, jnp.zeros(2))
        blocks = [f"encoder_stage0_block{i}" for i in (0, 1)]
        counts = {f"{b}/attention/qkv": 3 for b in blocks} | {f"{b}/fc1": 48 for b in blocks}
    params = drawn(jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"])
    return lambda params: module.apply({"params": params}, *inputs), params, counts


@pytest.fixture(scope="module")
def of_clip():
    return make("clip")


@pytest.mark.parametrize("name", ["clip", "witt"])
def test_the_pruned_network_is_the_whole_one_with_zeros(name):
    apply, params, counts = make(name)
    groups = find_groups(apply, params)
    assert {name: group.count for name, group in groups.items()} == counts
    kept = {name: np.arange(1, n) if n < 4 else np.arange(0, n, 3) for name, n in counts.items()}
    small = prune(params, groups, kept)
    whole = grow(small, params, groups, kept)
    first = next(iter(counts))
    one, other = {first: kept[first]}, {name: which for name, which in kept.items() if name != first}
    again = prune(prune(params, groups, one), groups, other)  # the order does not matter
    assert jax.tree.all(jax.tree.map(np.array_equal, small, again))
    assert jax.tree.map(np.shape, whole) == jax.tree.map(np.shape, params)
    results = jax.jit(lambda *trees: [apply(tree) for tree in trees])(small, whole, params)
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-5 * np.abs(results[1]).max())
    assert np.abs(results[0] - results[2]).max() > 1e-2 * np.abs(results[1]).max()
    assert {name: w // groups[name].size for name, w in widths(small).items()} == {n: len(k) for n, k in kept.items()}
    shapes = jax.eval_shape(lambda: params)
    assert jax.tree.map(np.shape, pruned_shapes(shapes, widths(small))) == jax.tree.map(np.shape, small)
    untouched = prune(params, groups, {name: np.arange(n) for name, n in counts.items()})
    assert jax.tree.all(jax.tree.map(np.array_equal, untouched, params))


def test_operations_fall_as_worked_out(of_clip):
    apply, params, _ = of_clip
    groups = find_groups(apply, params)
    whole = count_flops(apply, params)
    tokens, width, size = 2 * 5, SMALL.image_width, 4  # a class token and four patches of two pictures
    of_head = 2 * tokens * width * 3 * size + 2 * 2 * tokens * 5 * size + 2 * tokens * size * width
    assert whole - count_flops(apply, prune(params, groups, {"image/block0/qkv": np.array([2])})) == 2 * of_head
    of_unit = 2 * 2 * tokens * width
    assert whole - count_flops(apply, prune(params, groups, {"image/block0/fc1": np.arange(8)})) == 40 * of_unit


def test_importance_is_the_change_to_first_order_squared(of_clip):
    """Scaling a head's or a unit's rows by 1 - h changes the loss by h times the root, as central differences see."""
    apply, params, counts = of_clip
    groups = find_groups(apply, params)
    weight = jnp.asarray(np.random.default_rng(3).normal(size=jax.eval_shape(apply, params).shape))

    def loss(params):
        return jnp.sum(weight * apply(params))

    gradient = jax.jit(jax.grad(loss))(params)
    found = importance(params, [gradient, jax.tree.map(lambda g: 2 * g, gradient)], groups)
    assert {name: len(values) for name, values in found.items()} == counts

    name = next(iter(counts))
    last = params
    *path, _ = name.split("/")
    for part in (*path, "proj"):
        last = last[part]
    size, h = groups[name].size, 1e-2

    def scaled(number, factor):
        rows = np.arange(last["kernel"].shape[0]) // size == number
        kernel = last["kernel"] * np.where(rows, factor, 1.0)[:, None]
        return jax.tree.map(lambda leaf: kernel if leaf is last["kernel"] else leaf, params)

    values = jax.jit(lambda trees: [loss(tree) for tree in trees])
    ends = np.array([values([scaled(i, 1 + h), scaled(i, 1 - h)]) for i in range(counts[name])])
    np.testing.assert_allclose(found[name] / 2.5, ((ends[:, 0] - ends[:, 1]) / (2 * h)) ** 2, rtol=0.02, atol=1e-3)


def test_scanned_layers_and_wrong_widths_are_refused():
    import flax.linen as nn

    class Scanned(nn.Module):
        @nn.compact
        def __call__(self, x):
            return apply_blocks(x, depth=2, scan=True, num_heads=2)

    x = jnp.zeros((1, 3, 8))
    params = drawn(jax.eval_shape(Scanned().init, jax.random.key(0), x)["params"])
    with pytest.raises(ValueError, match="scanned or mapped cannot be pruned one by one"):
        find_groups(lambda params: Scanned().apply({"params": params}, x), params)
    sizes = {"norm2/scale": (4,), "fc1/kernel": (4, 8), "fc2/kernel": (8, 4)}
    shapes = unflatten_params({f"block0/{n}": jax.ShapeDtypeStruct(s, jnp.float32) for n, s in sizes.items()})
    assert flatten_params(pruned_shapes(shapes, {"block0/fc1": 3}))["block0/fc2/kernel"].shape == (3, 4)
    for name, width, most in (("block0/fc1", 9, 8), ("block1/fc1", 1, 0), ("block0/fc1", 0, 8)):
        with pytest.raises(ValueError, match=f"'{name}' has at most {most} features, got {width}"):
            pruned_shapes(shapes, {name: width})
