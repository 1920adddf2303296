"""MS-SSIM against float64 NumPy, its scales on small pictures, masks, gradients, messages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import data
from skimage.transform import resize

from lvm_mtc.metrics import pictures as metrics
from lvm_mtc.metrics.multi_scale import max_scales, ms_ssim

pytestmark = pytest.mark.usefixtures("fast_compile")

compiled = jax.jit(ms_ssim)
SMALL = (35, 41)
SCALES_5 = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. (2003), Sec. 3.2


def terms(a, b):
    """Luminance and contrast of one channel at the pixels whose window lies within, float64."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(taps, taps) / taps.sum() ** 2

    def mean(x):
        return np.einsum("ijkl,kl->ij", np.lib.stride_tricks.sliding_window_view(x, (11, 11)), window)

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    return (2 * ma * mb + 1e-4) / (ma**2 + mb**2 + 1e-4), (2 * cov + 9e-4) / (va + vb + 9e-4)


def halved(x):
    x = np.concatenate([x, x[-1:]]) if x.shape[0] % 2 else x
    x = np.concatenate([x, x[:, -1:]], axis=1) if x.shape[1] % 2 else x
    return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean((1, 3))


def reference(original, received, num_scales, mask=None):
    weights = np.array(SCALES_5[:num_scales]) * sum(SCALES_5) / sum(SCALES_5[:num_scales])
    values = []
    for channel in range(original.shape[-1]):
        a, b, value = original[..., channel], received[..., channel], 1.0
        share = None if mask is None else mask.astype(float)
        for scale, weight in enumerate(weights):
            luminance, contrast = terms(*((a, b) if mask is None else (np.pad(x, 5, mode="symmetric") for x in (a, b))))
            last = scale == num_scales - 1
            mean = np.average(luminance * contrast if last else contrast, weights=share)
            value *= max(mean, 0) ** weight
            a, b, share = halved(a), halved(b), None if mask is None else halved(share)
        values.append(value)
    return np.mean(values)


def pair(height, width):
    pictures = np.stack([resize(x, (height, width), anti_aliasing=True) for x in (data.astronaut(), data.coffee())])
    noise = np.random.default_rng(0).normal(size=pictures.shape) * np.array([0.03, 0.2])[:, None, None, None]
    return pictures, np.clip(pictures + noise, 0, 1)


@pytest.fixture(scope="module")
def small():
    return pair(*SMALL)


def test_five_scales_are_the_references():
    large = pair(163, 182)
    want = [reference(*x, 5) for x in zip(*large, strict=True)]
    found = compiled(*(jnp.float32(x) for x in large))
    np.testing.assert_allclose(found, want, atol=1e-5)
    assert want[0] - want[1] > 0.1
    # The comparison can fail: three scales have other values.
    assert abs(reference(large[0][0], large[1][0], 3) - want[0]) > 1e-3


@pytest.mark.parametrize(("height", "width", "scales"), [
    (161, 300, 5), (160, 160, 4), (96, 96, 4), (81, 90, 4), (80, 80, 3), (41, 44, 3), (32, 32, 2), (21, 200, 2),
    (20, 30, 1), (11, 11, 1),
])  # fmt: skip
def test_scales_that_fit(height, width, scales):
    assert max_scales(height, width) == scales


def test_smaller_pictures_have_fewer_scales(small):
    found = compiled(*(jnp.float32(x) for x in small))
    np.testing.assert_allclose(found, [reference(*x, 2) for x in zip(*small, strict=True)], atol=1e-5)


def test_one_scale_is_ssim(small):
    grey = [jnp.float32(x[:, :20, :, :1]) for x in small]
    np.testing.assert_allclose(compiled(*grey), jax.jit(metrics.ssim)(*grey) ** sum(SCALES_5), atol=1e-6)


def test_masks(small):
    original, received = (jnp.float32(x) for x in small)
    everywhere = np.ones((2, *SMALL), bool)
    left = everywhere & (np.arange(SMALL[1]) < 20)
    # Right of the middle all is the same, but for windows that reach over it.
    repaired = jnp.where(left[..., None], original, received)
    inside, background = compiled(original, repaired, left), compiled(original, repaired, ~left)
    assert (1 - background > 10 * (1 - inside)).all() and (inside < 1).all()
    want = [reference(a, b, 2, mask) for a, b, mask in zip(*small, left, strict=True)]
    np.testing.assert_allclose(compiled(original, received, left), want, atol=1e-5)
    assert np.isnan(compiled(original, received, ~everywhere)).all()


def test_gradients(small):
    original, received = (jnp.float32(x) for x in small)
    slope = jax.jit(jax.grad(lambda x: ms_ssim(original, x).sum()))
    direction = np.float32(np.random.default_rng(2).normal(size=original.shape))
    ahead, behind = (np.float64(compiled(original, received + step * direction)).sum() for step in (1e-3, -1e-3))
    np.testing.assert_allclose(np.vdot(slope(received), direction), (ahead - behind) / 2e-3, rtol=1e-2)
    # A negative has no structure in common.
    assert (compiled(original, 1 - original) == 0).all() and (slope(1 - original) == 0).all()
    np.testing.assert_allclose(compiled(original, original), 1.0, atol=1e-6)
    assert np.isfinite(slope(original)).all()


def test_vmap_and_batch_agree(small):
    original, received = (jnp.float32(x) for x in small)
    found = jax.jit(jax.vmap(ms_ssim))(original, received)
    np.testing.assert_allclose(found, compiled(original, received), rtol=1e-5)


@pytest.mark.parametrize(("shapes", "options", "words"), [
    (((40, 40, 3), (40, 41, 3)), {}, "ms_ssim: pictures must be"),
    (((10, 40, 3),) * 2, {}, "11 x 11 pixels or more, got height x width = 10 x 40"),
    (((40, 44, 3),) * 2, {"mask": np.ones((40, 40), bool)}, "ms_ssim: mask"),
])  # fmt: skip
def test_messages(shapes, options, words):
    with pytest.raises(ValueError, match=words):
        ms_ssim(*(np.zeros(shape) for shape in shapes), **options)
