"""Names are drawn as they stand: dollar signs, and letters that the usual font lacks."""

import re
import warnings

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from lvm_mtc.report import letters
from lvm_mtc.report.figures import Curve, Panel, Picture, curves_figure, save_figure, save_sheet, svg_of

NAMES = ("cost_$5_$6.png", "a$$b", r"\$x$", "$\\frac{1}{$", "水", "𝔸é")


def drawn(figure):
    return re.sub(rb"<!--.*?-->", b"", svg_of(figure, "name"), flags=re.DOTALL)


def curve(label):
    return Curve(label=label, convention="esno", snr_db=(0.0, 1.0), mean=(1.0, 2.0))


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_head_panels_curves_and_pictures(tmp_path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(
            curves_figure([[Panel(title=name, y_label="y", curves=(curve(name),))]], title=name), tmp_path / "f"
        )
        save_sheet(tmp_path / "sheet.png", [[Picture(image=np.zeros((4, 4, 3)), caption=name)]], title=name)
    assert (tmp_path / "f.png").exists() and (tmp_path / "sheet.png").exists()


def test_dollars_change_nothing_but_the_name():
    figure = Figure()
    figure.text(0, 0, "a $x_1$ b")
    with rc_context({"svg.fonttype": "none"}):
        assert b"a $x_1$ b" in drawn(figure)


def test_a_letter_that_no_font_has_is_drawn_as_its_number(monkeypatch):
    monkeypatch.setattr(letters, "_fonts", lambda: ())
    letters._font_with.cache_clear()
    figure = Figure()
    figure.text(0, 0, "水 and é")
    svg_of(figure, "name")
    assert [text.get_text() for text in figure.findobj(Text)] == [r"\u6c34 and é"]
    letters._font_with.cache_clear()


def test_ticks_keep_their_formulas():
    figure = Figure()
    axes = figure.subplots()
    axes.set_yscale("log")
    axes.plot([1, 2], [1, 1000])
    with rc_context({"svg.fonttype": "none"}):
        assert b"mathdefault" not in drawn(figure)
