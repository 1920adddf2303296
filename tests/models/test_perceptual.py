"""The perceptual distance: a float64 reference, import, masks, gradients, real weights and pictures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from observed import SAME_BITS
from PIL import Image

from lvm_mtc.interop.perceptual_weights import load_perceptual
from lvm_mtc.metrics.perceptual import perceptual_distance
from lvm_mtc.metrics.pictures import box_mask
from lvm_mtc.models.perceptual import PerceptualNet
from lvm_mtc.models.weights import WeightsError

pytestmark = pytest.mark.usefixtures("fast_compile")

compiled = jax.jit(perceptual_distance)

# Name, outputs, inputs, kernel, zeros: the published network, written down once more.
CONVOLUTIONS = (
    ("net.slice1.0", 64, 3, 11, 2), ("net.slice2.5", 192, 64, 5, 2), ("net.slice3.9", 384, 192, 3, 1),
    ("net.slice4.11", 256, 384, 3, 1), ("net.slice5.13", 256, 256, 3, 1),
)  # fmt: skip


def random_tensors():
    rng = np.random.default_rng(0)
    tensors = {
        "scaling_layer.shift": np.reshape([-0.030, -0.088, -0.188], (1, 3, 1, 1)),
        "scaling_layer.scale": np.reshape([0.458, 0.448, 0.450], (1, 3, 1, 1)),
    }
    for i, (name, outputs, inputs, kernel, _) in enumerate(CONVOLUTIONS):
        tensors[f"{name}.weight"] = rng.normal(size=(outputs, inputs, kernel, kernel)) * (inputs * kernel**2) ** -0.5
        tensors[f"{name}.bias"] = 0.1 * rng.normal(size=outputs)
        tensors[f"lin{i}.model.1.weight"] = (
            rng.uniform(0, 0.3, (1, outputs, 1, 1)) * rng.integers(0, 2, outputs)[None, :, None, None]
        )
    blur = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    for name, channels in (("net.slice1.1", 64), ("net.slice2.4", 64), ("net.slice3.8", 192)):
        tensors[f"{name}.filt"] = np.broadcast_to(blur, (channels, 1, 3, 3))
    return tensors


def features(tensors, picture):
    """The published order of layers for one picture [height, width, 3], float64, channels first."""
    windows = np.lib.stride_tricks.sliding_window_view

    def convolve(x, i):
        name, _, _, kernel, zeros = CONVOLUTIONS[i]
        seen = windows(np.pad(x, ((0, 0), (zeros, zeros), (zeros, zeros))), (kernel, kernel), (1, 2))
        return (
            np.einsum("chwij,ocij->ohw", seen, tensors[f"{name}.weight"], optimize=True)
            + tensors[f"{name}.bias"][:, None, None]
        )

    def blur(x, filt):
        x = np.pad(x, ((0, 0), (2, 2), (2, 2)), mode="reflect")
        return np.einsum("chwij,cij->chw", windows(x, (3, 3), (1, 2)), filt[:, 0])[:, ::2, ::2]

    def largest(x):
        return windows(x, (3, 3), (1, 2)).max((-2, -1))

    x = (2 * picture.transpose(2, 0, 1) - 1 - tensors["scaling_layer.shift"][0]) / tensors["scaling_layer.scale"][0]
    out = [np.maximum(blur(convolve(x, 0), tensors["net.slice1.1.filt"]), 0)]
    out.append(np.maximum(convolve(blur(largest(out[-1]), tensors["net.slice2.4.filt"]), 1), 0))
    out.append(np.maximum(convolve(blur(largest(out[-1]), tensors["net.slice3.8.filt"]), 2), 0))
    out.append(np.maximum(convolve(out[-1], 3), 0))
    out.append(np.maximum(convolve(out[-1], 4), 0))
    return out


def difference_maps(tensors, a, b):
    maps = []
    for i, (x, y) in enumerate(zip(features(tensors, a), features(tensors, b), strict=True)):
        x, y = (z / (np.sqrt((z**2).sum(0, keepdims=True)) + 1e-10) for z in (x, y))
        maps.append(np.einsum("chw,c->hw", (x - y) ** 2, tensors[f"lin{i}.model.1.weight"].ravel()))
    return maps


def stretched(x, height, width):
    """Bilinear, pixel centres at half numbers, the edge's value beyond the last centre."""

    def along(x, size):
        at = np.clip((np.arange(size) + 0.5) * x.shape[0] / size - 0.5, 0, x.shape[0] - 1)
        low = np.minimum(at.astype(int), x.shape[0] - 2)
        return x[low] * (1 - (at - low))[:, None] + x[low + 1] * (at - low)[:, None]

    return along(along(x, height).T, width).T


def pictures(height=33, width=38, batch=2):
    rng = np.random.default_rng(1)
    smooth = np.kron(rng.uniform(size=(batch, 7, 8, 3)), np.ones((1, 5, 5, 1)))[:, :height, :width]
    return smooth, np.clip(smooth + 0.1 * rng.normal(size=smooth.shape), 0, 1)


@pytest.fixture(scope="module")
def tensors():
    return random_tensors()


@pytest.fixture(scope="module")
def params(tensors):
    return load_perceptual(tensors)


@pytest.fixture(scope="module")
def maps(tensors):
    return [difference_maps(tensors, a, b) for a, b in zip(*pictures(), strict=True)]


def test_it_is_the_references_distance(params, maps):
    want = [sum(layer.mean() for layer in of_picture) for of_picture in maps]
    a, b = (np.float32(x) for x in pictures())
    np.testing.assert_allclose(compiled(params, a, b), want, rtol=1e-4)
    # The comparison can fail: one row further is another picture.
    assert abs(compiled(params, a, np.roll(b, 1, axis=1)) / np.array(want) - 1).min() > 1e-3
    np.testing.assert_array_equal(compiled(params, a, a), 0)


