import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.box_geometry import pairwise_iou
from lvm_mtc.models.detection import (
    NUM_BINS,
    RawDetections,
    anchor_points,
    decode_boxes,
    detect,
    non_max_suppression,
)

pytestmark = pytest.mark.usefixtures("fast_compile")


def iou(first, second):
    """Of two boxes, in Python's own numbers."""
    (x, y, w, h), (u, v, p, q) = map(float, first), map(float, second)
    across = min(x + w / 2, u + p / 2) - max(x - w / 2, u - p / 2)
    down = min(y + h / 2, v + q / 2) - max(y - h / 2, v - q / 2)
    both = max(across, 0) * max(down, 0)
    either = w * h + p * q - both
    return both / either if either > 0 else 0.0


def greedy(boxes, scores, labels, max_boxes, iou_threshold, score_threshold, *, first_of_equal=True, strict=True):
    """The textbook: sort, then keep what no kept box covers."""
    indices = np.flatnonzero(scores >= score_threshold)
    tie = indices if first_of_equal else -indices
    kept = []
    for i in indices[np.lexsort((tie, -scores[indices]))]:
        overlaps = [iou(boxes[i], boxes[j]) for j in kept if labels[i] == labels[j]]
        if all(o <= iou_threshold if strict else o < iou_threshold for o in overlaps):
            kept.append(i)
        if len(kept) == max_boxes:
            break
    return kept


def random_problem(rng, num, *, ties):
    """Boxes, scores, labels of clustered objects; ties: on a grid, so that overlaps are exactly 1/2 now and then."""
    corners = rng.integers(0, 24, (num, 2))
    sides = rng.integers(1, 9, (num, 2))
    boxes = np.concatenate([corners + sides / 2, sides], axis=1)
    scores = rng.integers(0, 12, num) / 16
    if not ties:
        boxes = boxes + rng.uniform(0, 1, boxes.shape)
        scores = rng.uniform(size=num)
    return boxes.astype(np.float32), scores.astype(np.float32), rng.integers(0, 3, num)


def indices_of(ids, valid):
    assert not np.any(np.diff(np.asarray(valid, int)) > 0)
    return np.asarray(ids)[np.asarray(valid)].tolist()


# --- anchors, decoding ---------------------------------------------------------------------------------------------


def test_anchor_points_by_hand():
    points, strides = anchor_points(32, 64)
    assert points.shape == (8 * 4 + 4 * 2 + 2, 2) and strides.tolist() == [8] * 32 + [16] * 8 + [32] * 2
    assert points[:2].tolist() == [[4, 4], [12, 4]] and points[8].tolist() == [4, 12]
    assert points[32].tolist() == [8, 8] and points[-2:].tolist() == [[16, 16], [48, 16]]


def test_decoding_of_one_hot_distributions():
    points, strides = anchor_points(32, 32)
    rng = np.random.default_rng(0)
    bins = rng.integers(0, NUM_BINS, (3, len(points), 4))
    logits = np.where(np.arange(NUM_BINS) == bins[..., None], 0.0, -1e4).astype(np.float32)
    boxes = np.asarray(decode_boxes(jnp.asarray(logits), points, strides))
    left, top, right, bottom = np.moveaxis(bins * strides[:, None], -1, 0)
    np.testing.assert_array_equal(boxes[..., 2:], np.stack([left + right, top + bottom], -1))
    np.testing.assert_array_equal(boxes[..., 0] - boxes[..., 2] / 2, points[:, 0] - left)
    np.testing.assert_array_equal(boxes[..., 1] + boxes[..., 3] / 2, points[:, 1] + bottom)


def test_decoding_equals_reference_and_uses_single_precision_at_least():
    points, strides = anchor_points(32, 32)
    logits = np.random.default_rng(1).normal(size=(len(points), 4, NUM_BINS)) * 3
    odds = np.exp(logits)
    distance = (odds / odds.sum(-1, keepdims=True) * np.arange(NUM_BINS)).sum(-1) * strides[:, None]
    low, high = points - distance[:, :2], points + distance[:, 2:]
    expected = np.concatenate([(low + high) / 2, high - low], -1)
    out = decode_boxes(jnp.asarray(logits, jnp.float32), points, strides)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-4)
    assert np.abs(np.asarray(out)[:, :2] - low).max() > 1
    assert decode_boxes(jnp.asarray(logits, jnp.bfloat16), points, strides).dtype == jnp.float32
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(decode_boxes(x, points, strides))))(
        jnp.asarray(logits, jnp.float32) * 1e4
    )
    assert np.isfinite(gradient).all()


