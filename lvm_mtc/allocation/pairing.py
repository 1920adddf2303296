"""Perfect matchings of users into pairs: all of them, and the one of largest weight."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np

MOST_USERS = 16
Pairs = tuple[tuple[int, int], ...]


class NoFeasiblePairing(ValueError):
    """No pairs serve all users within the limits."""


def pairings(users: Sequence[int]) -> Iterator[Pairs]:
    """All (K - 1)(K - 3) ... 1 perfect matchings of K users, K even."""
    if not users:
        yield ()
        return
    first, *rest = users
    for place, partner in enumerate(rest):
        for others in pairings(rest[:place] + rest[place + 1 :]):
            yield ((first, partner), *others)


def best_pairing(weight: np.ndarray) -> tuple[Pairs, float]:
    """The perfect matching of largest weight, exactly, by dynamic programming over sets of users.

    Args:
        weight: Of each pair, symmetric, ``[users, users]``; -inf for a pair that cannot be. The diagonal is not read.

    Returns:
        The pairs, and the sum of their weights.

    Raises:
        NoFeasiblePairing: if no perfect matching has a finite weight.
        ValueError: for an odd number of users, or more than 16.
    """
    weight = np.asarray(weight, np.float64)
    users = check_users(len(weight))
    if weight.shape != (users, users):
        raise ValueError(f"weight must be [users, users], got {weight.shape}")
    table = weight.tolist()

    @functools.cache
    def best(left: int) -> tuple[float, Pairs]:
        if not left:
            return 0.0, ()
        first = (left & -left).bit_length() - 1
        rest, found = left & ~(1 << first), (-np.inf, ())
        for partner in range(first + 1, users):
            if rest >> partner & 1 and table[first][partner] > -np.inf:
                value, others = best(rest & ~(1 << partner))
                if (value := value + table[first][partner]) > found[0]:
                    found = value, ((first, partner), *others)
        return found

    value, pairs = best((1 << users) - 1)
    if value == -np.inf:
        alone = np.flatnonzero(~np.isfinite(weight + np.diag(np.full(users, -np.inf))).any(1))
        why = f": user {alone[0]} can be paired with nobody" if len(alone) else ""
        raise NoFeasiblePairing(f"no perfect matching is feasible{why}")
    return pairs, value


def check_users(users: int) -> int:
    """The number of users, if they can be paired by :func:`best_pairing`."""
    if users < 2 or users % 2:
        raise ValueError(f"the number of users must be even for pairs, got {users}")
    if users > MOST_USERS:
        raise ValueError(f"pairing supports up to {MOST_USERS} users, got {users}")
    return users
