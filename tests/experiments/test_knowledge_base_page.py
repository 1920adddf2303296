"""The page about the knowledge base shows what its file of results says."""

import json
from pathlib import Path

import pytest

from experiments.knowledge_base.page import draw, store_results, tables
from lvm_mtc.report.pages import fill_page
from lvm_mtc.report.store_figures import draw_figures
from lvm_mtc.results.store import ResultStore

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = json.loads((DOCS / "knowledge_base" / "results.json").read_text())
PAGE = (DOCS / "knowledge_base.md").read_text()


def test_page_and_results_agree():
    assert fill_page(PAGE, tables(RESULTS)) == PAGE, "run experiments/knowledge_base/measure.py --page-only"


def test_a_number_that_drifted_is_seen():
    value = RESULTS["detectors"][0]["ap50"]
    other = RESULTS | {"detectors": [RESULTS["detectors"][0] | {"ap50": [value[0] + 0.001, *value[1:]]}]}
    assert fill_page(PAGE, tables(other)) != PAGE


def test_numbers_and_their_units():
    found = tables(RESULTS)
    row = RESULTS["detectors"][1]
    value, low, high = row["recall_at_10"]
    assert "| YOLOX-nano | 416 | " in found["detectors"]
    assert f"{value:.3f} ({low:.2f} to {high:.2f})" in found["detectors"]
    row = RESULTS["chain"][1]
    mean, half = row["all"]["minus_annotated_db"]
    assert f"{mean:.2f} ± {half:.2f}" in found["chain"] and row["masks"] in found["chain"]
    assert found["filters"].splitlines()[-1].startswith("| any | clip | not measured")
    measured = tables(RESULTS | {"filters": [RESULTS["filters"][0] | {"filter": "clip"}]})["filters"]
    assert "not measured" not in measured


@pytest.mark.parametrize(("value", "met"), [(0.75, "| yes |"), (0.7499, "| **no** |")])
def test_a_bound_is_met_or_not(value, met):
    rows = [RESULTS["detectors"][0] | {"recall_at_10": [value, value, value]}, *RESULTS["detectors"][1:]]
    line = next(line for line in tables(RESULTS | {"detectors": rows})["bounds"].splitlines() if "recall@10" in line)
    assert line.endswith(met)


def test_figure_is_drawn(tmp_path):
    draw(RESULTS, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG" and len(list(tmp_path.iterdir())) == 1


def test_the_rows_become_points_and_a_figure(tmp_path):
    assert store_results(RESULTS, tmp_path / "kb.sqlite") == len(RESULTS["chain"]) == 20
    assert store_results(RESULTS, tmp_path / "kb.sqlite") == 0
    (tmp_path / "figures").mkdir()
    with ResultStore(tmp_path / "kb.sqlite") as store:
        (found,) = store.read(at={"knowledge_base": "FlashSAM-n, score filter", "channel": "rayleigh", "snr_db": 20})
        (row,) = (
            r
            for r in RESULTS["chain"]
            if (r["masks"], r["fading"], r["snr_db"]) == ("FlashSAM-n, score filter", "rayleigh", 20)
        )
        assert list(found.metrics["psnr_inside_db"]) == [*row["all"]["psnr_inside_db"], 200]
        draw_figures(store, tmp_path / "figures")
    assert (tmp_path / "figures" / "knowledge_bases.png").exists()
