import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lvm_mtc.models.box_geometry import complete_iou, pairwise_iou

pytestmark = pytest.mark.usefixtures("fast_compile")


def reference(first, second):
    """IoU and CIoU of two boxes, formula by formula, in Python's own numbers."""
    (x, y, w, h), (u, v, p, q) = map(float, first), map(float, second)
    across = min(x + w / 2, u + p / 2) - max(x - w / 2, u - p / 2)
    down = min(y + h / 2, v + q / 2) - max(y - h / 2, v - q / 2)
    both = max(across, 0) * max(down, 0)
    iou = both / (w * h + p * q - both)
    around = (
        max(x + w / 2, u + p / 2) - min(x - w / 2, u - p / 2),
        max(y + h / 2, v + q / 2) - min(y - h / 2, v - q / 2),
    )
    shape = 4 / math.pi**2 * (math.atan(p / q) - math.atan(w / h)) ** 2
    alpha = shape / (1 - iou + shape) if shape else 0.0
    return iou, iou - math.hypot(x - u, y - v) ** 2 / math.hypot(*around) ** 2 - alpha * shape


def random_boxes(count, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(0, 20, (count, 2)), rng.uniform(1, 15, (count, 2))], 1).astype(np.float32)


def test_both_equal_the_formulas():
    first, second = random_boxes(300), random_boxes(300, 1)
    wanted = np.array([reference(a, b) for a, b in zip(first, second, strict=True)])
    np.testing.assert_allclose(np.diagonal(pairwise_iou(first, second)), wanted[:, 0], atol=2e-6)
    np.testing.assert_allclose(complete_iou(first, second), wanted[:, 1], atol=5e-6)
    assert np.abs(wanted[:, 0] - wanted[:, 1]).max() > 0.1, "a comparison that could not tell the two apart"


def test_equal_boxes_reach_one_and_nothing_else_does():
    boxes = random_boxes(50)
    np.testing.assert_allclose(complete_iou(boxes, boxes), 1, atol=5e-6)
    assert np.all(complete_iou(boxes, boxes * np.float32(1.05)) < 0.999)


def test_far_boxes_are_worse_the_farther():
    near, far = (np.array([[d, 0, 4, 4]], np.float32) for d in (10, 40))
    here = np.array([[0, 0, 4, 4]], np.float32)
    assert float(complete_iou(here, far)[0]) < float(complete_iou(here, near)[0]) < 0
    assert float(pairwise_iou(here, near)[0, 0]) == 0


def test_neither_scale_nor_order_matters():
    first, second = random_boxes(40), random_boxes(40, 1)
    once = complete_iou(first, second)
    np.testing.assert_allclose(complete_iou(first * 8, second * 8), once, atol=2e-6)
    np.testing.assert_allclose(complete_iou(second, first), once, atol=2e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(complete_iou))(first, second), once, atol=2e-6)


def test_gradient_is_that_of_the_formula_with_constant_alpha():
    first, second = jnp.asarray(random_boxes(6)), jnp.asarray(random_boxes(6, 1))
    # Same proportions: v and alpha are 0, and the whole function is differentiated.
    second = second.at[:, 2:].set(first[:, 2:] * 1.3)
    check_grads(lambda box: complete_iou(box, second).sum(), (first,), order=1, modes=["rev"], eps=1e-2, rtol=2e-2)


def test_gradient_is_finite_for_equal_empty_and_distant_boxes():
    first = jnp.array([[5.0, 5, 4, 4], [5, 5, 1e-6, 4], [0, 0, 1, 1], [1, 1, 0, 0]])
    second = jnp.array([[5.0, 5, 4, 4], [5, 5, 4, 4], [900, 900, 1, 1], [3, 3, 2, 2]])
    value, grad = jax.jit(jax.value_and_grad(lambda box: complete_iou(box, second)[:3].sum()))(first)
    assert np.isfinite(value) and np.all(np.isfinite(grad[:3]))


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"first \(3, 4\) and second \(1, 4\) must both be boxes"):
        complete_iou(jnp.zeros((3, 4)), jnp.zeros((1, 4)))
    with pytest.raises(ValueError, match="must both be boxes"):
        complete_iou(jnp.zeros((3, 5)), jnp.zeros((3, 5)))
