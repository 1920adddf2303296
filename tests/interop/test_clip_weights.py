"""CLIP's weights in two layouts: goldens of PyTorch, folders, activation, faults listed all at once."""

import io
import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import stored, weights
from safetensors_bytes import safetensors

from lvm_mtc.interop.clip_weights import load_clip
from lvm_mtc.interop.tensor_files import TensorFileError
from lvm_mtc.models import clip as models_clip
from lvm_mtc.models.clip import ClipVariant, clip, cosine
from lvm_mtc.models.weights import WeightsError, flatten_params

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(scope="module")
def golden():
    """Written by tests/golden/make_clip.py, versions inside."""
    return stored("clip")


@pytest.fixture(scope="module")
def sizes(golden):
    return ClipVariant(**json.loads(str(golden["sizes"])))


def weights_of(golden, library):
    return weights(golden, f"{library}/weights/")


def clip_params(tensors, sizes):
    return load_clip(tensors, variant=sizes, activation="gelu").params


@pytest.mark.parametrize(
    ("library", "activation", "prefix"),
    [
        ("huggingface", "quick_gelu", "huggingface/quick_gelu"),
        ("huggingface", "gelu", "huggingface/gelu"),
        ("openai", "quick_gelu", "openai"),
    ],
)
def test_features_are_those_of_pytorch(golden, sizes, library, activation, prefix):
    params = clip_params(weights_of(golden, library), sizes)
    images, tokens = jnp.asarray(golden["images"]), jnp.asarray(golden["tokens"])
    model = clip(sizes, activation)

    @jax.jit
    def run(params):
        methods = (("image_features", images), ("text_features", tokens))
        return *(model.apply({"params": params}, x, method=m) for m, x in methods), model.apply(
            {"params": params}, images, tokens
        )

    image, text, logits = run(params)
    want_image, want_text = jnp.asarray(golden[f"{prefix}/image"]), jnp.asarray(golden[f"{prefix}/text"])
    if library == "huggingface":  # transformers hands out unit vectors
        image, text = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (image, text))
    np.testing.assert_allclose(image, want_image, rtol=0, atol=1e-4)
    np.testing.assert_allclose(text, want_text, rtol=0, atol=1e-4)
    np.testing.assert_allclose(cosine(image, text), cosine(want_image, want_text), rtol=0, atol=1e-4)
    np.testing.assert_allclose(logits, golden[f"{prefix}/logits"], rtol=0, atol=1e-4)
    # Texts in another order would be seen.
    assert np.abs(text[::-1] - want_text).max() > 0.1


