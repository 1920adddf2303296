"""The multi-task transceiver: what is sent for each task, adapters, gradients of a mixture, what a step leaves."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.config import from_dict, to_dict
from lvm_mtc.data.packed_questions import PackedQuestions, save_questions
from lvm_mtc.data.vqa import ANSWERS
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.tables import METRICS
from lvm_mtc.models.weights import flatten_params, load_weights, save_weights
from lvm_mtc.schemes.loading import identity, load_scheme
from lvm_mtc.schemes.multitask.losses import backbone_loss, judged
from lvm_mtc.schemes.multitask.network import Backbone, PictureTokens
from lvm_mtc.schemes.multitask.scheme import BACKBONE, TASKS, Multitask, MultitaskConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, forward
from lvm_mtc.training.labels import draw_labels, load_training_labels
from lvm_mtc.training.recipe import Recipe, read_data, run_stage

pytestmark = pytest.mark.usefixtures("fast_compile")

CONFIG = MultitaskConfig(
    num_symbols=4, width=8, depth=(1, 1), num_heads=2, rank=2, fine=4, image_size=8, vocabulary=12, word_width=4,
    num_words=5, patch_size=6, answer_width=8,
)  # fmt: skip
SCHEME = Multitask(CONFIG)
LINK = LinkConfig(fading="awgn", convention="rx_per_antenna")
POINT = OperatingPoint(snr_db=4.0)

RNG = np.random.default_rng(0)
PICTURES = RNG.random((8, 2, 8, 8, 3), np.float32)
WORDS = RNG.integers(1, 12, (8, 2, 5), np.int32)
WORDS[0] = [[3, 4, 0, 0, 0], [5, 0, 0, 0, 0]]
SCENES = {
    "patches": RNG.normal(size=(8, 2, 60, 6)).astype(np.float32),
    "question": RNG.integers(0, 4, (8, 2, 2), np.int32), "answer": RNG.integers(0, 11, (8, 2), np.int32),
}  # fmt: skip
SOURCES = jax.tree.map(jnp.asarray, {
    "class": Source(PICTURES, {"labels": RNG.integers(0, 10, (8, 2), np.int32)}),
    "picture": Source(PICTURES),
    "text": Source(WORDS),
    # The receiver is not told which patches there are, so all are sent, whatever a hint says.
    "answers": Source(SCENES, {"valid": np.broadcast_to(np.arange(60) % 2 > 0, (8, 2, 60))}),
})  # fmt: skip


def drawn():
    """Parameters, B of the adapters among them, which starts at zero."""
    rng, shapes = np.random.default_rng(0), jax.eval_shape(SCHEME.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape) * 0.3), shapes)


@jax.jit
def run(params, weights):
    """Gradient of the weighted sum of the tasks' losses, and what became of each task's source."""

    def total(params):
        outs = {
            task: forward(SCHEME.of_task(task), params, source, jax.random.key(1), LINK, POINT)
            for task, source in SOURCES.items()
        }
        losses = [judged(task, out.estimate.data, SOURCES[task])[0] for task, out in outs.items()]
        return jnp.stack(losses) @ weights, outs

    return jax.grad(total, has_aux=True)(params)


@pytest.fixture(scope="module")
def gradients():
    """Of each task's loss, and of their sum."""
    params = drawn()
    alone = {task: run(params, jnp.eye(4)[i])[0] for i, task in enumerate(SOURCES)}
    return alone, run(params, jnp.ones(4))[0]


@pytest.fixture(scope="module")
def outcomes():
    """What became of each task's source."""
    return run(drawn(), jnp.ones(4))[1]


