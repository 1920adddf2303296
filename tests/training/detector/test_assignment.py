import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.detection import anchor_points
from lvm_mtc.training.detector.assignment import assign

pytestmark = pytest.mark.usefixtures("fast_compile")

SIZE, CLASSES, OBJECTS = 64, 3, 6
POINTS, STRIDES = anchor_points(SIZE, SIZE)


def iou(a, b):
    low = np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
    high = np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
    both = np.prod(np.maximum(high - low, 0))
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def reference(scores, boxes, object_boxes, labels, valid, top):
    """The assignment object by object, in float64 and plain loops."""
    scores, boxes, object_boxes = (a.astype(np.float64) for a in (scores, boxes, object_boxes))
    overlap = np.array([[iou(b, a) for a in boxes] for b in object_boxes])
    claims = {}
    align = np.zeros_like(overlap)
    for t in np.flatnonzero(valid):
        inside = [a for a, p in enumerate(POINTS) if np.all(np.abs(p - object_boxes[t, :2]) < object_boxes[t, 2:] / 2)]
        align[t, inside] = scores[inside, labels[t]] ** 0.5 * overlap[t, inside] ** 6
        best = sorted(inside, key=lambda a: (-align[t, a], a))[:top]
        for a in best:
            if align[t, a] > 0:
                claims.setdefault(a, []).append(t)
    owner = {a: max(ts, key=lambda t: (overlap[t, a], -t)) for a, ts in claims.items()}
    weights = np.zeros(len(boxes))
    for t in range(len(object_boxes)):
        mine = [a for a, owned_by in owner.items() if owned_by == t]
        for a in mine:
            weights[a] = align[t, a] / align[t, mine].max() * overlap[t, mine].max()
    positive = np.isin(np.arange(len(boxes)), list(owner))
    return positive, np.array([owner.get(a, 0) for a in range(len(boxes))]), weights


def problem(seed):
    rng = np.random.default_rng(seed)
    object_boxes = np.concatenate([rng.uniform(10, 54, (OBJECTS, 2)), rng.uniform(6, 50, (OBJECTS, 2))], 1)
    # Proposals near the anchor's own place, as a network's are: some good, some bad.
    near = POINTS + rng.normal(0, 5, POINTS.shape)
    boxes = np.concatenate([near, STRIDES[:, None] * rng.uniform(0.5, 4, (len(POINTS), 2))], 1)
    scores = rng.uniform(0, 1, (len(POINTS), CLASSES))
    valid = rng.uniform(size=OBJECTS) < 0.7
    labels = np.where(valid, rng.integers(0, CLASSES, OBJECTS), 99)
    return (scores.astype(np.float32), boxes.astype(np.float32), object_boxes.astype(np.float32), labels, valid)


jitted = jax.jit(assign, static_argnames="top_candidates")


def run(scores, boxes, object_boxes, labels, valid, top=4, points=POINTS):
    return jax.tree.map(np.asarray, jitted(scores, boxes, points, object_boxes, labels, valid, top_candidates=top))


def test_it_is_what_plain_loops_find():
    contested, differs = 0, 0
    for seed in range(30):
        given = problem(seed)
        found, wanted = run(*given), reference(*given, 4)
        np.testing.assert_array_equal(found.positive, wanted[0])
        np.testing.assert_array_equal(found.object_ids, wanted[1])
        np.testing.assert_allclose(found.weights, wanted[2], atol=2e-5)
        contested += reference(*given, len(POINTS))[0].sum() - wanted[0].sum() > 0
        differs += not np.array_equal(found.positive, reference(*given, 3)[0])
    assert contested > 5 and differs > 5, "the problems must have objects with more candidates than places"


def test_a_contested_point_goes_to_the_higher_overlap_and_of_equals_to_the_first():
    box = np.array([[32, 32, 20, 20]], np.float32)
    objects = np.concatenate([box + [[0, 0, 20, 20]], box + [[0, 0, 2, 2]], box + [[0, 0, 2, 2]]]).astype(np.float32)
    boxes = np.broadcast_to(box, (len(POINTS), 4)).astype(np.float32)
    scores = np.full((len(POINTS), 1), 0.5, np.float32)
    found = run(scores, boxes, objects, np.zeros(3, int), np.ones(3, bool), top=10)
    inner = np.all(np.abs(POINTS - 32) < 11, axis=1)
    assert inner.sum() >= 4 and np.all(found.object_ids[inner & found.positive] == 1)
    assert not np.any(found.positive & (found.object_ids == 2))


