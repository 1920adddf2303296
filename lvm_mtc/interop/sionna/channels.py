"""Sionna's channels by name, as pure functions of a JAX key.

The same key gives the same channel, alone, under ``jit`` and under ``vmap``; the global generators are not touched.
Importing this loads neither Sionna nor TensorFlow.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from lvm_mtc.interop.sionna import CHANNELS
from lvm_mtc.interop.sionna.flat import awgn, flat
from lvm_mtc.interop.sionna.profiles import delay_profile
from lvm_mtc.interop.sionna.scenarios import system_level
from lvm_mtc.interop.sionna.selective import cdl, tdl

__all__ = ["awgn", "cdl", "delay_profile", "flat", "sampler", "system_level", "tdl"]

# Numbers that a configuration may bring along for any channel; each model takes those that it has.
NUMBERS = ("delay_spread", "carrier_frequency", "max_doppler", "rx_corr", "tx_corr")


def sampler(name: str, **numbers: Any) -> Callable:
    """The sampler of a channel, with its numbers bound: one changed word changes the channel.

    Args:
        **numbers: Of ``NUMBERS``. A model without one of them ignores it (a scenario has its own delay spreads), so
            that the same numbers go with every name.

    Returns:
        For kind ``"flat"`` a sampler as those of ``phy.fading``, for kind ``"paths"`` one as those of ``phy.paths``.

    Raises:
        ValueError: for an unknown name or number, or for AWGN, which has no sampler (see :func:`awgn`).
    """
    if name not in CHANNELS:
        raise ValueError(f"unknown channel of Sionna {name!r}; known: {', '.join(CHANNELS)}")
    for number in numbers:
        if number not in NUMBERS:
            raise ValueError(f"unknown number {number!r} of channel {name!r}; known: {', '.join(NUMBERS)}")
    if CHANNELS[name].kind == "awgn":
        raise ValueError(f"{name!r} has no fading to draw; add its noise with awgn(key, x, no)")
    family, _, letter = name.removeprefix("sionna_").partition("_")
    if family == "rayleigh":
        bound = functools.partial(flat)
    elif family in ("tdl", "cdl"):
        bound = functools.partial({"tdl": tdl, "cdl": cdl}[family], model=letter.upper())
    else:
        bound = functools.partial(system_level, scenario=family)
    taken = inspect.signature(bound.func).parameters
    return functools.partial(bound, **{number: value for number, value in numbers.items() if number in taken})