def test_both_layouts_give_the_same_parameters(golden, sizes):
    own = weights_of(golden, "huggingface")
    other = {}
    for tower, layers in (("vision_model", "visual."), ("text_model", "")):
        for i in range(2):
            source, target = f"{tower}.encoder.layers.{i}", f"{layers}transformer.resblocks.{i}"
            for kind in ("weight", "bias"):
                parts = [own[f"{source}.self_attn.{p}_proj.{kind}"] for p in ("q", "k", "v")]
                other[f"{target}.attn.in_proj_{kind}"] = np.vstack(parts) if kind == "weight" else np.hstack(parts)
                for a, b in (("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                             ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):  # fmt: skip
                    other[f"{target}.{b}.{kind}"] = own[f"{source}.{a}.{kind}"]
    for kind in ("weight", "bias"):
        for a, b in (("vision_model.pre_layrnorm", "visual.ln_pre"), ("vision_model.post_layernorm", "visual.ln_post"),
                     ("text_model.final_layer_norm", "ln_final")):  # fmt: skip
            other[f"{b}.{kind}"] = own[f"{a}.{kind}"]
    embeddings = "vision_model.embeddings"
    other |= {
        "logit_scale": own["logit_scale"],
        "visual.class_embedding": own[f"{embeddings}.class_embedding"],
        "visual.conv1.weight": own[f"{embeddings}.patch_embedding.weight"],
        "visual.positional_embedding": own[f"{embeddings}.position_embedding.weight"],
        "token_embedding.weight": own["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": own["text_model.embeddings.position_embedding.weight"],
        "visual.proj": own["visual_projection.weight"].T,
        "text_projection": own["text_projection.weight"].T,
        # Buffers that come with some files.
        "attn_mask": np.zeros((10, 10), np.float32), "context_length": np.array(10),
    }  # fmt: skip
    first, second = flatten_params(clip_params(own, sizes)), flatten_params(clip_params(other, sizes))
    assert sorted(first) == sorted(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize("library", ["huggingface", "openai"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "clip.", "module._orig_mod.model."])
def test_wrapped_names_are_read(golden, sizes, tmp_path, monkeypatch, library, prefix):
    monkeypatch.setitem(models_clip.CLIP_VARIANTS, "golden", sizes)
    tensors = weights_of(golden, library)
    (tmp_path / "model.safetensors").write_bytes(safetensors({f"{prefix}{n}": a for n, a in tensors.items()}))
    found = load_clip(tmp_path, activation="gelu")
    jax.tree.map(np.testing.assert_array_equal, found.params, clip_params(tensors, sizes))


def test_another_prefix_is_named(golden, sizes):
    tensors = {f"student.{n}": a for n, a in weights_of(golden, "huggingface").items()}
    with pytest.raises(TensorFileError, match="CLIP's tensors: 'student.' stands before the names"):
        clip_params(tensors, sizes)


def test_all_faults_are_listed_at_once(golden, sizes):
    tensors = weights_of(golden, "huggingface")
    del tensors["logit_scale"], tensors["text_model.final_layer_norm.bias"]
    tensors["vision_model.surprise"] = np.zeros(3)
    tensors["visual_projection.weight"] = tensors["visual_projection.weight"].T
    with pytest.raises(WeightsError) as caught:
        clip_params(tensors, sizes)
    message = str(caught.value)
    assert message.startswith("CLIP's tensors does not fit") and "\n" not in message
    assert "2 missing: logit_scale, text_model.final_layer_norm.bias" in message
    assert "1 not known: vision_model.surprise" in message
    assert "1 of another shape: visual_projection.weight (24, 12) instead of (12, 24)" in message


def test_folder_with_configuration(golden, sizes, tmp_path, monkeypatch):
    monkeypatch.setitem(models_clip.CLIP_VARIANTS, "golden", sizes)
    tensors = weights_of(golden, "huggingface")
    (tmp_path / "model.safetensors").write_bytes(safetensors(tensors))
    for source in (tmp_path, tensors):
        with pytest.raises(ValueError, match="activation of .* is not known: there is no config.json"):
            load_clip(source)
    config = {"text_config": {"hidden_act": "gelu"}, "vision_config": {"hidden_act": "gelu"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = load_clip(tmp_path)
    assert found[:2] == ("golden", "gelu")
    want = clip_params(tensors, sizes)
    for name, value in flatten_params(want).items():
        np.testing.assert_array_equal(flatten_params(found.params)[name], value)
    assert load_clip(tmp_path, activation="quick_gelu").activation == "quick_gelu"
    with pytest.raises(ValueError, match="activation must be one of quick_gelu, gelu, got 'swish'"):
        load_clip(tmp_path, activation="swish")
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8-sig")
    assert load_clip(tmp_path).activation == "gelu"
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(TensorFileError, match="config.json: is no configuration of a CLIP model"):
        load_clip(tmp_path)
    (tmp_path / "config.json").unlink()
    for config, activation in (({}, "gelu"), ({"quick_gelu": True}, "quick_gelu")):
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
        assert load_clip(tmp_path).activation == activation


def test_what_is_no_clip_is_refused(golden, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds none of model.safetensors"):
        load_clip(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(safetensors({"weight": np.zeros((2, 2), np.float32)}))
    with pytest.raises(WeightsError, match="does not hold CLIP's weights: it lacks vision_model.embeddings.patch"):
        load_clip(file, activation="gelu")
    file.write_bytes(safetensors(weights_of(golden, "openai")))
    with pytest.raises(WeightsError, match=r"another size than vit-b/32.*patch kernel is \(24, 3, 8, 8\)"):
        load_clip(file, activation="gelu")


def test_pickle_that_would_run_a_command_does_not(tmp_path):
    marker = tmp_path / "ran"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode())
    file = tmp_path / "open_clip_pytorch_model.bin"
    file.write_bytes(buffer.getvalue())
    with pytest.raises(TensorFileError, match="asks for 'posix.system'.*refused"):
        load_clip(tmp_path, activation="gelu")
    assert not marker.exists()
