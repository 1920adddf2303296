"""The page on noise attention says what its store says; a misled transceiver is told another SNR, and that alone."""

from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.stores import read_points
from experiments.text import noise_attention as study
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward
from lvm_mtc.schemes.vlm_csc.scheme import VlmCsc, VlmCscConfig
from lvm_mtc.sweep.paired import PREFIX, differences_name

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "noise_attention.md").read_text()


@pytest.fixture(scope="module")
def stored():
    with ResultStore(DOCS / "noise_attention" / "results.sqlite", create=False) as store:
        return [read_points(store, name, "text") for name in (study.NAME, differences_name(study.NAME))]


def test_page_and_store_agree(stored):
    points, differences = stored
    assert study.by_snr(points, "bleu1") in PAGE and study.by_snr(differences, f"{PREFIX}bleu1") in PAGE
    assert {point.coordinates["scheme"] for point in points} == {*study.CURVES.values(), study.MISLED}
    assert all(point.ledger["num_pictures"] == 256 for point in points)


def test_differences_are_those_of_the_means(stored):
    points, differences = stored
    mean = {(point.coordinates["scheme"], point.snr_db): point.metrics["bleu1"].mean for point in points}
    assert len(differences) == len(points) * 5 // 6
    for point in differences:
        name = point.coordinates["scheme"].removesuffix(" - control")
        wanted = mean[name, point.snr_db] - mean[study.NONE, point.snr_db]
        assert point.metrics[f"{PREFIX}bleu1"].mean == pytest.approx(wanted, abs=1e-5)


def test_what_the_page_says_of_them(stored):
    at = {(p.coordinates["scheme"], p.snr_db): p.metrics[f"{PREFIX}bleu1"] for p in stored[1]}
    of = {name: {snr_db: at[study.minus(name), snr_db] for snr_db in study.SNR_DB} for name in study.CURVES.values()
          if name != study.NONE}  # fmt: skip
    assert all(abs(value.mean) <= 0.0055 for value in of[study.GAIN].values())
    literal = of[study.CURVES["literal"]]
    assert f"{literal[-2.0].mean:.3f} ± {literal[-2.0].half_width:.3f} at -2 dB" in PAGE
    assert f"{literal[0.0].mean:.3f} ± {literal[0.0].half_width:.3f} at 0 dB" in PAGE
    assert all(value.mean < 0.001 for snr_db, value in literal.items() if snr_db >= 2)
    low, high = of[study.CURVES["none_0"]], of[study.CURVES["none_8"]]
    assert low[0.0].mean - low[0.0].half_width > 0.05 and high[0.0].mean + high[0.0].half_width < -0.1
    assert high[10.0].mean == pytest.approx(0.006, abs=5e-4) and high[10.0].mean > high[10.0].half_width
    assert all(low[snr_db].mean + low[snr_db].half_width < -0.015 for snr_db in (4.0, 6.0, 10.0))


def test_the_figure_draws_all_of_them(stored):
    ((absolute,), (paired,)) = study.panels(*stored)
    assert len(absolute.curves) == 6 and len(paired.curves) == 5 and study.NONE in paired.y_label


@pytest.mark.slow
def test_the_misled_hear_of_another_snr_and_the_channel_does_not():
    config = VlmCscConfig(vocabulary=12, num_words=5, num_symbols=4, width=16, depth=1, num_heads=2, hidden=24)
    scheme, misled = VlmCsc(config), study.Misled(config)
    params = scheme.init(jax.random.key(0))
    rng = np.random.default_rng(0)  # gates begin as the identity, whatever the SNR
    params = jax.tree.map(lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32), params)
    source = Source(np.int32([[[3, 4, 5, 0, 0]]]))
    run = jax.jit(forward, static_argnums=(0, 4))
    link = LinkConfig(fading="awgn", convention="rx_per_antenna")

    def sent(scheme, snr_db):
        return run(scheme, params, source, jax.random.key(1), link, OperatingPoint(snr_db=snr_db))

    np.testing.assert_array_equal(
        sent(misled, 0.0).sent.signal.private.symbols, sent(scheme, study.EXCESS_DB).sent.signal.private.symbols
    )
    assert not np.array_equal(
        sent(misled, 0.0).sent.signal.private.symbols, sent(scheme, 0.0).sent.signal.private.symbols
    )
    wanted = sent(scheme, 0.0).received.no_eff
    np.testing.assert_allclose(sent(misled, 0.0).received.no_eff, wanted, rtol=1e-5)
