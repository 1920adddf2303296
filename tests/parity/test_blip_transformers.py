"""BLIP's captioner against transformers' PyTorch model, and its tokenizer against BertTokenizer (needs torch)."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import stored

from lvm_mtc.data.captions import read_sentences
from lvm_mtc.data.word_pieces import WordPieces
from lvm_mtc.interop.blip_weights import load_blip
from lvm_mtc.models.blip import Blip, BlipVariant, caption

pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("transformers", reason="needs transformers and torch")

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def make_blip():
    """The script that makes the goldens: the reference model and how it is run."""
    from golden import make_blip

    return make_blip


def test_goldens_are_what_transformers_gives_today(make_blip):
    golden, fresh = stored("blip"), make_blip.cases()
    assert set(fresh) == set(golden)
    for name, array in golden.items():
        if array.dtype.kind == "U":
            assert "version" in name or (fresh[name] == array).all(), name
        else:
            np.testing.assert_allclose(fresh[name], array, rtol=0, atol=1e-5, err_msg=name)


def test_another_configuration_as_it_is_saved(make_blip, tmp_path):
    sizes = BlipVariant(
        image_size=48, image_width=64, image_depth=3, image_heads=4, text_width=32, text_depth=3, text_heads=2,
        context_length=40, vocab_size=300,
    )  # fmt: skip
    rules = [{"max_length": 30} | options for options in ({}, {"min_length": 20}, {"repetition_penalty": 1.4})]
    end, fields = 102, {field: getattr(sizes, field) for field in make_blip.SIZES}
    theirs = make_blip.published_model(fields, sizes.vocab_size, end, 3)
    theirs.save_pretrained(tmp_path)
    params = load_blip(tmp_path, variant=sizes).params
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == theirs.num_parameters()
    rng = np.random.default_rng(2)
    images = rng.normal(size=(8, 48, 48, 3)).astype(np.float32)
    tokens, prompt = rng.integers(0, 300, (8, 7)), rng.integers(104, 298, 3).tolist()
    want = make_blip.run(theirs, images, tokens)
    said = [make_blip.say(theirs, images, prompt, **options) for options in rules]

    @jax.jit
    def ours(params, images, tokens, prompt):
        say = functools.partial(caption, sizes, params, images, prompt, end_token=end)
        return Blip(sizes).apply({"params": params}, images, tokens), [say(**options) for options in rules]

    start = jnp.asarray([sizes.start_token, *prompt], jnp.int32)
    logits, captions = ours(params, images, jnp.asarray(tokens), start)
    np.testing.assert_allclose(logits, want, rtol=0, atol=1e-4)
    for found, expected in zip(captions, said, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert np.abs(np.diff(want, axis=0)).max() > 0.1 and len(np.unique(said[0])) > 5
    assert all((one != said[0]).any() for one in said[1:])


def test_a_thousand_captions_as_tokens_and_back(make_blip, shared_data):
    captions = read_sentences(shared_data / "multi30k_task2" / "val.1.en.gz")[:1000]
    assert len(captions) == 1000
    words = sorted({word for text in captions[::3] for word in text.lower().split() if word.isalpha()})
    ends = sorted({f"##{word[-n:]}" for word, n in itertools.product(words, (2, 3)) if len(word) > 5})
    pieces = list(dict.fromkeys([*make_blip.vocabulary(), *words, *ends]))
    theirs, ours = make_blip.tokenizer(pieces), WordPieces(pieces)
    expected = theirs(captions, add_special_tokens=False)["input_ids"]
    assert [ours.encode(text) for text in captions] == expected
    assert [ours.decode(row) for row in expected] == [theirs.decode(row, skip_special_tokens=True) for row in expected]
    assert np.mean([len(row) for row in expected]) > 10


def test_every_letter_of_the_common_scripts(make_blip):
    """Between two others: left out, a space, a sign of its own or a letter, as transformers' tables have it."""
    pieces = make_blip.vocabulary()
    theirs, ours = make_blip.tokenizer(pieces), WordPieces(pieces)
    texts = [f"a{chr(code)}b" for code in (*range(1, 0x600), *range(0x2000, 0x2C00), *range(0x3000, 0x3400))]
    expected = theirs(texts, add_special_tokens=False)["input_ids"]
    assert [t for t, row in zip(texts, expected, strict=True) if ours.encode(t) != row] == []
