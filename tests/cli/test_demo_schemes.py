"""``lvm-mtc demo --scheme``: the shipped codecs on what the package writes, a part of it at two SNRs."""

import pytest

from lvm_mtc.cli import main
from lvm_mtc.data import demo_sources
from lvm_mtc.results.table import read_csv

pytestmark = pytest.mark.slow

# What moves in a browser, the quality, what it is at 20 dB at least, and the symbols of what is sent.
SHOWN = {
    "pvsc": ("player.html", "psnr_db", 27.0, 8 * 1296),
    "point_clouds": ("turntable.html", "d1_psnr_db", 33.0, 320),
    "gs_scnet": (None, "psnr_db", 16.0, 768),
}
SMALL = ("--snr-db", "0,20", "--channel", "awgn", "--limit")


def test_the_demo_asks_about_scenes(tmp_path, monkeypatch, capsys):
    few = (*demo_sources.DEMO_SOURCES["fa_semcom"], "--snr-db=-12,20", "--channel", "awgn", "--limit", "2")
    monkeypatch.setattr(demo_sources, "DEMO_SOURCES", demo_sources.DEMO_SOURCES | {"fa_semcom": few})
    command = ["demo", "--scheme", "fa_semcom", "--question", "is there a car?", "--realisations", "2"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == ""
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"maps.png", "answers.txt", "table.csv"}
    lines = (tmp_path / "out" / "answers.txt").read_text().splitlines()
    assert len(lines) == 2 * (1 + 2 * 2) and all(line.endswith(": yes") for line in lines if ", 20 dB" in line)
    low, high = read_csv(tmp_path / "out" / "table.csv")[:2]
    assert low["bit_error_rate"] > 0.3 > 1e-3 > high["bit_error_rate"] and low["channel_uses"] == 7680


@pytest.mark.parametrize("scheme", SHOWN)
def test_the_demo_of_a_scheme_shows_what_arrives(scheme, request, tmp_path, monkeypatch, capsys):
    if scheme == "pvsc":
        request.getfixturevalue("photographs")
    number = "8" if scheme == "pvsc" else "1"
    few = (*demo_sources.DEMO_SOURCES[scheme], *SMALL, number)
    monkeypatch.setattr(demo_sources, "DEMO_SOURCES", demo_sources.DEMO_SOURCES | {scheme: few})
    assert main(["demo", "--scheme", scheme, "--out", str(tmp_path / "out"), "--realisations", "2"]) == 0
    assert capsys.readouterr().err == ""
    moving, metric, least, uses = SHOWN[scheme]
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made >= {"curves.png", "sheet.png", "table.csv"} | ({moving} if moving else set())
    low, high = read_csv(tmp_path / "out" / "table.csv")
    assert low["scheme"] == scheme and (low["snr_db"], high["snr_db"]) == (0, 20)
    assert low[metric] < high[metric] > least and low["channel_uses"] == uses
