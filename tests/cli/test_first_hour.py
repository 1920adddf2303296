"""The page on the first hour, from pictures to a codec of one's own in a figure, with small sizes."""

import csv
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, find_chromium

from lvm_mtc.cli import main
from lvm_mtc.results.store import ResultStore

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)
FILE = re.compile(r"`(my_\w+\.py)`:\n\n```python\n(.*?)```", re.DOTALL)
SMALL = {
    "transmit": " --weights small.npz --loc centre --realisations 2",
    "sweep": " --set weights=small.npz --set loc=centre --channel rayleigh",
}

pytestmark = pytest.mark.slow


def test_the_page_runs(folder, capsys, monkeypatch):
    for name, code in FILE.findall((DOCS / "add_a_scheme.md").read_text()):
        (folder / name).write_text(code)
    monkeypatch.syspath_prepend(folder)
    printed = ""
    for kind, text in BLOCK.findall((DOCS / "first_hour.md").read_text()):
        if kind == "python":
            (folder / "hour.py").write_text(text.replace("DEMO_WEIGHTS)", '"small.npz")'))
            runpy.run_path("hour.py")
        for line in re.findall(r"^\$ lvm-mtc (.*)$", text, re.MULTILINE) if kind == "console" else ():
            command = line.replace("--units 32", "--units 3") + SMALL.get(line.split()[0], "")
            assert main(shlex.split(command)) == 0, capsys.readouterr().err
        printed += capsys.readouterr().out
    assert "1 points computed again" in printed and "hour.sqlite: sweep 'flight'" in printed
    assert "object first: 100 x 80 in 4 x 3 tiles of 32 x 32, 28 and 16 columns and rows mirrored" in printed
    for name in (
        "result/sheet.png",
        "whole/sheet.png",
        "figures/quality.png",
        "column/curves.png",
        "report.html",
        "figures_of_mine/quality.csv",
    ):
        assert (folder / name).stat().st_size > 1000 or name.endswith(".csv")
    with ResultStore("hour.sqlite") as store:
        sweeps = {sweep.config["name"]: store.read(sweep.config_hash) for sweep in store.sweeps()}
    assert {name: len(points) for name, points in sweeps.items()} == {"flight": 4, "mine": 8}
    for channel in ("rayleigh", "shadowed"):
        mine = [one for one in sweeps["mine"] if one.coordinates["scheme"] == "mine"]
        low, high = (one.metrics["psnr_db"].mean for one in mine if one.coordinates["channel"] == channel)
        assert high > low + 1
    with open("values.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 3 * 3 * (2 + 3)
    mean = np.mean([float(row["psnr_db"]) for row in rows if (row["num_uavs"], row["snr_db"]) == ("3", "10")])
    (point,) = (one for one in sweeps["flight"] if one.coordinates["num_uavs"] == 3 and one.snr_db == 10)
    np.testing.assert_allclose(mean, point.metrics["psnr_db"].mean, rtol=1e-6)
    for name in ("my_codec", "my_fading"):
        sys.modules.pop(name, None)
    opened(folder / "report.html")


def opened(report):
    """A browser shows the page's report, with its points, and complains of nothing."""
    if (program := find_chromium()) is None:
        pytest.skip("no chromium on this machine: all ran, and nobody opened the report")
    with Browser(program, report.parent / "profile", report.as_uri()) as page:
        assert "flight" in page.evaluate("document.body.innerText")
        assert page.evaluate("[...document.images].length && [...document.images].every(one => one.naturalWidth > 0)")
        assert page.complaints == [] and page.requests == [report.as_uri()]
