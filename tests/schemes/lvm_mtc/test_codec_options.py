"""The token codec's sizes and the options of how it is computed: scan, rematerialisation, type, attention."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.transformer import Block, stack_layers, unstack_layers
from lvm_mtc.models.variants import VARIANTS
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.masking import keep_bernoulli, keep_budget
from lvm_mtc.schemes.lvm_mtc.token_codec import TokenDecoder, TokenEncoder

pytestmark = pytest.mark.usefixtures("fast_compile")

GRID, PATCH_DIM, WIDTH, DEPTH = (3, 4), 12, 16, 2
ENCODER = TokenEncoder(*GRID, WIDTH, DEPTH, 2)
DECODER = TokenDecoder(*GRID, 8, 1, 2, patch_dim=PATCH_DIM)


def with_options(**options):
    return tuple(dataclasses.replace(module, parent=None, name=None, **options) for module in (ENCODER, DECODER))


def random_params(shapes, seed=2):
    """Every tensor random, biases and norms included."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        fan_in = leaf.shape[-2] if path[-1].key == "kernel" else 4
        return jnp.asarray(rng.normal(path[-1].key == "scale", fan_in**-0.5, leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def shapes_of(encoder, decoder, patches, kept):
    """Shapes of both modules' parameters."""

    def init(key, patches, kept):
        (tokens, _), params = encoder.init_with_output(key, patches, kept)
        return {"encoder": params["params"], "decoder": decoder.init(key, tokens, kept)["params"]}

    return jax.eval_shape(init, jax.random.key(0), patches, kept)


@pytest.fixture(scope="module")
def case():
    """Pictures with padded kept patches, and parameters without symmetry."""
    patches = jax.random.uniform(jax.random.key(0), (2, 12, PATCH_DIM))
    kept = keep_bernoulli(jax.random.normal(jax.random.key(1), (2, 12)), 9)
    assert not kept.valid.all() and kept.valid.sum(-1).min() > 1
    params = random_params(shapes_of(ENCODER, DECODER, patches, kept))
    block = params["encoder"]["block0"]
    return SimpleNamespace(patches=patches, kept=kept, params=params, block=block)


def picture_loss(case, encoder, decoder):
    def loss(params):
        tokens, features = encoder.apply({"params": params["encoder"]}, case.patches, case.kept)
        painted = decoder.apply({"params": params["decoder"]}, tokens, case.kept)
        return jnp.mean((painted - case.patches) ** 2), (painted, features)

    return loss


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def closed_form(width, depth, patch_dim, num_patches):
    """Parameters of MAE's encoder: embedding, class token, positions, layers, norm."""
    layers = depth * (12 * width**2 + 13 * width)
    return (patch_dim + 1) * width + width + (num_patches + 1) * width + layers + 2 * width


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(
    ("variant", "patch_size", "known"),
    [("base", 16, 85_798_656), ("large", 16, 303_301_632), ("huge", 14, 630_764_800)],
)
def test_sizes_are_those_of_mae(variant, patch_size, known, scan):
    v, side = VARIANTS[variant], 224 // patch_size
    patch_dim, num_patches = 3 * patch_size**2, side**2
    options = dict(scan=scan, send_class_token=True)
    encoder = TokenEncoder(side, side, v.embed_dim, v.depth, v.num_heads, **options)
    sizes = v.decoder_embed_dim, v.decoder_depth, v.decoder_num_heads
    decoder = TokenDecoder(side, side, *sizes, patch_dim=patch_dim, **options)
    kept = keep_budget(jnp.zeros((1, num_patches)), num_patches // 4)
    patches = jax.ShapeDtypeStruct((1, num_patches, patch_dim), jnp.float32)
    (tokens, _), params = jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x, kept), patches)
    painted, decoder_params = jax.eval_shape(lambda x: decoder.init_with_output(jax.random.key(0), x, kept), tokens)
    assert tokens.shape == (1, 1 + num_patches // 4, v.embed_dim) and painted.shape == patches.shape
    count, decoder_count = (sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (params, decoder_params))
    assert count == closed_form(v.embed_dim, v.depth, patch_dim, num_patches)
    assert count == known
    width = v.decoder_embed_dim
    rest = (v.embed_dim + 1) * width + (width + 1) * patch_dim - (patch_dim + 1) * width  # two layers for one
    assert decoder_count == closed_form(width, v.decoder_depth, patch_dim, num_patches) + rest
    assert variant != "large" or decoder_count == 26_240_256


def evaluate(case, **options):
    """Value, tokens and gradients of the encoder as one compiled function of its parameters."""
    encoder, _ = with_options(**options)

    def loss(params):
        tokens, _ = encoder.apply({"params": params}, case.patches, case.kept)
        return jnp.sum(jnp.sin(tokens)), tokens

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.fixture(scope="module")
def looped(case):
    return evaluate(case)(case.params["encoder"])


@pytest.mark.slow
@pytest.mark.parametrize(("scan", "remat"), [(False, True), (True, False), (True, True)])
def test_scan_and_remat_change_no_number(case, looped, scan, remat):
    run, params = evaluate(case, scan=scan, remat=remat), case.params["encoder"]
    params = stack_layers(params) if scan else params
    outputs, gradients = run(params)
    want_outputs, want_gradients = looped
    gradients = unstack_layers(gradients) if scan else gradients
    assert jax.tree.structure(gradients) == jax.tree.structure(want_gradients)
    for got, want in zip(*map(jax.tree.leaves, ((outputs, gradients), (want_outputs, want_gradients))), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * max(1.0, np.abs(want).max()))
    if scan:  # layers in another order would be seen
        wrong = run(params | {"blocks": jax.tree.map(lambda leaf: leaf[::-1], params["blocks"])})[0][1]
        assert np.abs(wrong - want_outputs[1]).max() > 1e-2


def test_both_halves_of_the_codec_scan_and_rematerialise(case):
    for scan, remat in ((False, False), (True, False), (False, True), (True, True)):
        params = stack_layers(case.params) if scan else case.params
        painted = picture_loss(case, *with_options(scan=scan, remat=remat))
        names = [equation.primitive.name for equation in equations(jax.make_jaxpr(painted)(params).jaxpr)]
        loops, copies = (2, 2) if scan else (0, DEPTH + 1)
        assert (names.count("scan"), sum("remat" in name for name in names)) == (loops, copies if remat else 0)


def test_stacked_parameters_are_the_modules_own_and_turn_back(case):
    own = shapes_of(*with_options(scan=True), case.patches, case.kept)
    assert jax.tree.map(jnp.shape, own) == jax.tree.map(jnp.shape, stack_layers(case.params))
    per_uav = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), case.params)
    for params, axis in ((case.params, 0), (per_uav, 1)):
        back = unstack_layers(stack_layers(params, axis), axis)
        assert jax.tree.structure(back) == jax.tree.structure(params)
        jax.tree.map(np.testing.assert_array_equal, back, params)
    assert stack_layers(per_uav, 1)["encoder"]["blocks"]["fc1"]["bias"].shape == (2, DEPTH, 4 * WIDTH)


