"""Sionna 1.2.2 as a channel and, in tests, as a judge.

Importing this package loads neither Sionna nor TensorFlow; the first use does, and says what to install where they are
missing (the extra ``sionna``) in an error of the type ``runtime.SionnaUnavailable``. ``runtime`` is the only file that
imports them. Every ``key`` is one typed key.
"""

from typing import NamedTuple


class SionnaChannel(NamedTuple):
    """What the rest of the library must know of a channel model before it is loaded.

    Attributes:
        kind: ``"awgn"``, ``"flat"`` (a matrix per block) or ``"paths"`` (frequency-selective, needs a resource grid).
        in_graph: Whether it runs inside a compiled program, or as a call on the host.
    """

    kind: str
    in_graph: bool


CHANNELS: dict[str, SionnaChannel] = {
    "sionna_awgn": SionnaChannel("awgn", True),
    "sionna_rayleigh": SionnaChannel("flat", True),
    **{f"sionna_tdl_{letter}": SionnaChannel("paths", True) for letter in "abcde"},
    **{f"sionna_cdl_{letter}": SionnaChannel("paths", False) for letter in "abcde"},
    **{f"sionna_{scenario}": SionnaChannel("paths", False) for scenario in ("umi", "uma", "rma")},
}
