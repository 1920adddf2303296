"""The text transceiver that the package brings."""

import jax
import numpy as np
import pytest

from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.data.captions import split_words
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.text import word_error_rate
from lvm_mtc.models.weights import load_weights
from lvm_mtc.schemes.loading import TEXT_WEIGHTS
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

pytestmark = pytest.mark.usefixtures("fast_compile")

SENTENCES = [
    "A brown dog is running through the snow with a red ball.",
    "Two women in blue shirts sit on a bench near the water.",
    "A man on a bicycle is riding down a busy street.",
    "Children are playing soccer in a green field.",
    "The girl is eating ice cream.",
    "Three people stand in front of a white building.",
    "An old man plays the guitar on stage.",
    "A boy jumps into a swimming pool.",
]


def test_it_understands_sentences_that_nobody_trained_on():
    contender, vocabulary = load_text_contender(None)
    words, kept = vocabulary.encode([split_words(line) for line in SENTENCES], contender.scheme.config.num_words)
    assert kept.all()
    link, source = LinkConfig(fading="awgn", convention="rx_per_antenna"), Source(words[:, None])

    def send(params, snr_db):
        out = forward(contender.scheme, params, source, jax.random.key(0), link, OperatingPoint(snr_db=snr_db))
        return word_error_rate(source.data, out.estimate.data.argmax(-1)).mean()

    send = jax.jit(send)
    assert send(contender.params, 10.0) < 0.03
    assert send(contender.params, 6.0) < 0.08
    assert 0.1 < send(contender.params, -5.0) < 0.9


def test_the_file_says_where_it_comes_from():
    assert TEXT_WEIGHTS.stat().st_size <= 3 * 2**20
    params, about = load_weights(TEXT_WEIGHTS, dtype=None)
    assert about["seed"] == 0 and about["recipe"]["stages"]["system"]["batch_size"] == 64
    assert about["data"]["sentences"] == 83_689 and len(about["data"]["words"]) == 2999
    assert {"jax", "flax", "optax", "python"} <= set(about["versions"])
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float16")}