def test_inside_a_box_it_is_the_references_map(params, maps):
    a, b = (np.float32(x) for x in pictures())
    mask = np.asarray(box_mask(np.float32([[12, 10, 14, 9], [30, 25, 10, 12]]), 33, 38))
    want = [
        sum(stretched(layer, 33, 38)[inside].mean() for layer in of_picture)
        for of_picture, inside in zip(maps, mask, strict=True)
    ]
    np.testing.assert_allclose(compiled(params, a, b, mask), want, rtol=1e-4)
    assert np.isnan(compiled(params, a, b, np.zeros_like(mask))).all()


def test_a_data_range_is_taken_and_a_wrong_one_refused(params):
    original, received = (np.float32(255 * x) for x in pictures())
    with pytest.raises(ValueError, match="perceptual_distance: original pictures hold .*expected 0 to 1"):
        perceptual_distance(params, original, received)
    found = jax.jit(functools.partial(perceptual_distance, data_range=255))(params, original, received)
    np.testing.assert_allclose(found, compiled(params, original / 255, received / 255), rtol=1e-4)


def test_vmap_and_batch_agree(params):
    a, b = (np.float32(x) for x in pictures())
    found = jax.jit(jax.vmap(perceptual_distance, in_axes=(None, 0, 0)))(params, a, b)
    np.testing.assert_allclose(found, compiled(params, a, b), rtol=1e-5)


@pytest.mark.slow
def test_gradients(params):
    a, b = (np.float32(x) for x in pictures(21, 21))
    value, slope = (
        jax.jit(f(lambda params, x: perceptual_distance(params, a, x).sum()), compiler_options=dict(SAME_BITS))
        for f in (lambda g: g, lambda g: jax.grad(g, argnums=1))
    )
    found = slope(params, b)
    ahead, behind = (np.float64(value(params, b + step * found / np.abs(found).max())) for step in (1e-3, -1e-3))
    np.testing.assert_allclose((ahead - behind) / 2e-3, np.vdot(found, found) / np.abs(found).max(), rtol=2e-2)
    assert (slope(params, a) == 0).all()
    # Features that are all zero have a finite gradient.
    assert np.isfinite(slope(jax.tree.map(jnp.zeros_like, params), b)).all()


def test_published_size():
    shapes = jax.eval_shape(lambda: PerceptualNet().init(jax.random.key(0), jnp.zeros((1, 64, 64, 3))))
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    # AlexNet's five convolutions have 2,469,696 weights and biases; one weight more per channel.
    assert count == 2_469_696 + 64 + 192 + 384 + 256 + 256


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_wrapped_names_are_read(tensors, params, prefix):
    prefixed = load_perceptual({f"{prefix}{key}": value for key, value in tensors.items()})
    jax.tree.map(np.testing.assert_array_equal, load_perceptual(tensors), prefixed)


def test_faults_are_listed_at_once(tensors):
    wrong = dict(tensors) | {"more": np.zeros(1), "net.slice2.5.weight": tensors["net.slice2.5.weight"].T}
    del wrong["lin3.model.1.weight"]
    with pytest.raises(WeightsError) as caught:
        load_perceptual(wrong)
    message = str(caught.value)
    assert message.startswith("the distance's tensors does not fit") and "1 missing: lin3.model.1.weight" in message
    assert "1 not known: more" in message
    assert "net.slice2.5.weight (5, 5, 64, 192) instead of (192, 64, 5, 5)" in message


@pytest.mark.parametrize(("name", "change", "words"), [
    ("net.slice3.8.filt", lambda x: x[:, :, ::-1] + np.eye(3) / 99, "net.slice3.8.filt is not that of the shift-tol"),
    ("scaling_layer.shift", lambda x: x + 0.01, "scaling_layer.shift is not"),
    ("lin2.model.1.weight", lambda x: x - 0.1, "lin2.model.1.weight must be >= 0, its least is -0.1"),
])  # fmt: skip
def test_weights_of_another_network(tensors, name, change, words):
    with pytest.raises(WeightsError, match=words):
        load_perceptual(tensors | {name: change(tensors[name])})


@pytest.mark.parametrize(("shape", "words"), [
    ((20, 40, 3), "21 x 21 pixels or more, got height x width x channels = 20 x 40 x 3"),
    ((40, 40, 1), "3 channels"),
])  # fmt: skip
def test_pictures_that_do_not_fit(params, shape, words):
    with pytest.raises(ValueError, match=words):
        perceptual_distance(params, np.zeros(shape), np.zeros(shape))


def test_real_weights_on_a_photograph(shared_data):
    params = load_perceptual(shared_data / "weights" / "stlpips_alex_fp16.npz")
    photograph = np.float32(Image.open(sorted((shared_data / "kodak").glob("*.png"))[14]).convert("RGB")) / 255
    crop = photograph[200:264, 300:364]
    noise = np.random.default_rng(0).normal(size=crop.shape)
    shifted = photograph[200:264, 301:365]
    level = np.sqrt(np.mean((shifted - crop) ** 2))
    others = [shifted, *(np.clip(crop + sigma * noise, 0, 1) for sigma in (level / 4, level, 2 * level))]
    moved, *noisy = compiled(params, np.stack([crop] * 4), np.float32(np.stack(others)))
    assert 0 < noisy[0] < noisy[1] < noisy[2] < 2
    # What the metric is made for: a pixel's shift looks the same, noise of the same power does not.
    assert moved < noisy[1] / 3
