import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.metrics.judges import accuracy_judge, clip_distance_judge, cloud_accuracy_judge, perceptual_judges
from lvm_mtc.metrics.perceptual import perceptual_distance
from lvm_mtc.metrics.pictures import box_mask
from lvm_mtc.models.perceptual import PerceptualNet
from lvm_mtc.schemes.scheme import Estimate, Source
from lvm_mtc.schemes.simulate import Outcome
from lvm_mtc.sweep.plan import picture_source


def pictures():
    rng = np.random.default_rng(0)
    return (jnp.asarray(rng.uniform(size=(2, 3, 32, 32, 3)), jnp.float32) for _ in range(2))


def arrived(received):
    return Outcome(Estimate(received), None, None, None, None)


@pytest.mark.slow
def test_learned_distances_are_those_of_the_metric():
    images, received = pictures()
    boxes = jnp.tile(jnp.array([10.0, 16.0, 12.0, 20.0]), (2, 3, 1))
    inside = box_mask(boxes, 32, 32)
    seen = picture_source(images, boxes), arrived(received)
    params = jax.jit(PerceptualNet().init)(jax.random.key(0), images[0])["params"]
    whole, boxes = perceptual_judges(params)
    np.testing.assert_array_equal(whole.measure(params, *seen), perceptual_distance(params, images, received))
    np.testing.assert_array_equal(boxes.measure(params, *seen), perceptual_distance(params, images, received, inside))
    assert np.all(whole.measure(params, *seen) != boxes.measure(params, *seen))
    assert (whole.name, boxes.name, whole.needs_labels) == ("perceptual", "perceptual_inside", False)
    # Of clips, here of one UAV and three frames, the mean over frames.
    frames, judge = (images[:, None], received[:, None]), clip_distance_judge(params)
    found = judge.measure(params, Source(frames[0]), arrived(frames[1]))
    np.testing.assert_array_equal(found, perceptual_distance(params, *frames).mean(-1))
    assert judge.name == "perceptual" and found.shape == (2, 1)


def first_pixel(params, images):
    return images[:, 0, 0] * params


def test_accuracy_asks_the_classifier_about_what_arrived():
    images, received = pictures()
    weights = jnp.array([[1.0, 2.0, 0.5]])
    want = np.argmax(np.asarray(received)[:, :, 0, 0] * np.asarray(weights), axis=-1)
    labels = want.copy()
    labels[1, 2] = (labels[1, 2] + 1) % 3
    judge = accuracy_judge(first_pixel, weights)
    found = judge.measure(judge.params, picture_source(images, None, labels=jnp.asarray(labels)), arrived(received))
    np.testing.assert_array_equal(found, labels == want)
    assert judge.needs_labels
    # Equal classifiers are one compiled program.
    assert judge.measure == accuracy_judge(first_pixel, weights + 1).measure


def farthest_axis(params, clouds):
    return np.abs(clouds).max(axis=1) * params


def test_clouds_are_judged_in_every_unit():
    rng = np.random.default_rng(1)
    clouds, weights = np.float32(rng.uniform(-1, 1, (4, 2, 3, 20, 3))), np.array([1.0, 2.0, 0.5])
    want = np.argmax(np.abs(clouds).max(-2) * weights, axis=-1)
    labels = want[0].copy()
    labels[1, 2] = (labels[1, 2] + 1) % 3
    judge = cloud_accuracy_judge(farthest_axis, weights)
    found = judge.measure(judge.params, Source(clouds[0], {"labels": labels}), clouds)
    assert found.shape == (4, 2, 3) and judge.on_host and judge.needs_labels and judge.name == "accuracy"
    np.testing.assert_array_equal(found, want == labels)
    assert found[0].sum() == 5
