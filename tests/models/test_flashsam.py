import flashsam_reference as reference
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.test_util import check_grads

from lvm_mtc.interop.flashsam_weights import import_flashsam, published_name
from lvm_mtc.models import flashsam_blocks as blocks
from lvm_mtc.models.detection import anchor_points, decode_boxes
from lvm_mtc.models.flashsam import FLASHSAM_VARIANTS, DetectionHead, FlashSAM, fold_batch_norm
from lvm_mtc.models.flops import count_flops
from lvm_mtc.models.maps import upsample
from lvm_mtc.models.weights import WeightsError, flatten_params, unflatten_params

pytestmark = pytest.mark.usefixtures("fast_compile")

RNG = np.random.default_rng(0)


def shapes(model, image_shape=(1, 64, 64, 3)):
    return jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct(image_shape, jnp.float32))


def nchw(x):
    return np.asarray(x, np.float64).transpose(0, 3, 1, 2)


def variables_of(module, x, stage, tensors):
    """A block's variables from the published tensors of its stage; float64, since a norm works in their type."""
    variables = {}
    for collection, tree in jax.eval_shape(module.init, jax.random.key(0), x).items():
        flat = {}
        for path in flatten_params(tree):
            array = tensors[published_name(f"{stage}/{path}")]
            flat[path] = (array.transpose(2, 3, 1, 0) if array.ndim == 4 else array).astype(np.float64)
        variables[collection] = unflatten_params(flat)
    return variables


# --- parameters and operations -------------------------------------------------------------------------------------

PUBLISHED_PARAMETERS = {"n": 2_624_080, "s": 9_458_752, "m": 20_114_688, "l": 25_372_160, "x": 56_966_176}
PUBLISHED_GFLOPS = {"n": 6.5, "s": 21.5, "m": 68.0, "l": 86.9, "x": 194.9}


@pytest.mark.parametrize("variant", FLASHSAM_VARIANTS)
def test_parameters_and_operations_are_the_published_ones(variant):
    variables = shapes(FlashSAM(variant, 80))
    # The 16 fixed weights of the distribution's bins are counted there.
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) + 16 == PUBLISHED_PARAMETERS[variant]

    folded = {"params": jax.eval_shape(fold_batch_norm, variables["params"], variables["batch_stats"])}
    image = jax.ShapeDtypeStruct((1, 640, 640, 3), jnp.float32)
    program = FlashSAM(variant, 80, folded=True).apply
    # The published counter looks at layers only, so it does not see the two products inside attention.
    assert round(count_flops(program, folded, image, attention=False) / 1e9, 1) == PUBLISHED_GFLOPS[variant]


def test_products_inside_attention_are_below_one_percent():
    image = jax.ShapeDtypeStruct((1, 640, 640, 3), jnp.float32)
    model = FlashSAM("n", 80, folded=True)
    params = shapes(model)
    both = count_flops(model.apply, params, image)
    assert abs(both / 1e9 / PUBLISHED_GFLOPS["n"] - 1) < 0.01
    # 400 cells, 2 heads with keys of 32 and values of 64.
    assert both - count_flops(model.apply, params, image, attention=False) == 2 * 2 * 400**2 * (32 + 64)


def test_class_agnostic_is_the_default_and_smaller():
    assert FlashSAM() == FlashSAM("n", 1)
    few, many = (shapes(FlashSAM("n", n))["params"] for n in (1, 80))
    assert few["head8"]["class_logits"]["kernel"].shape == (1, 1, 64, 1)
    assert many["head8"]["class_logits"]["kernel"].shape == (1, 1, 80, 80)


