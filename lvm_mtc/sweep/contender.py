"""What a sweep compares: a scheme with its parameters, under a name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lvm_mtc.link import code_of, describe
from lvm_mtc.results.hashing import params_hash
from lvm_mtc.schemes import name_of
from lvm_mtc.schemes.scheme import Params, Scheme
from lvm_mtc.schemes.simulate import all_knobs

# Schemes that stores from before schemes had names know by the fields of their configurations alone.
_NAMELESS = ("lvm_mtc", "deepjscc", "witt")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Contender:
    """A scheme that is ready to send.

    Attributes:
        name: In tables and legends.
        knobs: Its own values of the scheme's knobs; those that are left out have their defaults.
        swept: Which of the knobs a sweep over them changes; None: all. It keeps its own value of the others.
    """

    name: str
    scheme: Scheme
    params: Params
    knobs: Mapping[str, float] = dataclasses.field(default_factory=dict)
    swept: tuple[str, ...] | None = None

    def __post_init__(self):
        object.__setattr__(self, "knobs", all_knobs(self.scheme, self.knobs))
        for name, value in self.knobs.items():
            self.scheme.knobs[name].check(f"Contender.{name}", value)
        if self.swept is None:
            object.__setattr__(self, "swept", tuple(self.scheme.knobs))
        for name in self.swept:
            if name not in self.scheme.knobs:
                known = f"{type(self.scheme).__name__}; it has: {', '.join(self.scheme.knobs) or 'none'}"
                raise ValueError(f"Contender.swept names {name!r}, no knob of {known}")

    def early_knobs(self) -> tuple[str, ...]:
        """Knobs that the encoder reads."""
        return tuple(name for name, knob in self.scheme.knobs.items() if knob.early)

    def described(self) -> dict[str, Any]:
        """What decides its numbers besides coordinates, as a sweep's key has it."""
        scheme = self.scheme
        about = {"system": describe(scheme.config, "config"), "weights": params_hash(self.params)}
        name = name_of(scheme)
        if ":" in name:
            about |= code_of(type(scheme))
        elif name not in _NAMELESS:
            about["scheme"] = name
        for field in dataclasses.fields(scheme):
            value = getattr(scheme, field.name)
            if field.name == "execution" or (field.name != "config" and value != field.default):
                about[field.name] = describe(value, f"{name}.{field.name}")
        return about
