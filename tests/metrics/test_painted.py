"""Sentences that are painted and judged on the host, in a sweep's second phase."""

import dataclasses

import jax
import numpy as np
import pytest

from lvm_mtc.data.bigram_code import BigramCode
from lvm_mtc.data.captions import Vocabulary
from lvm_mtc.link import LinkConfig
from lvm_mtc.metrics.painted import named_accuracy, painted_accuracy, semantic_service_quality
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.separation.captions import CaptionBits
from lvm_mtc.schemes.vlm_csc.scheme import VlmCsc, VlmCscConfig
from lvm_mtc.sweep.as_bits import measure_bits
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Group, Resources
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.run import run_sweep, sample_points
from lvm_mtc.sweep.stopping import StoppingRule

pytestmark = pytest.mark.usefixtures("fast_compile")

WORDS = Vocabulary(("a", "dog", "cat", "bird", "on", "red", "green", "ship"))
SCHEME = VlmCsc(
    VlmCscConfig(vocabulary=9, num_words=4, width=8, depth=1, num_heads=1, hidden=8, noise_attention="none")
)
ONE = Resources(num_devices=1, items_per_device=4)


class Paints:
    """A generator that counts: the first pixel says how many letters a sentence has, over 9."""

    name = "counting"

    def __init__(self):
        self.asked = []

    def __call__(self, texts, seed):
        self.asked += texts
        pictures = np.zeros((len(texts), 2, 2, 3), np.float32)
        pictures[:, 0, 0, 0] = [len(text) % 10 / 9 for text in texts]
        return pictures


def first_pixel(params, pictures):
    return params["gain"] * np.eye(10)[np.round(9 * pictures[:, 0, 0, 0]).astype(int)]


def make_spec(paints, snr_db=(-15.0, 0.0, 15.0), **changes):
    rng = np.random.default_rng(0)
    words = np.where(np.arange(4) < rng.integers(2, 5, (6, 1, 1)), rng.integers(1, 9, (6, 1, 4)), 0).astype(np.int32)
    shapes = jax.eval_shape(SCHEME.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape)), shapes)
    judges = (
        painted_accuracy("accuracy_counting", paints, WORDS, first_pixel, {"gain": np.ones(1)}), named_accuracy(WORDS)
    )  # fmt: skip
    return SweepSpec(**{
        "schemes": (Contender(name="learned", scheme=SCHEME, params=params),),
        "links": (LinkConfig(fading="awgn", convention="rx_per_antenna"),),
        "sources": {1: Source(words, {"labels": rng.integers(0, 10, (6, 1))})}, "snr_db": snr_db,
        "stopping": StoppingRule(target_half_width=None, max_units=2), "metrics": ("bleu1",), "judges": judges,
        "pictures_per_step": 4, **changes,
    })  # fmt: skip


@pytest.fixture(scope="module")
def measured():
    paints = Paints()
    spec = make_spec(paints)
    points = list(spec.coordinates())
    return spec, paints, points, sample_points(spec, points, resources=ONE)


def test_two_phases_are_one_loop_and_no_sentence_is_painted_twice(measured):
    spec, paints, points, samples = measured
    labels, said = spec.sources[1].hints["labels"], set()
    group = Group(spec, points[0], ONE, pictures=True)
    for at, sample in zip(group.send(points, range(2)), samples, strict=True):
        texts = WORDS.decode(at.pictures.reshape(-1, 4))
        said |= set(texts)
        alone = [first_pixel({"gain": 1}, Paints()([text], 0))[0].argmax() for text in texts]
        right = (np.reshape(alone, (2, 6, 1)) == labels).astype(np.float32)
        np.testing.assert_array_equal(sample.metrics["accuracy_counting"], right)
        named = [{"dog": 5, "cat": 3, "bird": 2, "ship": 8}.get(first_class(text), -1) for text in texts]
        np.testing.assert_array_equal(sample.metrics["accuracy_named"], np.reshape(named, (2, 6, 1)) == labels)
        assert sample.pictures is None
    assert sorted(paints.asked) == sorted(said) and 6 < len(said) < 36


def first_class(text):
    return next((word for word in text.split() if word in ("dog", "cat", "bird", "ship")), "")


def test_a_store_goes_on_and_knows_the_generator(measured, tmp_path):
    _, _, _, samples = measured
    paints = Paints()
    with ResultStore(tmp_path / "s.sqlite") as store:
        run_sweep(make_spec(paints, snr_db=(-15.0,)), store, resources=ONE)
        run_sweep(spec := make_spec(paints), store, resources=ONE)
        asked = len(paints.asked)
        key = run_sweep(spec, store, resources=ONE)
        assert len(paints.asked) == asked
        rows = {row.snr_db: row for row in store.read(key)}
    for snr_db, sample in zip((-15.0, 0.0, 15.0), samples, strict=True):
        for name in ("accuracy_counting", "accuracy_named", "bleu1"):
            assert rows[snr_db].metrics[name].mean == pytest.approx(sample.metrics[name].mean(), abs=1e-6)
    other = Paints()
    other.name = "another"
    assert make_spec(other).key() != spec.key() == make_spec(Paints()).key()
    weights = painted_accuracy("accuracy_counting", paints, WORDS, first_pixel, {"gain": np.zeros(1)})
    assert dataclasses.replace(spec, judges=(weights, spec.judges[1])).key() != spec.key()


def test_bits_are_judged_alike(measured):
    spec, _, points, _ = measured
    words = spec.sources[1].data
    bits = measure_bits(spec, CaptionBits(BigramCode(words.reshape(-1, 4), 9)), points)
    texts, labels = WORDS.decode(words.reshape(-1, 4)), spec.sources[1].hints["labels"]
    clean = np.reshape([len(text) % 10 for text in texts], (6, 1)) == labels
    for unit in bits[-1].metrics["accuracy_counting"]:
        arrived = bits[-1].metrics["bleu1"][0] == 1
        np.testing.assert_array_equal(unit[arrived], clean[arrived])
    assert (bits[-1].metrics["bleu1"] == 1).any()


def test_judges_need_labels_and_generators_pictures():
    spec = make_spec(Paints())
    with pytest.raises(ValueError, match="labels are missing: judge 'accuracy_counting' needs them"):
        dataclasses.replace(spec, sources={1: Source(spec.sources[1].data)})
    bright = painted_accuracy("a", lambda texts, seed: np.full((len(texts), 1, 1, 3), 255.0), WORDS, first_pixel, {})
    with pytest.raises(ValueError, match="what a generator gives must be pictures of numbers in .0, 1., got 255"):
        bright.measure(bright.params, spec.sources[1], spec.sources[1].data)
    wrong = painted_accuracy("a", lambda texts, seed: np.zeros(3), WORDS, first_pixel, {})
    with pytest.raises(ValueError, match=r"generator must give \[1, height, width, 3\], got \(3,\)"):
        wrong.measure({}, Source(np.ones((1, 1, 1), int), {"labels": np.zeros((1, 1))}), np.ones((1, 1, 1), int))


def test_ssq_is_a_ratio():
    np.testing.assert_allclose(semantic_service_quality([0.4, 0.1], 0.8), [0.5, 0.125])
    with pytest.raises(ValueError, match=r"clean must lie in \(0, 1\], got 0"):
        semantic_service_quality([0.4], 0)
