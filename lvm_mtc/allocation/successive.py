"""Successive linear programming in a trust region, with acceptance by the true functions."""

from collections.abc import Callable, Iterator

import numpy as np

from lvm_mtc.allocation.optional import scipy

SLACK = 1e-9
"""By how much a constraint may be missed."""
_FIRST_RADIUS, _LARGEST_RADIUS, _SMALLEST_RADIUS = 0.3, 0.5, 1e-5
_MOST_STEPS = 60
_CORRECTIONS = 2
_CAUTION = 2.0  # times the miss, so that what is left of it after the correction does no harm


def gradient(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Central differences of ``function``, ``[..., n]`` to ``[..., m]``, at ``x [n]``, ``[m, n]``."""
    step = 1e-6 * x
    ahead, behind = function(x + np.diag(step)), function(x - np.diag(step))
    return ((ahead - behind) / (2 * step[:, None])).T


def climb(
    goals: Callable[[np.ndarray], np.ndarray],
    slack: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    gain: float = 1e-8,
) -> Iterator[np.ndarray]:
    """Points at which the least of the goals is larger and larger, while every slack is >= 0.

    Each step solves the linear program of the first-order models within ``|step| <= radius x``; where the true slacks
    are missed it is solved again with the models shifted by twice the miss (second-order correction), and taken only if
    the true slacks hold and the true goal has risen; else the radius is halved.

    Args:
        goals: ``[..., n]`` to ``[..., goals]``; one goal is simply maximised.
        slack: ``[..., n]`` to ``[..., constraints]``.
        x: A point at which the slacks hold, ``[n]``, > 0, and all later ones are > 0 too.
        gain: A step that gains less than this, relative, is the last.

    Yields:
        Each point that was taken, ``[n]``.

    Source: Conn, Gould and Toint, Trust-Region Methods (2000), sections 15.3 and 17.1.
    """
    radius, new = _FIRST_RADIUS, True
    for _ in range(_MOST_STEPS):
        if new:
            models = goals(x), gradient(goals, x), slack(x), gradient(slack, x)
        trial = _trial(models, slack, x, radius)
        new = trial is not None and goals(trial).min() > models[0].min() + 1e-12 * abs(models[0].min())
        if new:
            small = goals(trial).min() - models[0].min() < gain * abs(models[0].min())
            x, radius = trial, min(1.5 * radius, _LARGEST_RADIUS)
            yield x
            if small:
                return
        else:
            radius /= 2
            if radius < _SMALLEST_RADIUS:
                return


def _trial(models, slack, x, radius):
    """The program's point if the true slacks hold there, else None."""
    goal, goal_slope, room, slope = models
    scale = np.abs(goal).max() or 1.0
    # Unknowns: relative steps, and the least goal.
    a = np.vstack([np.hstack([-goal_slope * x / scale, np.ones((len(goal), 1))]),
                   np.hstack([-slope * x, np.zeros((len(room), 1))])])  # fmt: skip
    bounds = [*[(-radius, radius)] * len(x), (None, None)]
    cost = np.append(np.zeros(len(x)), -1.0)
    room = np.maximum(room, 0)
    for _ in range(1 + _CORRECTIONS):
        b = np.append(goal / scale, room)
        found = scipy("optimize").linprog(cost, A_ub=a, b_ub=b, bounds=bounds, method="highs")
        if found.status:
            return None
        trial = x * (1 + found.x[:-1])
        true = slack(trial)
        if true.min() >= -SLACK:
            return trial
        room = np.maximum(models[2], 0) + _CAUTION * (true - (models[2] + slope @ (trial - x)))
    return None
