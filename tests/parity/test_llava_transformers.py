"""LLaVA's border against transformers, and a language model of one's own behind the link (needs torch)."""

import jax
import numpy as np
import pytest
from golden import stored

from lvm_mtc.interop.llava_weights import load_llava
from lvm_mtc.knowledge.answerers import AskedOnce
from lvm_mtc.knowledge.own import OwnFunction
from lvm_mtc.models.clip import ClipVariant
from lvm_mtc.models.llava import PINPOINTS, LlavaBorder, anyres_size, unpadded_grid

torch = pytest.importorskip("torch", reason="needs torch")
transformers = pytest.importorskip("transformers", reason="needs transformers and torch")

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def make():
    """The script that writes the golden."""
    from golden import make_llava

    return make_llava


@pytest.fixture(scope="module")
def model(make):
    return make.published_model()


@pytest.fixture(scope="module")
def border(make, model, tmp_path_factory):
    """Our half, from the files that transformers writes."""
    folder = tmp_path_factory.mktemp("llava")
    model.save_pretrained(folder)
    found = load_llava(folder, variant=ClipVariant(**make.SIZES))
    assert found.activation == "quick_gelu"
    module = LlavaBorder(*found[:4])
    return lambda method, x: np.asarray(
        jax.jit(lambda p, x: module.apply({"params": p}, x, method=method))(found.params, x)
    )


def images(make, count=3):
    side = make.SIZES["image_size"]
    return np.random.default_rng(8).normal(size=(count, side, side, 3)).astype(np.float32)


def test_features_and_tokens(make, model, border):
    pictures = images(make)
    for own, want in ((border("features", pictures), make.features(model, pictures)),
                      (border("__call__", pictures), make.tokens(model, pictures))):  # fmt: skip
        np.testing.assert_allclose(own, want, rtol=0, atol=1e-4 * np.abs(want).max())


def test_the_golden_is_what_transformers_gives_today(make):
    golden, fresh = stored("llava"), make.cases()
    assert set(golden) == set(fresh)
    for name, array in golden.items():
        if array.dtype.kind != "U":
            np.testing.assert_allclose(fresh[name], array, rtol=0, atol=1e-4 * np.abs(array).max(), err_msg=name)


def test_sizes_of_llava_1_6(make):
    rng = np.random.default_rng(0)
    make.PICTURES = tuple(map(tuple, rng.integers(60, 2000, (40, 2)).tolist()))
    for size, want in zip(make.PICTURES, make.grids(PINPOINTS), strict=True):
        chosen = anyres_size(*size)
        assert (*chosen, *unpadded_grid(*size, (chosen[0] // 14, chosen[1] // 14))) == tuple(want)


def test_a_language_model_behind_the_link_answers_as_the_whole_does(make, model, border):
    pictures, questions = images(make, 2), ["which one is it", "how many are there"]
    patches = (make.SIZES["image_size"] // make.SIZES["patch_size"]) ** 2

    def numbers(question):
        words = [1 + sum(word.encode()) % (make.PICTURE_TOKEN - 1) for word in question.split()]
        return torch.tensor([[make.PICTURE_TOKEN] * patches + words])

    def say(inputs, **more):
        with torch.no_grad():
            scores = model(**inputs, **more).logits[0, -1]
        return " ".join(map(str, scores.topk(5).indices.tolist()))

    def own(features, valid, questions):
        """The server: features to tokens of the language model, between the embeddings of the question's words."""
        texts = []
        for seen, sent, question in zip(features, valid, questions, strict=True):
            embedded = model.get_input_embeddings()(numbers(question)).detach().clone()
            embedded[0, :patches][torch.tensor(sent)] = torch.tensor(border("project", seen[sent]))
            texts.append(say({"inputs_embeds": embedded}))
        return texts

    answerer = AskedOnce(OwnFunction("server:own", own))
    got = answerer(border("features", pictures), np.ones((2, patches), bool), questions)
    pixels = torch.tensor(pictures).permute(0, 3, 1, 2)
    want = [say({"input_ids": numbers(q)}, pixel_values=pixels[n : n + 1]) for n, q in enumerate(questions)]
    assert got == want and got[0] != got[1]
    other = answerer(border("features", pictures[::-1]), np.ones((2, patches), bool), questions)
    assert other != want  # it does look at the pictures
