import os

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lvm_mtc.report.figures import Curve, Panel, Picture, draw_curves, save_curves, save_sheet


def curve(convention="esno", **overrides):
    options = dict(label="a", convention=convention, snr_db=[0, 10], mean=[20.0, 30.0], half_width=[0.5, 0.2])
    return Curve(**(options | overrides))


def test_the_axis_names_the_convention_and_the_band_is_the_interval():
    axes = Figure().subplots()
    draw_curves(axes, Panel(title="t", y_label="PSNR (dB)", curves=[curve("rx_per_antenna")]))
    assert axes.get_xlabel() == "SNR per receive antenna (rx_per_antenna), dB"
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    np.testing.assert_allclose(sorted(set(corners[:, 1].round(6))), [19.5, 20.5, 29.8, 30.2])


def test_two_conventions_are_refused_on_one_axis(tmp_path):
    panel = Panel(title="both", y_label="y", curves=[curve("esno"), curve("received_total")])
    with pytest.raises(ValueError, match="'both'.*esno, received_total"):
        save_curves(tmp_path / "c.png", [[panel]])
    assert os.listdir(tmp_path) == []
    one = [Panel(title="one", y_label="y", curves=[curve(c)]) for c in ("esno", "received_total")]
    save_curves(tmp_path / "c.png", [one])
    assert Image.open(tmp_path / "c.png").size[0] > 500


def test_sheet(tmp_path):
    rng = np.random.default_rng(0)
    picture = Picture(image=rng.uniform(size=(16, 16, 3)), caption="original", box=(8, 8, 4, 4))
    rows = [[picture, Picture(image=np.full((16, 16, 3), 1.5))], [picture]]
    save_sheet(tmp_path / "s.png", rows, row_labels=["a", "b"], title="t")
    pixels = np.asarray(Image.open(tmp_path / "s.png").convert("RGB"))
    assert pixels.std() > 10


GREY = Picture(image=np.full((4, 4, 3), 0.5))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: curve("dB"), "Curve.convention 'dB'.*esno"),
        (lambda p: curve(mean=[1.0]), r"one length, got \[2, 1, 2\]"),
        (lambda p: save_curves(p / "c.png", [[Panel(title="e", y_label="y", curves=[])]]), "no curve"),
        (lambda p: save_curves(p / "c.png", [[], []]), r"one length, got \[0\]"),
        (lambda p: save_sheet(p / "c.png", []), "no picture"),
        (lambda p: save_sheet(p / "c.png", [[GREY]], row_labels=["a", "b"]), "2 row labels"),
    ],
)
def test_messages(tmp_path, call, words):
    with pytest.raises(ValueError, match=words):
        call(tmp_path)
    assert os.listdir(tmp_path) == []
