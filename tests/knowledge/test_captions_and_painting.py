"""Captioners and generators, trained, retrieved and of your own."""

import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.data.grammar import CLASS_WORDS, Facts, describe, understand
from lvm_mtc.knowledge import captioners, generators
from lvm_mtc.knowledge.captioners import GrammarCaptioner, LearnedCaptioner, load_captioner
from lvm_mtc.knowledge.generators import FlowGenerator, RetrievalGenerator, load_generator
from lvm_mtc.models.captioner import CaptionDecoder, CaptionerConfig, say
from lvm_mtc.models.cifar_resnet import CifarResNet
from lvm_mtc.models.flow import FlowConfig, FlowUNet
from lvm_mtc.models.weights import flatten_params, load_weights, save_weights

pytestmark = pytest.mark.usefixtures("fast_compile")

OWN = """
def two_words(images): return [f"a {CLASS}" for image in images]
def gray(texts, seed): return __import__("numpy").full((len(texts), 4, 4, 3), seed / 10)
def broken(*arguments): raise RuntimeError("no such\\n  service")
CLASS = "dog"
"""


def drawn(network, *inputs, scale=0.3):
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * scale, jnp.float32), shapes)


@pytest.fixture(scope="module")
def flow():
    config = FlowConfig(image_size=8, widths=(4, 4, 4), depth=1, condition=4)
    params = drawn(FlowUNet(config), jnp.zeros((1, 8, 8, 3)), jnp.zeros(1), jnp.zeros((1, 3), jnp.int32))
    return FlowGenerator(config=config, params=params, steps=3, solver="heun")


@pytest.mark.slow
def test_equal_sentence_and_seed_give_equal_bits(flow):
    rows = np.random.default_rng(1).integers(0, (10, 12, 12), (13, 3))
    texts = describe(Facts(*rows.T))
    many = flow(texts, 5)
    assert many.shape == (13, 8, 8, 3) and many.dtype == np.float32 and 0 <= many.min() < many.max() <= 1
    for i in (0, 7, 12):
        np.testing.assert_array_equal(flow([texts[i]], 5)[0], many[i])
    np.testing.assert_array_equal(flow(texts[::-1], 5), many[::-1])
    np.testing.assert_array_equal(flow(["so " + texts[0]], 5)[0], many[0])
    assert np.abs(flow(texts[:1], 6)[0] - many[0]).max() > 0.01
    assert np.abs(many[0] - many[1]).max() > 0.01
    assert flow([], 0).shape == (0, 8, 8, 3)


@pytest.mark.parametrize("wrong", [127.0, -1.0])
def test_captioners_refuse_pictures_of_another_range(wrong):
    pictures = np.full((1, 32, 32, 3), wrong, np.float32)
    for captioner in (GrammarCaptioner(np.zeros(1, int)), LearnedCaptioner(CaptionerConfig(words=("a",)), None)):
        with pytest.raises(ValueError, match="images hold .* expected 0 to 1"):
            captioner(pictures)
    grey = np.full((1, 32, 32, 3), 0.5)
    assert GrammarCaptioner(np.zeros(1, int))(grey) == GrammarCaptioner(np.zeros(1, int))(np.uint8(grey * 255 + 0.5))


def test_retrieval_returns_what_it_knows():
    rng = np.random.default_rng(2)
    facts = Facts(*rng.integers(0, (10, 12, 12), (300, 3)).T)
    pictures = np.arange(300, dtype=np.uint16).view(np.uint8).reshape(300, 1, 2, 1).repeat(3, -1)
    knows = RetrievalGenerator(pictures, facts)
    texts = describe(facts)
    found = np.round(knows(texts, 3)[:, 0, :, 0] * 255).astype(np.uint8).view(np.uint16)[:, 0]
    for of in facts:
        np.testing.assert_array_equal(of[found], of)
    np.testing.assert_array_equal(knows(texts, 3), knows(texts, 3))
    twins = [text for text in texts if texts.count(text) > 1] or texts
    assert any((knows(twins, 3) != knows(twins, seed)).any() for seed in range(9)) or twins is texts
    # A class comes before colours, the object's colour before the one behind.
    few = RetrievalGenerator(pictures[:3], Facts(np.array([0, 1, 1]), np.array([2, 3, 2]), np.array([2, 2, 3])))
    assert few.find((1, 2, 2), 0) == 2 and few.find((0, 3, 3), 0) == 0 and few.find((-1, 3, -1), 0) == 1


@pytest.fixture(scope="module")
def decoder():
    config = CaptionerConfig(words=("a", *CLASS_WORDS), num_words=4, width=8, depth=1, num_heads=1)
    params = drawn(CaptionDecoder(config), jnp.zeros((1, 64, 67)), jnp.zeros((1, 4), jnp.int32), scale=1.0)
    return config, params | {"norm": {"bias": jnp.zeros(8), "scale": jnp.ones(8)}}


