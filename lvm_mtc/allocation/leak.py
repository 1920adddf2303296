"""How much of a partner's power is left in a user's features: measured, and as a logistic function."""

import numpy as np
from numpy.typing import ArrayLike

_EDGE = 1e-6


def leaked_share(received: ArrayLike, own: ArrayLike, partner: ArrayLike) -> np.ndarray:
    """The partner's share of the power in received features, by regression on the features of both.

    Args:
        received: ``[..., features]``; they are a sum of multiples of the other two and of what is neither.
        own: Same shape.
        partner: Same shape; parallel to ``own`` the two can't be told apart, and the result is NaN.

    Returns:
        ``b^2 |partner|^2 / (a^2 |own|^2 + b^2 |partner|^2)`` of the best multiples a and b, ``[...]``.
    """
    received, own, partner = (np.asarray(x, np.float64) for x in (received, own, partner))
    oo, pp, op = (own**2).sum(-1), (partner**2).sum(-1), (own * partner).sum(-1)
    ro, rp = (received * own).sum(-1), (received * partner).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        inverse = 1 / np.where(oo * pp - op**2 > _EDGE * oo * pp, oo * pp - op**2, np.nan)
        a, b = (ro * pp - rp * op) * inverse, (rp * oo - ro * op) * inverse
        return b**2 * pp / (a**2 * oo + b**2 * pp)


def fit_leak(
    share: ArrayLike, similarity: ArrayLike, power: ArrayLike, ratio: ArrayLike
) -> tuple[tuple[float, float, float, float], float]:
    """The coefficients of ``Superposition.leak`` by least squares on the log-odds.

    Args:
        share: Measured, in (0, 1), ``[samples]``.
        similarity: Of the two users, ``[samples]``.
        power: The partner's, > 0, ``[samples]``.
        ratio: The user's, ``[samples]``.

    Returns:
        (t0, t1, t2, t3), and the share of the log-odds' variance that they explain.

    Raises:
        ValueError: if a share does not lie in (0, 1), or samples do not decide the coefficients.
    """
    share, similarity, power, ratio = (np.ravel(np.asarray(x, np.float64)) for x in (share, similarity, power, ratio))
    if not ((share > 0) & (share < 1)).all():
        raise ValueError(f"share must lie in (0, 1), got {share.min():g} ... {share.max():g}")
    columns = np.stack([np.ones_like(share), similarity, np.log(power), ratio], -1)
    odds = np.log(share / (1 - share))
    if np.linalg.matrix_rank(columns) < 4:
        raise ValueError("similarity, power and ratio must vary apart from each other to fit a leak")
    found = np.linalg.lstsq(columns, odds, rcond=None)[0]
    explained = 1 - ((odds - columns @ found) ** 2).sum() / ((odds - odds.mean()) ** 2).sum()
    return tuple(map(float, found)), float(explained)
