"""Parts of a sweep: what decides a row, which is less than the whole sweep.

A part is a sweep's configuration with one scheme, one link and the sources of one K, and without what names the sweep
or says which metrics it wants. Rows stand under the keys of parts, so that every sweep that wants a row finds it.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

_AXES = {"schemes": "scheme", "links": "channel", "pictures": "num_uavs"}
_OF_SWEEP = ("name", "about", "metrics", "draws")
_KIND = {"kind": "part"}
_OF_INTERVALS = ("stopping", "random_pictures")


def is_part(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is a part's and no sweep's."""
    return _KIND.items() <= config.items()


def part_of(config: Mapping[str, Any], at: Mapping[str, Any]) -> dict[str, Any] | None:
    """The part of a configuration in which a point lies; None where it has none, or is no sweep's of such parts."""
    if not _AXES.keys() <= config.keys():
        return None
    chosen = {}
    for entry, axis in _AXES.items():
        name = str(at.get(axis))
        if name not in config[entry]:
            return None
        chosen[entry] = {name: config[entry][name]}
    return {name: value for name, value in config.items() if name not in _OF_SWEEP} | chosen | _KIND


def parts_of(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All parts of a sweep; none of other configurations."""
    if _AXES.keys() <= config.keys() and not is_part(config):
        for names in itertools.product(*(config[entry] for entry in _AXES)):
            part = part_of(config, dict(zip(_AXES.values(), names, strict=True)))
            if part is not None:
                yield part


def values_of(part: Mapping[str, Any]) -> dict[str, Any]:
    """What of a part decides the value of a metric in one unit: all but how many there are and what is made of them."""
    return {name: value for name, value in part.items() if name not in _OF_INTERVALS}


def settings_of(config: Mapping[str, Any], at: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a point besides its coordinates, for tables and legends; entries named by coordinates are plain.

    Of a configuration without parts all but what names it.
    """
    part = part_of(config, at)
    if part is None:
        return {name: value for name, value in config.items() if name not in _OF_SWEEP}
    single = {"schemes": "scheme", "links": "link"}
    named = {single.get(name, name): value for name, value in part.items() if name != "kind"}
    return named | {name: next(iter(named[name].values())) for name in single.values()}
