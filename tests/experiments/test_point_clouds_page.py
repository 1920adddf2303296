"""Tables and figure of the study of point clouds, of numbers made up here."""

import dataclasses
import json
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.point_clouds import equal, judge, measure, names, page, rounding
from experiments.stores import read_points
from lvm_mtc.data.draco import draco_payload
from lvm_mtc.data.octree import OctreeCode
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.phy.coding import code_blocks
from lvm_mtc.report.clouds import project
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes import simulate
from lvm_mtc.schemes.point_clouds.modulator import axis_levels
from lvm_mtc.schemes.point_clouds.scheme import PointClouds, PointCloudsConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep.programs import Arrived

DOCS = Path(__file__).resolve().parents[2] / "docs"


def points(scheme, offset, prefix=""):
    """Two SNRs on two channels."""
    return [
        Point(
            config_hash="k", coordinates={"scheme": scheme, "channel": channel, "csi_error_var": 0, "snr_db": snr_db},
            seed=0, snr_convention="rx_per_antenna", snr_db=snr_db, realised_snr_db=None,
            metrics={prefix + name: Measured(offset + snr_db / 10, None if snr_db else 0.02, 9)
                     for name in ("d1_psnr_db", "chamfer", "hausdorff", "accuracy")},
            ledger={"channel_uses": 320.0, "side_information_bits": 16.0, "num_pictures": 9}, device="cpu", versions={},
        )
        for channel in ("awgn", "rayleigh") for snr_db in (0.0, 5.0)
    ]  # fmt: skip


EVERY = [p for i, name in enumerate((*page.SHOWN, *page.VARIANTS)) for p in points(name, 30 - i)]
GAPS = [p for i, name in enumerate(page.OTHERS) for p in points(f"learned minus {name}", i + 1.0, page.PREFIX)]
CLEAN = points(page.CLEAN, 0.875)[0]


def test_tables_stand_side_by_side():
    first = "30.00 ± 0.02 | 29.00 ± 0.02 | 28.00 ± 0.02 | 27.00 ± 0.02 | 26.00 ± 0.02"
    assert page.quality(EVERY).splitlines()[2] == f"| AWGN | 0 | {first} |"
    assert page.gaps(GAPS).splitlines()[5] == "| Rayleigh | 5 | 1.50 | 2.50 | 3.50 | 4.50 |"
    assert page.variants(EVERY).splitlines()[3] == "| AWGN | 5 | 30.50 | 25.50 | 24.50 | 23.50 |"
    assert len(page.costs(EVERY).splitlines()) == 2 + 8 and "| moments | 320 | 16 |" in page.costs(EVERY)
    accuracies = page.accuracies(EVERY, CLEAN).splitlines()
    assert accuracies[2] == f"| AWGN | 0 | {first} |"
    assert accuracies[-1] == "| not sent | |" + " 0.88 ± 0.02 |" * 5


def test_symbols_at_equal_quality_are_told_as_multiples():
    values = {"symbols": 480.0, "d1_psnr_db": 35.0, "bits_per_symbol": 2.0, "rate": 2 / 3, "lost": 0.0}
    codes = (values, values | {"symbols": 1920.0, "bits_per_symbol": 4.0, "lost": 0.0104})
    rows = [
        dataclasses.replace(points(name, 0)[1], metrics={key: Measured(value, None, 9) for key, value in of.items()})
        for name, of in zip(page.CODED, codes, strict=True)
    ]  # fmt: skip
    cells = "480 (1.5 times) | 2 bits, rate 0.67 | 0.0 | 1920 (6.0 times) | 4 bits, rate 0.67 | 1.0"
    assert page.equals(rows).splitlines()[2:] == [f"| 5 | 35.00 | 320 | {cells} |"]
    assert equal.symbols_needed(lambda n: n / 100, 5.55) == 556 and equal.symbols_needed(lambda n: n, 3.0) == 320


@pytest.fixture(scope="module")
def few():
    """Clouds over AWGN, and an octree that knows them."""
    rng = np.random.default_rng(0)
    clouds = np.float32(rng.uniform(-0.5, 0.5, (3, 1024, 3)) * [1, 1, 0.1])
    link = LinkConfig(fading="awgn", convention="rx_per_antenna")
    spec = types.SimpleNamespace(sources={1: Source(clouds[:, None])}, links=(link,))
    return spec, names.Coded(
        "octree", OctreeCode(clouds), np.zeros((1024, 3), np.float32), "", ((2, 1 / 3), (4, 1 / 2))
    )


