"""Checks of configuration fields; each message holds the full field name and the value."""


def require_one_of(owner: str, field: str, value: object, known: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of the ``known`` names."""
    if value not in known:
        raise ValueError(f"{owner}.{field} {value!r} is unknown; known: {', '.join(known)}")


def require_at_least(owner: str, field: str, value: float, least: float) -> None:
    """Raise ``ValueError`` unless ``value`` is a number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise ValueError(f"{owner}.{field} must be a number >= {least}, got {value!r}")


def require_count(owner: str, field: str, value: int, least: int = 1) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{owner}.{field} must be a whole number >= {least}, got {value!r}")
