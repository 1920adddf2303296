"""YOLOX's outputs and the patch features made of them, against NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_yolox import CLASSES, FEATURES, tiny_graph

from lvm_mtc.models.patch_features import PICTURE, encode_patches, grid_places, num_patch_features
from lvm_mtc.models.yolox import Yolox, YoloxOutputs, found_objects


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _maps(arrays, images, scale, stride):
    """The map of a scale and what its heads say, ``[height, width, ...]``."""
    image = 255 * images[0, ..., ::-1]
    height, width = (side // stride for side in image.shape[:2])
    cells = image.reshape(height, stride, width, stride, 3).transpose(0, 2, 1, 3, 4)
    features = np.einsum("hwijc,ijcf->hwf", cells, arrays[f"map{scale}.weight"]) + arrays[f"map{scale}.bias"]
    heads = [
        features @ arrays[f"head.{part}_preds.{scale}.weight"][0, 0] + arrays[f"{part}{scale}.bias"]
        for part in ("cls", "reg", "obj")
    ]
    return features, heads


def test_outputs():
    graph = tiny_graph()
    images = np.random.default_rng(0).random((1, 64, 96, 3), np.float32)
    outputs = Yolox(graph)(graph.arrays, jnp.asarray(images))
    start = 0
    for scale, stride in enumerate((8, 16, 32)):
        features, (classes, raw, objects) = _maps(graph.arrays, images, scale, stride)
        np.testing.assert_allclose(outputs.class_maps[scale][0], features, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(outputs.class_maps[scale], outputs.box_maps[scale])
        rows, columns = np.mgrid[: features.shape[0], : features.shape[1]]
        x, y = (columns + raw[..., 0]) * stride, (rows + raw[..., 1]) * stride
        boxes = np.stack([x, y, np.exp(raw[..., 2]) * stride, np.exp(raw[..., 3]) * stride], axis=-1).reshape(-1, 4)
        here = slice(start, start + len(boxes))
        np.testing.assert_allclose(outputs.boxes[0, here], boxes, rtol=2e-4, atol=2e-4)
        scores = (_sigmoid(objects) * _sigmoid(classes)).reshape(-1, CLASSES)
        np.testing.assert_allclose(outputs.scores[0, here], scores, rtol=1e-4, atol=1e-5)
        start += len(boxes)
    assert start == outputs.boxes.shape[1]


def test_objects_of_one_class_that_overlap_are_one():
    scores = np.zeros((1, 4, 80), np.float32)
    scores[0, [0, 1, 2, 3], [2, 2, 9, 2]] = 0.5, 0.9, 0.4, 0.1
    boxes = np.float32([[[10, 10, 8, 8], [11, 10, 8, 8], [10, 10, 8, 8], [50, 50, 8, 8]]])
    found = found_objects(YoloxOutputs((), (), jnp.asarray(scores), jnp.asarray(boxes)), max_boxes=3)
    assert found.labels.tolist() == [[2, 9, -1]] and found.valid.tolist() == [[True, True, False]]
    np.testing.assert_allclose(found.boxes[0], [[11, 10, 8, 8], [10, 10, 8, 8], [0, 0, 0, 0]])


@pytest.mark.slow
def test_patches_hold_the_largest_values():
    graph = tiny_graph()
    network = Yolox(graph)
    assert num_patch_features(network) == 6 * FEATURES
    images = np.random.default_rng(1).random((1, *PICTURE, 3), np.float32)
    patches, objects = encode_patches(network, graph.arrays, jnp.asarray(images))
    assert patches.shape == (1, 60, 6 * FEATURES) and objects.boxes.shape == (1, 32, 4)
    doubled = np.asarray(jnp.asarray(images).repeat(1, 1))
    outputs = network(graph.arrays, jnp.asarray(_doubled(doubled)))
    for scale, cells in enumerate((8, 4, 2)):
        maps = np.asarray(outputs.class_maps[scale])[0].reshape(6, cells, 10, cells, FEATURES).max(axis=(1, 3))
        own = patches[0, :, 2 * scale * FEATURES : (2 * scale + 1) * FEATURES]
        np.testing.assert_allclose(own, maps.reshape(60, FEATURES), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"images must be \[batch, 192, 320, 3\], got \(1, 64, 64, 3\)"):
        encode_patches(network, graph.arrays, jnp.zeros((1, 64, 64, 3)))


def _doubled(images):
    """Twice the sides, linear between the centres of pixels."""

    def along(x, axis):
        x = np.moveaxis(x, axis, 0)
        before, after = np.concatenate([x[:1], x[:-1]]), np.concatenate([x[1:], x[-1:]])
        pairs = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=1)
        return np.moveaxis(pairs.reshape(-1, *x.shape[1:]), 0, axis)

    return along(along(images, 1), 2)


def test_places_of_a_window():
    window = np.float32([0.5, 0.25, 1.0, 0.75])
    places = grid_places(window)
    assert places.shape == (60, 4)
    np.testing.assert_allclose(places[0], [0.5, 0.25, 0.55, 0.25 + 0.5 / 6], atol=1e-6)
    np.testing.assert_allclose(places[-1], [0.95, 0.75 - 0.5 / 6, 1.0, 0.75], atol=1e-6)
    both = jnp.asarray(np.stack([window, np.float32([0, 0, 1, 1])]))
    np.testing.assert_allclose(grid_places(both)[0], places, atol=1e-6)
