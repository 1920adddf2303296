import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.transform import resize

from lvm_mtc.metrics import multi_scale
from lvm_mtc.metrics import pictures as metrics

SSIM_OPTIONS = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=-1)


def photographs(height=64, width=80):
    pictures = (data.astronaut(), data.coffee())
    return np.stack([resize(picture, (height, width), anti_aliasing=True) for picture in pictures])


@pytest.fixture(scope="module")
def pair():
    original = photographs()
    noise = np.random.default_rng(0).normal(size=original.shape) * np.array([0.02, 0.2])[:, None, None, None]
    return original, np.clip(original + noise, 0, 1)


def test_psnr_is_scikit_images(pair):
    original, received = pair
    want = [peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in zip(original, received, strict=True)]
    np.testing.assert_allclose(metrics.psnr(jnp.float32(original), jnp.float32(received)), want, rtol=1e-5)


def test_ssim_is_scikit_images(pair):
    original, received = pair
    want = [structural_similarity(a, b, **SSIM_OPTIONS) for a, b in zip(original, received, strict=True)]
    np.testing.assert_allclose(metrics.ssim(jnp.float32(original), jnp.float32(received)), want, atol=1e-5)


@pytest.mark.parametrize("data_range", [255.0, 2.0, 0.5])
def test_a_data_range_is_scikit_images(pair, data_range):
    original, received = (np.float32(x * data_range) for x in pair)
    options = SSIM_OPTIONS | {"data_range": data_range}
    for array in (np.asarray, jnp.asarray):
        given = array(original), array(received)
        want = [peak_signal_noise_ratio(a, b, data_range=data_range) for a, b in zip(original, received, strict=True)]
        np.testing.assert_allclose(metrics.psnr(*given, data_range=data_range), want, rtol=1e-5)
        np.testing.assert_allclose(metrics.mean_psnr(*given, data_range=data_range), np.mean(want), rtol=1e-5)
        want = [structural_similarity(a, b, **options) for a, b in zip(original, received, strict=True)]
        np.testing.assert_allclose(metrics.ssim(*given, data_range=data_range), want, atol=1e-5)
    for metric in (metrics.mse, metrics.psnr_of_mean_mse, multi_scale.ms_ssim):
        found = metric(original, received, data_range=data_range)
        np.testing.assert_allclose(found, metric(*map(np.float32, pair)), rtol=1e-3, atol=1e-5)


METRICS = (
    metrics.mse, metrics.psnr, metrics.mean_psnr, metrics.psnr_of_mean_mse, metrics.ssim, multi_scale.ms_ssim
)  # fmt: skip


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
def test_another_data_range_is_refused_where_it_can_be_seen(pair, metric, array):
    original, received = map(np.float32, pair)
    for scale, shift in ((255, 0), (2, -1), (1, -0.5)):
        wrong, also = (array(x * scale + shift) for x in (original, received))
        with pytest.raises(ValueError, match=rf"{metric.__name__}|psnr|mse: original pictures hold .*expected 0 to 1"):
            metric(wrong, also)
        compiled = jax.jit(metric)(wrong, also)  # the values are not there yet: documented
        assert np.shape(compiled) == np.shape(metric(original, received))
    for scale, shift in ((255, 0), (2, -1)):
        with pytest.raises(ValueError, match="received pictures hold .*: clip or scale them, or pass data_range"):
            metric(array(original), array(received * scale + shift))
    # A little outside, as decoders and resampling leave it; NaN is a value that the result shows.
    metric(array(original), array(received * 1.2 - 0.1))
    assert np.isnan(metric(array(original), array(np.full_like(received, np.nan)))).all()
    for data_range in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="data_range must be > 0 and finite"):
            metric(array(original), array(received), data_range=data_range)


def test_ssim_is_scikit_images_at_the_edges_too(pair):
    original, received = pair
    _, want = structural_similarity(original[0], received[0], full=True, **SSIM_OPTIONS)
    luminance, contrast = metrics.similarity_terms(jnp.float32(original[0]), jnp.float32(received[0]))
    np.testing.assert_allclose(luminance * contrast, want, atol=2e-4)


def test_ssim_of_a_bright_flat_area_survives_single_precision():
    rng = np.random.default_rng(3)
    original = 0.95 + 0.01 * rng.normal(size=(64, 64, 3))
    received = original + 0.01 * rng.normal(size=original.shape)
    want = structural_similarity(original, received, **SSIM_OPTIONS)
    found = metrics.ssim(jnp.float32(original), jnp.float32(received))
    np.testing.assert_allclose(found, want, atol=1e-5)
    wrong_window = structural_similarity(original, received, **{**SSIM_OPTIONS, "sigma": 1.7})
    assert abs(wrong_window - want) > 1e-5


def test_the_ssim_comparison_can_fail(pair):
    original, received = pair
    other = structural_similarity(original[1], received[1], **{**SSIM_OPTIONS, "use_sample_covariance": True})
    found = metrics.ssim(jnp.float32(original[1]), jnp.float32(received[1]))
    assert abs(float(found) - other) > 1e-5


def test_the_two_mean_psnrs_differ(pair):
    original, received = (jnp.float32(x) for x in pair)
    per_picture = np.asarray(metrics.psnr(original, received), np.float64)
    np.testing.assert_allclose(metrics.mean_psnr(original, received), per_picture.mean(), rtol=1e-6)
    want = -10 * np.log10(np.mean(10 ** (-per_picture / 10)))
    np.testing.assert_allclose(metrics.psnr_of_mean_mse(original, received), want, rtol=1e-6)
    assert metrics.mean_psnr(original, received) > metrics.psnr_of_mean_mse(original, received) + 1.0