def test_weights_reach_the_largest_overlap_of_each_object():
    scores, boxes, object_boxes, labels, valid = problem(3)
    found = run(scores, boxes, object_boxes, labels, valid)
    for t in np.flatnonzero(valid):
        mine = np.flatnonzero(found.positive & (found.object_ids == t))
        if len(mine):
            wanted = max(iou(boxes[a], object_boxes[t]) for a in mine)
            assert found.weights[mine].max() == pytest.approx(wanted, rel=1e-5)
    assert np.all(found.weights[~found.positive] == 0) and np.all(found.weights <= 1 + 1e-6)


def test_padding_and_vmap_change_nothing():
    scores, boxes, object_boxes, labels, valid = problem(5)
    alone = run(scores, boxes, object_boxes, labels, valid)
    junk = np.where(valid[:, None], object_boxes, np.float32(np.nan))
    for a, b in zip(alone, run(scores, boxes, junk, labels, valid), strict=True):
        np.testing.assert_array_equal(a, b)
    nothing = run(scores, boxes, object_boxes, labels, np.zeros(OBJECTS, bool))
    assert not nothing.positive.any() and nothing.weights.sum() == 0

    pairs = [problem(5), problem(6)]
    batched = jax.jit(jax.vmap(lambda *a: assign(a[0], a[1], POINTS, *a[2:], top_candidates=4)))(
        *(np.stack(column) for column in zip(*pairs, strict=True))
    )
    for i, given in enumerate(pairs):
        for a, b in zip(batched, run(*given), strict=True):
            np.testing.assert_allclose(a[i], b, atol=1e-6)


def test_objects_without_a_point_inside_are_learned_by_none():
    tiny = np.array([[10.0, 10, 2, 2]] * OBJECTS, np.float32)
    scores, boxes, *_ = problem(1)
    assert not run(scores, boxes, tiny, np.zeros(OBJECTS, int), np.ones(OBJECTS, bool)).positive.any()


def test_hopeless_scores_and_overlaps_still_choose():
    """Early in training s and u are tiny and u^6 is tinier: the best point must still get the full weight."""
    boxes = np.concatenate([POINTS, np.full((len(POINTS), 2), 0.4)], 1).astype(np.float32)
    scores = np.full((len(POINTS), 1), 1e-4, np.float32)
    objects = np.array([[32, 32, 60, 60]], np.float32)
    found = run(scores, boxes, objects, np.zeros(1, int), np.ones(1, bool), top=10)
    assert found.positive.sum() == 10
    np.testing.assert_allclose(found.weights.max(), 0.16 / 3600, rtol=1e-4)


def test_no_gradient_runs_through_it():
    scores, boxes, object_boxes, labels, valid = problem(2)
    grad = jax.grad(lambda b: assign(scores, b, POINTS, object_boxes, labels, valid, top_candidates=4).weights.sum())
    assert np.all(np.asarray(grad(jnp.asarray(boxes))) == 0)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"scores": np.zeros((3, 1))}, r"scores \(3, 1\) and boxes \(84, 4\)"),
        ({"points": np.zeros((84, 3))}, r"points \(84, 3\) do not fit boxes"),
        ({"object_labels": np.zeros(2, int)}, r"object_labels \(2,\)"),
        ({"top_candidates": 0}, r"top_candidates must lie in \[1, 84\], got 0"),
        ({"top_candidates": 85}, "got 85"),
    ],
)
def test_wrong_shapes_are_named(changes, message):
    scores, boxes, object_boxes, labels, valid = problem(0)
    given = dict(
        scores=scores, boxes=boxes, points=POINTS, object_boxes=object_boxes, object_labels=labels, object_valid=valid
    )
    with pytest.raises(ValueError, match=message):
        assign(**(given | changes))
