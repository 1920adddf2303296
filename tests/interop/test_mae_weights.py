"""MAE's weights in two layouts: goldens of transformers, the border of the pixels, faults listed all at once."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import stored, weights

from lvm_mtc.interop.mae_weights import load_mae
from lvm_mtc.interop.tensor_files import TensorFileError
from lvm_mtc.models.patches import patchify
from lvm_mtc.models.transformer import resize_positions, sincos_positions
from lvm_mtc.models.variants import VARIANTS, Variant
from lvm_mtc.models.weights import WeightsError, flatten_params
from lvm_mtc.schemes.lvm_mtc.masking import keep_budget
from lvm_mtc.schemes.lvm_mtc.token_codec import TokenDecoder, TokenEncoder

pytestmark = pytest.mark.usefixtures("fast_compile")

MEAN, STD = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def golden():
    """Written by tests/golden/make_mae.py, versions inside."""
    return stored("mae")


@pytest.fixture(scope="module")
def sizes(golden):
    return Variant(**json.loads(str(golden["sizes"])))


@pytest.fixture(scope="module")
def hugging_face(golden):
    """Tensors under the names that transformers 5 writes."""
    return weights(golden)


@pytest.fixture(scope="module")
def original(hugging_face):
    """The same under the names of the published checkpoints."""
    renamed = (
        ("decoder.decoder_encoder.layer.", "decoder_blocks."), ("vit.encoder.layer.", "blocks."),
        ("vit.embeddings.position_embeddings", "pos_embed"), ("vit.embeddings.cls_token", "cls_token"),
        ("vit.embeddings.patch_embeddings.projection", "patch_embed.proj"), ("vit.layernorm.", "norm."),
        ("layernorm_before", "norm1"), ("layernorm_after", "norm2"), ("attention.output.dense", "attn.proj"),
        ("intermediate.dense", "mlp.fc1"), ("output.dense", "mlp.fc2"), ("decoder.", ""),
        ("attention.attention.", "attn."),
    )  # fmt: skip
    found = {}
    for name, array in hugging_face.items():
        for theirs, ours in renamed:
            name = name.replace(theirs, ours)
        found[name] = array
    for name in [name for name in found if "attn.query" in name]:
        parts = [found.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        found[name.replace("query", "qkv")] = np.concatenate(parts)
    return found


@pytest.fixture
def base_is_tiny(sizes, monkeypatch):
    """Lets the golden's sizes stand for the base size, so that files of it are recognised."""
    monkeypatch.setitem(VARIANTS, "base", sizes)


def mae_params(tensors, sizes, **options):
    found = load_mae(tensors, variant=sizes, **options)
    return {"encoder": found.encoder} | ({"decoder": found.decoder} if found.decoder else {})


def save(path, tensors):
    """An archive under any name: its content decides how it is read."""
    with open(path, "wb") as file:
        np.savez(file, **tensors)
    return path


