"""BLIP's captioner: goldens of transformers' model; sizes and wrong input."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import stored, weights

from lvm_mtc.interop.blip_weights import load_blip
from lvm_mtc.models.blip import BLIP_VARIANTS, Blip, BlipVariant, caption

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(scope="module")
def golden():
    """Written by tests/golden/make_blip.py, versions inside."""
    return stored("blip")


@pytest.fixture(scope="module")
def sizes(golden):
    return BlipVariant(**json.loads(str(golden["sizes"])))


@pytest.fixture(scope="module")
def ours(golden, sizes):
    """Logits of all words at once, and captions by both rules, in one program."""
    images, tokens = jnp.asarray(golden["images"], jnp.float32), jnp.asarray(golden["tokens"])
    end, blip = list(golden["pieces"]).index("[SEP]"), Blip(sizes)

    @jax.jit
    def run(params):
        said = []
        for i in range(2):
            prompt = jnp.asarray([sizes.start_token, *golden[f"prompt{i}"]], jnp.int32)
            options = json.loads(str(golden[f"rules{i}"]))
            said.append(caption(sizes, params, images, prompt, end_token=end, **options))
        return blip.apply({"params": params}, images, tokens), said

    return jax.device_get(run(load_blip(weights(golden), variant=sizes).params))


def test_logits_are_those_of_transformers(golden, ours):
    logits, _ = ours
    np.testing.assert_allclose(logits, golden["logits"], rtol=0, atol=1e-4)
    assert np.abs(logits[::-1] - golden["logits"]).max() > 0.1  # other pictures and words would be seen


def test_captions_are_those_of_transformers_token_by_token(golden, ours):
    plain, ruled = golden["said0"], golden["said1"]
    for found, said in zip(ours[1], (plain, ruled), strict=True):
        np.testing.assert_array_equal(found, said)
        assert len({tuple(row) for row in said.tolist()}) > 3 and (said == 0).any()  # they differ, and some end early
    assert (plain[:, :9] == 3).any() and not (ruled[:, :9] == 3).any()
    repeated = [max(len(row[row > 0]) - len(set(row[row > 0])) for row in said) for said in (plain, ruled)]
    assert repeated[0] > 2 > repeated[1]


def test_sizes_have_the_published_parameters():
    """Closed form of ViT-B/16 at 384 pixels and BERT base with attention to it; the output layer is the embedding."""
    inputs = jax.ShapeDtypeStruct((1, 384, 384, 3), jnp.float32), jax.ShapeDtypeStruct((1, 2), jnp.int32)
    shapes = jax.eval_shape(Blip(BLIP_VARIANTS["base"]).init, jax.random.key(0), *inputs)
    w, t, words = 768, 768, 30524
    vit = (3 * 16**2 + 1) * w + w + 577 * w + 12 * (12 * w**2 + 13 * w) + 2 * w
    decoder_layer = 4 * (t**2 + t) + 4 * (t**2 + t) + 8 * t**2 + 5 * t + 6 * t
    text = (words + 512) * t + 2 * t + 12 * decoder_layer + t**2 + t + 2 * t + words
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == vit + text
    assert vit + text + words * t == 247_414_076  # as listed with the published weights, the embedding counted twice


def test_wrong_input(sizes):
    with pytest.raises(ValueError, match=r"images \(1, 8, 8, 3\) do not fit this BLIP: expected \(batch, \(24, 24, 3"):
        Blip(sizes).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 2), jnp.int32))
    with pytest.raises(ValueError, match="text_width must be a multiple of BlipVariant.text_heads 12, got 9"):
        BlipVariant(text_width=9)
    images, prompt = jnp.zeros((1, 24, 24, 3)), jnp.zeros(3, jnp.int32)
    for options, message in (
        ({"max_length": 3}, "max_length must be more than the prompt's 3 tokens and 24 at most, got 3"),
        ({"max_length": 25}, "max_length must be more than the prompt's 3 tokens and 24 at most, got 25"),
        ({"min_length": 21}, "min_length must lie in 0 to max_length 20, got 21"),
        ({"repetition_penalty": 0.0}, "caption.repetition_penalty must be a finite number > 0, got 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            caption(sizes, {}, images, prompt, end_token=3, **options)
    assert dataclasses.replace(sizes, vocab_size=10).start_token == 8