@pytest.mark.slow
def test_each_task_books_its_own_symbols_and_what_is_told(outcomes):
    words = (WORDS > 0).sum((1, 2))
    symbols = {"class": 4 * 4 * 2, "picture": 4 * 4 * 2, "text": 4 * words, "answers": 60 * 4 * 2}
    told = {"class": 0, "picture": 0, "text": 2 * math.ceil(math.log2(5)), "answers": 2 * math.ceil(math.log2(20))}
    assert words[0] == 3
    for task, out in outcomes.items():
        np.testing.assert_array_equal(out.ledger.private_uses, np.broadcast_to(symbols[task], 8))
        np.testing.assert_array_equal(out.ledger.side_information_bits, told[task])
        valid = np.asarray(out.sent.signal.private.sent)
        power = np.abs(np.asarray(out.sent.signal.private.symbols)[valid]) ** 2
        owner = np.broadcast_to(np.arange(16).reshape(8, 2, 1), valid.shape)[valid]
        each = np.bincount(owner, power.mean(-1)) / np.bincount(owner)
        np.testing.assert_allclose(each, 1, rtol=1e-5)


@pytest.mark.slow
def test_padding_sends_nothing_and_is_no_word(outcomes):
    out = outcomes["text"]
    np.testing.assert_array_equal(out.sent.signal.private.sent, WORDS > 0)
    best = np.asarray(out.estimate.data.argmax(-1))
    np.testing.assert_array_equal(best == 0, WORDS == 0)


@pytest.mark.slow
def test_estimates_fit_the_metrics_of_their_modality(outcomes):
    shapes = {"class": (8, 2, 10), "picture": PICTURES.shape, "text": (*WORDS.shape, 12), "answers": (8, 2, 11)}
    assert len(ANSWERS) == 11
    for task, out in outcomes.items():
        assert out.estimate.data.shape == shapes[task]
        metric = {"class": "accuracy", "picture": "mse", "text": "word_accuracy", "answers": "accuracy"}[task]
        assert METRICS[TASKS[task]][metric](SOURCES[task], out).shape == (8, 2)
    best = np.asarray(outcomes["class"].estimate.data.argmax(-1))
    got = METRICS["classes"]["accuracy"](SOURCES["class"], outcomes["class"])
    np.testing.assert_array_equal(got, best == np.asarray(SOURCES["class"].hints["labels"]))


@pytest.mark.slow
def test_an_adapter_adds_its_product_to_the_kernels_of_its_task_alone():
    params, scheme = drawn(), SCHEME
    features = jax.jit(lambda p: encode(scheme, p, SOURCES["class"], jax.random.key(1), {}).features)
    base = params["transmit"]

    def by_hand(transmit):
        x = PictureTokens(4, 8).apply({"params": params["pictures"]}, PICTURES.reshape(-1, 8, 8, 3))
        x = x + scheme._positions()
        x = Backbone(1, 2, 2.0).apply({"params": transmit}, x, jnp.ones(x.shape[:2], bool))
        encoder = params["codec"]["encoder"]
        return (x @ encoder["kernel"] + encoder["bias"][None, None]).reshape(8, 2, 4, 8)

    adapted = jax.tree.map(np.copy, base)
    for layer, factors in params["adapters"]["class"]["transmit"]["block0"].items():
        adapted["block0"][layer]["kernel"] += factors["kernel"]["a"] @ factors["kernel"]["b"]
    np.testing.assert_allclose(features(params), by_hand(adapted), atol=2e-5)
    none = jax.tree.map(np.copy, params)
    for layer in none["adapters"]["class"]["transmit"]["block0"].values():
        layer["kernel"]["b"][:] = 0
    np.testing.assert_allclose(features(none), by_hand(base), atol=2e-5)
    others = {task: jax.tree.map(lambda leaf: leaf + 1, of) for task, of in params["adapters"].items()}
    others = none | {"adapters": others | {"class": none["adapters"]["class"]}}
    np.testing.assert_array_equal(features(others), features(none))
    fresh = scheme.init(jax.random.key(0))["adapters"]["text"]
    assert all(bool((leaf == 0).all()) for name, leaf in flatten_params(fresh).items() if name.endswith("/b"))


@pytest.mark.slow
def test_the_gradient_of_the_sum_is_the_sum_of_the_gradients(gradients):
    alone, together = gradients
    summed = jax.tree.map(lambda *leaves: sum(leaves), *alone.values())
    for name, leaf in flatten_params(together).items():
        np.testing.assert_allclose(flatten_params(summed)[name], leaf, rtol=2e-4, atol=2e-6, err_msg=name)


