"""The detector as a teacher: what its numbers mean, the loss against float64, and where the loss has its minimum."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.detection import NUM_BINS, STRIDES, RawDetections, anchor_points, decode_boxes
from lvm_mtc.models.flashsam import FlashSAM
from lvm_mtc.training.detector.lessons import Lesson, linear_map, outputs_of
from lvm_mtc.training.detector.loss import DetectorLossConfig
from lvm_mtc.training.detector.teacher import (
    TeacherOutputs,
    YoloxTeacher,
    teacher_lesson,
    teacher_loss,
)

pytestmark = pytest.mark.usefixtures("fast_compile")

HEIGHT, WIDTH = 64, 96
POINTS, STRIDE = anchor_points(HEIGHT, WIDTH)
ANCHORS, CHANNELS, WIDE = len(POINTS), 4, 6
CONFIG = DetectorLossConfig(box_gain=3.0, class_gain=0.7, distance_gain=1.3)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture
def images():
    return np.random.default_rng(1).random((2, HEIGHT, WIDTH, 3), np.float32)


def test_answers_of_the_teacher(tiny_yolox, images):
    teacher = YoloxTeacher(tiny_yolox)
    answers = jax.jit(lambda arrays, x: teacher(arrays, x))(tiny_yolox.arrays, images)
    assert teacher.channels == CHANNELS
    arrays = {name: array.astype(np.float64) for name, array in tiny_yolox.arrays.items()}
    start = 0
    for scale, stride in enumerate(STRIDES):
        rows, columns = HEIGHT // stride, WIDTH // stride
        # Blue first, 0 to 255, one patch per cell.
        patches = 255 * images[..., ::-1].astype(np.float64).reshape(2, rows, stride, columns, stride, 3)
        x = np.einsum("brichd,ihdo->brco", patches, arrays[f"map{scale}.weight"]) + arrays[f"map{scale}.bias"]
        heads = {}
        for part in ("cls", "reg", "obj"):
            heads[part] = x @ arrays[f"head.{part}_preds.{scale}.weight"][0, 0] + arrays[f"{part}{scale}.bias"]
        here = slice(start, start + rows * columns)
        scores = sigmoid(heads["obj"][..., 0]) * sigmoid(heads["cls"]).max(-1)
        np.testing.assert_allclose(answers.scores[:, here], scores.reshape(2, -1), rtol=1e-4)
        column, row = np.meshgrid(np.arange(columns), np.arange(rows))
        # YOLOX counts from the cell's corner, and the logarithm of the size, in strides.
        centre = (heads["reg"][..., :2] + np.stack([column, row], -1)) * stride
        boxes = np.concatenate([centre, np.exp(heads["reg"][..., 2:]) * stride], -1)
        np.testing.assert_allclose(answers.boxes[:, here], boxes.reshape(2, -1, 4), rtol=1e-3, atol=1e-3)
        features = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-4)
        np.testing.assert_allclose(answers.features[:, here], features.reshape(2, -1, CHANNELS), atol=1e-3)
        start = here.stop
    assert start == ANCHORS


def test_a_graph_without_the_heads_is_none(tiny_yolox):
    nodes = [node for node in tiny_yolox.nodes if "obj2" not in node.output]
    with pytest.raises(ValueError, match="no operation that reads 'head.obj_preds.2.weight'"):
        YoloxTeacher(dataclasses.replace(YoloxTeacher(tiny_yolox)).graph._replace(nodes=tuple(nodes)))


def problem(seed=0):
    rng = np.random.default_rng(seed)
    raw = RawDetections(
        rng.normal(0, 1, (2, ANCHORS, 4, NUM_BINS)).astype(np.float32),
        rng.normal(-1, 1, (2, ANCHORS, 1)).astype(np.float32),
    )
    features = rng.normal(size=(2, ANCHORS, WIDE)).astype(np.float32)
    projection = {"kernel": rng.normal(size=(WIDE, CHANNELS)), "bias": rng.normal(size=CHANNELS)}
    boxes = np.concatenate([POINTS + rng.normal(0, 6, (2, ANCHORS, 2)), rng.uniform(8, 60, (2, ANCHORS, 2))], -1)
    # Few objects, as in pictures: the scores of most cells are next to nothing.
    scores = rng.random((2, ANCHORS)) ** 6
    answers = TeacherOutputs(scores, boxes, rng.normal(size=(2, ANCHORS, CHANNELS)))
    single = jax.tree.map(np.float32, (projection, answers))
    return raw, features, *single


def corners(box):
    return np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2])


def complete_iou(a, b):
    (p, q), (s, t) = (corners(box) for box in (a, b)), (a, b)
    both = np.prod(np.maximum(np.minimum(p[2:], q[2:]) - np.maximum(p[:2], q[:2]), 0))
    iou = both / (np.prod(s[2:]) + np.prod(t[2:]) - both)
    span = np.maximum(p[2:], q[2:]) - np.minimum(p[:2], q[:2])
    v = 4 / np.pi**2 * (np.arctan(t[2] / t[3]) - np.arctan(s[2] / s[3])) ** 2
    return iou - np.sum((s[:2] - t[:2]) ** 2) / np.sum(span**2) - v * v / (1 - iou + v)


def test_loss_is_what_it_says(fast_compile):
    raw, features, projection, answers = problem()
    loss, terms = jax.jit(lambda *a: teacher_loss(*a, POINTS, STRIDE, CONFIG))(raw, features, projection, answers)
    q = answers.scores.astype(np.float64)
    p = sigmoid(raw.class_logits[..., 0].astype(np.float64))
    wanted = {"taught_class": -(q * np.log(p) + (1 - q) * np.log(1 - p)).sum() / q.sum()}
    logits = raw.box_logits.astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    w, box, distance = np.where(q > 0.05, q, 0), 0.0, 0.0
    for b, a in zip(*np.nonzero(w), strict=True):
        edges = (shares[b, a] @ np.arange(NUM_BINS)) * STRIDE[a]
        low, high = POINTS[a] - edges[:2], POINTS[a] + edges[2:]
        theirs = answers.boxes[b, a].astype(np.float64)
        box += w[b, a] * (1 - complete_iou(np.concatenate([(low + high) / 2, high - low]), theirs))
        ends = corners(theirs)
        d = np.clip(np.concatenate([POINTS[a] - ends[:2], ends[2:] - POINTS[a]]) / STRIDE[a], 0, NUM_BINS - 1.01)
        left, side = np.floor(d).astype(int), np.arange(4)
        both = np.log(shares[b, a, side, left]), np.log(shares[b, a, side, left + 1])
        distance -= w[b, a] * np.mean((left + 1 - d) * both[0] + (d - left) * both[1])
    wanted |= {"taught_box": box / w.sum(), "taught_distance": distance / w.sum()}
    errors = features.astype(np.float64) @ projection["kernel"] + projection["bias"] - answers.features
    wanted["taught_feature"] = (np.square(errors).mean(-1) * (q + 0.1)).sum() / (q + 0.1).sum()
    assert terms.keys() == wanted.keys()
    for name, value in wanted.items():
        assert terms[name] == pytest.approx(value, rel=1e-4), name
    gains = dict(taught_class=0.7, taught_box=3.0, taught_distance=1.3, taught_feature=2.0)
    assert loss == pytest.approx(sum(gain * wanted[name] for name, gain in gains.items()), rel=1e-4)


def test_who_answers_as_the_teacher_has_nothing_to_learn(fast_compile):
    raw, features, projection, answers = problem(1)
    boxes = decode_boxes(raw.box_logits, POINTS, STRIDE)
    predicted = features @ projection["kernel"] + projection["bias"]
    answers = TeacherOutputs(jax.nn.sigmoid(raw.class_logits[..., 0]), boxes, predicted)

    def loss(raw, features):
        config = dataclasses.replace(CONFIG, distance_gain=0.0)  # its minimum is a distribution of two bins
        return teacher_loss(raw, features, projection, answers, POINTS, STRIDE, config)

    (value, terms), slopes = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(raw, features)
    assert terms["taught_box"] == pytest.approx(0, abs=1e-5) and terms["taught_feature"] < 1e-10
    largest = max(float(jnp.abs(slope).max()) for slope in jax.tree.leaves(slopes))
    assert largest < 1e-6 and value > 0
    other = answers._replace(scores=answers.scores[::-1])
    moved = jax.jit(jax.grad(lambda raw: teacher_loss(raw, features, projection, other, POINTS, STRIDE, CONFIG)[0]))(
        raw
    )
    assert float(jnp.abs(moved.class_logits).max()) > 1e-4


def test_pictures_without_any_object_give_a_finite_loss(fast_compile):
    raw, features, projection, answers = problem(2)
    nothing = answers._replace(scores=np.zeros_like(answers.scores), boxes=np.zeros_like(answers.boxes))
    value, slope = jax.jit(
        jax.value_and_grad(lambda raw: teacher_loss(raw, features, projection, nothing, POINTS, STRIDE, CONFIG)[0])
    )(raw)
    assert np.isfinite(value) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    assert not np.any(slope.box_logits) and np.all(slope.class_logits > 0)


def test_a_batch_brings_the_answers():
    lesson = Lesson({}, {}, lambda data, images: data["teacher"] * images, (), None)
    batch, answers = lesson.batch_fn(lambda data, key: SimpleNamespace(images=2.0))({"teacher": 4.0}, None)
    assert (batch.images, answers) == (2.0, 8.0)


def test_the_lesson_fits_the_real_network(tiny_yolox):
    network, teacher = FlashSAM("n", 1), YoloxTeacher(tiny_yolox)
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    lesson = teacher_lesson(
        jax.random.key(1), network, variables, SimpleNamespace(size=64, teacher_weight=2.0), teacher, CONFIG
    )
    assert {name: leaf.shape for name, leaf in lesson.params.items()} == {"kernel": (64, CHANNELS), "bias": (CHANNELS,)}

    def everything(params, variables, images):
        captured = outputs_of(lesson.modules)
        raw, state = network.apply(variables, images, capture_intermediates=captured, mutable="intermediates")
        return lesson.loss(params, raw, state["intermediates"], lesson.answers(lesson.data, images))

    loss, terms = jax.eval_shape(everything, lesson.params, variables, images)
    assert loss.shape == () and len(terms) == 4


def test_projections_keep_the_scale():
    projection = linear_map(jax.random.key(0), 64, 200)
    assert projection["kernel"].std() == pytest.approx(1 / 8, rel=0.03) and not projection["bias"].any()