def test_operations_in_closed_form():
    x, y = jax.ShapeDtypeStruct((2, 9, 10, 8), jnp.float32), jax.ShapeDtypeStruct((2, 10, 5), jnp.float32)

    def convolved(module):
        return count_flops(module.apply, jax.eval_shape(module.init, jax.random.key(0), x), x)

    assert convolved(blocks.Conv(16, 3, 2)) == 2 * 2 * 5 * 5 * 16 * 8 * 9
    assert convolved(blocks.DepthwiseConv()) == 2 * 2 * 9 * 10 * 8 * 9

    def product(a):
        return jnp.einsum("bij,bkj->bik", a, a)

    assert count_flops(product, y) == 2 * 2 * 10 * 10 * 5
    assert count_flops(product, y, attention=False) == 0

    def three_times(a):
        return jax.lax.scan(lambda c, _: (jnp.tanh(c) @ jnp.ones((5, 5)), None), a, length=3)[0]

    assert count_flops(jax.jit(three_times), y) == 3 * 2 * 2 * 10 * 5 * 5
    assert count_flops(jax.grad(lambda a: jnp.sum(three_times(a))), y) > 3 * 2 * 2 * 10 * 5 * 5
    with pytest.raises(ValueError, match="while loop"):
        count_flops(lambda a: jax.lax.while_loop(lambda c: jnp.sum(c) > 0, lambda c: c - 1, a), y)


# --- every block against the reference -----------------------------------------------------------------------------