def run(sizes, params, images, noise, predicts="pixels"):
    """Tokens and painted patches of the codec, the class token sent; MAE keeps the patches of the smallest noise."""
    v, patch_size = sizes, 8
    side = images.shape[1] // patch_size
    encoder = TokenEncoder(side, side, v.embed_dim, v.depth, v.num_heads, send_class_token=True)
    decoder = TokenDecoder(
        side,
        side,
        v.decoder_embed_dim,
        v.decoder_depth,
        v.decoder_num_heads,
        patch_dim=3 * patch_size**2,
        send_class_token=True,
    )

    @jax.jit
    def paint(params):
        kept = keep_budget(-jnp.asarray(noise), noise.shape[1] // 2)
        tokens, _ = encoder.apply({"params": params["encoder"]}, patchify(jnp.asarray(images), patch_size), kept)
        return kept.ids_keep, tokens, decoder.apply({"params": params["decoder"]}, tokens, kept)

    return map(np.asarray, paint(params))


def test_tokens_and_pixels_are_those_of_transformers(golden, sizes, hugging_face):
    params = mae_params(hugging_face, sizes, predicts="pixels", send_class_token=True)
    ids_keep, tokens, painted = run(sizes, params, golden["images"], golden["noise"])
    order = np.argsort(golden["noise"], axis=1)[:, : ids_keep.shape[1]]
    np.testing.assert_array_equal(np.sort(order, axis=1), ids_keep)
    latent = np.take_along_axis(golden["latent"][:, 1:], np.argsort(order, axis=1)[..., None], axis=1)
    np.testing.assert_allclose(tokens[:, 1:], latent, rtol=0, atol=1e-4)
    np.testing.assert_allclose(tokens[:, 0], golden["latent"][:, 0], rtol=0, atol=1e-4)
    want = golden["painted"] * np.tile(STD, 64) + np.tile(MEAN, 64)
    np.testing.assert_allclose(painted, want, rtol=0, atol=1e-4)
    assert np.abs(painted - np.roll(want, 1, axis=1)).max() > 0.1


def test_both_layouts_and_spellings_give_the_same_parameters(sizes, hugging_face, original):
    options = dict(predicts="pixels")
    want = flatten_params(mae_params(original, sizes, **options))
    published = {
        name.replace("decoder.decoder_encoder.layer.", "decoder.decoder_layers."): array
        for name, array in hugging_face.items()
    }
    for tensors in (hugging_face, published):
        got = flatten_params(mae_params(tensors, sizes, **options))
        assert set(got) == set(want)
        for name in want:
            np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    alone = {name.removeprefix("vit."): array for name, array in hugging_face.items() if name.startswith("vit.")}
    encoder = mae_params(alone, sizes)
    assert set(encoder) == {"encoder"}
    np.testing.assert_array_equal(encoder["encoder"]["block1"]["qkv"]["kernel"], want["encoder/block1/qkv/kernel"])


@pytest.mark.usefixtures("base_is_tiny")
@pytest.mark.parametrize("layout", ["original", "hugging_face"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_wrapped_names_are_read(tmp_path, request, layout, prefix):
    tensors = request.getfixturevalue(layout)
    wrapped = {f"{prefix}{name}": array for name, array in tensors.items()}
    plain, found = (load_mae(save(tmp_path / "visualize.bin", one)) for one in (tensors, wrapped))
    jax.tree.map(np.testing.assert_array_equal, found[3:], plain[3:])


def test_parameters_are_those_of_the_modules(sizes, original):
    for send in (False, True):
        params = mae_params(original, sizes, predicts="pixels", send_class_token=send)
        encoder = TokenEncoder(4, 4, sizes.embed_dim, sizes.depth, sizes.num_heads, send_class_token=send)
        v = sizes.decoder_embed_dim, sizes.decoder_depth, sizes.decoder_num_heads
        decoder = TokenDecoder(4, 4, *v, patch_dim=192, send_class_token=send)

        def init(key, patches, encoder=encoder, decoder=decoder):
            kept = keep_budget(jnp.zeros((1, 16)), 8)
            (tokens, _), params = encoder.init_with_output(key, patches, kept)
            return {"encoder": params["params"], "decoder": decoder.init(key, tokens, kept)["params"]}

        want = jax.eval_shape(init, jax.random.key(0), jax.ShapeDtypeStruct((1, 16, 192), jnp.float32))
        assert jax.tree.map(lambda a: (a.shape, a.dtype), params) == jax.tree.map(lambda a: (a.shape, a.dtype), want)


def test_pixels_are_converted_at_the_border(sizes, original):
    params = mae_params(original, sizes, predicts="pixels")
    rng = np.random.default_rng(0)
    pixels, features = rng.uniform(size=(8, 8, 3)), rng.normal(size=sizes.decoder_embed_dim)
    kernel, bias = (np.float64(original[f"patch_embed.proj.{kind}"]) for kind in ("weight", "bias"))
    want = np.einsum("dcij,ijc->d", kernel, (pixels - MEAN) / STD) + bias
    dense = params["encoder"]["patch_embed"]
    np.testing.assert_allclose(pixels.reshape(-1) @ dense["kernel"] + dense["bias"], want, rtol=0, atol=1e-5)
    painted = np.float64(original["decoder_pred.weight"]) @ features + original["decoder_pred.bias"]
    dense = params["decoder"]["pred"]
    want = painted.reshape(8, 8, 3) * STD + MEAN
    np.testing.assert_allclose((features @ dense["kernel"] + dense["bias"]).reshape(8, 8, 3), want, rtol=0, atol=1e-5)
    as_it_is = mae_params(original, sizes, predicts="normalized_patches")["decoder"]["pred"]
    np.testing.assert_allclose(features @ as_it_is["kernel"] + as_it_is["bias"], painted, rtol=0, atol=1e-5)


def test_an_unsent_class_token_starts_at_the_centre_of_the_norm(sizes, original):
    decoder = mae_params(original, sizes, predicts="pixels")["decoder"]
    want = np.float64(original["decoder_embed.weight"]) @ original["norm.bias"] + original["decoder_embed.bias"]
    np.testing.assert_allclose(decoder["cls_token"], want, rtol=0, atol=1e-6)


def test_fixed_positions_are_those_of_mae(golden):
    np.testing.assert_allclose(sincos_positions((4, 4), 16), golden["sincos"], rtol=0, atol=1e-6)


def test_positions_are_interpolated_as_pytorch_does(golden, sizes, original):
    for grid in ((7, 5), (3, 2)):
        want = golden[f"positions_{grid[0]}x{grid[1]}"]
        np.testing.assert_allclose(resize_positions(golden["positions"], (4, 4), grid)[1:], want, rtol=0, atol=1e-5)
    params = mae_params(original, sizes, predicts="pixels", grid=(6, 3))
    for part, name in (("encoder", "pos_embed"), ("decoder", "decoder_pos_embed")):
        want = resize_positions(np.float32(original[name][0]), (4, 4), (6, 3))
        np.testing.assert_array_equal(params[part]["pos_embed"], want)
        assert want.shape[0] == 19


@pytest.mark.usefixtures("base_is_tiny")
def test_the_files_name_says_what_the_decoder_paints(tmp_path, original):
    found = load_mae(save(tmp_path / "mae_visualize_vit_base.pth", original), grid=(2, 3))
    assert found[:3] == ("base", 8, (2, 3)) and found.decoder["pos_embed"].shape == (7, 16)
    encoder_only = {n: a for n, a in original.items() if not n.startswith(("decoder", "mask"))}
    found = load_mae(save(tmp_path / "mae_pretrain_vit_base.pth", encoder_only))
    assert found.decoder is None and found.grid == (4, 4)
    full = save(tmp_path / "mae_pretrain_vit_base_full.pth", original)
    with pytest.raises(WeightsError, match="base_full.pth: its decoder paints patches normalised .* pass predicts="):
        load_mae(full)
    found = load_mae(full, predicts="normalized_patches")
    np.testing.assert_array_equal(found.decoder["pred"]["bias"], original["decoder_pred.bias"])
    unknown = save(tmp_path / "checkpoint-799.pth", original)
    with pytest.raises(ValueError, match="predicts must be one of pixels, normalized_patches, got None"):
        load_mae(unknown)
    with pytest.raises(ValueError, match="predicts must be one of pixels, normalized_patches, got 'noise'"):
        load_mae(unknown, predicts="noise")
    load_mae(unknown, predicts="pixels")
    with pytest.raises(ValueError, match="variant must be one of linear, .*, huge, got 'giant'"):
        mae_params(original, "giant", predicts="pixels")


@pytest.mark.usefixtures("base_is_tiny")
def test_a_hugging_face_folder_says_it_in_its_configuration(tmp_path, hugging_face):
    save(tmp_path / "pytorch_model.bin", hugging_face)
    config = tmp_path / "config.json"
    for content in ({"norm_pix_loss": False}, {}):
        config.write_text(json.dumps(content), encoding="utf-8-sig")  # with a byte-order mark
        assert load_mae(tmp_path, send_class_token=True).variant == "base"
    config.write_text(json.dumps({"norm_pix_loss": True}))
    with pytest.raises(WeightsError, match="its decoder paints patches normalised"):
        load_mae(tmp_path)
    for damaged in ("[]", "{"):
        config.write_text(damaged)
        with pytest.raises(TensorFileError, match="config.json: is no configuration of a ViTMAE model"):
            load_mae(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds none of model.safetensors, pytorch_model.bin"):
        load_mae(tmp_path / "empty")


def test_faults_are_listed_all_at_once(sizes, original, hugging_face):
    wrong = dict(original)
    del wrong["blocks.1.attn.qkv.bias"], wrong["decoder_norm.weight"]
    wrong |= {"head.weight": np.zeros((10, 24)), "decoder_pos_embed": np.zeros((1, 26, 16))}
    message = (
        "MAE's tensors does not fit the model of 50 tensors; 2 missing: blocks.1.attn.qkv.bias, decoder_norm.weight; "
        "1 not known: head.weight; 1 of another shape: decoder_pos_embed (1, 26, 16) instead of (1, 17, 16)"
    )
    with pytest.raises(WeightsError, match=re.escape(message)):
        mae_params(wrong, sizes, predicts="pixels")
    wrong = dict(hugging_face)
    del wrong["vit.encoder.layer.0.attention.attention.key.weight"], wrong["vit.embeddings.position_embeddings"]
    with pytest.raises(WeightsError, match=r"2 missing: vit.embeddings.position_embeddings, vit.*0.attention.*key.we"):
        mae_params(wrong, sizes, predicts="pixels")
    with pytest.raises(WeightsError, match=r"pos_embed \(1, 16, 24\) instead of \(1, 10, 24\)"):
        mae_params(original | {"pos_embed": original["pos_embed"][:, 1:]}, sizes, predicts="pixels")
    broken = {name: np.full(original[name].shape, np.nan) for name in ("norm.bias", "mask_token")}
    with pytest.raises(WeightsError, match="2 not of finite numbers: norm.bias, mask_token"):
        mae_params(original | broken, sizes, predicts="pixels")


def test_other_weights_are_told_from_mae(tmp_path, original):
    with pytest.raises(WeightsError, match="does not hold MAE's weights: it lacks patch_embed.proj.weight"):
        load_mae(save(tmp_path / "model.npz", {"weight": np.zeros((2, 2), np.float32)}))
    message = r"an MAE of another size than base, large, huge: its patch kernel is \(24, 3, 8, 8\)"
    with pytest.raises(WeightsError, match=message):
        load_mae(save(tmp_path / "mae_visualize_vit_tiny.pth", original))
