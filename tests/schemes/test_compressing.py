"""Compressed schemes: what is found in WITT, the token codec and the text transceiver, and files that load again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.compression import Choice, Network, uniform
from lvm_mtc.models.pruning import Group, find_groups
from lvm_mtc.models.weights import WeightsError, flatten_params, load_weights, save_weights
from lvm_mtc.schemes.compressing import measured_on, save_compressed, survey
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward
from lvm_mtc.schemes.vlm_csc.scheme import VlmCsc, VlmCscConfig
from lvm_mtc.schemes.witt.scheme import Witt, WittConfig

pytestmark = pytest.mark.usefixtures("fast_compile")

LINK, POINT = LinkConfig.of(fading="awgn"), OperatingPoint(10.0)


def drawn(scheme):
    """Random parameters, those that start at zero too."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(scheme.init, jax.random.key(0))
    return jax.tree.map(lambda s: jnp.asarray(rng.normal(scale=0.2, size=s.shape), jnp.float32), shapes)


@pytest.fixture(scope="module")
def witt():
    scheme = Witt(WittConfig(codec="witt_tiny", image_size=8, num_symbols=4, receiver="shrunk"))
    source = Source(jax.random.uniform(jax.random.key(1), (2, 1, 8, 8, 3)), {})
    return scheme, drawn(scheme), source


@pytest.mark.slow
def test_a_survey_and_a_file_that_is_the_plan(witt, tmp_path):
    scheme, params, source = witt
    over = jax.random.key(2), LINK, POINT
    network, measure = survey(scheme, params, source, *over)
    counts = {name: (group.count, group.size) for name, group in network.groups.items()}
    ends = [f"{end}/{end}_stage0_block0" for end in ("encoder", "decoder")]
    assert counts == {f"{e}/attention/qkv": (2, 4) for e in ends} | {f"{e}/fc1": (32, 1) for e in ends}
    # 16 places of width 8, in windows of 4: a unit is 2 x 2 x 8 operations at each.
    assert network.flops_each["encoder/encoder_stage0_block0/fc1"] == 16 * 32
    assert network.flops_each["decoder/decoder_stage0_block0/attention/qkv"] == 16 * (
        2 * 8 * 12 + 4 * 4 * 4 + 2 * 4 * 8
    )
    assert all((values > 0).all() for values in network.importance.values())

    plan = {part: choice._replace(bits=8) for part, choice in uniform(network, "share", 0.5).items()}
    save_compressed(tmp_path / "small.npz", scheme, network, plan, {"seed": 3})
    loaded, small = load_scheme(tmp_path / "small.npz")
    assert loaded == scheme and load_weights(tmp_path / "small.npz")[1]["seed"] == 3
    wanted = flatten_params(network.compressed(plan))
    assert {name: leaf.shape for name, leaf in flatten_params(small).items()} == {n: w.shape for n, w in wanted.items()}
    for name, leaf in flatten_params(small).items():
        np.testing.assert_array_equal(leaf, wanted[name])
    with np.load(tmp_path / "small.npz") as archive:
        held = sum(archive[name].nbytes for name in archive.files if name != "__metadata__")
    assert held == network.cost(plan).size < network.cost({}).size

    np.testing.assert_allclose(measure(small)[0], measure(network.same_shapes(plan))[0], rtol=1e-5)
    assert abs(float(measure(params)[0] - measure(small)[0])) > 1e-6


def test_blocks_of_the_token_codec_and_of_the_text_transceiver_are_found():
    tokens = LvmMtc(LvmMtcConfig(variant="tiny", image_size=16, patch_size=8, num_symbols=4))
    words = VlmCsc(VlmCscConfig(vocabulary=9, num_words=4, num_symbols=2, width=16, depth=1, num_heads=4, hidden=8))
    pictures = Source(jnp.zeros((1, 1, 16, 16, 3)), {"loc": jnp.full((1, 1, 4), 8.0)})
    found = []
    for scheme, source in ((tokens, pictures), (words, Source(jnp.ones((1, 1, 4), jnp.int32)))):

        def send(params, scheme=scheme, source=source):
            return forward(scheme, params, source, jax.random.key(0), LINK, POINT).estimate.data

        found.append(find_groups(send, drawn(scheme)))
    blocks = {"encoder/block0": (2, 32), "encoder/block1": (2, 32), "decoder/block0": (2, 24)}
    wanted = {f"{b}/qkv": Group(*heads) for b, heads in blocks.items()}
    wanted |= {f"{b}/fc1": Group(4 * count * size, 1) for b, (count, size) in blocks.items()}
    assert found[0] == wanted
    ends = ("encoder/block0", "decoder/block0")
    assert found[1] == {f"{e}/qkv": Group(4, 4) for e in ends} | {f"{e}/fc1": Group(8, 1) for e in ends}


@pytest.mark.slow
def test_the_loss_of_text_is_the_transceivers_own():
    scheme = VlmCsc(VlmCscConfig(vocabulary=9, num_words=4, num_symbols=2, width=16, depth=1, num_heads=4, hidden=8))
    source = Source(jnp.array([[[1, 2, 3, 0]]]))
    loss, told = measured_on(scheme, source, jax.random.key(0), LINK, POINT)(drawn(scheme))
    assert float(loss) > 0 and 0 <= float(told["word_accuracy"]) <= 1


def test_files_whose_shapes_are_not_what_they_say_are_refused(witt, tmp_path):
    scheme, params, _ = witt
    name = "encoder/encoder_stage0_block0/fc1"
    network = Network(params, {name: Group(32, 1)}, {name: np.arange(32.0)})
    plan = {name: Choice(share=0.5)}
    save_compressed(tmp_path / "good.npz", scheme, network, plan)
    small, about = load_weights(tmp_path / "good.npz")
    assert about["pruned"] == {name: 16} and load_scheme(tmp_path / "good.npz")
    for pruned, message in (
        ({name: 17}, "does not fit"),
        ({name: 99}, "at most 32 features, got 99"),
        ({}, "does not fit"),
    ):
        save_weights(tmp_path / "bad.npz", small, about | {"pruned": pruned})
        with pytest.raises((WeightsError, ValueError), match=message):
            load_scheme(tmp_path / "bad.npz")