BLOCKS = {
    "CBS, stride 2": (
        blocks.ConvBlock(8, 3, 2, dtype="float64"), "down2", (2, 6, 10, 4),
        lambda t, x: reference.cbs(t, "model.0", x, 8, 3, 2),
    ),
    "CBS, 1x1": (
        blocks.ConvBlock(6, dtype="float64"), "down2", (2, 3, 5, 4),
        lambda t, x: reference.cbs(t, "model.0", x, 6),
    ),
    "CBS, depthwise": (
        blocks.ConvBlock(4, 3, depthwise=True, activation=False, dtype="float64"), "down2", (2, 5, 6, 4),
        lambda t, x: reference.cbs(t, "model.0", x, 4, 3, groups=4, act=False),
    ),
    "bottleneck": (
        blocks.Bottleneck(8, dtype="float64"), "stage4/block0", (1, 5, 4, 8),
        lambda t, x: reference.bottleneck(t, "model.2.m.0", x, 4),
    ),
    "C3k": (
        blocks.C3k(8, dtype="float64"), "stage16/block0", (1, 5, 4, 8),
        lambda t, x: reference.c3k(t, "model.6.m.0", x),
    ),
    "C3k2": (
        blocks.C3k2(16, 2, False, 0.25, dtype="float64"), "stage4", (1, 5, 4, 6),
        lambda t, x: reference.c3k2(t, "model.2", x, 16, 2, False, 0.25),
    ),
    "C3k2 of C3k": (
        blocks.C3k2(16, 1, True, dtype="float64"), "out32", (1, 4, 4, 6),
        lambda t, x: reference.c3k2(t, "model.22", x, 16, 1, True),
    ),
    "SPPF": (
        blocks.SPPF(8, dtype="float64"), "pyramid", (2, 4, 7, 8),
        lambda t, x: reference.sppf(t, "model.9", x),
    ),
    "attention": (
        blocks.PositionalAttention(128, 2, dtype="float64"), "attention/block0/attention", (2, 3, 2, 128),
        lambda t, x: reference.attention(t, "model.10.m.0.attn", x),
    ),
    "C2PSA": (
        blocks.C2PSA(128, 2, dtype="float64"), "attention", (1, 3, 4, 128),
        lambda t, x: reference.c2psa(t, "model.10", x, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_block_equals_reference(name):
    module, stage, shape, expected = BLOCKS[name]
    x = RNG.normal(size=shape)
    tensors = reference.Tensors(1)
    y = expected(tensors, nchw(x))
    with jax.enable_x64(True):
        out = jax.jit(module.apply)(variables_of(module, jnp.asarray(x), stage, tensors), x)
    assert out.dtype == np.float64
    np.testing.assert_allclose(nchw(out), y, rtol=1e-10, atol=1e-10)


def test_flax_own_padding_at_stride_2_differs_from_reference():
    x = RNG.normal(size=(1, 6, 10, 4)).astype(np.float32)
    kernel = RNG.normal(size=(3, 3, 4, 8)).astype(np.float32)
    expected = reference.conv2d(nchw(x), kernel.transpose(3, 2, 0, 1).astype(np.float64), 2)
    right = blocks.Conv(8, 3, 2, use_bias=False).apply({"params": {"kernel": kernel}}, x)
    wrong = nn.Conv(8, (3, 3), 2, use_bias=False).apply({"params": {"kernel": kernel}}, x)
    np.testing.assert_allclose(nchw(right), expected, rtol=1e-4, atol=1e-4)
    assert wrong.shape == right.shape and np.abs(nchw(wrong) - expected).max() > 1


def test_head_equals_reference():
    head = DetectionHead(64, 24, 3, 16, dtype="float64")
    x = RNG.normal(size=(2, 3, 2, 24))
    tensors = reference.Tensors(2)
    box, score = reference.head(tensors, "model.23", 1, nchw(x), 24, 3)
    with jax.enable_x64(True):
        out = jax.jit(head.apply)(variables_of(head, jnp.asarray(x), "head16", tensors), x)
    np.testing.assert_allclose(out[0].reshape(2, 3, 2, 64).transpose(0, 3, 1, 2), box, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(out[1].reshape(2, 3, 2, 3).transpose(0, 3, 1, 2), score, rtol=1e-10, atol=1e-10)


def test_upsampling_repeats_cells():
    x = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(nchw(upsample(jnp.asarray(x))), reference.upsample(nchw(x)))


# --- the whole network ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    """Size n with three classes: published tensors, pictures of two, the reference's outputs."""
    images = np.random.default_rng(3).uniform(size=(2, 64, 96, 3)).astype(np.float32)
    tensors = reference.Tensors(4)
    outputs = reference.network(tensors, nchw(images), "n", 3)
    return dict(tensors), images, outputs


@pytest.mark.slow
def test_network_equals_reference_before_and_after_folding(small):
    tensors, images, (box, score) = small
    params, batch_stats = import_flashsam(tensors, "n", 3)
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: a.astype(np.float64), {"params": params, "batch_stats": batch_stats})
        raw = jax.jit(FlashSAM("n", 3, dtype="float64").apply)(variables, images)
        folded = {"params": fold_batch_norm(**variables)}
        raw_folded = jax.jit(FlashSAM("n", 3, folded=True, dtype="float64").apply)(folded, images)
        points, strides = anchor_points(64, 96)
        boxes = decode_boxes(raw_folded.box_logits, points, strides)
    for out in (raw, raw_folded):
        assert out.box_logits.dtype == np.float64
        np.testing.assert_allclose(out.box_logits, box, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(out.class_logits, score, rtol=1e-8, atol=1e-8)
    # Logits of which a softmax or a sigmoid is all but one value would prove little.
    assert 0.2 < score.std() < 10 and 0.2 < box.std() < 10
    np.testing.assert_allclose(boxes, reference.decode(box, 64, 96), rtol=1e-8, atol=1e-8)


def test_reference_sees_two_names_exchanged(small):
    tensors, images, (box, _) = small
    swapped = reference.Tensors(0)
    swapped.update(tensors)
    a, b = "model.16.m.0.cv2.bn.running_mean", "model.16.m.0.cv2.bn.bias"
    swapped[a], swapped[b] = tensors[b], tensors[a]
    assert np.abs(reference.network(swapped, nchw(images[:1, :32, :32]), "n", 3)[0] - box[:1, :21]).max() > 1e-3


@pytest.mark.slow
def test_single_and_half_precision(small):
    tensors, images, (box, score) = small
    params, batch_stats = import_flashsam(tensors, "n", 3)
    folded = {"params": fold_batch_norm(params, batch_stats)}

    def distance(out):
        pairs = ((out.box_logits, box), (out.class_logits, score))
        return [float(np.linalg.norm(np.asarray(a) - b) / np.linalg.norm(b)) for a, b in pairs]

    single = jax.jit(FlashSAM("n", 3, folded=True).apply)(folded, images)
    half = jax.jit(FlashSAM("n", 3, folded=True, dtype="bfloat16").apply)(folded, images)
    assert single.box_logits.dtype == half.box_logits.dtype == jnp.float32
    assert max(distance(single)) < 1e-5
    # 8 bits of mantissa through about 60 layers in a row.
    assert 1e-4 < max(distance(half)) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["s", "m", "l", "x"])
def test_larger_networks_equal_reference(variant):
    images = np.random.default_rng(5).uniform(size=(1, 64, 64, 3)).astype(np.float32)
    tensors = reference.Tensors(6)
    box, score = reference.network(tensors, nchw(images), variant, 80)
    params, batch_stats = import_flashsam(tensors, variant, 80)
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: a.astype(np.float64), {"params": params, "batch_stats": batch_stats})
        out = jax.jit(FlashSAM(variant, 80, dtype="float64").apply)(variables, images)
    np.testing.assert_allclose(out.box_logits, box, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(out.class_logits, score, rtol=1e-7, atol=1e-7)


def test_shapes_and_types():
    model = FlashSAM("n", 5, dtype="bfloat16")
    variables = shapes(model)
    image = jax.ShapeDtypeStruct((2, 96, 160, 3), jnp.float32)
    program, raw = jax.make_jaxpr(model.apply, return_shape=True)(variables, image)
    num_anchors = anchor_points(96, 160)[0].shape[0]
    assert num_anchors == 12 * 20 + 6 * 10 + 3 * 5
    assert raw.box_logits.shape == (2, num_anchors, 4, 16) and raw.class_logits.shape == (2, num_anchors, 5)
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, raw))} == {np.dtype("float32")}
    convolutions = [e.outvars[0].aval for e in program.eqns if e.primitive.name == "conv_general_dilated"]
    assert len(convolutions) > 60 and {out.dtype.name for out in convolutions} == {"bfloat16"}