def test_remat_keeps_less_and_scan_compiles_one_block(case):
    def kept_bytes(remat):
        loss = picture_loss(case, *with_options(remat=remat))
        residuals = jax.eval_shape(lambda p: jax.vjp(lambda q: loss(q)[0], p)[1], case.params)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(residuals))

    def num_equations(depth):
        encoder = dataclasses.replace(ENCODER, depth=depth, scan=True)
        params = jax.eval_shape(encoder.init, jax.random.key(0), case.patches, case.kept)
        return len(list(equations(jax.make_jaxpr(encoder.apply)(params, case.patches, case.kept).jaxpr)))

    parameters = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(case.params))
    assert kept_bytes(True) - parameters < (kept_bytes(False) - parameters) / 2
    assert num_equations(2) == num_equations(7)


@pytest.mark.parametrize("scan", [False, True])
def test_bfloat16_keeps_parameters_statistics_and_outputs_in_float32(case, scan):
    encoder, decoder = with_options(scan=scan, dtype="bfloat16")
    params = stack_layers(case.params) if scan else case.params
    loss = picture_loss(case, encoder, decoder)
    made = jax.eval_shape(encoder.init, jax.random.key(0), case.patches, case.kept)
    (_, outputs), gradients = jax.eval_shape(jax.value_and_grad(loss, has_aux=True), params)
    assert {leaf.dtype.name for leaf in jax.tree.leaves((made, outputs, gradients))} == {"float32"}
    found = {}
    for equation in equations(jax.make_jaxpr(loss)(params).jaxpr):
        found.setdefault(equation.primitive.name, set()).add(equation.invars[0].aval.dtype.name)
    assert found["dot_general"] == {"bfloat16"}
    assert found["rsqrt"] == found["exp"] == {"float32"}


