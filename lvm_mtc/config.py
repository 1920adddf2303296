"""Frozen dataclasses from plain mappings and back: the one bridge from files and flags to configuration objects."""

import dataclasses
import difflib
import math
import struct
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

# Of single precision, in which programs compute.
_LARGEST = (2 - 2**-23) * 2.0**127
_SMALLEST = 2.0**-126  # below, XLA takes 0


class ConfigError(ValueError):
    """A mapping does not describe the dataclass; the message holds the full field name and the value."""


def from_dict(cls: type[T], mapping: Mapping[str, Any], *, where: str = "") -> T:
    """Builds a frozen dataclass, nested ones included, from a mapping such as parsed JSON or a ``ConfigDict``.

    A list becomes a tuple where the field is a tuple, and an int becomes a float where the field is a float. Nothing
    else is converted: ``"10"`` is not a number and ``1`` is not a bool. Numbers must be finite: JSON's ``NaN`` and
    ``Infinity``, floats beyond single precision and integers beyond 64 bits are of the wrong type.

    Args:
        cls: The dataclass.
        mapping: Field names to values; fields with a default may be left out.
        where: Dotted name of the field that holds this mapping, for messages; the class's name when empty.

    Returns:
        An instance of ``cls``.

    Raises:
        ConfigError: for an unknown field (naming the known ones and the closest), a missing one, or a value of the
            wrong type; and with the dotted name put in front, for what the dataclass itself refuses.
        TypeError: if ``cls`` is not a dataclass.
    """
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise TypeError(f"from_dict: {cls!r} is not a dataclass")
    name = where or cls.__name__
    if hasattr(mapping, "to_dict"):  # a ConfigDict looks like a mapping and is none
        mapping = mapping.to_dict()
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{name} must be a mapping of field names to values, got {mapping!r}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in mapping:
        if key not in fields:
            raise ConfigError(unknown_name_message(f"{name}.{key}", str(key), fields))
    hints = typing.get_type_hints(cls)
    values = {key: _coerce(hints[key], mapping[key], f"{name}.{key}") for key in mapping}
    missing = [key for key, field in fields.items() if key not in values and _is_required(field)]
    if missing:
        raise ConfigError(f"{name} lacks {', '.join(f'{name}.{key}' for key in missing)}")
    try:
        return cls(**values)
    except ConfigError:
        raise
    except ValueError as error:
        # The class names its own fields; a nested one does not know where it hangs.
        raise ConfigError(f"{where}: {error}" if where else str(error)) from error


def to_dict(config: Any) -> dict[str, Any]:
    """Turns a dataclass into nested dicts, lists and plain values that ``json.dumps`` and ``from_dict`` take.

    Args:
        config: A dataclass instance whose leaves are numbers, strings, bools, None, tuples, dataclasses or objects that
            say with a method ``described()`` what they are.

    Returns:
        Field names to values; tuples become lists.

    Raises:
        TypeError: if ``config`` is not a dataclass instance, or a leaf has no plain form.
    """
    if isinstance(config, type) or not dataclasses.is_dataclass(config):
        raise TypeError(f"to_dict: {config!r} is not an instance of a dataclass")
    return {
        field.name: _plain(getattr(config, field.name), f"{type(config).__name__}.{field.name}")
        for field in dataclasses.fields(config)
        if field.init
    }


