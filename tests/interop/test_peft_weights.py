"""Adapters in peft's layout, made up here byte by byte: merged by the formula, into CLIP and MAE, refused otherwise."""

import json

import numpy as np
import pytest
from golden import stored, weights
from safetensors_bytes import safetensors

from lvm_mtc.interop.mae_weights import load_mae
from lvm_mtc.interop.peft_weights import merge_adapter
from lvm_mtc.interop.tensor_files import TensorFileError
from lvm_mtc.models.variants import Variant

CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none", "target_modules": ["query", "value"]}
BASE = {
    f"vit.layer.{i}.{part}.weight": np.full((4, 3), i + 1.0, np.float32) for i in (0, 1) for part in ("query", "key")
}


def write(folder, tensors, config=CONFIG):
    folder.mkdir(exist_ok=True)
    tensors = {name: np.asarray(array, np.float32) for name, array in tensors.items()}
    (folder / "adapter_model.safetensors").write_bytes(safetensors(tensors))
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def pair(module, shape, rank=2, seed=0):
    rng = np.random.default_rng(seed)
    names = (f"base_model.model.{module}.lora_{factor}.weight" for factor in "AB")
    return dict(zip(names, (rng.normal(size=(rank, shape[1])), rng.normal(size=(shape[0], rank))), strict=True))


@pytest.mark.parametrize(
    ("changes", "rank", "scale"),
    [
        ({}, 2, 3.0),
        ({"use_rslora": True}, 2, 6 / 2**0.5),
        ({"alpha_pattern": {"layer.1.query": 10}}, 2, 5.0),
        ({"alpha_pattern": {"layer.0.query": 10}}, 2, 3.0),
        ({"rank_pattern": {"query": 3}}, 3, 2.0),
    ],
)
def test_weights_get_scale_times_b_a(tmp_path, changes, rank, scale):
    tensors = pair("vit.layer.1.query", (4, 3), rank)
    folder = write(tmp_path / "adapter", tensors, CONFIG | changes)
    merged = merge_adapter(BASE, folder)
    a, b = tensors.values()
    np.testing.assert_allclose(merged["vit.layer.1.query.weight"], 2 + scale * (b @ a), atol=1e-6)
    assert set(merged) == set(BASE)
    assert all(merged[name] is BASE[name] for name in BASE if name != "vit.layer.1.query.weight")


def test_wrapped_names_transposed_layers_and_convolutions(tmp_path):
    tensors = pair("layer.0.key", (4, 3))
    a, b = tensors.values()
    merged = merge_adapter(BASE, write(tmp_path / "a", tensors))
    np.testing.assert_allclose(merged["vit.layer.0.key.weight"], 1 + 3 * (b @ a), atol=1e-6)
    base = {"conv1d.weight": np.zeros((3, 4), np.float32)}
    tensors = pair("conv1d", (4, 3))
    a, b = tensors.values()
    merged = merge_adapter(base, write(tmp_path / "b", tensors, CONFIG | {"fan_in_fan_out": True}))
    np.testing.assert_allclose(merged["conv1d.weight"], 3 * (b @ a).T, atol=1e-6)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 5, 5)), rng.normal(size=(4, 2, 1, 1))
    names = (f"base_model.model.patch.lora_{factor}.weight" for factor in "AB")
    folder = write(tmp_path / "c", dict(zip(names, (a, b), strict=True)))
    merged = merge_adapter({"patch.weight": np.zeros((4, 3, 5, 5), np.float32)}, folder)
    wanted = sum(b[:, r, 0, 0][:, None, None, None] * a[None, r] for r in range(2))
    np.testing.assert_allclose(merged["patch.weight"], 3 * wanted, atol=1e-5)


def test_reaches_the_fused_layers_of_mae(tmp_path):
    """Query and value of a transformers ViTMAE become columns of our ``qkv``; the key's stay."""
    golden = stored("mae")
    sizes, base = Variant(**json.loads(str(golden["sizes"]))), weights(golden)
    width, module = sizes.embed_dim, "vit.encoder.layer.1.attention.attention"
    query, value = pair(f"{module}.query", (width, width), seed=1), pair(f"{module}.value", (width, width), seed=2)
    folder = write(tmp_path / "adapter", query | value)
    before, after = (
        load_mae(t, variant=sizes, predicts="pixels").encoder["block1"]["qkv"]
        for t in (base, merge_adapter(base, folder))
    )
    np.testing.assert_array_equal(before["bias"], after["bias"])
    difference = np.split(after["kernel"] - before["kernel"], 3, axis=1)
    updates = [3 * (b @ a).T for a, b in (query.values(), value.values())]
    for got, wanted in zip(difference, (updates[0], 0 * updates[0], updates[1]), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("tensors", "config", "message"),
    [
        (pair("vit.layer.0.query", (4, 3)), {"peft_type": "IA3"}, "adapter_config.json: is no configuration of a LoRA"),
        (pair("vit.layer.0.query", (4, 3)), CONFIG | {"use_dora": True}, "expected LORA without use_dora"),
        (
            pair("vit.layer.0.query", (4, 3)),
            CONFIG | {"lora_alpha": float("nan")},
            "lora_alpha must be a finite number",
        ),
        (
            pair("vit.layer.0.query", (4, 3)),
            CONFIG | {"alpha_pattern": {"q": "2"}},
            "q must be a finite number, got '2'",
        ),
        (pair("vit.layer.0.query", (4, 3)), CONFIG | {"alpha_pattern": {"(": 2}}, "is no configuration of a LoRA"),
        (pair("vit.layer.0.query", (4, 3)), CONFIG | {"alpha_pattern": [1]}, "is no configuration of a LoRA"),
        (pair("vit.layer.0.query", (5, 3)), CONFIG, r"is for \(5, 3\), and vit.layer.0.query.weight is \(4, 3\)"),
        (pair("query", (4, 3)), CONFIG, "query.weight fits 2 of the base model's tensors"),
        ({"lora_embedding_A": np.zeros((2, 3))}, CONFIG, "'lora_embedding_A' is neither lora_A.weight nor"),
        (dict([*pair("vit.layer.0.query", (4, 3)).items()][:1]), CONFIG, r"have shapes \[\(2, 3\)\], expected"),
    ],
)
def test_what_is_not_plain_lora_for_this_base_is_refused(tmp_path, tensors, config, message):
    with pytest.raises(TensorFileError, match=message):
        merge_adapter(BASE, write(tmp_path / "adapter", tensors, config))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="adapter_config.json"):
        merge_adapter(BASE, tmp_path)
