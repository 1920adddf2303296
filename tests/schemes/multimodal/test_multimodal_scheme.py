"""Multimodal tokens: questions and files, and the scheme over links, as bits, and half blind."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.data.presence import (
    NAMES,
    NUM_WORDS,
    PackedPresence,
    crossed_questions,
    description_of,
    load_presence,
    question_of,
    save_presence,
    words_of,
)
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.tables import METRICS
from lvm_mtc.schemes.multimodal.scheme import Multimodal, MultimodalConfig
from lvm_mtc.schemes.presence_source import presence_source
from lvm_mtc.schemes.simulate import forward
from lvm_mtc.training.presence import draw_presence, load_training_presence

pytestmark = pytest.mark.usefixtures("fast_compile")

SMALL = MultimodalConfig(rows=2, columns=3, place_width=4, word_width=5, width=8, depth=1)


def packed(pictures=12, seed=0):
    rng = np.random.default_rng(seed)
    present, numbers = rng.random((pictures, 20)) < 0.15, {}
    asked = words_of([question_of(name) for name in NAMES], numbers)
    described = words_of([description_of(row) for row in present], numbers)
    features = np.float16(rng.normal(size=(pictures, 6, 4)))
    words = np.float32(rng.normal(size=(len(numbers), 5)))
    return PackedPresence(features, present, words, asked, described, crossed_questions(present, 8, seed))


def test_questions_tell_nothing_without_the_picture_nor_pictures_without_the_question():
    present = np.random.default_rng(0).random((40, 6)) < 0.3
    question = crossed_questions(present, 100)
    picture, name, answer = question.T
    np.testing.assert_array_equal(present[picture, name], answer == 1)
    for of in (picture, name):
        yes, no = (np.bincount(of[answer == a], minlength=40) for a in (1, 0))
        np.testing.assert_array_equal(yes, no)
    assert not np.array_equal(question, crossed_questions(present, 100, seed=1))
    with pytest.raises(ValueError, match="no two pictures"):
        crossed_questions(np.ones((3, 2), bool), 1)


def test_sentences_and_files(tmp_path):
    present = np.zeros(20, bool)
    present[[11, 14]] = True
    assert description_of(present) == "a dog next to a person" and question_of("dog") == "is there a dog in the picture"
    numbers = {}
    (row,) = words_of(["a dog a"], numbers)
    assert row[:4].tolist() == [0, 1, 0, -1] and numbers == {"a": 0, "dog": 1}
    with pytest.raises(ValueError, match="has 17 words"):
        words_of(["a " * 17], {})
    save_presence(tmp_path / "a.npz", packed())
    np.testing.assert_array_equal(load_presence(tmp_path / "a.npz").question, packed().question)
    data = load_training_presence(tmp_path / "a.npz", SMALL, 4, 0)
    source = draw_presence(data.data, jax.random.split(jax.random.key(0), 5), (4, 1), SMALL, None)
    assert source.data["words"].shape == (4, 1, NUM_WORDS, 5)
    with pytest.raises(ValueError, match=r"place_width 4, but MultimodalConfig.place_width is 128"):
        load_training_presence(tmp_path / "a.npz", MultimodalConfig(rows=2, columns=3), 4, 0)
    (tmp_path / "b.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match="b.npz: is no whole archive of plain arrays .*packed questions of presence"):
        load_presence(tmp_path / "b.npz")


def test_the_scheme_sends_its_tokens():
    """Without noise what arrives is what was pooled, and lengths are booked."""
    scheme, link = Multimodal(SMALL), LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)
    params = scheme.init(jax.random.key(0))
    source = presence_source(packed(), np.arange(6).reshape(3, 2))

    @jax.jit
    def run(params, key, log2_window):
        at = OperatingPoint(snr_db=jnp.float32(80.0), knobs={"log2_window": log2_window})
        outcome = forward(scheme, params, source, jax.random.clone(key), link, at)
        kept = scheme.pooled(scheme.encode(params, source, key, {}), log2_window)
        metrics = {name: metric(source, outcome) for name, metric in METRICS["presence"].items()}
        return outcome, kept, scheme.answer(params, *kept), metrics

    for log2_window in (0.0, 2.0):
        outcome, (tokens, valid), scores, metrics = run(params, jax.random.key(1), jnp.float32(log2_window))
        window = 2**log2_window
        counts = np.ceil(6 / window) + np.ceil(source.data["words_valid"].sum(-1) / window)
        np.testing.assert_array_equal(outcome.sent.tells["num_tokens"], counts)
        np.testing.assert_array_equal(valid.sum(-1), counts)
        np.testing.assert_allclose(outcome.ledger.private_uses, 4 * counts.sum(-1))
        np.testing.assert_allclose(outcome.ledger.side_information_bits, 2 * (3 + 5))
        np.testing.assert_allclose(outcome.estimate.tells["tokens"], tokens, atol=2e-3)
        np.testing.assert_allclose(outcome.estimate.data, scores, atol=2e-2)
        np.testing.assert_array_equal(metrics["accuracy"], np.argmax(scores, -1) == source.data["answer"])
        error = ((np.asarray(outcome.estimate.tells["tokens"]) - tokens) ** 2).sum((-2, -1))
        np.testing.assert_allclose(metrics["nmse_tokens"], error / (np.asarray(tokens) ** 2).sum((-2, -1)), rtol=1e-3)
        assert 0 < metrics["nmse_tokens"].max() < 1e-6


@pytest.mark.slow
def test_every_part_learns_in_its_stage_and_no_other():
    scheme, link = Multimodal(SMALL), LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)
    params, source = scheme.init(jax.random.key(0)), presence_source(packed(), np.arange(6).reshape(3, 2))
    at = OperatingPoint(snr_db=jnp.float32(10.0), knobs={"log2_window": jnp.float32(1.0)})
    for stage, learns in zip(scheme.stages(), ("alignment", "fusion"), strict=True):
        slopes = jax.jit(
            lambda params, key, loss=stage.loss: jax.grad(loss, argnums=1, has_aux=True)(
                scheme, params, source, key, link, at, {}
            )[0]
        )(params, jax.random.key(1))
        moved = {name for name, group in slopes.items() if any(np.any(leaf) for leaf in jax.tree.leaves(group))}
        assert moved == {"encoder", learns}


def test_tokens_as_bits_are_counted_and_off_by_half_a_step():
    scheme = Multimodal(SMALL)
    source = presence_source(packed(), np.arange(6).reshape(3, 2))

    @jax.jit
    def run(params, log2_window):
        encoded = scheme.encode(params, source, jax.random.key(0), {})
        bits, valid = scheme.as_bits(encoded, log2_window)
        return bits, valid, scheme.pooled(encoded, log2_window)[0], scheme.from_bits(bits)

    bits, valid, tokens, found = map(np.asarray, run(scheme.init(jax.random.key(0)), 1.0))
    words = source.data["words_valid"].sum(-1)
    assert scheme.token_bits == 8 * 8 and bits.shape[-1] == scheme.token_bits and set(np.unique(bits)) == {0, 1}
    assert bits[valid].size == 64 * (3 + np.ceil(words / 2)).sum()
    assert np.abs(tokens).max() < 3 and np.abs(found - tokens)[valid].max() <= 0.501 * 6 / 255


def test_controls_see_one_modality_only():
    tokens, others = np.float32(np.random.default_rng(0).normal(size=(2, 5, 1, 22, 8)))
    is_picture = np.arange(22)[:, None] < 6
    params = Multimodal(SMALL).init(jax.random.key(0))
    for sees, seen in (("picture", is_picture), ("question", ~is_picture)):
        answer = jax.jit(Multimodal(dataclasses.replace(SMALL, sees=sees)).answer)
        scores = [answer(params, jnp.asarray(of), jnp.ones((5, 1, 22), bool))
                  for of in (tokens, np.where(seen, tokens, others), others)]  # fmt: skip
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)
        assert np.all(np.abs(scores[0] - scores[2]).max(-1) > 1e-3)


def test_what_it_refuses():
    with pytest.raises(ValueError, match="sees"):
        MultimodalConfig(sees="nothing")
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        MultimodalConfig(width=6)