@pytest.mark.slow
def test_a_task_moves_its_own_head_and_adapter_and_what_is_shared(gradients):
    for task, of in gradients[0].items():
        for other in TASKS:
            for group in ("heads", "adapters"):
                size = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(of[group][other]))
                assert (size > 0) == (task == other), (task, group, other)
        assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(of["codec"]))


@pytest.mark.slow
def test_a_task_alone_does_the_same_with_what_it_needs(outcomes, tmp_path):
    params = drawn()
    for task in TASKS:
        scheme, own = SCHEME.of_task(task).alone(params)
        wanted = jax.eval_shape(scheme.init, jax.random.key(0))
        assert jax.tree.map(lambda leaf: leaf.shape, own) == jax.tree.map(lambda leaf: leaf.shape, wanted)
        assert set(own["heads"]) == {task} and "adapters" not in own
        assert ("words" in own) == (task == "text") and ("pictures" in own) == (task in ("class", "picture"))
        save_weights(tmp_path / "own.npz", jax.device_get(own), identity(scheme), dtype="float32")
        loaded, own = load_scheme(tmp_path / "own.npz")
        assert loaded == scheme
        out = jax.jit(lambda p, s=scheme, x=SOURCES[task]: forward(s, p, x, jax.random.key(1), LINK, POINT))(own)
        np.testing.assert_allclose(out.estimate.data, outcomes[task].estimate.data, rtol=1e-4, atol=2e-4)


