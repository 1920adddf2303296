"""Crops of boxes: Pillow's resize as the reference, clipping, gradients, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lvm_mtc.knowledge.crops import clip_boxes, crop_boxes

pytestmark = pytest.mark.usefixtures("fast_compile")

SIZE = 12


def pictures(seed=0, batch=2, height=40, width=56):
    """Smooth enough that cubic overshoot stays inside [0, 1]."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.2, 0.8, (batch, height // 8, width // 8, 3)).astype(np.float32)
    return np.stack(
        [
            np.stack(
                [np.asarray(Image.fromarray(n[..., c]).resize((width, height), Image.BILINEAR)) for c in range(3)], -1
            )
            for n in noise
        ]
    )


BOXES = np.array([
    [[28, 20, 56, 40], [20.3, 11.7, 9.5, 17.25], [40, 30, 32, 20]],
    [[6, 6, 12, 12], [50, 5.5, 12, 11], [28, 20, 3, 3]],
], np.float32)  # fmt: skip


def pillow(image, box):
    x, y, w, h = (float(v) for v in box)
    edges = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    planes = [Image.fromarray(image[..., c]).resize((SIZE, SIZE), Image.BICUBIC, box=edges) for c in range(3)]
    return np.stack([np.asarray(p) for p in planes], -1)


def test_crops_are_pillows():
    images = pictures()
    crop = jax.jit(lambda i, b: crop_boxes(i, b, SIZE))
    crops = crop(images, BOXES)
    want = np.stack([[pillow(i, b) for b in boxes] for i, boxes in zip(images, BOXES, strict=True)])
    assert crops.shape == (2, 3, SIZE, SIZE, 3)
    np.testing.assert_allclose(crops, want, rtol=0, atol=2e-5)
    # The comparison sees a shift by a tenth of a pixel.
    assert np.abs(crop(images, BOXES + np.float32([0.1, 0, 0, 0])) - want).max() > 1e-3


def test_an_empty_box_is_one_pixel_and_no_nan():
    images = pictures()[:1]
    crops = jax.jit(lambda i, b: crop_boxes(i, b, SIZE))(images, np.zeros((1, 1, 4), np.float32))
    assert np.isfinite(crops).all()


def test_clip_boxes_in_closed_form():
    boxes = jnp.array([
        [10, 10, 4, 6], [0, 5, 10, 4], [55, 39, 10, 10], [28, 20, 1e6, 1e6],  # inside, over edges, larger
        [-20, 10, 8, 8], [60, 10, 8, 8], [10, 10, 0, 5], [10, 10, -4, 5], [np.nan, 1, 2, 2], [1, 1, np.inf, 2],
        [10, 10, 4, 6],
    ], jnp.float32)  # fmt: skip
    clipped, valid = clip_boxes(boxes, jnp.arange(11) < 10, 40, 56)
    np.testing.assert_array_equal(valid, [True] * 4 + [False] * 7)
    np.testing.assert_allclose(
        clipped[:4], [[10, 10, 4, 6], [2.5, 5, 5, 4], [53, 37, 6, 6], [28, 20, 56, 40]], atol=1e-5
    )
    np.testing.assert_array_equal(clipped[4:], 0)


def test_crops_depend_on_their_own_picture_alone():
    images = pictures()
    crop = jax.jit(lambda i, b: crop_boxes(i, b, SIZE))
    both = crop(images, BOXES)
    other = images.copy()
    other[1] = 0
    np.testing.assert_array_equal(crop(other, BOXES)[0], both[0])
    assert np.abs(crop(other, BOXES)[1] - both[1]).max() > 0.1


def test_gradient_reaches_the_pixels_of_the_box_only():
    images = jnp.asarray(pictures()[:1])
    gradient = jax.jit(jax.grad(lambda i: crop_boxes(i, jnp.array([[[20.0, 20, 8, 8]]]), SIZE).sum()))(images)
    assert np.isfinite(gradient).all() and (np.asarray(gradient[0, 17:23, 17:23]) > 0).all()
    assert not np.asarray(gradient[0, :14]).any() and not np.asarray(gradient[0, :, 26:]).any()


def test_wrong_input():
    images = jnp.zeros((2, 8, 8, 3))
    with pytest.raises(ValueError, match=r"images \(2, 8, 8, 3\) and boxes \(1, 3, 4\) do not fit"):
        crop_boxes(images, jnp.zeros((1, 3, 4)), SIZE)
