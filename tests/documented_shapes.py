"""Shapes that docstrings state, checked at every call: of arguments, of what comes back, and between them.

A bracket such as ``[..., num_rx_ant, num_tx_ant]`` in an entry of ``Args``, ``Returns`` or a named tuple's
``Attributes`` is a pattern: a name stands for one number during a call, ``...`` for the same leading axes (in a named
tuple for those of that tuple) or, at the end, for whatever follows, ``2 * num_symbols`` for what it comes to.
An entry that speaks of broadcasting may have axes of size 1 or lack some; one that names a scalar may be one; one with
several patterns has one of them.
"""

import ast
import functools
import inspect
import re

import jax
import numpy as np

SECTION = re.compile(r"^(\w+):\n((?:    .*\n?|\n)*)", re.MULTILINE)
ENTRY = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
PATTERN = re.compile(r"``(?:\w+ )?\[([^`\]]*)\]``")
OF_FIELDS = re.compile(r"((?:``\w+``(?:,| and)? ?)+)[^`\[]*(``\[[^`\]]*\]``)")
SHAPE_OF = re.compile(r"[Ss]hapes? of ``(\w+)``")
OF_ALL = re.compile(r"every entry is (``\[[^`\]]*\]``)")
LEAD = "..."


def sections(thing):
    """Sections of a docstring by name."""
    return dict(SECTION.findall(inspect.getdoc(thing) or ""))


def entries(text):
    """Entries of a section by name."""
    return dict(ENTRY.findall(text or ""))


def value_of(token, known):
    """What an axis comes to, or None where a name in it is not known yet."""
    try:
        tree = ast.parse(token, mode="eval")
    except SyntaxError:  # words, such as "N Dopplers"
        return known.get(token)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if not names <= known.keys():
        return None
    return eval(compile(tree, token, "eval"), {"__builtins__": {}}, {name: known[name] for name in names})  # noqa: S307


def matched(pattern, shape, known, loose):
    """``known`` with what a shape adds to it; None where it does not fit the pattern."""
    tokens = [token.strip() for token in pattern.split(",")] if pattern.strip() else []
    known, lead = dict(known), ()
    if len(tokens) > 1 and tokens[-1] == LEAD:
        tokens = tokens[:-1]
        shape = shape[: len(tokens)]
    if tokens and (tokens[0] == LEAD or tokens[0].startswith("*")):
        name, tokens = tokens[0], tokens[1:]
        if len(shape) < len(tokens) and not loose:
            return None
        cut = max(len(shape) - len(tokens), 0)
        lead, shape = shape[:cut], shape[cut:]
        if loose:
            if name in known and not fits(lead, known[name]):
                return None
        elif known.setdefault(name.lstrip("*"), lead) != lead:
            return None
    if loose and len(shape) < len(tokens):
        tokens = tokens[len(tokens) - len(shape) :]
    if len(shape) != len(tokens):
        return None
    for token, size in zip(tokens, shape, strict=True):
        if loose and size == 1:
            continue
        values = [value_of(part, known) for part in token.split(" or ")]
        if values == [None] and token.isidentifier():
            known[token] = size
        elif None not in values and size not in values:
            return None
    return known


def fits(shape, onto):
    """Whether a shape broadcasts onto another."""
    try:
        return np.broadcast_shapes(shape, onto) == tuple(onto)
    except ValueError:
        return False


def shape_of(value):
    """Shape of an array; None of all else."""
    return tuple(value.shape) if isinstance(value, jax.Array | np.ndarray) and hasattr(value, "dtype") else None


def check(where, text, value, known):
    """Holds one value to its entry; returns what is known then."""
    patterns, shape = PATTERN.findall(text), shape_of(value)
    if not patterns or shape is None or (shape == () and "scalar" in text.lower()):
        return known
    loose = "broadcast" in text or "size 1" in text or "size-1" in text
    found = [one for pattern in patterns if (one := matched(pattern, shape, known, loose)) is not None]
    numbers = {name: number for name, number in known.items() if isinstance(number, int | tuple)}
    assert found, f"{where} has shape {shape}; documented: {' or '.join(patterns)}, with {numbers}"
    return found[0]


def check_returned(function, returned, known, given):
    """Holds what a function gives to its ``Returns``, entry by entry, or to the attributes of its class."""
    text = sections(function).get("Returns", "")
    name = function.__name__
    if hasattr(returned, "_fields"):
        told, values = entries(sections(type(returned)).get("Attributes")), returned._asdict()
        # What a function says of fields itself goes first.
        told |= {field: shape for fields, shape in OF_FIELDS.findall(text) for field in re.findall(r"\w+", fields)}
        known = {key: value for key, value in known.items() if key != LEAD}
    elif isinstance(returned, tuple):
        told = entries(text)
        values = dict(zip(told, returned, strict=True)) if len(told) == len(returned) else {}
    else:
        told, values = {"it": text.strip().split("\n")[0]}, {"it": returned}
    given = {**given, **values}
    for part, value in values.items():
        same = SHAPE_OF.search(told.get(part, ""))
        alike = shape_of(given.get(same[1])) if same else None
        if alike is None or shape_of(value) != alike:
            where = f"{name} gives {part}, which"
            assert alike is None or value is None or PATTERN.search(told[part]), f"{where} is not of {alike}"
            known = check(where, told.get(part, ""), value, known)


def checked(function):
    """The function, held to its docstring at every call."""
    told, signature = entries(sections(function).get("Args")), inspect.signature(function)

    @functools.wraps(function)
    def call(*args, **kwargs):
        returned = function(*args, **kwargs)  # first: wrong input has messages of its own
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        known = {name: value for name, value in given.items() if isinstance(value, int) and not isinstance(value, bool)}
        if isinstance(given.get("batch_shape"), tuple):
            known["batch_shape"] = given["batch_shape"]
        order = sorted(told, key=lambda name: "broadcast" in told[name])
        for name in order:
            known = check(f"{function.__name__}: {name}", told[name], given.get(name), known)
        check_returned(function, returned, known, given)
        return returned

    return call


def check_fields(value, known):
    """Holds a named tuple, and those in it, to the attributes of their classes; returns what is known then."""
    told = entries(sections(type(value)).get("Attributes"))
    every = OF_ALL.search(inspect.getdoc(type(value)) or "")
    for field, part in value._asdict().items():
        text, where = every[1] if every else told.get(field, ""), f"{type(value).__name__}.{field}"
        if hasattr(part, "_fields"):
            known = check_fields(part, {name: size for name, size in known.items() if name != LEAD})
            for leaf in part:
                known = check(where, text, leaf, known)
        else:
            known = check(where, text, part, known)
    return known


def held(function, *kinds):
    """The function; what it gets and gives of these named tuples is held to their classes, names of axes bound."""

    def call(*args, **kwargs):
        returned = function(*args, **kwargs)
        given = returned if type(returned) is tuple else (returned,)
        known = {}
        for value in (*args, *kwargs.values(), *given):
            if isinstance(value, kinds):
                known = check_fields(value, known)
        return returned

    return call


def hold_links(monkeypatch):
    """What crosses between schemes and links, held to its documented shapes in every transmission."""
    from lvm_mtc.link import Ledger, OperatingPoint, Received, Signal, Through, transmission
    from lvm_mtc.schemes import simulate

    for name in ("_send_broadcast", "_send_together"):
        checked_send = held(getattr(transmission, name), Signal, OperatingPoint, Received)
        monkeypatch.setattr(transmission, name, checked_send)
    monkeypatch.setattr(simulate, "Outcome", held(simulate.Outcome, Received, Through, Ledger))