def test_losses_are_those_of_guessing_at_one():
    scores = jnp.zeros((8, 2, 10))
    loss, told = judged("class", scores, SOURCES["class"])
    assert float(loss) == pytest.approx(1.0, abs=1e-6)
    right = np.asarray(SOURCES["class"].hints["labels"])
    assert float(told["accuracy"]) == pytest.approx((right == 0).mean())
    loss, told = judged("picture", jnp.full(PICTURES.shape, 0.5), SOURCES["picture"])
    assert float(loss) == pytest.approx(12 * np.square(PICTURES - 0.5, dtype=np.float64).mean(), rel=1e-5)
    psnr = -10 * np.log10(np.square(PICTURES - 0.5, dtype=np.float64).mean((-3, -2, -1))).mean()
    assert float(told["psnr"]) == pytest.approx(psnr, rel=1e-5)
    table = RNG.normal(size=(*WORDS.shape, 12)).astype(np.float32)
    log_p = np.log(np.exp(np.float64(table)) / np.exp(np.float64(table)).sum(-1, keepdims=True))
    at = np.take_along_axis(log_p, WORDS[..., None], -1)[..., 0][WORDS > 0]
    assert float(judged("text", jnp.asarray(table), SOURCES["text"])[0]) == pytest.approx(
        -at.mean() / np.log(12), rel=1e-5
    )


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A folder with all four kinds of examples."""
    folder, rng = tmp_path_factory.mktemp("tasks"), np.random.default_rng(1)
    pictures = rng.integers(0, 256, (12, 8, 8, 3), np.uint8)
    for name in ("classes", "pictures"):
        np.savez(folder / f"{name}.npz", pictures=pictures, labels=np.arange(12) % 10)
    words = np.array(list("abcdefghijk"))
    sentences = rng.integers(1, 12, (20, 5)).astype(np.uint16)
    held = dict(holdout_sentences=sentences[:2], test_sentences=sentences[:2], total=np.array([20, 2, 2]))
    np.savez(folder / "text.npz", words=words, sentences=sentences, **held)
    save_questions(folder / "answers.npz", PackedQuestions(
        np.float16(rng.normal(size=(6, 60, 6))), np.tile(np.float32([0, 0, 1, 1]), (6, 1)),
        np.ones((6, 60), np.float32),
        np.zeros((9, 2), np.int32), np.int32(np.arange(9) % 2), np.int32(np.arange(9) % 6)[:, None],
        np.ones((9, 1, 60), np.float32), np.int32(np.arange(9) % 6), np.array([f"{i}.jpg" for i in range(6)]),
    ))  # fmt: skip
    return folder


def make_recipe(stage, *tasks):
    """Two examples of each task in a step, four steps."""
    numbers = dict(batch_size=2 * len(tasks), total_steps=4, log_every=2, checkpoint_every=4)
    numbers["optimizer"] = dict(learning_rate=1e-2, warmup_steps=1)
    link = dict(fading="awgn", convention="rx_per_antenna")
    scenarios = [dict(num_groups=2, config=dict(task=task), link=link) for task in tasks]
    config = to_dict(dataclasses.replace(CONFIG, task=tasks[0]))
    return from_dict(Recipe, dict(scheme="multitask", config=config, scenarios=scenarios, stages={stage: numbers}))


@pytest.mark.slow
def test_a_step_without_a_task_leaves_its_head_and_adapter_alone(packed, tmp_path):
    start = SCHEME.init(jax.random.key(5))
    save_weights(tmp_path / "start.npz", jax.device_get(start), identity(SCHEME), dtype="float32")
    recipe = make_recipe("tasks", "class", "text")
    path = run_stage(recipe, "tasks", packed, tmp_path / "run", start=tmp_path / "start.npz", progress=False)
    before, after = (flatten_params(params) for params in (start, load_weights(path)[0]))
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    of = {name.split("/")[0] for name in moved}
    assert of == {"codec", "heads", "adapters"} and of.isdisjoint(BACKBONE)
    assert {name.split("/")[1] for name in moved if not name.startswith("codec")} == {"class", "text"}
    assert load_scheme(path)[0].config.task == "class"


def test_all_four_tasks_are_read_from_one_folder(packed):
    data = read_data(make_recipe("tasks", *TASKS), packed)
    assert set(data.data) == {"pictures", "labels", "sentences", "packed", "until"}
    assert set(data.identity) == set(TASKS.values())
    assert data.about["text"]["words"] == list("abcdefghijk")
    alone, file = make_recipe("alone", "text"), packed / "text.npz"
    assert read_data(alone, packed).identity == read_data(alone, file).identity == data.identity["text"]


def test_drawn_pictures_keep_their_classes(packed):
    data = load_training_labels(packed / "classes.npz", CONFIG, 1, 0).data
    source = draw_labels(data, list(jax.random.split(jax.random.key(1), 5)), (30, 1), CONFIG, None)
    padded = np.pad(data["pictures"], [(0, 0), (2, 2), (2, 2), (0, 0)], mode="edge")
    for picture, label in zip(source.data[:, 0], source.hints["labels"][:, 0], strict=True):
        same = padded[data["labels"] == int(label)]
        views = [same[:, y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
        views = np.concatenate([*views, *(view[:, :, ::-1] for view in views)])
        assert (views == np.round(np.asarray(picture) * 255)).all((1, 2, 3)).any()


def test_what_does_not_fit_is_said(packed):
    with pytest.raises(ValueError, match=r"stage 'backbone' learns from the tasks class and text, got task 'answers'"):
        backbone_loss(SCHEME.of_task("answers"), {}, SOURCES["answers"], jax.random.key(1), LINK, POINT, {})
    with pytest.raises(
        ValueError, match=r"Source.data of task 'text' must be \[batch, num_uavs, 5\], got \(8, 2, 8, 8, 3\)"
    ):
        encode(SCHEME.of_task("text"), drawn(), Source(PICTURES), jax.random.key(1), {})
    with pytest.raises(ValueError, match=r"MultitaskConfig.task .*'speech'"):
        SCHEME.of_task("speech")
    for field, value in (("width", 6), ("image_size", 10), ("answer_width", 12), ("depth", (1, 0)), ("mlp_ratio", 0)):
        with pytest.raises(ValueError, match=f"MultitaskConfig.{field} must be"):
            MultitaskConfig(**{field: value})
    with pytest.raises(ValueError, match="pictures are 8 x 8 pixels, not MultitaskConfig.image_size 32"):
        load_training_labels(packed / "classes.npz", MultitaskConfig(), 1, 0)
    np.savez(packed / "bare.npz", pictures=np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"labels must be \[2\] int, got"):
        load_training_labels(packed / "bare.npz", CONFIG, 1, 0)