def replace_dotted(mapping: Mapping[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """Copies ``mapping`` with the entry ``a.b.c`` set, for overrides such as ``--set model.depth=4``.

    Args:
        mapping: Nested mappings; not changed.
        dotted: Names joined by dots; levels that are missing are made.
        value: What to put there.

    Returns:
        The changed copy.

    Raises:
        ConfigError: if a level on the way is not a mapping, or a name is empty.
    """
    head, _, rest = dotted.partition(".")
    if not head or (rest == "" and dotted.endswith(".")):
        raise ConfigError(f"{dotted!r} is not a dotted field name such as 'model.depth'")
    copy = dict(mapping)
    if not rest:
        copy[head] = value
        return copy
    below = copy.get(head, {})
    if not isinstance(below, Mapping):
        raise ConfigError(f"{dotted!r}: {head!r} is {below!r}, which has no fields")
    copy[head] = replace_dotted(below, rest, value)
    return copy


def unknown_name_message(full_name: str, name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """One line that refuses an unknown name: the closest known one first, then all of them.

    Args:
        full_name: How the message calls it.
        name: What was given.
        known: The names there are.

    Returns:
        The line.
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{full_name} is not known{hint}; known: {', '.join(sorted(known)) or 'none'}"


def require_one_of(owner: str, field: str, value: object, known: tuple[object, ...]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of the ``known`` names or numbers."""
    if value not in known:
        raise ValueError(f"{owner}.{field} {value!r} is unknown; known: {', '.join(map(str, known))}")


def require_number(
    owner: str, field: str, value: float, least: float = -math.inf, *, most: float = math.inf, strict: bool = False
) -> None:
    """Raise ``ValueError`` unless ``value`` is finite and in range in single precision, which programs compute in.

    Args:
        owner: Of the field, for the message.
        field: Its name.
        value: To be a number.
        least: Lower end of the range.
        most: Upper end, within the range.
        strict: Whether ``least`` is outside.
    """
    asked = f"{owner}.{field} must be a finite number"
    if least > -math.inf:
        asked += f" {'>' if strict else '>='} {least:g}"
    if most < math.inf:
        asked += f" and <= {most:g}"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
        raise ValueError(f"{asked}, got {value!r}")
    (single,) = struct.unpack("f", struct.pack("f", value))
    if strict and abs(single) < _SMALLEST:
        single = 0.0
    inside = [(least < x if strict else least <= x) and x <= most for x in (single, value)]
    if not inside[0]:
        raise ValueError(f"{asked}{' in single precision' if inside[1] else ''}, got {value!r}")


def require_count(owner: str, field: str, value: int, least: int = 1) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{owner}.{field} must be a whole number >= {least}, got {value!r}")


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _coerce(hint: Any, value: Any, name: str) -> Any:
    """Checks ``value`` against a type hint and converts lists to tuples, ints to floats, mappings to dataclasses."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is typing.Annotated:
        return _coerce(args[0], value, name)
    if origin in (typing.Union, types.UnionType):
        return _coerce_union(args, value, name)
    if origin is typing.Literal:
        if not any(value == choice and type(value) is type(choice) for choice in args):
            raise ConfigError(f"{name} must be one of {', '.join(map(repr, args))}, got {value!r}")
        return value
    if origin in (tuple, list):
        return _coerce_sequence(origin, args, value, name)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} must be a mapping, got {value!r}")
        return {_coerce(args[0], k, name): _coerce(args[1], v, f"{name}.{k}") for k, v in value.items()}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, where=name)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not abs(value) <= _LARGEST:
            raise ConfigError(f"{name} must be a finite number of single precision, got {value!r}")
        return float(value)
    if hint is int and isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ConfigError(f"{name} must be an integer of 64 bits, got {value!r}")
    if isinstance(hint, type) and (not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool)):
        raise ConfigError(f"{name} must be {_described(hint)}, got {value!r} ({type(value).__name__})")
    return value


def _coerce_union(choices: tuple[Any, ...], value: Any, name: str) -> Any:
    if value is None and type(None) in choices:
        return None
    errors = []
    for choice in choices:
        if choice is type(None):
            continue
        try:
            return _coerce(choice, value, name)
        except ConfigError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    allowed = " or ".join(_described(choice) for choice in choices)
    raise ConfigError(f"{name} must be {allowed}, got {value!r} ({type(value).__name__})")


def _coerce_sequence(origin: type, args: tuple[Any, ...], value: Any, name: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{name} must be a list, got {value!r} ({type(value).__name__})")
    if origin is tuple and Ellipsis not in args:
        if args and len(args) != len(value):
            raise ConfigError(f"{name} must have {len(args)} entries, got {len(value)}: {value!r}")
        hints = args or (Any,) * len(value)
    else:
        hints = (args[0] if args else Any,) * len(value)
    return origin(_coerce(hint, item, f"{name}[{i}]") for i, (hint, item) in enumerate(zip(hints, value, strict=True)))


def _described(hint: Any) -> str:
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false", type(None): "null"}
    if hint in names:
        return names[hint]
    return getattr(hint, "__name__", None) or str(hint).replace("typing.", "")


def _plain(value: Any, name: str) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{name}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{name}.{key}") for key, item in value.items()}
    if hasattr(value, "described"):
        return value.described()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    raise TypeError(f"{name}: {value!r} has no plain form")