def test_pairwise_iou_equals_reference():
    rng = np.random.default_rng(2)
    first, second = random_problem(rng, 7, ties=False)[0], random_problem(rng, 9, ties=True)[0]
    first[0, 2:], second[0] = 0, first[0]
    expected = [[iou(a, b) for b in second] for a in first]
    np.testing.assert_allclose(pairwise_iou(jnp.asarray(first), jnp.asarray(second)), expected, rtol=1e-4, atol=1e-6)


# --- non-maximum suppression ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def suppress():
    """One compiled program for 24 problems of 250 boxes, labels or not, and its three thresholds."""

    @jax.jit
    def batched(boxes, scores, labels, iou_threshold, score_threshold):
        def one(b, s, n):
            return non_max_suppression(
                b, s, n, max_boxes=60, iou_threshold=iou_threshold, score_threshold=score_threshold
            )

        return jax.vmap(one)(boxes, scores, labels)

    return batched


@pytest.mark.parametrize(("ties", "iou_threshold"), [(True, 0.5), (True, 0.25), (False, 0.7), (False, 0.0)])
@pytest.mark.parametrize("num_labels", [1, 3])
def test_suppression_is_the_greedy_one_on_thousands_of_boxes(suppress, ties, iou_threshold, num_labels):
    rng = np.random.default_rng(3)
    problems = [random_problem(rng, 250, ties=ties) for _ in range(24)]
    boxes, scores, labels = map(np.stack, zip(*problems, strict=True))
    labels = labels % num_labels
    ids, valid = suppress(boxes, scores, labels, iou_threshold, 0.125)
    for k in range(len(problems)):
        expected = greedy(boxes[k], scores[k], labels[k], 60, iou_threshold, 0.125)
        assert indices_of(ids[k], valid[k]) == expected


@pytest.mark.parametrize("wrong", [{"first_of_equal": False}, {"strict": False}])
def test_another_tie_rule_gives_other_boxes(suppress, wrong):
    rng = np.random.default_rng(3)
    problems = [random_problem(rng, 250, ties=True) for _ in range(24)]
    boxes, scores, labels = map(np.stack, zip(*problems, strict=True))
    ids, valid = suppress(boxes, scores, labels, 0.5, 0.125)
    others = [greedy(*problem, 60, 0.5, 0.125, **wrong) for problem in problems]
    assert [indices_of(i, v) for i, v in zip(ids, valid, strict=True)] != others


def test_ten_thousand_candidates():
    rng = np.random.default_rng(4)
    boxes, scores, _ = random_problem(rng, 10_000, ties=False)
    boxes[:, :2] *= 20
    program = jax.jit(lambda b, s: non_max_suppression(b, s, max_boxes=300, iou_threshold=0.5))
    expected = greedy(boxes, scores, np.zeros(10_000), 300, 0.5, 0.001)
    assert indices_of(*program(boxes, scores)) == expected and len(expected) == 300


def test_equal_boxes_leave_the_first_and_nothing_is_kept_twice():
    boxes = jnp.tile(jnp.array([[5.0, 5.0, 4.0, 4.0]]), (6, 1))
    assert indices_of(*non_max_suppression(boxes, jnp.full(6, 0.5), max_boxes=8)) == [0]
    # Points have no area: they cover nothing, not even themselves, and each goes once.
    assert indices_of(*non_max_suppression(boxes * jnp.array([[1.0, 1, 0, 0]]), jnp.full(6, 0.5), max_boxes=8)) == [
        0, 1, 2, 3, 4, 5,
    ]  # fmt: skip


def test_thresholds_themselves_are_kept():
    # Overlap 1/2: 2 x 1 in 2 x 2.
    boxes = jnp.array([[1.0, 1.0, 2.0, 2.0], [1.0, 0.5, 2.0, 1.0]])
    scores = jnp.array([0.5, 0.25])
    for iou_threshold, score_threshold, expected in ((0.5, 0.25, [0, 1]), (0.49, 0.25, [0]), (0.5, 0.26, [0])):
        kept = non_max_suppression(
            boxes, scores, max_boxes=2, iou_threshold=iou_threshold, score_threshold=score_threshold
        )
        assert indices_of(*kept) == expected


