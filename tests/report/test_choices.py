"""Figures as a user wants them."""

import json

import numpy as np
import pytest
from PIL import Image
from synthetic_store import UNIFORM, coordinates, fill, psnr_db

from lvm_mtc.cli import main
from lvm_mtc.report.choices import Choices
from lvm_mtc.report.store_figures import draw_figures, make_figures
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import read_csv


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with ResultStore(tmp_path_factory.mktemp("choices") / "store.sqlite") as store:
        fill(store)
        yield store


def curves(figure):
    return [
        {line.get_label(): dict(zip(*map(tuple, line.get_data()), strict=True)) for line in axes.get_lines()}
        for axes in figure.axes
    ]


def test_a_curve_over_another_axis_has_the_points_that_were_asked_for(store):
    choices = Choices(
        at={"channel": "rayleigh", "epsilon": [0.0, 0.2], "snr_db": 10, "mask_prob": 0.25},
        metrics=("psnr_inside_db",),
        over="num_uavs",
    )
    (one,) = make_figures(store, choices=choices).drawn
    assert one.name == "curves" and one.title == "psnr_inside_db over num_uavs"
    (axes,) = one.figure.axes
    assert axes.get_xlabel() == "K, number of UAVs" and axes.get_title().startswith("rayleigh, 10 dB")
    (drawn,) = curves(one.figure)
    assert set(drawn) == {"epsilon = 0", "epsilon = 0.2"}
    for epsilon in (0.0, 0.2):
        for num_uavs, mean in drawn[f"epsilon = {epsilon:g}"].items():
            at = coordinates(num_uavs=int(num_uavs), epsilon=epsilon, channel="rayleigh")
            assert mean == pytest.approx(psnr_db(at, inside=True))
        assert set(drawn[f"epsilon = {epsilon:g}"]) == {2, 4, 8}
    assert {row["metric"] for row in one.rows} == {"psnr_inside_db"}


def test_words_size_and_style(store, tmp_path):
    choices = Choices(
        at={"scheme": [UNIFORM, "object first"], "csi_error_var": 0},
        metrics=("ssim",),
        labels={"object first": "ours", "SSIM, whole picture": "SSIM"},
        width=3.5,
        style="paper",
    )
    (one,) = draw_figures(store, tmp_path, choices=choices).drawn
    (legend,) = one.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ours", UNIFORM]
    assert {axes.get_ylabel() for axes in one.figure.axes} == {"SSIM"} and not one.figure.get_suptitle()
    assert Image.open(tmp_path / "curves.png").width == 3.5 * 300
    assert one.figure.axes[0].title.get_fontfamily() == ["serif"]
    assert "Held:" in one.caption and len(read_csv(tmp_path / "curves.csv")) == 2 * 2 * 5


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(at={"colour": 1}), "axis 'colour'"),
        (dict(at={"num_uavs": [2, 3]}), "num_uavs=3: no point; there is"),
        (dict(metrics=("psnr",)), "metric 'psnr'"),
        (dict(over="scheme"), "axis 'scheme': its values are no numbers"),
        (dict(metrics=("ssim",), labels={"theirs": "ours"}), "label 'theirs': no figure has these words"),
        (dict(style="poster"), "Choices.style"),
        (dict(width=0.5), "Choices.width"),
    ],
)
def test_what_is_not_there_is_refused(store, fields, words):
    with pytest.raises(ValueError, match=words):
        make_figures(store, choices=Choices(**fields))


def test_the_command_takes_choices(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = [
        "figures",
        "--store",
        str(store.path),
        "--out",
        "out",
        "--over",
        "csi_error_var",
        "--at",
        "snr_db=[0,20]",
    ]
    command += ["--label", "uniform masking=random", "--width", "7.2", "--style", "paper", "--metrics", "psnr_db, ssim"]
    assert main(command) == 0
    assert "out/curves.png, .svg, .csv: psnr_db over csi_error_var" in capsys.readouterr().out
    rows = read_csv(tmp_path / "out" / "curves.csv")
    assert {row["snr_db"] for row in rows} == {0, 20} and {row["metric"] for row in rows} == {"psnr_db", "ssim"}
    assert "random" in (tmp_path / "out" / "curves.svg").read_text()
    caption = json.loads((tmp_path / "out" / "lvm-mtc-result.json").read_text())["captions"]["curves"]
    assert "Intervals at 95 % as stored" in caption
    assert np.asarray(Image.open(tmp_path / "out" / "curves.png")).shape[1] == 2160
    assert main([*command, "--overwrite", "--at", "channel=awgm"]) == 2
    assert "channel=awgm: no point; there is awgn, rayleigh" in capsys.readouterr().err
