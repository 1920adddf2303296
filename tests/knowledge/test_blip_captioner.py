"""BLIP as a captioner, from files on: pixels, sentences, prompts, wrong vocabularies."""

import json

import numpy as np
import pytest
from golden import stored, weights
from PIL import Image
from safetensors_bytes import safetensors

from lvm_mtc.cli.painting import captioned, read_images
from lvm_mtc.data.captions import Vocabulary, split_words
from lvm_mtc.data.word_pieces import WordPieces
from lvm_mtc.knowledge.blip import BlipCaptioner, load_blip_captioner, squeezed
from lvm_mtc.knowledge.captioners import load_captioner
from lvm_mtc.models.blip import BLIP_VARIANTS, BlipVariant
from lvm_mtc.models.clip import normalize_pixels

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(scope="module")
def golden():
    """Written by tests/golden/make_blip.py."""
    return stored("blip")


@pytest.fixture(scope="module")
def model(golden, tmp_path_factory):
    """A folder as Hugging Face has them."""
    folder = tmp_path_factory.mktemp("blip")
    (folder / "model.safetensors").write_bytes(safetensors(weights(golden)))
    (folder / "vocab.txt").write_text("\n".join(golden["pieces"]) + "\n", encoding="utf-8")
    return folder


def test_pixels_are_those_of_the_published_preprocessing(golden):
    ours = normalize_pixels(squeezed(golden["photographs"], 24).astype(np.float32) / 255)
    np.testing.assert_allclose(ours, golden["pixels"], rtol=0, atol=1e-3)
    in_one = squeezed(golden["photographs"] / np.float32(255), 24)
    np.testing.assert_array_equal(in_one, squeezed(golden["photographs"], 24))
    with pytest.raises(ValueError, match="images hold .* expected 0 to 1"):
        squeezed(np.full((1, 4, 4, 3), 7.0), 24)


def test_sentences_of_pictures(golden, model):
    sizes = BlipVariant(**json.loads(str(golden["sizes"])))
    captioner = load_blip_captioner(model, variant=sizes, prompt="a photo of", max_length=12)
    assert captioner.name == "blip" and captioner.image_size == 24
    images = np.random.default_rng(0).random((5, 20, 30, 3), np.float32)
    texts = captioner(images)
    assert len(texts) == 5 and captioner(images[::-1]) == texts[::-1] and len(set(texts)) > 1
    assert captioner(images[:1]) == texts[:1]
    assert not any(text.startswith("a photo of") for text in texts)


def test_the_command_takes_a_folder(golden, model, monkeypatch, tmp_path):
    """Pictures of the side that the network wants, cut and not squeezed; what it says is what is sent."""
    sizes = BlipVariant(**json.loads(str(golden["sizes"])))
    monkeypatch.setitem(BLIP_VARIANTS, "small", sizes)
    captioner = load_captioner(f"blip:{model / 'model.safetensors'}")
    for i, levels in enumerate(np.random.default_rng(1).integers(0, 256, (3, 30, 40, 3), np.uint8)):
        Image.fromarray(levels).save(tmp_path / f"{i}.png")
    images = read_images(tmp_path, captioner.image_size, None)
    texts = captioner(images)
    words = Vocabulary(tuple(sorted({word for text in texts for word in split_words(text)})))
    source, kept, said = captioned(images, captioner, words, 20, 1)
    assert images.shape == (3, 24, 24, 3) and len(kept) == len(said) == source.data.shape[0] > 0
    assert said == [" ".join(split_words(text)) for text in texts if split_words(text)]


def test_wrong_vocabularies_and_places(golden, model, tmp_path):
    sizes = BlipVariant(**json.loads(str(golden["sizes"])))
    (tmp_path / "few.txt").write_text("[UNK]\n[SEP]\n")
    with pytest.raises(ValueError, match=r"BlipCaptioner.words must be 142 pieces with \[SEP\] among them, got 2"):
        load_blip_captioner(model, tmp_path / "few.txt", variant=sizes)
    pieces = [piece.replace("[SEP]", "[sep]") for piece in golden["pieces"].tolist()]
    with pytest.raises(ValueError, match=r"with \[SEP\] among them"):
        BlipCaptioner(sizes, {}, WordPieces(pieces))
    with pytest.raises(FileNotFoundError, match="there is no folder or file nowhere$"):
        load_captioner("blip:nowhere")
    with pytest.raises(FileNotFoundError, match="there is no vocabulary .*vocab.txt"):
        load_captioner(f"blip:{tmp_path}")
    with pytest.raises(ValueError, match="a BLIP of another size than base, large"):
        load_captioner(f"blip:{model}")
