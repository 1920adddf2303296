"""The classifier as a second teacher: its features, the linear predictions, and a run with both."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.flashsam import FlashSAM
from lvm_mtc.models.image_classifier import EfficientNetLite0
from lvm_mtc.training.detector.guide import GUIDED, guide_features, guide_lesson, guide_loss
from lvm_mtc.training.detector.lessons import intermediate_shapes, linear_map, standardized

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(scope="module")
def features(fast_compile):
    model = EfficientNetLite0()
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.2, leaf.shape), jnp.float32), shapes)
    images = jnp.asarray(rng.random((2, 64, 96, 3)), jnp.float32)
    return jax.jit(guide_features)(params, images)


@pytest.mark.slow
def test_features_have_the_size_of_the_maps_that_predict_them(features):
    network = FlashSAM("n", 1)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    found = intermediate_shapes(network, variables, 64, GUIDED)
    outputs = {name: found[name]["__call__"][0].shape for name in GUIDED}
    assert {name: shape[1:3] for name, shape in outputs.items()} == {"stage16": (4, 4), "attention": (2, 2)}
    assert {name: f.shape[1:3] for name, f in features.items()} == {"stage16": (4, 6), "attention": (2, 3)}
    lesson = guide_lesson(jax.random.key(1), network, variables, SimpleNamespace(size=64), {})
    kernels = {name: parts["kernel"].shape for name, parts in lesson.params.items()}
    assert kernels == {name: (outputs[name][-1], f.shape[-1]) for name, f in features.items()}


def test_features_are_standardized(features):
    for target in features.values():
        flat = np.asarray(target, np.float64).reshape(-1, target.shape[-1])
        np.testing.assert_allclose(flat.mean(0), 0, atol=1e-3)
        assert np.median(flat.var(0)) == pytest.approx(1, abs=0.02) and flat.var(0).max() < 1.001
    x = np.random.default_rng(1).normal(3, 5, (7, 4, 4, 6))
    wanted = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-4)
    np.testing.assert_allclose(standardized(jnp.asarray(x, jnp.float32)), wanted, atol=1e-4)


def test_loss_is_the_error_of_the_linear_predictions(features):
    rng = np.random.default_rng(2)
    widths = {"stage16": 5, "attention": 3}
    projections = {
        name: linear_map(jax.random.key(0), width, features[name].shape[-1]) for name, width in widths.items()
    }
    outputs = {
        name: jnp.asarray(rng.normal(size=(*features[name].shape[:3], width)), jnp.float32)
        for name, width in widths.items()
    }
    errors = []
    for name, target in features.items():
        kernel, bias = (np.asarray(projections[name][part], np.float64) for part in ("kernel", "bias"))
        assert kernel.shape == (widths[name], target.shape[-1])
        predicted = np.einsum("bhwi,io->bhwo", np.asarray(outputs[name], np.float64), kernel) + bias
        errors.append(((predicted - np.asarray(target, np.float64)) ** 2).mean())
    assert guide_loss(projections, outputs, features) == pytest.approx(np.mean(errors), rel=1e-5)
    silent = jax.tree.map(jnp.zeros_like, projections)
    nothing = np.mean([np.square(np.asarray(target, np.float64)).mean() for target in features.values()])
    assert guide_loss(silent, outputs, features) == pytest.approx(nothing, rel=1e-4)


def test_other_sizes_are_refused(features):
    outputs = {name: jnp.zeros((2, 1, 1, 4)) for name in GUIDED}
    with pytest.raises(ValueError, match=r"outputs of .* \(2, 1, 1, 4\) and features"):
        guide_loss({}, outputs, features)
