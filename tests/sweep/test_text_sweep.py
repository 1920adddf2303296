"""A text scheme in the engine, and sentences as bits beside it."""

import dataclasses

import jax
import numpy as np
import pytest

from lvm_mtc.data.bigram_code import BigramCode
from lvm_mtc.link import LinkConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.separation.captions import CaptionBits
from lvm_mtc.schemes.vlm_csc.scheme import VlmCsc, VlmCscConfig
from lvm_mtc.sweep import as_bits
from lvm_mtc.sweep.as_bits import measure_bits
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.rows import make_point
from lvm_mtc.sweep.run import sample_points
from lvm_mtc.sweep.stopping import StoppingRule

pytestmark = pytest.mark.usefixtures("fast_compile")

SCHEME = VlmCsc(
    VlmCscConfig(vocabulary=9, num_words=6, width=8, depth=1, num_heads=1, hidden=8, noise_attention="none")
)
ONE = Resources(num_devices=1, items_per_device=4)


@pytest.fixture(scope="module")
def measured():
    """Three groups of two sentences, two of which go together, at two SNRs on two channel realisations."""
    rng = np.random.default_rng(0)
    words = np.where(np.arange(6) < rng.integers(4, 7, (3, 2, 1)), rng.integers(1, 9, (3, 2, 6)), 0).astype(np.int32)
    shapes = jax.eval_shape(SCHEME.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape)), shapes)
    spec = SweepSpec(
        schemes=(Contender(name="learned", scheme=SCHEME, params=params),),
        links=(LinkConfig(fading="awgn", convention="rx_per_antenna"),),
        sources={2: Source(words)},
        snr_db=(-15.0, 15.0),
        stopping=StoppingRule(target_half_width=None, max_units=2),
        metrics=("bleu1", "word_error_rate"),
        pictures_per_step=4,
    )
    sender, points = CaptionBits(BigramCode(words.reshape(-1, 6), 9)), list(spec.coordinates())
    return spec, sender, points, sample_points(spec, points, resources=ONE), measure_bits(spec, sender, points)


def test_bits_use_the_channel_as_the_scheme_does(measured):
    spec, _, points, learned, bits = measured
    assert spec.stop_metric == "bleu1" and len(spec.steps(2)) == 2
    uses = 8 * np.count_nonzero(spec.sources[2].data, axis=(1, 2))
    for at, one, other in zip(points, learned, bits, strict=True):
        for arrived in (one, other):
            assert arrived.metrics["bleu1"].shape == (2, 3, 2)
            np.testing.assert_array_equal(arrived.ledger.channel_uses(), uses)
            row = make_point(spec, "key", at, arrived)
            np.testing.assert_allclose(row.ledger["channel_uses"], uses.mean() / 2)
        np.testing.assert_array_equal(one.ledger.side_information_bits, [2 * 3] * 3)
        np.testing.assert_array_equal(other.ledger.side_information_bits, [2 * (3 + 4)] * 3)


def test_bits_arrive_whole_or_not_at_all(measured):
    low, high = measured[-1]
    np.testing.assert_array_equal(low.metrics["word_error_rate"], 1)
    np.testing.assert_array_equal(low.metrics["bleu1"], 0)
    np.testing.assert_array_equal(high.metrics["word_error_rate"], 0)
    np.testing.assert_allclose(high.metrics["bleu1"], 1, atol=1e-6)


def test_the_engine_measures_words(measured):
    for arrived in measured[3]:
        errors = arrived.metrics["word_error_rate"]
        assert ((errors > 0) & (errors <= 1)).any() and (arrived.metrics["bleu1"] <= 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(metrics=("evm",), stop_metric="evm"), "metric 'evm' is not known of bits"),
        (dict(links=(LinkConfig(equalizer="paper"),)), "'paper' is biased"),
    ],
)
def test_what_bits_cannot_do_is_refused(measured, change, message):
    spec, sender, points, *_ = measured
    with pytest.raises(ValueError, match=message):
        measure_bits(dataclasses.replace(spec, **change), sender, points)
    with pytest.raises(ValueError, match="CaptionBits.num_symbols 4: the scheme has 8 in a frame"):
        measure_bits(spec, dataclasses.replace(sender, num_symbols=4), points)


def test_of_each_source_everything_different_is_measured():
    keys = [[b"a", b"x"], [b"b", b"x"], [b"a", b"y"], [b"c", b"x"]]
    taken = list(as_bits._layers(keys))
    assert len(taken) == 3
    for place, wanted in enumerate(({b"a", b"b", b"c"}, {b"x", b"y"})):
        assert {keys[rows[place]][place] for rows in taken} == wanted
