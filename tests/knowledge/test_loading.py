"""Knowledge bases from files: the shipped detector, and which filter is taken."""

import jax
import numpy as np
import pytest

from lvm_mtc.knowledge import loading as knowledge_bases
from lvm_mtc.knowledge.loading import DETECTOR_WEIGHTS, load_knowledge_base
from lvm_mtc.models.flashsam import FlashSAM
from lvm_mtc.models.weights import WeightsError, load_weights, save_weights

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(scope="module")
def shipped():
    return load_weights(DETECTOR_WEIGHTS)


def test_the_shipped_detector_says_where_it_comes_from(shipped):
    variables, metadata = shipped
    assert metadata["model"]["name"] == "FlashSAM" and metadata["model"]["num_classes"] == 1
    data = metadata["data"]
    assert metadata["seed"] == metadata["recipe"]["phases"][0]["train"]["seed"] and "jax" in metadata["versions"]
    assert min(pack["pictures"] for pack in data["packs"]) > 1000 and "YOLOX-nano" in data["teacher"]
    # It went on from other weights, which say the same of themselves.
    start = data["start"]
    assert len(start["sha256"]) == 64 and start["recipe"]["phases"] and start["data"]["pictures"] > 1000
    assert start["seed"] == 0 and metadata["phase"] == len(metadata["recipe"]["phases"]) - 1
    assert "unfinished" not in metadata
    assert {"ap50", "recall_at_10", "top_box"} < metadata["scores"].keys()
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    wanted = jax.eval_shape(FlashSAM("n", 1).init, jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))
    assert count == sum(leaf.size for leaf in jax.tree.leaves(wanted["params"]))


@pytest.fixture
def loaders(monkeypatch):
    """Filters made without their files, which are large."""
    calls = []

    def record(name, result):
        return lambda *args, **kwargs: (calls.append((name, *args, *kwargs.values())), result)[1]

    monkeypatch.setattr(knowledge_bases, "load_clip", record("load_clip", ("B/32", "gelu", {})))
    monkeypatch.setattr(knowledge_bases, "load_classifier", record("load_classifier", {}))
    monkeypatch.setattr(knowledge_bases, "read_word_vectors", record("read_word_vectors", "words"))
    for name, label in (("ClipFilter", "clip"), ("ClassifierWordsFilter", "classifier-words")):
        fake = type("Filter", (), {"name": label})
        monkeypatch.setattr(knowledge_bases, name, type(name, (), {"create": staticmethod(lambda *_, fake=fake: fake)}))
    return calls


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "score"),
        ({"classifier": "c", "words": "w"}, "classifier-words"),
        ({"clip": "p", "classifier": "c", "words": "w"}, "clip"),
        ({"clip": "p", "goal_filter": "score"}, "score"),
    ],
)
def test_the_best_filter_for_which_there_are_weights_is_taken(loaders, given, name):
    assert load_knowledge_base(**given).goal_filter.name == name


def test_files_reach_their_readers(loaders):
    load_knowledge_base(clip="p", clip_activation="gelu")
    load_knowledge_base(classifier="c", words="w")
    assert loaders == [("load_clip", "p", "gelu"), ("load_classifier", "c"), ("read_word_vectors", "w")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"goal_filter": "clop"}, "goal_filter 'clop'.*did you mean 'clip'"),
        ({"goal_filter": "clip"}, "goal_filter 'clip' needs weights of clip"),
        ({"goal_filter": "classifier-words"}, "needs weights of classifier and words"),
        ({"classifier": "c"}, "'classifier-words' needs weights of words"),
        ({"goal_filter": "label"}, "a detector without class labels"),
    ],
)
def test_a_filter_without_its_weights_is_refused(loaders, given, message):
    with pytest.raises(ValueError, match=message):
        load_knowledge_base(**given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"variant": "n", "num_classes": 1}}, "does not say which detector"),
        ({"model": {"variant": "q", "num_classes": 1, "input_size": 64}}, "variant 'q' is none of n, s"),
        ({"model": {"variant": "n", "num_classes": 3, "input_size": 64}}, "head8"),
        ({"model": {"variant": "n", "num_classes": 1, "input_size": 50}}, "input_size must be a positive multiple"),
    ],
)
def test_a_file_that_is_no_such_detector_is_refused(shipped, tmp_path, changes, message):
    variables, metadata = shipped
    save_weights(tmp_path / "d.npz", variables, metadata | changes)
    with pytest.raises(ValueError, match=message):
        load_knowledge_base(tmp_path / "d.npz")
    assert issubclass(WeightsError, ValueError)