# --- start and training --------------------------------------------------------------------------------------------


def test_initial_biases_and_kernels():
    head = DetectionHead(64, 64, 80, 16)
    params = head.init(jax.random.key(0), jnp.zeros((1, 2, 2, 64)))["params"]
    assert set(np.ravel(params["box_logits"]["bias"])) == {1.0}
    expected = np.log(5 / 80 / (640 / 16) ** 2)
    np.testing.assert_allclose(params["class_logits"]["bias"], np.full(80, expected), rtol=1e-6)
    bound = 1 / np.sqrt(9 * 64)
    kernel = np.asarray(params["box1"]["conv"]["kernel"])
    assert 0.999 * bound < np.abs(kernel).max() <= bound
    # Variance of a uniform is bound^2/3; that of its square is bound^4 (1/5 - 1/9).
    assert abs(kernel.var() - bound**2 / 3) < 5 * bound**2 * np.sqrt((1 / 5 - 1 / 9) / kernel.size)
    assert np.abs(params["class1_depthwise"]["conv"]["kernel"]).max() <= 1 / 3


def test_training_uses_and_records_batch_statistics():
    module = blocks.ConvBlock(4, activation=False)
    x = jnp.asarray(RNG.normal(size=(3, 4, 5, 2)), jnp.float32)
    variables = module.init(jax.random.key(0), x)
    y, updates = module.apply(variables, x, True, mutable=["batch_stats"])
    convolved = np.asarray(x, np.float64) @ np.asarray(variables["params"]["conv"]["kernel"], np.float64)[0, 0]
    mean, var = convolved.mean((0, 1, 2)), convolved.var((0, 1, 2))
    np.testing.assert_allclose(y, (convolved - mean) / np.sqrt(var + 1e-3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(updates["batch_stats"]["norm"]["mean"], 0.03 * mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(updates["batch_stats"]["norm"]["var"], 0.97 + 0.03 * var, rtol=1e-4)


def test_depthwise_convolution_equals_xla_and_has_its_gradient():
    x = jnp.asarray(RNG.normal(size=(2, 4, 5, 3)), jnp.float32)
    kernel = jnp.asarray(RNG.normal(size=(3, 3, 1, 3)), jnp.float32)
    expected = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=3
    )
    np.testing.assert_allclose(blocks.depthwise_conv3x3(x, kernel), expected, rtol=1e-5, atol=1e-5)
    check_grads(blocks.depthwise_conv3x3, (x, kernel), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


@pytest.mark.slow
def test_every_parameter_of_attention_and_head_learns():
    class Pair(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return DetectionHead(64, 32, 2, 8, name="head8")(blocks.C2PSA(128, name="attention")(x, train), train)

    x = jnp.asarray(RNG.normal(size=(2, 4, 4, 128)), jnp.float32)

    @jax.jit
    def gradient(x):
        variables = Pair().init(jax.random.key(1), x, False)

        def loss(params):
            (box, score), _ = Pair().apply({**variables, "params": params}, x, True, mutable=["batch_stats"])
            return jnp.mean(box**2) + jnp.mean(score**2)

        return jax.grad(loss)(variables["params"])

    for path, grad in flatten_params(gradient(x)).items():
        assert np.isfinite(grad).all(), path
        # A later norm takes away what is constant, such as the shift of the values in attention.
        if "norm/bias" not in path:
            assert np.abs(grad).max() > 0, path


# --- wrong input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (FlashSAM("q"), (1, 64, 64, 3), "variant must be one of n, s, m, l, x, got 'q'"),
        (FlashSAM("n", 0), (1, 64, 64, 3), "num_classes must be at least 1, got 0"),
        (FlashSAM(dtype="int8"), (1, 64, 64, 3), "dtype must be one of float32, bfloat16, float64, got 'int8'"),
        (FlashSAM(), (64, 64, 3), r"images must have shape \[batch, height, width, 3\], got \(64, 64, 3\)"),
        (FlashSAM(), (1, 64, 64, 4), r"got \(1, 64, 64, 4\)"),
        (FlashSAM(), (1, 64, 72, 3), "height 64 and width 72: both must be positive multiples of 32"),
    ],
)
def test_wrong_input_is_named(model, shape, message):
    with pytest.raises(ValueError, match=message):
        shapes(model, shape)


def test_wrong_use_of_folded_networks_and_blocks_is_named():
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    with pytest.raises(ValueError, match="train=True needs batch norms"):
        jax.eval_shape(lambda x: FlashSAM(folded=True).init(jax.random.key(0), x, True), image)
    with pytest.raises(ValueError, match="keeps its 3 channels.*features 4"):
        jax.eval_shape(blocks.ConvBlock(4, 3, depthwise=True).init, jax.random.key(0), image)
    variables = {"params": {"a": {"conv": {"kernel": jnp.ones((1, 1, 1, 1))}, "norm": {"scale": 1, "bias": 0}}}}
    with pytest.raises(ValueError, match="no statistics of a/norm"):
        fold_batch_norm(variables["params"], {})


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_wrapped_names_are_read(small, prefix):
    tensors, _, _ = small
    wrapped = {f"{prefix}{name}": array for name, array in tensors.items()}
    jax.tree.map(np.testing.assert_array_equal, import_flashsam(tensors, "n", 3), import_flashsam(wrapped, "n", 3))


def test_import_lists_every_fault_at_once(small):
    tensors, _, _ = small
    wrong = dict(tensors)
    wrong["model.0.bn.num_batches_tracked"] = np.int64(7)
    wrong["model.23.dfl.conv.weight"] = np.arange(16.0).reshape(1, 16, 1, 1)
    assert len(import_flashsam(wrong, "n", 3)) == 2

    del wrong["model.0.conv.weight"], wrong["model.10.m.0.attn.pe.bn.bias"]
    wrong["model.5.conv.weight"] = wrong["model.5.conv.weight"][1:]
    wrong["model.99.conv.weight"] = np.zeros(3)
    with pytest.raises(WeightsError) as caught:
        import_flashsam(wrong, "n", 3)
    text = str(caught.value)
    assert "\n" not in text and "variant 'n', num_classes 3" in text
    assert "2 missing: model.0.conv.weight, model.10.m.0.attn.pe.bn.bias" in text
    assert "1 not known: model.99.conv.weight" in text
    assert "model.5.conv.weight (127, 128, 3, 3) instead of (128, 128, 3, 3)" in text


def test_import_refuses_other_bins_and_numbers_that_are_none(small):
    tensors, _, _ = small
    with pytest.raises(WeightsError, match="dfl.conv.weight must hold 0 to 15"):
        import_flashsam({**tensors, "model.23.dfl.conv.weight": np.ones((1, 16, 1, 1))}, "n", 3)
    faulty = {"model.0.bn.bias": np.full(16, np.nan), "model.1.bn.bias": np.full(32, "a")}
    with pytest.raises(WeightsError, match="2 not of finite numbers: model.0.bn.bias, model.1.bn.bias"):
        import_flashsam({**tensors, **faulty}, "n", 3)
    with pytest.raises(ValueError, match="does not begin with a stage"):
        published_name("stem/conv/kernel")
