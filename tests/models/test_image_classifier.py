"""EfficientNet-Lite0: a float64 reference with batch norms, published size, import, real pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lvm_mtc.interop.classifier_weights import load_classifier
from lvm_mtc.models.image_classifier import EfficientNetLite0
from lvm_mtc.models.weights import WeightsError

pytestmark = pytest.mark.usefixtures("fast_compile")

# Repeats, expansion, kernel, stride, channels: Tan and Le (2019), Table 1, channels not scaled.
STAGES = (
    (1, 1, 3, 1, 16), (2, 6, 3, 2, 24), (2, 6, 5, 2, 40), (3, 6, 3, 2, 80), (3, 6, 5, 1, 112), (4, 6, 5, 2, 192),
    (1, 6, 3, 1, 320),
)  # fmt: skip


def random_tensors():
    """PyTorch's names, written down once more."""
    rng = np.random.default_rng(0)
    tensors = {}

    def layer(conv, norm, outputs, inputs, kernel):
        tensors[f"{conv}.weight"] = rng.normal(size=(outputs, inputs, kernel, kernel)) * (inputs * kernel**2) ** -0.5
        tensors[f"{norm}.weight"] = rng.uniform(0.5, 1.5, outputs)
        tensors[f"{norm}.bias"] = rng.normal(size=outputs) * 0.3
        tensors[f"{norm}.running_mean"] = rng.normal(size=outputs) * 0.3
        tensors[f"{norm}.running_var"] = rng.uniform(0.2, 1, outputs)

    layer("_conv_stem", "_bn0", 32, 3, 3)
    inputs, number = 32, 0
    for repeats, expansion, kernel, _, outputs in STAGES:
        for _ in range(repeats):
            block = f"_blocks.{number}"
            if expansion > 1:
                layer(f"{block}._expand_conv", f"{block}._bn0", inputs * expansion, inputs, 1)
            layer(f"{block}._depthwise_conv", f"{block}._bn1", inputs * expansion, 1, kernel)
            layer(f"{block}._project_conv", f"{block}._bn2", outputs, inputs * expansion, 1)
            inputs, number = outputs, number + 1
    layer("_conv_head", "_bn1", 1280, 320, 1)
    tensors["_fc.weight"], tensors["_fc.bias"] = rng.normal(size=(1000, 1280)) * 0.03, rng.normal(size=1000)
    return tensors


def windows(x, kernel, stride):
    """``[rows, columns, channels, kernel, kernel]`` with TensorFlow's SAME padding: what is odd goes to the end."""
    pads = []
    for side in x.shape[:2]:
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(x, (*pads, (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(0, 1))[::stride, ::stride]


def reference(image, t):
    """The network with its batch norms, in float64, one picture."""

    def norm(x, name):
        scale = t[f"{name}.weight"] / np.sqrt(t[f"{name}.running_var"] + 1e-3)
        return (x - t[f"{name}.running_mean"]) * scale + t[f"{name}.bias"]

    def relu6(x):
        return np.clip(x, 0, 6)

    def pointwise(x, name):
        return x @ t[f"{name}.weight"][:, :, 0, 0].T

    x = (image * 255 - 127) / 128
    x = relu6(norm(np.einsum("xycij,ocij->xyo", windows(x, 3, 2), t["_conv_stem.weight"]), "_bn0"))
    number = 0
    for repeats, expansion, kernel, stride, outputs in STAGES:
        for i in range(repeats):
            block, y = f"_blocks.{number}", x
            if expansion > 1:
                y = relu6(norm(pointwise(y, f"{block}._expand_conv"), f"{block}._bn0"))
            y = windows(y, kernel, stride if i == 0 else 1)
            y = np.einsum("xycij,cij->xyc", y, t[f"{block}._depthwise_conv.weight"][:, 0])
            y = norm(pointwise(relu6(norm(y, f"{block}._bn1")), f"{block}._project_conv"), f"{block}._bn2")
            x = x + y if i > 0 else y
            assert x.shape[-1] == outputs
            number += 1
    x = relu6(norm(pointwise(x, "_conv_head"), "_bn1")).mean(axis=(0, 1))
    return x @ t["_fc.weight"].T + t["_fc.bias"]


@pytest.mark.slow
def test_logits_are_the_float64_reference_with_batch_norms():
    tensors = random_tensors()
    tensors["_bn0.num_batches_tracked"] = np.array(7)
    params = load_classifier(tensors)
    # Odd sides at several strides: 45, 23, 12, 6, 3, 2.
    images = np.random.default_rng(1).uniform(size=(2, 45, 40, 3)).astype(np.float32)
    want = np.stack([reference(image.astype(np.float64), tensors) for image in images])
    run = jax.jit(lambda p, x: EfficientNetLite0().apply({"params": p}, x))
    got = run(params, images)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-4 * np.abs(want).max())
    # Rows of pixels that are off by one would be seen.
    assert np.abs(run(params, np.roll(images, 1, axis=1)) - want).max() > 0.01 * np.abs(want).max()


def test_published_size():
    shapes = jax.eval_shape(lambda: EfficientNetLite0().init(jax.random.key(0), jnp.zeros((1, 224, 224, 3))))
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    # A norm has a scale and a shift per channel; folded, the shift remains as a bias.
    norms = sum(v.size for k, v in random_tensors().items() if k.endswith(".running_mean"))
    assert count + norms == 4_652_008


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_wrapped_names_are_read(prefix):
    tensors = random_tensors()
    plain, prefixed = (load_classifier(t) for t in (tensors, {f"{prefix}{k}": v for k, v in tensors.items()}))
    jax.tree.map(np.testing.assert_array_equal, plain, prefixed)


def test_faults_are_listed_at_once():
    tensors = random_tensors()
    del tensors["_blocks.3._bn1.running_var"], tensors["_fc.bias"]
    tensors["_conv_stem.weight"] = tensors["_conv_stem.weight"].transpose(2, 3, 1, 0)
    tensors["more"] = np.zeros(1)
    with pytest.raises(WeightsError) as caught:
        load_classifier(tensors)
    message = str(caught.value)
    assert "2 missing: _blocks.3._bn1.running_var, _fc.bias" in message
    assert "1 not known: more" in message and "_conv_stem.weight (3, 3, 3, 32) instead of (32, 3, 3, 3)" in message


@pytest.mark.slow
def test_it_recognises_real_pictures(shared_data):
    params = load_classifier(shared_data / "weights" / "efficientnet_lite0_fp16.npz")
    files = sorted((shared_data / "imagenet1000_160").glob("*.jpg"))
    assert len(files) == 1000
    numbers = np.arange(7, 1000, 25)
    pictures = np.stack(
        [
            np.asarray(Image.open(files[i]).convert("RGB").resize((224, 224), Image.BICUBIC), np.float32) / 255
            for i in numbers
        ]
    )
    logits = jax.jit(lambda p, x: EfficientNetLite0().apply({"params": p}, x))(params, pictures)
    # 76.5 % of 200 such pictures were right; five standard errors of 40 are 33 %.
    assert (np.argmax(logits, axis=1) == numbers).mean() > 0.765 - 5 * (0.765 * 0.235 / 40) ** 0.5
