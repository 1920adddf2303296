"""Benchmarks say in one line what they lack, and pages quote what they have stored."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from lvm_mtc.report.pages import fill_page

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.parametrize(
    ("script", "hidden", "extra"),
    [
        ("coding.py", "sionna", "sionna"),
        ("delay_lines.py", "tensorflow", "sionna"),
        ("vs_sionna.py", "sionna", "sionna"),
        ("sweep.py", "skimage", "demo"),
        ("train_step.py", "torch", "parity"),
    ],
)
def test_what_is_missing_is_one_line(script, hidden, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, hidden, None)
    monkeypatch.setattr(sys, "argv", [script])
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    line = str(ended.value)
    assert f"{script}: lacks " in line and hidden in line and line.endswith(f"pip install -e '.[{extra}]'")
    assert "\n" not in line


def test_pages_quote_the_stored_times_of_coded_bits(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    tables = runpy.run_path(str(BENCHMARKS / "coding.py"))["tables"]
    report = json.loads((BENCHMARKS / "results" / "coding_cpu.json").read_text())
    page = (BENCHMARKS.parent / "docs" / "coding.md").read_text()
    assert fill_page(page, tables(report)) == page and f"load {report['load_at_the_end']:.0f} at the end" in page
    small, _ = report["codes"]
    assert (small["k"], small["n"]) == (512, 1024)
    times = small["speedup_of_jax_layered"]
    graphs = [times[f"sionna_{name}"] for name in ("graph_flooding", "graph_layered", "xla_flooding")]
    assert min(graphs) > 5  # aimed at
    layered = small["decoders"]["jax_layered"]
    quoted = (
        f"{layered['words_per_s']:,.0f} words of (512, 1024) a second, {graphs[0]:.1f} times",
        "{:.1f} times its layered graph and {:.1f} times its flooding through XLA".format(*graphs[1:]),
        f"takes {layered['first_call_s']:.1f} s",
    )
    speed = re.sub(r"\s+", " ", (BENCHMARKS.parent / "docs" / "speed.md").read_text())
    assert all(words in speed for words in quoted)
    lost = {name: decoder["block_error_rate"] for name, decoder in small["decoders"].items()}
    assert (
        f"{100 * lost['sionna_graph_flooding_minsum']:.0f} % of the words of 1024 bits where the exact rule loses "
        f"{100 * lost['sionna_graph_flooding']:.0f} %" in page
    )


def test_the_receiver_of_otfs_is_fifty_times_faster_than_one_dense_system():
    found = json.loads((BENCHMARKS / "results" / "otfs_cpu.json").read_text())
    assert (found["delays"], found["dopplers"]) == (32, 32)
    assert found["speedup"] >= 50 and found["largest_error"] < 1e-4
    page = re.sub(r"\s+", " ", (BENCHMARKS.parent / "docs" / "otfs.md").read_text())
    words = (
        f"{1e3 * found['by_symbols_s']:.1f} ms with all error variances against {1e3 * found['dense_s']:.0f} ms "
        f"without any, {found['speedup']:.0f} times as fast"
    )
    assert words in page
