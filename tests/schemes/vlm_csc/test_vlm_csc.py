"""The text transceiver: noise attention, power and costs, what receivers use, both decoders, losses, errors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint, Received
from lvm_mtc.schemes import make_scheme, name_of
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, forward
from lvm_mtc.schemes.vlm_csc.losses import word_loss
from lvm_mtc.schemes.vlm_csc.network import NoiseAttention
from lvm_mtc.schemes.vlm_csc.scheme import VlmCsc, VlmCscConfig

pytestmark = pytest.mark.usefixtures("fast_compile")

CONFIG = VlmCscConfig(vocabulary=12, num_words=5, num_symbols=4, width=16, depth=1, num_heads=2, hidden=24)
PARALLEL = VlmCsc(CONFIG)
TURNS = VlmCsc(dataclasses.replace(CONFIG, decoder="autoregressive", noise_attention="literal"))
LINK = LinkConfig(fading="awgn", convention="rx_per_antenna")
ALL_WORDS = np.random.default_rng(0).integers(1, 12, (16, 2, 5), np.int32)
WORDS = ALL_WORDS.copy()
WORDS[:2] = [[[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]], [[11, 1, 1, 0, 0], [3, 0, 0, 0, 0]]]
POINT = OperatingPoint(snr_db=4.0)

run, decode = jax.jit(forward, static_argnums=(0, 4)), jax.jit(VlmCsc.decode, static_argnums=0)
score = jax.jit(VlmCsc.scores, static_argnums=0)


def drawn(scheme):
    """Parameters, none of them at the zeros at which gates start."""
    rng, shapes = np.random.default_rng(0), jax.eval_shape(scheme.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape) * 0.3), shapes)


@pytest.fixture(scope="module")
def sent():
    """Both schemes with their parameters and what became of ``WORDS``."""
    made = {}
    for scheme in (PARALLEL, TURNS):
        params = drawn(scheme)
        made[scheme] = params, run(scheme, params, Source(WORDS), jax.random.key(1), LINK, POINT)
    return made


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_sizes_are_the_papers():
    gate = NoiseAttention(1.0)
    for width, size in ((128, 40_432), (256, 106_224)):
        assert count(jax.eval_shape(gate.init, jax.random.key(0), jnp.zeros((1, 1, width)), jnp.zeros(1))) == size
    paper = VlmCsc(VlmCscConfig(decoder="autoregressive"))
    params = jax.eval_shape(paper.init, jax.random.key(0))
    sizes = {name: count(group) for name, group in params.items()}
    gates = {"encoder": 3 * 40_432, "channel_encoder": 40_432 + 106_224}
    gates |= {"channel_decoder": gates["channel_encoder"], "decoder": gates["encoder"]}
    assert {name: size - gates.get(name, 0) for name, size in sizes.items()} == {
        "embedding": 384_000, "encoder": 594_816, "decoder": 793_728, "channel_encoder": 67_984,
        "channel_decoder": 68_096,
    }  # fmt: skip
    assert count(params) == 2_444_528


def test_noise_attention_is_the_printed_formula_and_its_limits():
    rng = np.random.default_rng(1)
    x, snr_db = np.float32(rng.normal(size=(3, 2, 6))), np.float32([-3, 0, 12])
    start = NoiseAttention(2.0).init(jax.random.key(0), x, snr_db)["params"]
    params = jax.tree.map(lambda a: np.float32(rng.normal(size=a.shape)), start)

    def gate(gain, params, x, snr_db):
        return NoiseAttention(gain).apply({"params": params}, x, snr_db)

    gated = gate(1.0, params, x, snr_db)
    v = np.float64(snr_db)[:, None] / 10
    for name in ("snr1", "snr2", "snr3"):
        v = v @ np.float64(params[name]["kernel"]) + params[name]["bias"]
        v = np.maximum(v, 0) if name != "snr3" else 1 / (1 + np.exp(-v))
    gates = (np.float64(x) @ params["gate"]["kernel"] + params["gate"]["bias"]) * v[:, None]
    np.testing.assert_allclose(gated, x / (1 + np.exp(-gates)), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(gate(2.0, start, x, snr_db), x)
    open_ = params | {"gate": jax.tree.map(np.zeros_like, params["gate"])}
    for name in ("snr3", "gate"):
        open_[name] = open_[name] | {"bias": np.full(6, 40, np.float32), "kernel": np.zeros_like(open_[name]["kernel"])}
    np.testing.assert_allclose(gate(1.0, open_, x, snr_db), x, atol=1e-6)
    assert (np.abs(gated) <= np.abs(x)).all() and np.abs(gated - x).max() > 0.1
    alone = jax.vmap(lambda x, snr: gate(1.0, params, x[None], snr[None])[0])(x, snr_db)
    np.testing.assert_allclose(alone, gated, atol=1e-6)
    slope = jax.grad(lambda snr: gate(1.0, params, x, snr).sum())(jnp.zeros(3))
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0


@pytest.mark.parametrize("scheme", [PARALLEL, TURNS], ids=["parallel", "autoregressive"])
def test_words_cost_their_symbols_and_sentences_have_power_one(sent, scheme):
    _, out = sent[scheme]
    lengths = (WORDS > 0).sum(-1)
    np.testing.assert_array_equal(out.ledger.channel_uses(), 4 * lengths.sum(-1))
    np.testing.assert_array_equal(out.ledger.side_information_bits, [2 * 3] * 16)
    symbols, on_air = out.sent.signal.private
    np.testing.assert_array_equal(on_air, WORDS > 0)
    energy = np.where(on_air[..., None], np.abs(symbols) ** 2, 0).sum((-2, -1))
    np.testing.assert_allclose(energy / (4 * lengths), 1, rtol=1e-5)
    words = np.argmax(out.estimate.data, -1)
    assert out.estimate.data.shape == (*WORDS.shape, 12) and np.isfinite(out.estimate.data).all()
    np.testing.assert_array_equal(words > 0, WORDS > 0)


def test_realised_snr_is_nominal(sent):
    out = run(PARALLEL, sent[PARALLEL][0], Source(ALL_WORDS), jax.random.key(2), LINK, POINT)
    assert abs(10 * np.log10(out.through.snr) - 4.0) < 5 * 10 / np.log(10) * np.sqrt(2 / (ALL_WORDS.size * 4))


@pytest.mark.parametrize("scheme", [PARALLEL, TURNS], ids=["parallel", "autoregressive"])
def test_a_receiver_uses_its_own_words_alone(sent, scheme):
    params, out = sent[scheme]
    other = WORDS.copy()
    other[1, 0] = [4, 4, 4, 4, 4]
    changed = run(scheme, params, Source(other), jax.random.key(1), LINK, POINT).estimate.data
    np.testing.assert_allclose(changed[0], out.estimate.data[0], atol=1e-5)
    assert np.abs(changed[1, 0] - out.estimate.data[1, 0])[:3].max() > 1e-3
    # What stands where no word was sent says nothing.
    silent = (WORDS == 0)[..., None]
    noisy = Received(*(jnp.where(silent, 7.0, a) for a in out.received))
    again = decode(scheme, params, noisy, out.sent.side, POINT).data
    np.testing.assert_allclose(again, out.estimate.data, atol=1e-5)


def test_features_of_a_sentence_are_its_own_words_mean(sent):
    params, _ = sent[PARALLEL]
    words, shorter = np.int32([[6, 7, 0, 0, 0], [3, 3, 3, 3, 3]]), np.int32([[6, 7, 0, 0, 0], [1, 2, 0, 0, 0]])
    features = jax.jit(PARALLEL.features)
    one, other = (features(params, rows, jnp.full(2, 4.0)) for rows in (words, shorter))
    assert one.shape == (2, CONFIG.width)
    np.testing.assert_allclose(one[0], other[0], atol=1e-6)
    assert np.abs(one[1] - other[1]).max() > 1e-2
    x = PARALLEL._apply(params, "encoder", PARALLEL._embed(params, words), words > 0, jnp.full(2, 4.0))
    np.testing.assert_allclose(one, np.stack([x[0, :2].mean(0), x[1].mean(0)]), atol=1e-5)


def test_both_ends_are_told_the_nominal_snr(sent):
    params, out = sent[PARALLEL]
    other = decode(PARALLEL, params, out.received, out.sent.side, OperatingPoint(snr_db=10.0)).data
    assert np.abs(other - out.estimate.data)[WORDS > 0].max() > 1e-3


def test_greedy_search_is_one_pass_over_what_it_said(sent):
    params, out = sent[TURNS]
    said = jnp.argmax(out.estimate.data, axis=-1)
    at_once = score(TURNS, params, out.received, out.sent.side, POINT, said)
    np.testing.assert_allclose(at_once, out.estimate.data, atol=1e-4)
    # A word depends on those before it only.
    later = score(TURNS, params, out.received, out.sent.side, POINT, said.at[0, 0, 2].set(9))
    np.testing.assert_allclose(later[0, 0, :3], at_once[0, 0, :3], atol=1e-5)
    assert np.abs(later - at_once)[0, 0, 3].max() > 1e-4


def test_losses_are_their_formulas():
    rng = np.random.default_rng(0)
    scores, words = rng.normal(size=(4, 7)), rng.integers(0, 7, 4)
    p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    right = np.eye(7)[words]
    want = {
        "cross_entropy": -(right * np.log(p)).sum(-1),
        "binary": -(right * np.log(p) + (1 - right) * np.log(1 - p)).sum(-1),
    }
    for kind, value in want.items():
        np.testing.assert_allclose(word_loss(jnp.float32(scores), jnp.asarray(words), kind), value, rtol=1e-5)


@pytest.mark.parametrize(("scheme", "kind"), [(PARALLEL, "cross_entropy"), (TURNS, "binary")])
def test_gradients_reach_every_parameter_and_stages_share_them(sent, scheme, kind):
    params, _ = sent[scheme]
    channel, semantic, both = scheme.stages()

    @jax.jit
    def gradients(params, key):
        return jax.grad(lambda p: both.loss(scheme, p, Source(WORDS), key, LINK, POINT, {"word_loss": kind})[0])(params)

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients(params, jax.random.key(1))):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, path
    names = {jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in
             jax.tree_util.tree_leaves_with_path(params)}  # fmt: skip
    learned = [set(filter(stage.trainable, names)) for stage in (channel, semantic)]
    assert learned[0] | learned[1] == names and not learned[0] & learned[1] and all(learned)
    assert both.trainable is None


def test_register_knows_it():
    assert name_of(make_scheme("vlm_csc", {"num_words": 8})) == "vlm_csc"
    assert make_scheme("vlm_csc", {"num_words": 8}).frames() == (8, 8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(vocabulary=1), "VlmCscConfig.vocabulary .* >= 2, got 1"),
        (dict(num_words=0), "VlmCscConfig.num_words .*0"),
        (dict(decoder="both"), "VlmCscConfig.decoder .*'both'"),
        (dict(noise_attention="half"), "VlmCscConfig.noise_attention .*'half'"),
        (dict(width=24), "VlmCscConfig.width must be a multiple of twice VlmCscConfig.num_heads 8, got 24"),
    ],
)
def test_wrong_shapes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        VlmCscConfig(**fields)


def test_sentences_of_another_length_are_refused(sent):
    with pytest.raises(ValueError, match=r"words must be \[batch, num_uavs, 5\], got \(1, 1, 4\)"):
        encode(PARALLEL, sent[PARALLEL][0], Source(jnp.zeros((1, 1, 4), int)), jax.random.key(0), {})
