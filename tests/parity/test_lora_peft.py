"""Adapters that peft trains and saves, on a small ViTMAE of transformers (needs torch, transformers and peft)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.interop.mae_weights import load_mae
from lvm_mtc.interop.peft_weights import merge_adapter
from lvm_mtc.models.patches import patchify
from lvm_mtc.models.variants import Variant
from lvm_mtc.schemes.lvm_mtc.masking import keep_budget
from lvm_mtc.schemes.lvm_mtc.token_codec import TokenEncoder

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("transformers", reason="needs transformers and torch")
peft = pytest.importorskip("peft", reason="needs peft")

pytestmark = pytest.mark.parity

MODULES = ["q_proj", "v_proj", "fc1", "query", "value", "intermediate.dense"]  # by transformers' release


@pytest.fixture(scope="module")
def make_mae():
    from golden import make_mae

    return make_mae


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"alpha_pattern": {"q_proj|query": 3}}])
def test_the_encoder_with_the_adapter_beside_its_kernels(make_mae, options, tmp_path):
    model = make_mae.published_model(make_mae.SIZES, make_mae.IMAGE_SIZE, make_mae.PATCH_SIZE, 0.5, 8)
    base = make_mae.saved_tensors(model)
    config = peft.LoraConfig(r=3, lora_alpha=7, target_modules=MODULES, **options)
    adapted = peft.get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_" in name:
                value.normal_(0, 0.2, generator=generator)
    adapted.save_pretrained(tmp_path)
    rng = np.random.default_rng(2)
    images = rng.uniform(size=(2, make_mae.IMAGE_SIZE, make_mae.IMAGE_SIZE, 3)).astype(np.float32)
    noise = rng.uniform(size=(2, 16)).astype(np.float32)
    theirs, _ = make_mae.run(adapted.base_model.model, images, noise)

    sizes = Variant(**make_mae.SIZES)
    encoder = TokenEncoder(4, 4, sizes.embed_dim, sizes.depth, sizes.num_heads, send_class_token=True)
    kept, patches = keep_budget(-jnp.asarray(noise), 8), patchify(jnp.asarray(images), make_mae.PATCH_SIZE)

    def encode(tensors):
        weights = load_mae(tensors, variant=sizes, predicts="pixels", send_class_token=True)
        return np.asarray(jax.jit(encoder.apply)({"params": weights.encoder}, patches, kept)[0])

    order = np.argsort(noise, axis=1)[:, :8]
    want = np.take_along_axis(theirs[:, 1:], np.argsort(order, axis=1)[..., None], axis=1)
    want = np.concatenate([theirs[:, :1], want], axis=1)
    np.testing.assert_allclose(encode(merge_adapter(base, tmp_path)), want, rtol=0, atol=1e-5)
    assert np.abs(encode(base) - want).max() > 0.1  # the adapter matters
