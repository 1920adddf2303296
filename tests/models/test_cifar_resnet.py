"""CIFAR-10's ResNets: a float64 reference with batch norms, published sizes, import, accuracy on the JPEG copies."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.data.cifar10 import load_cifar10_sheets, load_class_folders
from lvm_mtc.interop.classifier_weights import load_cifar_resnet
from lvm_mtc.models.cifar_resnet import CifarResNet
from lvm_mtc.models.weights import WeightsError

pytestmark = pytest.mark.usefixtures("fast_compile")

# Correct among the 10,000 JPEG copies of the test set, with the original weights.
ACCURACY = {20: 0.810, 56: 0.832}


def random_tensors(depth):
    """PyTorch's names, written down once more."""
    rng = np.random.default_rng(depth)
    tensors = {}

    def layer(conv, norm, outputs, inputs):
        tensors[f"{conv}.weight"] = rng.normal(size=(outputs, inputs, 3, 3)) * (inputs * 9) ** -0.5
        tensors[f"{norm}.weight"] = rng.uniform(0.5, 1.5, outputs)
        tensors[f"{norm}.bias"] = rng.normal(size=outputs) * 0.3
        tensors[f"{norm}.running_mean"] = rng.normal(size=outputs) * 0.3
        tensors[f"{norm}.running_var"] = rng.uniform(0.2, 1, outputs)

    layer("conv1", "bn1", 16, 3)
    inputs = 16
    for stage, outputs in ((1, 16), (2, 32), (3, 64)):
        for place in range((depth - 2) // 6):
            layer(f"layer{stage}.{place}.conv1", f"layer{stage}.{place}.bn1", outputs, inputs)
            layer(f"layer{stage}.{place}.conv2", f"layer{stage}.{place}.bn2", outputs, outputs)
            inputs = outputs
    tensors["linear.weight"], tensors["linear.bias"] = rng.normal(size=(10, 64)), rng.normal(size=10)
    return tensors


def reference(image, t, depth):
    """The network with its batch norms, in float64, one picture."""

    def layer(x, conv, norm, stride):
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))  # PyTorch's: the same on both sides, also at stride 2
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))[::stride, ::stride]
        y = np.einsum("xycij,ocij->xyo", windows, t[f"{conv}.weight"])
        scale = t[f"{norm}.weight"] / np.sqrt(t[f"{norm}.running_var"] + 1e-5)
        return (y - t[f"{norm}.running_mean"]) * scale + t[f"{norm}.bias"]

    x = (image - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    x = np.maximum(layer(x, "conv1", "bn1", 1), 0)
    for stage in (1, 2, 3):
        for place in range((depth - 2) // 6):
            name, halve = f"layer{stage}.{place}", stage > 1 and place == 0
            y = np.maximum(layer(x, f"{name}.conv1", f"{name}.bn1", 2 if halve else 1), 0)
            y = layer(y, f"{name}.conv2", f"{name}.bn2", 1)
            if halve:
                zeros = np.zeros((*y.shape[:2], y.shape[-1] // 4))
                x = np.concatenate([zeros, x[::2, ::2], zeros], axis=-1)
            x = np.maximum(x + y, 0)
    return x.mean(axis=(0, 1)) @ t["linear.weight"].T + t["linear.bias"]


@functools.cache
def classify(depth):
    return jax.jit(lambda params, images: CifarResNet(depth).apply({"params": params}, images))


def test_logits_are_the_float64_reference_with_batch_norms():
    tensors = random_tensors(20) | {"bn1.num_batches_tracked": np.array(7)}
    params = load_cifar_resnet(tensors, 20)
    images = np.random.default_rng(1).uniform(size=(2, 32, 32, 3)).astype(np.float32)
    want = np.stack([reference(image.astype(np.float64), tensors, 20) for image in images])
    got = classify(20)(params, images)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
    # Padding that is off by one pixel would be seen.
    assert np.abs(classify(20)(params, np.roll(images, 1, axis=1)) - want).max() > 1e-3 * np.abs(want).max()


# He et al. (2016), Table 6, in millions.
@pytest.mark.parametrize(("depth", "published"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_published_sizes(depth, published):
    shapes = jax.eval_shape(lambda: CifarResNet(depth).init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    # A norm has a scale and a shift per channel; folded, the shift remains as a bias.
    norms = 16 + 2 * (depth - 2) // 6 * (16 + 32 + 64)
    assert round((count + norms) / 1e6, 1 if depth == 110 else 2) == published


def test_a_depth_without_a_network_is_named():
    with pytest.raises(ValueError, match="depth must be 6 n [+] 2 with n >= 1, such as 20 or 56, got 18"):
        load_cifar_resnet({}, 18)


def test_another_size_of_picture_is_named():
    with pytest.raises(ValueError, match=r"images must be \[batch, 32, 32, 3\], got \(1, 64, 64, 3\)"):
        CifarResNet(20).init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))


def test_faults_are_listed_at_once():
    tensors = random_tensors(20)
    del tensors["layer2.1.bn2.running_var"], tensors["linear.bias"]
    tensors["conv1.weight"] = tensors["conv1.weight"].transpose(2, 3, 1, 0)
    tensors["more"] = np.zeros(1)
    with pytest.raises(WeightsError) as caught:
        load_cifar_resnet(tensors, 20)
    message = str(caught.value)
    assert "2 missing: layer2.1.bn2.running_var, linear.bias" in message
    assert "1 not known: more" in message and "conv1.weight (3, 3, 3, 16) instead of (16, 3, 3, 3)" in message
    assert "\n" not in message


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_wrapped_names_are_read(prefix):
    tensors = random_tensors(20)
    plain, prefixed = (load_cifar_resnet(t) for t in (tensors, {f"{prefix}{k}": v for k, v in tensors.items()}))
    jax.tree.map(np.testing.assert_array_equal, plain, prefixed)


def accuracy(shared_data, depth, pictures, labels):
    params = load_cifar_resnet(shared_data / "weights" / f"cifar10_resnet{depth}.npz", depth)
    starts = range(0, len(labels), 200)
    found = [classify(depth)(params, np.float32(pictures[i : i + 200]) / 255).argmax(-1) for i in starts]
    return float((np.concatenate(found) == labels).mean())


@pytest.mark.parametrize("depth", [20, pytest.param(56, marks=pytest.mark.slow)])
def test_accuracy_on_some_of_the_jpeg_copies(shared_data, depth):
    copies = load_class_folders(shared_data / "cifar10" / "cifar10_jpeg_test.tar.xz", "test", limit_per_class=20)
    want, count = ACCURACY[depth], 200
    bound = 5 * (want * (1 - want) / count) ** 0.5
    assert abs(accuracy(shared_data, depth, copies.pictures, copies.labels) - want) < bound
    if depth == 20:  # pictures upside down are outside the bound
        assert accuracy(shared_data, depth, copies.pictures[:, ::-1], copies.labels) < want - bound


def test_lossless_training_pictures_are_known(shared_data):
    sheets = load_cifar10_sheets(shared_data / "cifar10")
    assert accuracy(shared_data, 20, sheets.pictures[:200], sheets.labels[:200]) > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("depth", [20, 56])
def test_accuracy_on_all_jpeg_copies(shared_data, depth):
    copies = load_class_folders(shared_data / "cifar10" / "cifar10_jpeg_test.tar.xz", "test")
    assert len(copies.labels) == 10_000
    assert round(accuracy(shared_data, depth, copies.pictures, copies.labels), 3) == ACCURACY[depth]
