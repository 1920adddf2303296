import numpy as np
import pytest

from lvm_mtc.metrics.detection import (
    Matches,
    average_precision,
    bootstrap,
    coco_scores,
    detection_scores,
    iou_matrix,
    match_detections,
    recall_at,
    top_box_share,
)


def problem(seed, pictures=12, places=14, objects=6, *, ties=False):
    """Objects, detections near some of them and elsewhere; ties: scores and places on a coarse grid."""
    rng = np.random.default_rng(seed)
    object_boxes = np.concatenate(
        [rng.uniform(20, 80, (pictures, objects, 2)), rng.uniform(10, 40, (pictures, objects, 2))], -1
    )
    object_valid = np.arange(objects) < rng.integers(0, objects + 1, (pictures, 1))
    near = object_boxes[np.arange(pictures)[:, None], rng.integers(0, objects, (pictures, places))]
    boxes = near + rng.normal(0, 4, near.shape) * [1, 1, 0.5, 0.5]
    scores = rng.uniform(size=(pictures, places))
    if ties:
        boxes, object_boxes = np.round(boxes / 5) * 5, np.round(object_boxes / 5) * 5
        scores = np.round(scores * 4) / 4
    valid = np.arange(places) < rng.integers(0, places + 1, (pictures, 1))
    # Padding must not be looked at.
    scores, boxes = np.where(valid, scores, np.nan), np.where(valid[..., None], boxes, np.nan)
    return boxes, scores, valid, object_boxes, object_valid


def reference(boxes, scores, valid, object_boxes, object_valid):
    """Average precision by its definition, in plain loops: interpolated precision at 0, 0.01, ..., 1."""
    found, total, first_hits, in_ten = [], 0, [], 0
    for p in range(len(valid)):
        total += object_valid[p].sum()
        free = list(np.flatnonzero(object_valid[p]))
        order = sorted(np.flatnonzero(valid[p]), key=lambda d: (-scores[p, d], d))
        for rank, d in enumerate(order):
            overlaps = [(iou(boxes[p, d], object_boxes[p, t]), t) for t in free]
            best = max(overlaps, default=(0, -1))
            hit = best[0] >= 0.5
            if hit:
                free.remove(best[1])
            found.append((scores[p, d], hit))
            in_ten += hit and rank < 10
            if rank == 0 and object_valid[p].any():
                first_hits.append(hit)
    found.sort(key=lambda pair: -pair[0])
    precision, recall = [], []
    for n in range(1, len(found) + 1):
        hits = sum(hit for _, hit in found[:n])
        precision.append(hits / n)
        recall.append(hits / total)
    levels = [max((p for p, r in zip(precision, recall, strict=True) if r >= k / 100), default=0) for k in range(101)]
    return np.mean(levels), in_ten / total, sum(first_hits) / object_valid.any(1).sum()


def iou(a, b):
    low, high = np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2), np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
    both = np.prod(np.maximum(high - low, 0))
    return both / (a[2] * a[3] + b[2] * b[3] - both)


@pytest.mark.parametrize("seed", range(6))
def test_all_numbers_equal_their_definitions(seed):
    given = problem(seed)
    matches = match_detections(*given)
    found = average_precision(matches), recall_at(matches), top_box_share(matches)
    np.testing.assert_allclose(found, reference(*given), atol=1e-12)
    assert 0.02 < found[0] < 0.95


@pytest.mark.parametrize("ties", [False, True])
def test_pycocotools_says_the_same(ties):
    pytest.importorskip("pycocotools")
    values = []
    for seed in range(25):
        given = problem(seed, places=30 if seed % 2 else 120, objects=14, ties=ties)
        matches = match_detections(*given)
        np.testing.assert_allclose(coco_scores(*given), [average_precision(matches), recall_at(matches)], atol=1e-9)
        values.append(recall_at(matches, 9) - recall_at(matches, 10))
    assert min(values) < 0, "the limit of ten boxes must matter, or the comparison could not see it"


def test_pycocotools_needs_an_object():
    boxes, scores, valid, object_boxes, object_valid = problem(0)
    with pytest.raises(ValueError, match="names no object"):
        coco_scores(boxes, scores, valid, object_boxes, np.zeros_like(object_valid))


