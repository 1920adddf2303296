"""LLaVA's border: goldens of transformers, layouts of names, folders of several files, faults."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import stored, weights
from safetensors_bytes import safetensors

from lvm_mtc.interop.llava_weights import load_llava
from lvm_mtc.interop.tensor_files import TensorFileError
from lvm_mtc.models.clip import CLIP_VARIANTS, ClipVariant
from lvm_mtc.models.llava import LlavaBorder, anyres_size, unpadded_grid
from lvm_mtc.models.llava_cost import projector_parameters
from lvm_mtc.models.weights import WeightsError

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(scope="module")
def golden():
    """Written by tests/golden/make_llava.py, versions inside."""
    return stored("llava")


@pytest.fixture(scope="module")
def sizes(golden):
    return ClipVariant(**json.loads(str(golden["sizes"])))


@pytest.fixture(scope="module")
def tensors(golden):
    return weights(golden)


def test_features_and_tokens_are_those_of_transformers(golden, sizes, tensors):
    found = load_llava(tensors, variant=sizes)
    assert (found.activation, found.width, found.projector) == ("quick_gelu", golden["tokens"].shape[-1], "mlp")
    border = LlavaBorder(*found[:4])

    @jax.jit
    def run(params, images):
        features = border.apply({"params": params}, images, method="features")
        return features, border.apply({"params": params}, features, method="project")

    features, tokens = run(found.params, jnp.asarray(golden["images"]))
    for own, name in ((features, "features"), (tokens, "tokens")):
        want = golden[name]
        np.testing.assert_allclose(own, want, rtol=0, atol=1e-4 * np.abs(want).max(), err_msg=name)
        assert np.abs(np.asarray(own)[::-1] - want).max() > 0.1


def test_sizes_of_llava_1_6_are_those_of_transformers(golden):
    for (height, width), (*size, rows, columns) in zip(golden["pictures"], golden["grids"], strict=True):
        chosen = anyres_size(height, width)
        assert chosen == tuple(size)
        assert unpadded_grid(height, width, (chosen[0] // 14, chosen[1] // 14)) == (rows, columns)


def test_published_sizes_of_the_projector():
    large = CLIP_VARIANTS["vit-l/14@336"]
    shapes = jax.eval_shape(
        lambda: LlavaBorder(large, "quick_gelu", 4096).init(jax.random.key(0), jnp.zeros((1, 336, 336, 3)))
    )["params"]
    count = sum(leaf.size for name in ("linear_1", "linear_2") for leaf in jax.tree.leaves(shapes[name]))
    assert count == projector_parameters("mlp") == 20_979_712
    assert (
        shapes["image"]["pos_embed"].shape == (577, 1024)
        and "block22" in shapes["image"]
        and "block23" not in shapes["image"]
    )


def test_names_of_other_releases_and_folders_of_several_files(sizes, tensors, tmp_path, monkeypatch):
    monkeypatch.setitem(CLIP_VARIANTS, "golden", sizes)
    want = load_llava(tensors, variant=sizes).params
    for old, new in (("", "model."), ("vision_tower.vision_model.", "model.vision_tower.")):
        plain = {name.replace("vision_tower.embeddings", "vision_tower.vision_model.embeddings"): a
                 for name, a in tensors.items()}  # fmt: skip
        renamed = {name.replace(old, new, 1) if name.startswith(old) else name: a for name, a in plain.items()}
        jax.tree.map(np.testing.assert_array_equal, load_llava(renamed).params, want)
    parts = {"model-1.safetensors": {}, "model-2.safetensors": {}, "model-3.safetensors": {}}
    for name, array in tensors.items():
        parts["model-2.safetensors" if "projector" in name else "model-1.safetensors"][name] = array
    index = {name: file for file, own in parts.items() for name in own} | {"language_model.x": "model-3.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    for file in list(parts)[:2]:  # the language model's file need not be there
        (tmp_path / file).write_bytes(safetensors(parts[file]))
    config = {"vision_config": {"hidden_act": "gelu"}, "vision_feature_layer": -2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = load_llava(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, found.params, want)
    assert found.activation == "gelu"
    (tmp_path / "config.json").write_text(json.dumps(config | {"vision_feature_layer": -1}))
    with pytest.raises(TensorFileError, match="config.json: is no configuration of a LLaVA"):
        load_llava(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(TensorFileError, match="index.json: is no index of tensors"):
        load_llava(tmp_path)


def test_faults(sizes, tensors):
    with pytest.raises(WeightsError, match="holds no projector of LLaVA"):
        load_llava({name: a for name, a in tensors.items() if "projector" not in name}, variant=sizes)
    with pytest.raises(WeightsError, match="linear_2.bias"):
        load_llava({name: a for name, a in tensors.items() if name != "multi_modal_projector.linear_2.bias"},
                   variant=sizes)  # fmt: skip
    with pytest.raises(ValueError, match="projector must be one of linear, mlp, got 'conv'"):
        LlavaBorder(sizes, "gelu", 8, "conv").init(jax.random.key(0), jnp.zeros((1, 24, 24, 3)))
    with pytest.raises(ValueError, match=r"images \(1, 8, 8, 3\) do not fit"):
        LlavaBorder(sizes, "gelu", 8).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
