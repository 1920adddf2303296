"""FA-SemCom's study: its pairs, and its tables of numbers made up here."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.fa_semcom import errors, measure, page, slices
from lvm_mtc import phy
from lvm_mtc.data.packed_questions import PackedQuestions
from lvm_mtc.models.weights import save_weights
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.table import read_csv
from lvm_mtc.schemes.fa_semcom.scheme import FaSemCom, FaSemComConfig
from lvm_mtc.schemes.loading import identity

DOCS = Path(__file__).resolve().parents[2] / "docs" / "fa_semcom"


def point(scheme, snr_db, accuracy, width=0.02, prefix=""):
    values = {"accuracy": accuracy, "bit_error_rate": 0.01, "bit_error_rate_top": 0.002}
    return Point(
        config_hash="k", coordinates={"scheme": scheme, "channel": "awgn", "snr_db": snr_db}, seed=0,
        snr_convention="esno", snr_db=snr_db, realised_snr_db=None,
        metrics={prefix + name: Measured(value, width, 9) for name, value in values.items()},
        ledger={"channel_uses": 7680.0, "side_information_bits": 186.0}, device="cpu", versions={},
    )  # fmt: skip


def test_differences_stand_beside_average_power_and_are_bold_where_they_are_sure():
    noisy = measure.ANSWERERS["noisy"]
    points = [point(f"{noisy}: {name}", snr_db, 0.5) for name in ("average", "both, beta 1") for snr_db in (0.0, 4.0)]
    paired = [
        point(f"{noisy}: both, beta 1", snr_db, d, prefix=page.PREFIX) for snr_db, d in ((0.0, -0.03), (4.0, 0.01))
    ]
    head, _, first, second = page.allocation_table(points, paired).splitlines()
    assert head == "| answerer | SNR, dB | average power | both, beta 1 |"
    assert first == f"| {noisy} | 0 | 0.500 ± 0.020 | **-0.030 ± 0.020** |"
    assert second == f"| {noisy} | 4 | 0.500 ± 0.020 | +0.010 ± 0.020 |"
    assert page._signed((-0.25, None)) == page._signed((-0.25, 3e9)) == "-0.250"
    assert page._signed((0.0, 0.0)) == "+0.000 ± 0.000"


def test_the_other_tables_and_the_panel():
    every = [point(f"{label}: {name}", snr_db, 0.6) for label in measure.ANSWERERS.values()
             for name in measure.ALLOCATIONS for snr_db in (8.0, 12.0)]  # fmt: skip
    rows = page.levels_table({f"allocations, {label}": every for label in page.LINKS}).splitlines()[2:]
    assert len(rows) == 2 * len(measure.ALLOCATIONS) and "| 1.0e-02 | 2.0e-03 | 0.600" in rows[0]
    quiet = {("carla_test", "all"): (every[::12], {"floor": "0.4589", "questions": "1462"})}
    assert page.quiet_table(quiet).splitlines()[2].startswith("| carla_test | all | 1462 | 0.459 | 0.600 ± 0.020")
    panel = page._panel(every, [], "clean", "AWGN")
    assert [curve.label for curve in panel.curves] == list(measure.ALLOCATIONS) and panel.curves[0].half_width
    levels = [point(f"{measure.ANSWERERS['levels']}: both, beta 1", measure.QUIET_DB, 0.45)]
    line = page._panel(every, levels, "clean", "AWGN").curves[2]
    assert line.label == "levels alone: both, beta 1" and line.mean == [0.45] * 2 and line.snr_db == [8.0, 12.0]


def sliced_rows():
    """Of five questions about vehicles, four about lights and signs and one about bicycles."""
    rng = np.random.default_rng(0)
    right = {
        (name, energy, snr_db): rng.random((4, 10)) < chance
        for name, chance in (("base", 0.5), ("grid", 0.9), ("matched", 0.7))
        for energy in slices.ENERGIES
        for snr_db in slices.SNR_DB
    }
    question = np.array([[0, 0], [1, 0], [0, 3], [0, 4], [0, 3], [1, 3], [2, 0], [3, 0], [0, 0], [0, 1]])
    asked = SimpleNamespace(question=question)
    tokens = {"base": 60.0, "grid": 300.0, "matched": 90.0}
    ledgers = {name: {"channel_uses": 128 * of, "side_information_bits": 3 * of} for name, of in tokens.items()}
    return right, slices.rows(right, asked, tokens, ledgers)


def test_slices_stand_beside_the_picture_alone():
    right, rows = sliced_rows()
    assert len(rows) == 3 * len(slices.ENERGIES) * len(slices.SNR_DB) * len(slices.ABOUT)
    (row,) = (r for r in rows if (r["slices"], r["energy"], r["snr_db"], r["about"]) == ("grid", "picture", 4.0, "all"))
    base, grid = right["base", "picture", 4.0], right["grid", "picture", 4.0]
    assert row["accuracy"] == grid.mean() and row["difference"] == pytest.approx(grid.mean() - base.mean())
    assert row["questions"] == 10 and row["difference_half_width"] > 0
    lights = [r for r in rows if r["about"] == "lights and signs" and r["slices"] == "base"]
    assert lights[0]["questions"] == 4 and lights[0]["difference"] is None
    assert lights[0]["accuracy"] == right["base", "symbol", 0.0][:, 2:6].mean()
    lines = page.slices_table(rows).splitlines()
    assert len(lines) == 2 + len(slices.SNR_DB) * len(slices.ABOUT) and lines[-1].startswith(
        "| none | lights and signs"
    )
    costs = page.cost_table(rows).splitlines()[2:]
    assert costs[1] == "| grid | 2880 | 2880 | 43.58 | 43.56 | 300 | 38400 | 900 |"
    assert costs[2].startswith("| matched | 1152")
    with pytest.raises(ValueError, match="'grid' were packed for other questions than 'base'"):
        other = SimpleNamespace(question=np.zeros((2, 2)), answer=np.zeros(2), picture=np.zeros(2))
        slices.check_same_questions({"base": other, "grid": SimpleNamespace(**vars(other) | {"answer": np.ones(2)})})


def test_tables_of_slices_are_those_of_the_file():
    rows, text = read_csv(DOCS / slices.FILE), DOCS.with_suffix(".md").read_text()
    assert page.slices_table(rows) in text and page.cost_table(rows) in text
    uses = {row["slices"]: row["channel_uses"] for row in rows}
    assert uses["base"] == 7680 and uses["grid"] == 5 * 7680 and 7680 < uses["matched"] < 2 * 7680
    side = {row["slices"]: row["side_information_bits"] for row in rows}
    sliced = uses["matched"] / 7680 - 1  # share of questions with a slice
    assert side["base"] == 3 * 60 + 5 and side["grid"] == 3 * 300 + 5
    assert side["matched"] == pytest.approx(side["base"] + 1 + sliced * (180 + 30), abs=0.01)


def test_counted_errors_of_the_page_are_those_of_the_closed_form():
    with open(DOCS / "errors.csv") as file:
        rows = list(csv.DictReader(file))
    groups = {(row["channel"], row["attention"], row["beta"]) for row in rows}
    assert groups == {
        (channel, attention, f"{beta:g}")
        for channel in errors.LINKS for attention in errors.ALPHAS for beta in errors.BETAS
    }  # fmt: skip
    assert {row["level"] for row in rows} == set("12345")
    for row in rows:
        # Rare errors are Poisson's: what lies five standard deviations off may be a single one.
        wrong, expected = (float(row[name]) * int(row["bits"]) for name in ("counted", "closed_form"))
        assert abs(float(row["deviations"])) < 5 or wrong - expected < 2, row
        if row["beta"] == "0":
            es_no = 10 ** (errors.SNR_DB / 10)
            own = phy.qam_ber(es_no) if row["channel"] == "AWGN" else phy.fisher_snedecor_ber(es_no, m_f=5.0, m_s=4.0)
            assert float(row["closed_form"]) == pytest.approx(float(own), rel=1e-4)
    assert page.errors_table(rows) in DOCS.with_suffix(".md").read_text()


@pytest.fixture
def answerers(tmp_path, monkeypatch):
    scheme = FaSemCom(FaSemComConfig(num_patches=60, patch_size=4, num_features=4, width=8))
    import jax

    params = jax.tree.map(np.asarray, scheme.init(jax.random.key(0)))
    files = {name: tmp_path / f"{name}.npz" for name in measure.FILES}
    for file in files.values():
        save_weights(file, params, identity(scheme))
    monkeypatch.setattr(measure, "FILES", files)


@pytest.mark.slow
def test_every_allocation_is_held_against_average_power_of_the_same_answerer(answerers):
    rng, count = np.random.default_rng(0), 8
    packed = PackedQuestions(
        np.float16(rng.normal(size=(count, 60, 4))), np.tile(np.float32([0, 0, 1, 1]), (count, 1)),
        np.float32(rng.random((count, 60))), np.zeros((count, 2), np.int32), np.zeros(count, np.int32),
        np.arange(count, dtype=np.int32)[:, None], np.float32(rng.random((count, 1, 60))),
        np.arange(count, dtype=np.int32), np.array(["p"] * count),
    )  # fmt: skip
    schemes = measure.contenders(("noisy", "clean"), measure.ALLOCATIONS, quantizer="float16")
    assert all(one.scheme.config.quantizer == "float16" for one in schemes)
    spec = measure._sweep("s", packed, np.arange(count), schemes, (measure.AWGN,), (0.0, 8.0), {})
    pairs = list(measure.against_average(spec))
    assert len(pairs) == 2 * 2 * 5
    known = [dict(at) for at in spec.coordinates()]
    for pair in pairs:
        assert dict(pair.first) in known and dict(pair.second) in known
        assert pair.second["beta"] == 0 and pair.second["scheme"].split(":")[0] == pair.first["scheme"].split(":")[0]