def test_overlaps_of_known_boxes():
    first = np.array([[5, 5, 10, 10], [0, 0, 0, 0]])
    second = np.array([[5, 5, 10, 10], [10, 5, 10, 10], [50, 50, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_allclose(iou_matrix(first, second), [[1, 1 / 3, 0, 0], [0, 0, 0, 0]])


def test_perfect_useless_and_absent_detections():
    _, _, _, object_boxes, object_valid = problem(0)
    scores = np.random.default_rng(0).uniform(size=object_valid.shape)
    perfect = match_detections(object_boxes, scores, object_valid, object_boxes, object_valid)
    assert average_precision(perfect) == recall_at(perfect) == top_box_share(perfect) == 1
    far = match_detections(object_boxes + 500, scores, object_valid, object_boxes, object_valid)
    nothing = match_detections(object_boxes, scores, np.zeros_like(object_valid), object_boxes, object_valid)
    for matches in (far, nothing):
        assert average_precision(matches) == recall_at(matches) == top_box_share(matches) == 0
    no_objects = match_detections(object_boxes, scores, object_valid, object_boxes, np.zeros_like(object_valid))
    assert all(np.isnan(f(no_objects)) for f in (average_precision, recall_at, top_box_share))


def test_a_second_box_on_the_same_object_is_an_error():
    one = np.array([[[50, 50, 20, 20.0]]])
    twice = np.repeat(one, 2, axis=1)
    matches = match_detections(twice, [[0.5, 0.9]], [[True, True]], one, [[True]])
    assert matches.hits.tolist() == [[True, False]] and matches.scores.tolist() == [[0.9, 0.5]]


def test_overlap_equal_to_the_threshold_counts():
    box, half = np.array([[[10, 10, 10, 10.0]]]), np.array([[[10, 12.5, 10, 5.0]]])
    assert match_detections(half, [[1.0]], [[True]], box, [[True]]).hits.all()
    assert not match_detections(half, [[1.0]], [[True]], box, [[True]], iou_threshold=0.51).hits.any()


def test_the_order_of_pictures_does_not_matter():
    matches = match_detections(*problem(3))
    turned = Matches(*(part[::-1] for part in matches))
    assert average_precision(turned) == pytest.approx(average_precision(matches), abs=1e-12)


def test_bootstrap_of_a_share_is_the_binomial_interval():
    rng = np.random.default_rng(0)
    hits = rng.uniform(size=(400, 1)) < 0.7
    matches = Matches(np.ones((400, 1)), hits, np.ones(400, int))
    share = bootstrap(top_box_share, matches, draws=2000)
    width = 2 * 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / 400)
    assert share.value == hits.mean() and share.low < share.value < share.high
    # The two quantiles of 2000 draws are known to about 4 % of the width each.
    assert share.high - share.low == pytest.approx(width, rel=0.2)
    assert bootstrap(top_box_share, matches, draws=2000) == share


def test_scores_hold_the_same_numbers():
    matches = match_detections(*problem(1))
    scores = detection_scores(matches, draws=50)
    assert scores.ap50.value == average_precision(matches) and scores.recall_at_10.value == recall_at(matches)
    assert scores.num_pictures == 12 and scores.num_objects == matches.num_objects.sum()
    assert all(part.low <= part.value <= part.high for part in scores[:3])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"scores": np.zeros((3, 4))}, r"boxes \(12, 14, 4\), scores \(3, 4\) and valid \(12, 14\) do not fit"),
        ({"object_valid": np.ones((11, 6), bool)}, r"object_valid \(11, 6\) do not fit the 12 pictures"),
        ({"scores": np.full((12, 14), np.nan)}, "scores holds NaN"),
        ({"iou_threshold": 0.0}, r"iou_threshold must lie in \(0, 1\], got 0.0"),
        ({"max_boxes": 0}, "max_boxes must be at least 1, got 0"),
    ],
)
def test_wrong_input_is_named(changes, message):
    names = ("boxes", "scores", "valid", "object_boxes", "object_valid")
    given = dict(zip(names, problem(0), strict=True)) | {"scores": np.zeros((12, 14))} | changes
    with pytest.raises(ValueError, match=message):
        match_detections(**given)


def test_bootstrap_checks_its_numbers():
    matches = match_detections(*problem(0))
    with pytest.raises(ValueError, match="bootstrap needs two or more pictures"):
        bootstrap(recall_at, matches, draws=0)
    with pytest.raises(ValueError, match="got 1, 1000"):
        bootstrap(recall_at, Matches(*(part[:1] for part in matches)))
