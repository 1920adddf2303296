"""When a point of a sweep has had enough independent units."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """Go on until the confidence half-width is below a target, or the budget ends.

    A rule that looks at its own estimate stops where the estimate is too small. Give it, and report, the half-width of
    an interval with ``sequential=True``, which allows for that (``intervals.stopping_factor``): the plain one at the
    moment of stopping holds the truth in 90 to 95 % of cases instead of 95.

    Attributes:
        target_half_width: In the unit of the metric, > 0; None: run the whole budget.
        max_units: Budget of independent units, at least ``min_units`` where there is a target.
        min_units: Units before the first test.
        check_every: Units from one test to the next.
    """

    target_half_width: float | None
    max_units: int
    min_units: int = 32
    check_every: int = 16
    level: float = 0.95

    def __post_init__(self):
        for field, least in (("max_units", 2), ("min_units", 2), ("check_every", 1)):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"StoppingRule.{field} must be a whole number >= {least}, got {value!r}")
        target = self.target_half_width
        if target is not None:
            if isinstance(target, bool) or not isinstance(target, (int, float)) or not 0.0 < target < math.inf:
                raise ValueError(f"StoppingRule.target_half_width must be a number > 0 or None, got {target!r}")
            if self.max_units < self.min_units:
                below = f"{self.max_units} is below StoppingRule.min_units {self.min_units}"
                raise ValueError(f"StoppingRule.max_units {below}: the target would never be tested")
        if isinstance(self.level, bool) or not isinstance(self.level, (int, float)) or not 0.0 < self.level < 1.0:
            raise ValueError(f"StoppingRule.level must lie in (0, 1), got {self.level!r}")

    def is_done(self, num_units: int, half_width: float) -> bool:
        """Whether a point needs no more units: at the end of the budget, or where the interval is short enough.

        Args:
            num_units: Independent units so far.
            half_width: Of their interval at ``level`` with ``sequential=True``; NaN counts as too wide.
        """
        target = self.target_half_width
        return num_units >= self.max_units or (
            target is not None and num_units >= self.min_units and half_width <= target
        )

    def next_units(self, num_units: int) -> int:
        """How many units to run before the next test.

        Tests stand at ``min_units``, ``min_units + check_every``, ... and at ``max_units``, wherever a run was broken
        off, so that a run that starts again stops where an undisturbed one does. 0 at the end of the budget.
        """
        if self.target_half_width is None:
            return max(self.max_units - num_units, 0)
        behind = num_units - self.min_units
        test = self.min_units + (behind // self.check_every + 1) * self.check_every if behind >= 0 else self.min_units
        return max(min(test, self.max_units) - num_units, 0)
