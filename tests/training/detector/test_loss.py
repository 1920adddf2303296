import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lvm_mtc.models.detection import NUM_BINS, RawDetections, anchor_points, decode_boxes
from lvm_mtc.training.detector.assignment import assign
from lvm_mtc.training.detector.loss import (
    DetectorLossConfig,
    DetectorTargets,
    detector_loss,
    distribution_focal_loss,
    edge_distances,
)

pytestmark = pytest.mark.usefixtures("fast_compile")

SIZE, BATCH, CLASSES, OBJECTS = 64, 2, 2, 5
POINTS, STRIDES = anchor_points(SIZE, SIZE)
ANCHORS = len(POINTS)


def problem(seed=0):
    rng = np.random.default_rng(seed)
    raw = RawDetections(
        rng.normal(0, 1, (BATCH, ANCHORS, 4, NUM_BINS)).astype(np.float32),
        rng.normal(-1, 1, (BATCH, ANCHORS, CLASSES)).astype(np.float32),
    )
    boxes = np.concatenate([rng.uniform(16, 48, (BATCH, OBJECTS, 2)), rng.uniform(12, 60, (BATCH, OBJECTS, 2))], -1)
    valid = np.arange(OBJECTS) < np.array([[4], [2]])
    labels = rng.integers(0, CLASSES, (BATCH, OBJECTS))
    return raw, DetectorTargets(boxes.astype(np.float32), labels.astype(np.int32), valid)


def ciou(a, b):
    low, high = np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2), np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
    both = np.prod(np.maximum(high - low, 0))
    iou = both / (a[2] * a[3] + b[2] * b[3] - both)
    span = np.maximum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2) - np.minimum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
    v = 4 / np.pi**2 * (np.arctan(b[2] / b[3]) - np.arctan(a[2] / a[3])) ** 2
    return iou - np.sum((a[:2] - b[:2]) ** 2) / np.sum(span**2) - v * v / (1 - iou + v)


def reference(raw, targets, config):
    """The three terms in float64, anchor by anchor, given the assignment (which has a reference of its own)."""
    sums = np.zeros(4)
    logits, scores = raw.box_logits.astype(np.float64), raw.class_logits.astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    distance = p @ np.arange(NUM_BINS)
    for b in range(BATCH):
        low, high = POINTS - distance[b, :, :2] * STRIDES[:, None], POINTS + distance[b, :, 2:] * STRIDES[:, None]
        boxes = np.concatenate([(low + high) / 2, high - low], 1)
        s = 1 / (1 + np.exp(-scores[b]))
        one = jax.jit(assign)(s.astype(np.float32), boxes.astype(np.float32), POINTS, *(part[b] for part in targets))
        for a in range(ANCHORS):
            w, t = float(one.weights[a]), int(one.object_ids[a])
            wanted = np.zeros(CLASSES)
            if one.positive[a]:
                wanted[targets.labels[b, t]] = w
                box = targets.boxes[b, t].astype(np.float64)
                sums[0] += w * (1 - ciou(boxes[a], box))
                edges = np.concatenate([POINTS[a] - box[:2] + box[2:] / 2, box[:2] + box[2:] / 2 - POINTS[a]])
                edges = np.clip(edges / STRIDES[a], 0, NUM_BINS - 1.01)
                for side, d in enumerate(edges):
                    i = int(d)
                    sums[2] -= w / 4 * ((i + 1 - d) * np.log(p[b, a, side, i]) + (d - i) * np.log(p[b, a, side, i + 1]))
            sums[1] -= np.sum(wanted * np.log(s[a]) + (1 - wanted) * np.log(1 - s[a]))
            sums[3] += w
    box, entropy, focal = sums[:3] / max(sums[3], 1)
    return box, entropy, focal, config.box_gain * box + config.class_gain * entropy + config.distance_gain * focal


DEFAULT = DetectorLossConfig()


def run(raw, targets, config=DEFAULT):
    return jax.jit(lambda raw, targets: detector_loss(raw, targets, POINTS, STRIDES, config))(raw, targets)


def test_all_terms_equal_the_written_out_sums():
    raw, targets = problem()
    for config in (DetectorLossConfig(), DetectorLossConfig(box_gain=1, class_gain=2, distance_gain=3)):
        loss, metrics = run(raw, targets, config)
        wanted = reference(raw, targets, config)
        found = metrics["box"], metrics["class"], metrics["distance"], loss
        np.testing.assert_allclose(found, wanted, rtol=2e-4)
    assert abs(wanted[3] / float(run(raw, problem(1)[1], config)[0]) - 1) > 1e-2