@pytest.mark.slow
def test_codes_are_sent_and_what_is_lost_is_shown_so(few, monkeypatch):
    spec, coded = few
    monkeypatch.setattr(equal, "WORDS", 6)
    of_all = equal.shown_d1(spec, coded, (2, 1 / 3), 400)
    assert equal.sent_d1(spec, coded, (2, 1 / 3), 400, 10.0) == (pytest.approx(of_all, abs=1e-4), 0.0)
    nothing = float(equal._d1(spec.sources[1].data[:, 0], np.tile(coded.lost, (3, 1, 1))).mean())
    assert equal.sent_d1(spec, coded, (2, 1 / 3), 400, -12.0) == (pytest.approx(nothing, abs=1e-4), 1.0)
    # The mode of more bits a symbol needs fewer symbols where it arrives, and is left where it does not.
    wanted = equal.shown_d1(spec, coded, (2, 1 / 3), 1400)
    for snr_db, mode in ((12.0, (4, 1 / 2)), (5.0, (2, 1 / 3))):
        found = equal.fewest(spec, coded, snr_db, wanted)
        assert found.mode == mode and found.symbols % 4 == 0 and found.lost == 0
        assert equal.sent_d1(spec, coded, mode, found.symbols, snr_db)[0] >= wanted - 1e-4
        assert equal.shown_d1(spec, coded, mode, found.symbols - 4) < wanted
    with pytest.raises(ValueError, match=r"octree reaches 90.00 dB at 5 dB with no mode"):
        equal.fewest(spec, coded, 5.0, 90.0)


def test_the_figure_draws_them():
    rows = page.panels(EVERY, GAPS, CLEAN)
    assert [len(row) for row in rows] == [2] * 4 and rows[2][1].title == "Rayleigh"
    assert [curve.label for curve in rows[0][0].curves] == list(page.SHOWN)
    assert [curve.label for curve in rows[3][0].curves] == [*page.SHOWN, "not sent"]
    assert rows[3][0].curves[-1].mean == rows[3][1].curves[-1].mean == [0.875, 0.875]
    assert rows[2][0].curves[1].mean == pytest.approx([2.0, 2.5]) and len(page.rows(EVERY[0])) == 4


def test_the_best_mode_is_taken_and_differences_are_of_each_cloud():
    low, high = (Arrived({"d1_psnr_db": np.full((2, 3, 1), v), "chamfer": np.full((2, 3, 1), -v)}, 1.0, None, None, {})
                 for v in (3.0, 5.0))  # fmt: skip
    assert measure.best((low, high), "d1_psnr_db") is high and measure.best((low, high), "chamfer") is low
    np.testing.assert_array_equal(measure.difference(high, low).metrics["difference_chamfer"], -2)


def test_few_realisations_have_intervals_over_clouds():
    values = np.random.default_rng(0).normal(size=(2, 50, 1))
    of_clouds, interval = measure.over_clouds(values), student_interval(values.mean(0)[:, 0])
    assert of_clouds == (pytest.approx(interval.mean), pytest.approx(interval.half_width), 50)


def test_the_best_scale_of_rounding_is_taken_and_costs_are_pairs():
    rng = np.random.default_rng(0)
    found = {name: {snr_db: level + rng.normal(size=(4, 6)) for snr_db in names.SNR_DB}
             for name, level in (("analogue", 36.0), (rounding.FOR_QAM, 35.0))}  # fmt: skip
    best = rounding.SCALES[1]
    found |= {str(scale): {snr_db: np.full((4, 6), 30.0 + (scale == best)) for snr_db in names.SNR_DB}
              for scale in rounding.SCALES}  # fmt: skip
    rows = rounding.costs(found)
    assert [row["snr_db"] for row in rows] == list(names.SNR_DB) and {row["scale"] for row in rows} == {best}
    assert rows[0]["rounded"][0] == 31 and rows[0]["analogue minus rounded"][0] == pytest.approx(
        found["analogue"][0.0].mean() - 31
    )
    line = page.rounding({"rows": rows}).splitlines()[2].split(" | ")
    assert line[0] == "| 0" and line[2] == "31.00 ± 0.00" and line[4] == f"{best:g}" and len(line) == 8


@pytest.mark.slow
def test_rounded_symbols_are_points_of_the_qam_at_their_scale():
    config = PointCloudsConfig(num_points=64, num_tokens=8, num_symbols=40, neighbours=4, width=8, attention=4,
                               bits_per_symbol=4, modulator="analog")  # fmt: skip
    clouds = np.float32(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 1, 64, 3)))
    plain = PointClouds(config)
    params = plain.start(plain.init(jax.random.key(0)), clouds[:, 0], 0)

    def sent(scheme):
        encoded = simulate.encode(scheme, params, Source(clouds), jax.random.key(0), {})
        point = OperatingPoint(snr_db=10.0, knobs={"temperature": 0.0})
        return np.asarray(scheme.modulate(params, encoded, point).signal.private.symbols)[:, 0, 0]

    analogue, levels = sent(plain), axis_levels(4)
    for scale in (0.7, 1.2):
        symbols = sent(rounding.Rounded(config, scale))
        nearest = levels[np.abs(scale * np.stack([analogue.real, analogue.imag])[..., None] - levels).argmin(-1)]
        wanted = nearest[0] + 1j * nearest[1]
        wanted /= np.sqrt(np.mean(np.abs(wanted) ** 2, axis=-1, keepdims=True))
        np.testing.assert_allclose(symbols, wanted, atol=1e-5)


