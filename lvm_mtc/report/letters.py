"""Text of figures as it stands: no dollar sign begins a formula, and no letter becomes an empty box."""

import functools

from matplotlib import font_manager, rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text


def draw_literally(figure: Figure) -> None:
    r"""Readies a figure to be drawn: what users named shows the letters they used.

    A letter that matplotlib's font lacks is drawn in an installed font that has it; where no font has it, its number
    is drawn instead, as in ``\u6c34``, so that different names stay different. Labels of ticks, which hold matplotlib's
    own formulas, stay as they are.
    """
    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label in (*axis.get_ticklabels(which="both"), axis.get_offset_text())
    }
    for text in figure.findobj(Text):
        if text not in ticks:
            text.set_parse_math(False)
        letters = {letter for letter in text.get_text() if not letter.isspace()}
        if all(letter.isascii() for letter in letters):
            continue
        fonts = {letter: _font_with(letter) for letter in sorted(letters)}
        others = dict.fromkeys(name for name in fonts.values() if name)
        if others:
            text.set_fontfamily([*rcParams["font.sans-serif"][:1], *others])
        numbers = {letter: _number(letter) for letter, name in fonts.items() if name is None}
        if numbers:
            text.set_text(text.get_text().translate(str.maketrans(numbers)))


def _number(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode()


@functools.lru_cache(maxsize=4096)
def _font_with(letter: str) -> str | None:
    """Name of an installed font that has a letter, empty for the usual one; None where there is none."""
    if _has(font_manager.findfont(font_manager.FontProperties(family=["sans-serif"])), letter):
        return ""
    return next((font.name for font in _fonts() if _has(font.fname, letter)), None)


@functools.cache
def _fonts() -> tuple[font_manager.FontEntry, ...]:
    upright = [f for f in font_manager.fontManager.ttflist if f.style == "normal" and f.name != "Last Resort"]
    return tuple(sorted(upright, key=lambda font: (font.weight != 400, font.name, font.fname)))


@functools.cache
def _has(path: str, letter: str) -> bool:
    try:
        return font_manager.get_font(path).get_char_index(ord(letter)) != 0
    except (OSError, RuntimeError):
        return False