def test_masked_metrics_see_the_mask_only(pair):
    original, received = (jnp.float32(x) for x in pair)
    mask = metrics.box_mask(jnp.array([[40.0, 32.0, 20.0, 10.0], [0.0, 0.0, 30.0, 30.0]]), 64, 80)
    spoiled = jnp.where(mask[..., None], received, 0.0)
    np.testing.assert_allclose(metrics.psnr(original, spoiled, mask), metrics.psnr(original, received, mask), rtol=1e-6)
    crop = np.s_[0, 27:37, 30:50]
    want = -10 * np.log10(np.mean((np.asarray(original[crop], np.float64) - np.asarray(received[crop])) ** 2))
    np.testing.assert_allclose(metrics.psnr(original, received, mask)[0], want, rtol=1e-5)
    full = np.prod(metrics.similarity_terms(original, received), axis=0)
    np.testing.assert_allclose(metrics.ssim(original, received, mask)[0], full[crop].mean(), rtol=1e-5)
    assert np.isfinite(metrics.ssim(original, received, mask)[1]), "a box in the corner has a value"


def test_inside_and_background_make_up_the_whole(pair):
    original, received = (jnp.float32(x) for x in pair)
    mask = metrics.box_mask(jnp.array([[40.0, 32.0, 33.0, 17.0]] * 2), 64, 80)
    share = jnp.mean(mask, axis=(-2, -1))
    parts = share * metrics.mse(original, received, mask) + (1 - share) * metrics.mse(original, received, ~mask)
    np.testing.assert_allclose(parts, metrics.mse(original, received), rtol=1e-5)


@pytest.mark.parametrize(
    ("loc", "rows", "columns"),
    [
        ((4.0, 3.0, 4.0, 2.0), range(2, 4), range(2, 6)),
        ((0.0, 0.0, 2.0, 2.0), range(0, 1), range(0, 1)),
        ((4.2, 3.7, 0.01, 0.01), range(3, 4), range(4, 5)),
        ((100.0, -5.0, 1.0, 1.0), range(0, 1), range(7, 8)),
        ((4.0, 3.0, 99.0, 99.0), range(0, 6), range(0, 8)),
    ],
)
def test_box_mask(loc, rows, columns):
    want = np.zeros((6, 8), bool)
    want[np.ix_(rows, columns)] = True
    np.testing.assert_array_equal(metrics.box_mask(jnp.array(loc), 6, 8), want)
    np.testing.assert_array_equal(jax.jit(metrics.box_mask, static_argnums=(1, 2))(jnp.array([loc]), 6, 8)[0], want)


def test_equal_pictures():
    picture = jnp.float32(photographs())
    assert np.all(np.isinf(metrics.psnr(picture, picture)))
    np.testing.assert_allclose(metrics.ssim(picture, picture), 1.0, atol=1e-6)


def test_an_empty_mask_is_visible():
    picture = jnp.zeros((12, 12, 3))
    assert np.isnan(metrics.psnr(picture, picture + 0.1, jnp.zeros((12, 12), bool)))


def test_jit_vmap_and_eager_agree(pair):
    original, received = (jnp.float32(x) for x in pair)
    for metric in (metrics.psnr, metrics.ssim, metrics.mse):
        eager = metric(original, received)
        np.testing.assert_allclose(jax.jit(metric)(original, received), eager, rtol=1e-5)
        np.testing.assert_allclose(jax.vmap(metric)(original, received), eager, rtol=1e-5)


def test_gradients():
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        original = jnp.asarray(rng.uniform(size=(12, 13, 1)))
        received = jnp.asarray(rng.uniform(size=(12, 13, 1)))
        for metric in (metrics.psnr, metrics.ssim):
            check_grads(lambda x, metric=metric: metric(original, x), (received,), order=1, modes=("rev",))


def test_nmse():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3, 50)) + 1j * rng.normal(size=(3, 50))
    x_hat = x + 0.1 * rng.normal(size=x.shape)
    want = (np.abs(x - x_hat) ** 2).sum(-1) / (np.abs(x) ** 2).sum(-1)
    np.testing.assert_allclose(metrics.nmse(jnp.asarray(x), jnp.asarray(x_hat), axis=-1), want, rtol=1e-5)
    assert metrics.nmse(jnp.asarray(x), jnp.asarray(x_hat)).shape == ()


PICTURE = jnp.zeros((2, 16, 16, 3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metrics.psnr(PICTURE, PICTURE[:1]), r"\(2, 16, 16, 3\) and \(1, 16, 16, 3\)"),
        (lambda: metrics.psnr(PICTURE[0, 0], PICTURE[0, 0]), r"height, width, channels.*\(16, 3\)"),
        (lambda: metrics.psnr(PICTURE.astype(jnp.uint8), PICTURE), "uint8"),
        (lambda: metrics.psnr(PICTURE, PICTURE, jnp.zeros((16, 16), bool)), r"mask \(16, 16\).*need \(2, 16, 16\)"),
        (lambda: metrics.ssim(PICTURE[:, :10], PICTURE[:, :10]), "11 x 11.*10 x 16"),
        (lambda: metrics.box_mask(jnp.zeros(3), 4, 4), r"\(x, y, w, h\).*\(3,\)"),
        (lambda: metrics.nmse(jnp.zeros(3), jnp.zeros(4)), r"\(3,\).*\(4,\)"),
    ],
)
def test_messages(call, words):
    with pytest.raises(ValueError, match=words):
        call()