def test_the_page_says_what_rounding_costs():
    results = json.loads((DOCS / "point_clouds" / "rounding.json").read_text())
    text = (DOCS / "point_clouds.md").read_text()
    assert page.rounding(results) in text and f"{results['clouds']} test clouds" in text


def test_modes_that_draco_leaves_out_hold_no_file():
    pytest.importorskip("DracoPy", reason="needs DracoPy (extra draco)")
    # Two neighbouring cells of the coarsest grid: no file of more cells is shorter.
    shortest = 8 * len(draco_payload(np.array([[-1.0, -1, -1], [-1, -1, -0.4]]), 2)) + 1
    assert set(names.MODES) - set(names.DRACO_MODES) == {(2, 1 / 3)}
    for bits_per_symbol, rate in names.MODES[:2]:
        assert code_blocks(names.SYMBOLS, bits_per_symbol, rate, crc="CRC16").payload_bits < shortest


@pytest.mark.slow
def test_the_judge_learns_and_does_not_ask_for_an_order():
    rng = np.random.default_rng(0)
    labels = np.arange(40, dtype=np.int32) % 2
    clouds = rng.uniform(-1, 1, (40, 300, 3)) * np.where(labels[:, None, None] == 1, [1, 1, 0.1], [0.1, 1, 1])
    known = judge.Labelled(np.float32(clouds), labels)
    params = judge.train_judge(known, 40)
    assert judge.accuracy(params, known).all()
    turned = clouds[:, rng.permutation(300)].astype(np.float32)
    np.testing.assert_allclose(
        judge.classify(params, turned), judge.classify(params, known.clouds), rtol=1e-4, atol=1e-4
    )


def test_a_judge_that_is_not_there_is_missed(tmp_path):
    with pytest.raises(ValueError, match=r"there is no judge; python -m experiments\.point_clouds\.judge trains it"):
        judge.load_judge(tmp_path / "none.npz")


@pytest.fixture(scope="module")
def stored():
    """Sweeps of the page's store by name, each with its differences."""
    with ResultStore(DOCS / "point_clouds" / "results.sqlite", create=False) as store:
        values = {name: page.measured(store, name) for name in (page.NAME, page.CSI_ERROR, page.OFDM)}
        others = (page.CLEAN, page.EQUAL, page.VARIED)
        return values | {name: read_points(store, name, "point_clouds") for name in others}


def test_the_store_says_what_the_page_says(stored):
    every, gaps = stored[page.NAME]
    assert len(gaps) == 4 * 2 * 4
    for gap in gaps:
        value = gap.metrics["difference_d1_psnr_db"]
        is_draco = "Draco" in gap.coordinates["scheme"]
        assert value.mean > value.half_width or (
            gap.snr_db == 20 and gap.coordinates["channel"] == "awgn" and not is_draco
        )
    assert {point.ledger["channel_uses"] for point in every} == {320}
    text = (DOCS / "point_clouds.md").read_text()
    assert page.quality(every) in text and page.gaps(gaps) in text
    assert "All 500 clouds of the test list" in text and "two channel realisations" in text
    counts = {(point.ledger["num_pictures"], point.metrics["d1_psnr_db"].count) for point in every}
    assert counts == {(500, 500)}
    varied = stored[page.VARIED]
    assert page.variants(varied) in text and {point.ledger["num_pictures"] for point in varied} == {24}


def test_the_codec_is_ahead_with_csi_error_too(stored):
    every, gaps = stored[page.CSI_ERROR]
    text = (DOCS / "point_clouds.md").read_text()
    assert page.quality(every) in text and page.gaps(gaps) in text and "variance 0.05" in text
    assert {(point.coordinates["channel"], point.coordinates["csi_error_var"]) for point in every} == {
        ("rayleigh", 0.05)
    }
    values = [gap.metrics["difference_d1_psnr_db"] for gap in gaps]
    assert len(values) == 4 * 3 and all(value.mean > value.half_width for value in values)


def test_the_judge_and_equal_quality_stand_on_the_page(stored):
    (judged, gaps), (clean,) = stored[page.NAME], stored[page.CLEAN]
    text = (DOCS / "point_clouds.md").read_text()
    assert page.accuracies(judged, clean) in text and page.equals(stored[page.EQUAL]) in text
    assert page.gaps(gaps, "accuracy") in text
    right = clean.metrics["accuracy"]
    assert right.count == 500 and 0.85 < right.mean < 0.95 and f"{100 * right.mean:.0f} %" in text
    assert f"{100 * clean.metrics['majority'].mean:.0f} %" in text
    octree, draco = ([p.metrics["symbols"].mean for p in page.of_scheme(stored[page.EQUAL], of)] for of in page.CODED)
    assert all(320 < fewer < more for fewer, more in zip(octree, draco, strict=True))


def test_clouds_are_turned_to_the_eye():
    turn = project(np.eye(3))
    np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1) and turn[2, 1] > 0.9 and turn[2, 0] == 0
