"""CLIP at its published sizes, with random weights, against transformers' PyTorch model (needs torch)."""

import jax
import numpy as np
import pytest

from lvm_mtc.data.clip_tokenizer import default_tokenizer
from lvm_mtc.interop.clip_weights import load_clip
from lvm_mtc.interop.tensor_files import read_tensors
from lvm_mtc.models.clip import CLIP_VARIANTS, clip, cosine

torch = pytest.importorskip("torch", reason="needs torch")
transformers = pytest.importorskip("transformers", reason="needs transformers and torch")

pytestmark = pytest.mark.parity


def published_model(variant: str, activation: str):
    """transformers' model of a size, every tensor random, biases and norms included."""
    s = CLIP_VARIANTS[variant]
    config = transformers.CLIPConfig(
        text_config=dict(
            hidden_size=s.text_width, intermediate_size=4 * s.text_width, num_hidden_layers=s.text_depth,
            num_attention_heads=s.text_heads, hidden_act=activation, bos_token_id=49406, eos_token_id=49407,
        ),
        vision_config=dict(
            hidden_size=s.image_width, intermediate_size=4 * s.image_width, num_hidden_layers=s.image_depth,
            num_attention_heads=s.image_heads, image_size=s.image_size, patch_size=s.patch_size,
            hidden_act=activation,
        ),
        projection_dim=s.embed_dim,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.CLIPModel(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 1:
                value.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.1)
            elif value.ndim == 2:
                value.normal_(0, value.shape[1] ** -0.5)
    return model


@pytest.mark.parametrize(
    ("variant", "activation"), [("vit-b/32", "quick_gelu"), ("vit-b/16", "gelu"), ("vit-l/14", "quick_gelu")]
)
def test_towers_and_cosines(variant, activation, tmp_path):
    theirs = published_model(variant, activation)
    theirs.save_pretrained(tmp_path)
    weights = load_clip(tmp_path)
    assert weights[:2] == (variant, activation)
    images = np.random.default_rng(1).normal(size=(2, 224, 224, 3)).astype(np.float32)
    tokens = default_tokenizer()(["a photo of a dog", "", "two people on a beach " * 30])
    with torch.no_grad():
        out = theirs(
            input_ids=torch.tensor(tokens.astype(np.int64)), pixel_values=torch.tensor(images).permute(0, 3, 1, 2)
        )
    ours = clip(variant, activation)
    run = jax.jit(lambda p, x, method: ours.apply({"params": p}, x, method=method), static_argnames="method")
    image, text = run(weights.params, images, "image_features"), run(weights.params, tokens, "text_features")
    for mine, want in ((image, out.image_embeds), (text, out.text_embeds)):
        mine = np.asarray(mine) / np.linalg.norm(mine, axis=-1, keepdims=True)
        np.testing.assert_allclose(mine, want.numpy(), rtol=0, atol=1e-4)
    want = (out.image_embeds @ out.text_embeds.T).numpy()
    np.testing.assert_allclose(cosine(image, text), want, rtol=0, atol=1e-4)
    assert np.ptp(want) > 0.01


def test_torch_and_safetensors_write_what_the_readers_read(tmp_path):
    safetensors_torch = pytest.importorskip("safetensors.torch", reason="needs safetensors and torch")
    torch.manual_seed(0)
    shared = torch.randn(3, 5)
    tensors = {
        "a": shared, "transposed": shared.T, "row": shared[1], "scalar": torch.tensor(2.5),
        "half": torch.randn(4).half(), "bfloat": torch.randn(4).bfloat16(), "long": torch.arange(3),
        "bool": torch.tensor([True, False]), "empty": torch.zeros(0, 2),
    }  # fmt: skip
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "model.pt")
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "module.pt")
    plain = {name: value.contiguous().clone() for name, value in tensors.items()}
    safetensors_torch.save_file(plain, tmp_path / "model.safetensors")
    for file in ("model.pt", "model.safetensors"):
        found = read_tensors(tmp_path / file)
        assert sorted(found) == sorted(tensors)
        for name, value in tensors.items():
            np.testing.assert_array_equal(found[name].astype(np.float64), value.double().numpy(), err_msg=name)
            assert found[name].dtype.name == str(value.dtype).removeprefix("torch.")
    assert sorted(read_tensors(tmp_path / "module.pt")) == ["bias", "weight"]
    torch.save(torch.nn.Linear(2, 3), tmp_path / "whole.pt")
    with pytest.raises(ValueError, match="asks for 'torch.nn.modules.linear.Linear'.*refused"):
        read_tensors(tmp_path / "whole.pt")