def test_cudnn_is_told_lengths_that_mean_the_mask(case, monkeypatch):
    whole, asked = jax.nn.dot_product_attention, []

    def on_xla(*args, implementation, **options):
        asked.append((implementation, sorted(options.keys() - {"is_causal"})))
        return whole(*args, implementation="xla", **options)

    monkeypatch.setattr(jax.nn, "dot_product_attention", on_xla)
    x = jax.random.normal(jax.random.key(5), (2, 9, WIDTH))
    want, got, unpadded = (
        jax.jit(Block(2, dtype="bfloat16", attention=attention).apply)({"params": case.block}, x, valid)
        for attention, valid in (("xla", case.kept.valid), ("cudnn", case.kept.valid), ("cudnn", None))
    )
    assert asked == [("xla", ["mask"]), ("cudnn", ["key_value_seq_lengths"]), ("cudnn", [])]
    valid = np.asarray(case.kept.valid)
    np.testing.assert_array_equal(np.float32(got)[valid], np.float32(want)[valid])
    assert np.abs(np.float32(unpadded) - np.float32(want))[valid].max() > 0.01  # padding matters


def test_attention_is_what_was_asked_for(case):
    x = jax.ShapeDtypeStruct((2, 9, WIDTH), jnp.float32)

    def program(**options):
        return str(jax.make_jaxpr(Block(2, **options).apply)({"params": case.block}, x))

    assert program(attention=None) == program(attention="xla")
    assert LvmMtcConfig(attention=None).attention is None
    with pytest.raises(ValueError, match="LvmMtcConfig.attention.*'flash'"):
        LvmMtcConfig(attention="flash")
    with pytest.raises(ValueError, match="attention 'cudnn' needs dtype 'bfloat16' or 'float16', got float32"):
        program(attention="cudnn")
    if jax.default_backend() == "cpu":  # never replaced by another one
        with pytest.raises(RuntimeError, match="cuDNN"):
            program(attention="cudnn", dtype="bfloat16")


def test_class_token_is_sent_in_front(case):
    encoder, decoder = with_options(send_class_token=True)
    params = dict(case.params["decoder"])
    learned, embed = params.pop("cls_token"), params["decoder_embed"]

    @jax.jit
    def run():
        sent = encoder.apply({"params": case.params["encoder"]}, case.patches, case.kept)
        own = ENCODER.apply({"params": case.params["encoder"]}, case.patches, case.kept)
        # What a learned class token would have to be, to be what the first picture's becomes.
        same = sent[0][0, 0] @ embed["kernel"] + embed["bias"]
        painted = decoder.apply({"params": params}, sent[0], case.kept)
        learning = (
            DECODER.apply({"params": params | {"cls_token": token}}, own[0], case.kept)[0] for token in (same, learned)
        )
        return sent, own, painted[0], *learning

    sent, own, painted, same, other = run()
    for with_class, without in zip(sent, own, strict=True):
        np.testing.assert_allclose(with_class[:, 1:], without, rtol=0, atol=1e-6)
    np.testing.assert_allclose(painted, same, rtol=0, atol=1e-5)
    assert np.abs(painted - other).max() > 1e-3


def test_fresh_parameters(case):
    encoder, _ = with_options(send_class_token=True, linear_path=True, scan=True)
    (tokens, _), params = jax.jit(encoder.init_with_output)(jax.random.key(0), case.patches, case.kept)
    np.testing.assert_array_equal(tokens[:, 0], 0)  # no linear path, and the last norm's scale starts at zero
    assert np.abs(tokens[:, 1:]).min() > 0
    kernels = params["params"]["blocks"]["fc1"]["kernel"]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1  # every scanned layer has numbers of its own


def test_class_token_needs_a_transformer(case):
    for module in with_options(send_class_token=True, linear_path=True, depth=0):
        with pytest.raises(ValueError, match="send_class_token True needs a transformer, got depth 0"):
            module.init(jax.random.key(0), case.patches, case.kept)
