"""BLIP's weights: tied tensors under either name, faults listed all at once."""

import json

import numpy as np
import pytest
from golden import stored, weights

from lvm_mtc.interop.blip_weights import load_blip
from lvm_mtc.interop.tensor_files import TensorFileError
from lvm_mtc.models.blip import BlipVariant
from lvm_mtc.models.weights import WeightsError, flatten_params

BIAS, WORDS = "text_decoder.cls.predictions.bias", "text_decoder.bert.embeddings.word_embeddings.weight"
COPIES = {"text_decoder.cls.predictions.decoder.bias": BIAS, "text_decoder.cls.predictions.decoder.weight": WORDS}


@pytest.fixture(scope="module")
def golden():
    """Weights and sizes of tests/golden/make_blip.py."""
    arrays = stored("blip")
    return weights(arrays), BlipVariant(**json.loads(str(arrays["sizes"])))


def test_every_number_finds_its_place(golden):
    tensors, sizes = golden
    flat = flatten_params(load_blip(tensors, variant=sizes).params)
    assert sum(a.size for a in flat.values()) == sum(a.size for a in tensors.values())
    ours, theirs = (np.concatenate([np.float32(a).ravel() for a in arrays.values()]) for arrays in (flat, tensors))
    np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))
    np.testing.assert_array_equal(
        flat["text/block1/key_value/kernel"][:, 32:],
        np.float32(tensors["text_decoder.bert.encoder.layer.1.crossattention.self.value.weight"]).T,
    )


def test_tied_tensors_stand_under_either_name(golden):
    tensors, sizes = golden
    expected = flatten_params(load_blip(tensors, variant=sizes).params)
    copies = {copy: tensors[original] for copy, original in COPIES.items()}
    table = {"text_decoder.bert.embeddings.position_ids": np.arange(24)[None]}
    alone = {name: a for name, a in tensors.items() if name not in COPIES.values()}
    wrapped = {f"module.{name}": a for name, a in tensors.items()}
    for source in (tensors | copies | table, alone | copies, wrapped):
        found = flatten_params(load_blip(source, variant=sizes).params)
        assert found.keys() == expected.keys()
        assert all((found[name] == expected[name]).all() for name in found)
    copies["text_decoder.cls.predictions.decoder.bias"] = tensors[BIAS] + 1
    with pytest.raises(WeightsError, match=f"decoder.bias differs from {BIAS}, to which BLIP ties it$"):
        load_blip(tensors | copies, variant=sizes)


def test_faults_are_one_line(golden, tmp_path):
    tensors, sizes = golden
    norm = "vision_model.post_layernorm.weight"
    faulty = {n: a for n, a in tensors.items() if n != norm} | {"more": np.zeros(1), BIAS: np.zeros(3)}
    with pytest.raises(WeightsError) as error:
        load_blip(faulty, variant=sizes)
    assert all(part in str(error.value) for part in (norm, "more", BIAS)) and "\n" not in str(error.value)
    with pytest.raises(WeightsError, match="a BLIP of another size than base, large: its patch kernel is .40, 3, 8, 8"):
        load_blip(tensors)
    with pytest.raises(WeightsError, match=f"it lacks .*{WORDS}"):
        load_blip({n: a for n, a in tensors.items() if n != WORDS})
    with pytest.raises(ValueError, match="variant must be one of base, large, got 'huge'"):
        load_blip(tensors, variant="huge")
    with pytest.raises(FileNotFoundError, match="holds none of model.safetensors, pytorch_model.bin"):
        load_blip(tmp_path)
    with pytest.raises(TensorFileError, match="visual"):
        load_blip({f"visual.{n}": a for n, a in tensors.items()}, variant=sizes)
