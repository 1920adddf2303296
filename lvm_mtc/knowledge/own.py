"""Captioners, generators and answerers of your own: any function that can be imported."""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

from lvm_mtc.data.files import reason


@dataclasses.dataclass(frozen=True)
class OwnFunction:
    """A function under its place; when it raises, the error is one line that names it.

    Attributes:
        name: ``"module:function"``.
        function: What is called.
    """

    name: str
    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        """What the function gives; ``ValueError`` where it raises anything."""
        try:
            return self.function(*arguments)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"{self.name} failed: {reason}") from error


def own_function(what: str, place: str) -> OwnFunction:
    """The function at ``"module:function"``; ``what`` is the flag or field that names it.

    Raises:
        ValueError: if there is no such function.
    """
    module, _, name = place.partition(":")
    if not module or not name:
        raise ValueError(f"{what} must be module:function, got {place!r}")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise ValueError(f"{what} {place!r}: {reason(error)}") from error
    if not callable(function):
        raise ValueError(f"{what} {place!r} is no function, but a {type(function).__name__}")
    return OwnFunction(place, function)


def sentences(said_by: Any, count: int, *arguments: Any) -> list[str]:
    """What a captioner or an answerer says to its arguments; ``ValueError`` where it is no list of ``count`` texts."""
    texts = said_by(*arguments)
    if not isinstance(texts, (list, tuple)) or len(texts) != count or not all(isinstance(t, str) for t in texts):
        raise ValueError(f"{said_by.name} must give a list of {count} sentences, got {texts!r:.60}")
    return list(texts)