def test_distances_are_what_decoding_undoes():
    rng = np.random.default_rng(1)
    sides = STRIDES[:, None] * rng.uniform(4, 9, (84, 2))
    boxes = np.concatenate([POINTS + rng.uniform(-3, 3, POINTS.shape), sides], 1)
    distances = edge_distances(jnp.asarray(boxes, jnp.float32), jnp.asarray(POINTS), jnp.asarray(STRIDES))
    low = np.floor(distances).astype(int)
    logits = np.full((ANCHORS, 4, NUM_BINS), -1e9, np.float32)
    np.put_along_axis(logits, low[..., None], np.log(np.maximum(low + 1 - distances, 1e-30))[..., None], -1)
    np.put_along_axis(logits, low[..., None] + 1, np.log(np.maximum(distances - low, 1e-30))[..., None], -1)
    np.testing.assert_allclose(decode_boxes(logits, POINTS, STRIDES), boxes, atol=1e-3)


def test_the_focal_loss_is_least_for_the_narrowest_distribution_about_the_distance():
    distances = jnp.array([0.0, 3.25, 7.5, 14.9])
    start = jnp.zeros((4, NUM_BINS))

    def descend(logits, _):
        return logits - 5 * jax.grad(lambda x: distribution_focal_loss(x, distances))(logits), None

    logits, _ = jax.lax.scan(descend, start, length=400)
    p = np.asarray(jax.nn.softmax(logits))
    np.testing.assert_allclose(p @ np.arange(NUM_BINS), distances, atol=0.05)
    assert np.all(np.sort(p, axis=1)[:, -2:].sum(1) > 0.98)


def test_padding_and_the_order_of_objects_do_not_matter():
    raw, targets = problem()
    loss, _ = run(raw, targets)
    junk = targets._replace(
        boxes=np.where(targets.valid[..., None], targets.boxes, np.float32(np.nan)),
        labels=np.where(targets.valid, targets.labels, 77),
    )
    grads = jax.jit(jax.grad(lambda raw: detector_loss(raw, junk, POINTS, STRIDES)[0]))(raw)
    np.testing.assert_allclose(run(raw, junk)[0], loss, rtol=1e-6)
    assert all(np.all(np.isfinite(g)) for g in grads)
    turned = DetectorTargets(*(part[:, ::-1] for part in targets))
    np.testing.assert_allclose(run(raw, turned)[0], loss, rtol=1e-6)


def test_pictures_without_objects_teach_that_there_are_none():
    raw, targets = problem()
    empty = targets._replace(valid=np.zeros_like(targets.valid))
    (loss, metrics), grads = jax.jit(
        jax.value_and_grad(lambda raw: detector_loss(raw, empty, POINTS, STRIDES), has_aux=True)
    )(raw)
    entropy = np.log1p(np.exp(raw.class_logits.astype(np.float64))).sum()
    assert metrics["box"] == metrics["distance"] == metrics["positives"] == 0
    np.testing.assert_allclose([metrics["class"], loss], [entropy, 0.5 * entropy], rtol=1e-5)
    assert np.all(np.asarray(grads.class_logits) > 0) and np.all(np.asarray(grads.box_logits) == 0)


@pytest.mark.slow
def test_gradient_equals_differences():
    raw, targets = problem()
    small = RawDetections(jnp.asarray(raw.box_logits), jnp.asarray(raw.class_logits))
    # The class term alone: the assignment, a constant for the gradient, does not move with so small a step.
    config = DetectorLossConfig(box_gain=0, distance_gain=0)

    def of_logits(logits):
        return detector_loss(small._replace(class_logits=logits), empty, POINTS, STRIDES, config)[0] / 100

    empty = targets._replace(valid=np.zeros_like(targets.valid))
    check_grads(of_logits, (small.class_logits,), order=1, modes=["rev"], rtol=2e-2, eps=1e-2)


def test_a_few_steps_of_descent_find_the_objects():
    raw, targets = problem()
    start = jax.tree.map(jnp.asarray, raw)

    @jax.jit
    def descend(raw):
        def step(raw, _):
            grads = jax.jit(jax.grad(lambda r: detector_loss(r, targets, POINTS, STRIDES)[0]))(raw)
            return jax.tree.map(lambda x, g: x - 3 * g, raw, grads), None

        return jax.lax.scan(step, raw, length=150)[0]

    before, after = run(start, targets)[1], run(descend(start), targets)[1]
    assert after["box"] < 0.5 * before["box"] and after["class"] < 0.5 * before["class"]


def test_wrong_numbers_and_shapes_are_named():
    with pytest.raises(ValueError, match="DetectorLossConfig.box_gain must be a finite number >= 0, got -1"):
        DetectorLossConfig(box_gain=-1)
    with pytest.raises(ValueError, match="DetectorLossConfig.top_candidates must be a whole number >= 1, got 0"):
        DetectorLossConfig(top_candidates=0)
    raw, targets = problem()
    with pytest.raises(ValueError, match=r"targets of boxes \(2, 5, 4\), labels \(2, 3\)"):
        detector_loss(raw, targets._replace(labels=targets.labels[:, :3]), POINTS, STRIDES)
