"""What a user wants of a store's figures: which points, what over what, other words, the size and style of a paper."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text

from lvm_mtc.config import require_number, require_one_of, unknown_name_message
from lvm_mtc.report.select import Sample, axes_of

STYLES: Mapping[str, Mapping[str, Any]] = {
    "report": {},
    "paper": {"font.family": "serif", "mathtext.fontset": "stix", "svg.fonttype": "none", "figure.dpi": 300},
}
"""Name to what it changes in Matplotlib; ``"paper"`` has no heading above the axes besides."""
_ASPECT, _LEGEND_INCHES, _NARROW = 0.75, 0.55, 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """Which figures, and how they look.

    Attributes:
        at: Coordinate to the value, or a list of values, that points must have.
        metrics: What is drawn, a column each, instead of the usual figures; empty: those, or with ``over`` the PSNR.
        over: Coordinate on the x axis instead of the SNR; None: the SNR.
        labels: Words of legends, titles and axes to those that stand in their place.
        width: Of a figure, inches, >= 1; None: as the panels need.
        style: A name in ``STYLES``.
    """

    at: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    over: str | None = None
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    width: float | None = None
    style: str = "report"

    def __post_init__(self):
        require_one_of("Choices", "style", self.style, tuple(STYLES))
        if self.width is not None:
            require_number("Choices", "width", self.width, 1.0)

    def wanted(self) -> dict[str, list[Any]]:
        """Coordinate to the values that points may have."""
        return {name: list(value) if isinstance(value, (list, tuple)) else [value] for name, value in self.at.items()}

    def choose(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples that are wanted; ``ValueError`` for what none of them has."""
        for name in (*self.at, *([self.over] if self.over else ())):
            if name not in axes_of(samples):
                raise ValueError(unknown_name_message(f"axis {name!r}", name, axes_of(samples)))
        chosen = list(samples)
        for name, values in self.wanted().items():
            known = list(dict.fromkeys(sample.at[name] for sample in chosen if name in sample.at))
            for value in values:
                if value not in known:
                    there = ", ".join(map(str, known)) or "nothing"
                    raise ValueError(f"{name}={value}: no point; there is {there}")
            chosen = [sample for sample in chosen if sample.at.get(name) in values]
        metrics = list(dict.fromkeys(name for sample in chosen for name in sample.metrics))
        for name in self.metrics:
            if name not in metrics:
                raise ValueError(unknown_name_message(f"metric {name!r}", name, metrics))
        if self.over and any(isinstance(sample.at.get(self.over), str) for sample in chosen):
            raise ValueError(f"axis {self.over!r}: its values are no numbers, so there is no curve over it")
        return chosen

    def several(self) -> tuple[str, ...]:
        """Coordinates of which several values were asked for."""
        return tuple(name for name, values in self.wanted().items() if len(values) > 1)

    def apply(self, figure: Figure) -> set[str]:
        """Gives a figure its words, size and style; returns which of the words there were."""
        found = set()
        for text in figure.findobj(Text):
            for old, new in self.labels.items():
                if old in text.get_text():
                    text.set_text(text.get_text().replace(old, new))
                    found.add(old)
        if self.style == "paper" and figure.get_suptitle():
            figure.suptitle("")
        if self.width is not None:
            rows, columns = figure.axes[0].get_subplotspec().get_gridspec().get_geometry()
            figure.set_size_inches(self.width, rows * self.width / columns * _ASPECT + _LEGEND_INCHES)
            if self.width < _NARROW:
                for legend in figure.legends:
                    legend.set_ncols(1)
        return found


USUAL = Choices()
"""Nothing was chosen."""
