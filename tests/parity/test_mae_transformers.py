"""MAE at its published sizes, with random weights, against transformers' PyTorch model (needs torch)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import stored

from lvm_mtc.interop.mae_weights import load_mae
from lvm_mtc.models.patches import patchify
from lvm_mtc.models.transformer import stack_layers
from lvm_mtc.models.variants import VARIANTS
from lvm_mtc.schemes.lvm_mtc.masking import keep_budget
from lvm_mtc.schemes.lvm_mtc.token_codec import TokenDecoder, TokenEncoder

pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("transformers", reason="needs transformers and torch")

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def make_mae():
    """The script that makes the goldens: the reference model and how it is run."""
    from golden import make_mae

    return make_mae


def test_goldens_are_what_transformers_gives_today(make_mae):
    golden, fresh = stored("mae"), make_mae.cases()
    assert set(fresh) == set(golden)
    for name, array in golden.items():
        if array.dtype.kind != "U":
            np.testing.assert_allclose(fresh[name], array, rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("variant", ["base", "large"])
def test_encoder_decoder_and_pixels(variant, make_mae, tmp_path):
    v, patch_size, num_patches, num_kept = VARIANTS[variant], 16, 196, 49
    sizes = {name: getattr(v, name) for name in make_mae.SIZES}
    theirs = make_mae.published_model(sizes, 224, patch_size, 0.75, 0)
    rng = np.random.default_rng(1)
    images = rng.uniform(size=(2, 224, 224, 3)).astype(np.float32)
    noise = rng.uniform(size=(2, num_patches)).astype(np.float32)
    latent, painted = make_mae.run(theirs, images, noise)
    theirs.save_pretrained(tmp_path)
    del theirs
    weights = load_mae(tmp_path, send_class_token=True)
    assert weights[:3] == (variant, patch_size, (14, 14))

    options = dict(scan=True, send_class_token=True)
    encoder = TokenEncoder(14, 14, v.embed_dim, v.depth, v.num_heads, **options)
    decoder = TokenDecoder(
        14, 14, v.decoder_embed_dim, v.decoder_depth, v.decoder_num_heads, patch_dim=3 * patch_size**2, **options
    )
    kept = keep_budget(-jnp.asarray(noise), num_kept)
    patches = patchify(jnp.asarray(images), patch_size)
    tokens, _ = jax.jit(encoder.apply)({"params": stack_layers(weights.encoder)}, patches, kept)
    order = np.argsort(noise, axis=1)[:, :num_kept]
    want = np.take_along_axis(latent[:, 1:], np.argsort(order, axis=1)[..., None], axis=1)
    want = np.concatenate([latent[:, :1], want], axis=1)
    np.testing.assert_allclose(tokens, want, rtol=0, atol=1e-4)
    paint = jax.jit(decoder.apply)
    decoder_params = {"params": stack_layers(weights.decoder)}
    mean, std = (np.tile(values, patch_size**2) for values in (make_mae.PIXEL_MEAN, make_mae.PIXEL_STD))
    pixels = painted * std + mean
    # The decoder alone, on their tokens, and both together.
    np.testing.assert_allclose(paint(decoder_params, jnp.asarray(want), kept), pixels, rtol=0, atol=1e-4)
    np.testing.assert_allclose(paint(decoder_params, tokens, kept), pixels, rtol=0, atol=1e-4)
    assert np.ptp(pixels) > 0.5 and np.abs(np.diff(want, axis=0)).max() > 0.1  # there is something to compare