def test_no_candidates_and_scores_that_are_no_numbers():
    ids, valid = non_max_suppression(jnp.zeros((0, 4)), jnp.zeros(0), max_boxes=3)
    assert ids.shape == (3,) and not valid.any()
    scores = jnp.array([jnp.nan, 0.3, -jnp.inf, 0.4])
    boxes = jnp.array([[10.0 * i, 0, 1, 1] for i in range(4)])
    assert indices_of(*non_max_suppression(boxes, scores, max_boxes=4, score_threshold=-jnp.inf)) == [3, 1]


# --- detections ----------------------------------------------------------------------------------------------------


def test_detect_equals_reference_picture_by_picture():
    points, strides = anchor_points(64, 64)
    rng = np.random.default_rng(5)
    box = (rng.normal(size=(3, len(points), 4, NUM_BINS)) * 3).astype(np.float32)
    score = rng.normal(size=(3, len(points), 4)).astype(np.float32)
    score[2] = -20
    out = jax.jit(lambda raw: detect(raw, points, strides, max_boxes=50, score_threshold=0.3))(
        RawDetections(box, score)
    )
    assert out.boxes.shape == (3, 50, 4) and out.scores.shape == out.labels.shape == out.valid.shape == (3, 50)
    assert out.labels.dtype == jnp.int32
    boxes = np.asarray(decode_boxes(jnp.asarray(box), points, strides))
    for k in range(3):
        labels, best = score[k].argmax(-1), score[k].max(-1)
        scores = 1 / (1 + np.exp(-best.astype(np.float64)))
        kept = greedy(boxes[k], scores, labels, 50, 0.7, 0.3)
        count = len(kept)
        assert np.asarray(out.valid[k]).tolist() == [True] * count + [False] * (50 - count)
        np.testing.assert_allclose(out.boxes[k, :count], boxes[k, kept], rtol=1e-6)
        np.testing.assert_allclose(out.scores[k, :count], scores[kept], rtol=1e-6)
        assert np.asarray(out.labels[k, :count]).tolist() == labels[kept].tolist()
        assert not np.any(out.boxes[k, count:]) and not np.any(out.scores[k, count:])
        assert set(np.asarray(out.labels[k, count:]).tolist()) == ({-1} if count < 50 else set())
    assert not out.valid[2].any() and out.valid[0].sum() > 10

    # A vmap over pictures, each a batch of one, is the same program's meaning.
    mapped = jax.jit(
        jax.vmap(lambda b, s: detect(RawDetections(b[None], s[None]), points, strides, 50, score_threshold=0.3))
    )(box, score)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[:, 0], b, rtol=1e-6), mapped, out)


# --- wrong input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(0, 32), (32, 33), (-32, 32)])
def test_sizes_that_scales_do_not_fit_are_named(size):
    with pytest.raises(ValueError, match=f"height {size[0]} and width {size[1]}: both must be positive multiples"):
        anchor_points(*size)


def test_shapes_that_do_not_fit_are_named():
    points, strides = anchor_points(32, 32)
    with pytest.raises(ValueError, match=r"box_logits \(1, 20, 4, 16\), points \(21, 2\) and strides \(21,\)"):
        decode_boxes(jnp.zeros((1, 20, 4, 16)), points, strides)
    with pytest.raises(ValueError, match=r"class_logits \(2, 21, 3\) and box_logits \(1, 21, 4, 16\)"):
        detect(RawDetections(jnp.zeros((1, 21, 4, 16)), jnp.zeros((2, 21, 3))), points, strides)
    with pytest.raises(ValueError, match=r"boxes \(3, 4\) and scores \(2,\)"):
        non_max_suppression(jnp.zeros((3, 4)), jnp.zeros(2))
    with pytest.raises(ValueError, match=r"labels \(1,\) must have the shape of scores \(2,\)"):
        non_max_suppression(jnp.zeros((2, 4)), jnp.zeros(2), jnp.zeros(1, int))
    with pytest.raises(ValueError, match="max_boxes must be at least 1, got 0"):
        non_max_suppression(jnp.zeros((2, 4)), jnp.zeros(2), max_boxes=0)
