"""Benchmarks say in one line what they lack."""

import runpy
import sys
from pathlib import Path

import pytest

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