def test_saying_word_by_word_is_one_causal_pass(decoder):
    config, params = decoder
    places = jnp.asarray(np.random.default_rng(3).normal(size=(20, 64, 67)), jnp.float32)
    words = np.asarray(say(config, params, places))
    scores = np.asarray(CaptionDecoder(config).apply({"params": params}, places, jnp.asarray(words)))
    for row, best in zip(words, scores.argmax(-1), strict=True):
        length = int((row > 0).sum())
        assert (row[:length] > 0).all()
        np.testing.assert_array_equal(best[: min(length + 1, 4)], row[: min(length + 1, 4)])
    assert len({tuple(row) for row in words.tolist()}) > 1


def test_weights_files_come_back(decoder, flow, tmp_path):
    config, params = decoder
    resnet = drawn(CifarResNet(20), jnp.zeros((1, 32, 32, 3)))
    fields = {"words": list(config.words), "num_words": 4, "width": 8, "depth": 1, "num_heads": 1}
    save_weights(tmp_path / "c.npz", {"resnet": resnet, "decoder": params}, {"captioner": fields}, dtype="float32")
    images = np.random.default_rng(4).random((3, 32, 32, 3), np.float32)
    captioner = load_captioner(tmp_path / "c.npz")
    assert captioner(images) == LearnedCaptioner(config, {"resnet": resnet, "decoder": params})(images)
    assert captioner(images[:1]) == captioner(images)[:1] and captioner.name == "learned"
    shape = {"image_size": 8, "widths": [4, 4, 4], "depth": 1, "condition": 4}
    save_weights(tmp_path / "g.npz", flow.params, {"painter": shape, "guidance": 2.5}, dtype="float32")
    generator = load_generator(tmp_path / "g.npz", steps=3)
    assert generator.guidance == 2.5 and generator.config == flow.config
    for load in (load_captioner, load_generator):
        with pytest.raises(ValueError, match="does not say which"):
            save_weights(tmp_path / "x.npz", {"a": np.zeros(1)}, {})
            load(tmp_path / "x.npz")


def test_the_oracle_is_told_the_class_and_sees_the_colours():
    images = np.full((2, 32, 32, 3), (0.2, 0.35, 0.7), np.float32)
    oracle = GrammarCaptioner(np.array([8, 2]))
    assert oracle(images) == ["a blue ship on a blue background", "a blue bird on a blue background"]
    assert oracle.name == "oracle"
    with pytest.raises(ValueError, match="labels are of 2 pictures, got 1"):
        oracle(images[:1])


def test_own_functions_serve_and_their_errors_name_them(tmp_path, monkeypatch):
    (tmp_path / "my_painting.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_painting", raising=False)
    assert load_captioner("my_painting:two_words")(np.zeros((2, 4, 4, 3))) == ["a dog", "a dog"]
    assert load_generator("my_painting:gray")(["a"], 3)[0, 0, 0, 0] == 0.3
    for load in (load_captioner, load_generator):
        with pytest.raises(ValueError, match=r"^my_painting:broken failed: RuntimeError: no such service$"):
            load("my_painting:broken")(["a"], 3)
        with pytest.raises(ValueError, match="'my_painting:CLASS' is no function, but a str"):
            load("my_painting:CLASS")
        with pytest.raises(ValueError, match="'my_painting:missing'.*missing"):
            load("my_painting:missing")
        with pytest.raises(ValueError, match="'nowhere:f'.*nowhere"):
            load("nowhere:f")


def closest(one, other):
    """The largest correlation, without its sign, of two matrices of equal shape and 64 numbers or more; 0: none."""
    found = [0.0]
    for a, b in itertools.product(flatten_params(one).values(), flatten_params(other).values()):
        if a.shape == b.shape and a.ndim > 1 and a.size >= 64:
            a, b = (np.float64(leaf).ravel() - np.mean(leaf, dtype=np.float64) for leaf in (a, b))
            found.append(abs(a @ b) / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))
    return max(found)


def test_what_ships_shares_no_network(shared_data):
    from lvm_mtc.interop.classifier_weights import load_cifar_resnet

    (captioner, about), (painter, _) = (
        load_weights(path) for path in (captioners.CAPTIONER_WEIGHTS, generators.GENERATOR_WEIGHTS)
    )
    judge, source = (
        load_cifar_resnet(shared_data / "weights" / f"cifar10_resnet{depth}.npz", depth) for depth in (56, 20)
    )
    # Networks are packed in 8 bits: a shared one differs in every number, and its arrays correlate all the same.
    assert closest(captioner, source) > 0.999
    assert closest({"a": captioner["resnet"]["stem"]}, {"b": source["stem"]}) > 0.999  # one layer is enough
    for one, other in itertools.combinations((captioner, painter, judge), 2):
        assert closest(one, other) < 0.3
    assert len([name for name in captioner["resnet"] if name.startswith("stage")]) == 9  # ResNet-20, the judge has 27
    size = sum(path.stat().st_size for path in (captioners.CAPTIONER_WEIGHTS, generators.GENERATOR_WEIGHTS))
    assert size <= 1_800_000
    assert set(CLASS_WORDS) <= set(about["captioner"]["words"])
    assert understand(["a green animal"]).label[0] == 6
