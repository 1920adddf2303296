"""Schemes over links, the only place where the two meet."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import link as links_room
from lvm_mtc.link import Ledger, LinkConfig, OperatingPoint, Received, Through, uav_keys
from lvm_mtc.link.signal import check_point
from lvm_mtc.phy.numerics import known
from lvm_mtc.schemes.scheme import Estimate, Params, Scheme, Sent, Source, check_link, check_source


class Outcome(NamedTuple):
    """Everything that a transmission tells; ``received`` is behind the equalisers, ``through`` measured on symbols."""

    estimate: Estimate
    sent: Sent
    received: Received
    through: Through
    ledger: Ledger

    def public_share(self) -> jax.Array:
        """Share of the frames that are public, ``[batch]``."""
        signal = self.sent.signal
        if signal.public is None:
            return jnp.zeros(signal.private.symbols.shape[:1])
        return jnp.mean(signal.public.sent, axis=-1)


def all_knobs(scheme: Scheme, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """A scheme's knobs, those that are not given at their defaults; ``ValueError`` for one that it does not have."""
    unknown = set(knobs) - set(scheme.knobs)
    if unknown:
        known = ", ".join(scheme.knobs) or "none"
        raise ValueError(f"{type(scheme).__name__} has no knob {', '.join(sorted(unknown))}; it has: {known}")
    return {name: knobs.get(name, knob.default) for name, knob in scheme.knobs.items()}


def _checked(scheme: Scheme, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """All knobs; ``ValueError`` for values out of their range too, as far as they are known."""
    knobs = all_knobs(scheme, knobs)
    for name, value in knobs.items():
        numbers = known(value)
        for number in () if numbers is None else np.ravel(numbers):
            scheme.knobs[name].check(f"knob {name!r}", float(number))
    return knobs


def encode(scheme: Scheme, params: Params, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Any:
    """``Scheme.encode`` with one key or one per UAV, and knobs at their defaults where they are left out."""
    check_source("Source.data", scheme.modality, source.data)
    return scheme.encode(params, source, uav_keys(key, source.lead()[1]), _checked(scheme, knobs))


def transmit(
    scheme: Scheme,
    params: Params,
    encoded: Any,
    links: Sequence[LinkConfig],
    draws: Sequence[Any],
    point: OperatingPoint,
    number: jax.Array | int = 0,
) -> Outcome:
    """Everything behind the encoder; points of a sweep share ``encoded`` and ``draws``.

    Only what a link does stands in a program once a link; what comes before and behind is compiled once for all. Of
    ``links``, each with its ``draws``, the one of the traced ``number`` is taken.
    """
    check_point(point)
    for link in links:
        check_link(scheme, link)
    point = point._replace(knobs=_checked(scheme, point.knobs))
    sent = scheme.modulate(params, encoded, point)

    def over(link: LinkConfig, its_draws: Any) -> tuple[Received, Through, Ledger]:
        received, output = links_room.send(link, sent.signal, its_draws, point)
        return received, links_room.measure(link, sent.signal, output), links_room.book(link, sent.signal)

    branches = [functools.partial(over, *pair) for pair in zip(links, draws, strict=True)]
    received, through, ledger = branches[0]() if len(branches) == 1 else jax.lax.switch(number, branches)
    estimate = scheme.decode(params, received, sent.side, point)
    ledger = ledger._replace(side_information_bits=ledger.side_information_bits + sent.side_bits)
    return Outcome(estimate, sent, received, through, ledger)


def forward(
    scheme: Scheme,
    params: Params,
    source: Source,
    key: jax.Array,
    link: LinkConfig = LinkConfig(),
    point: OperatingPoint = OperatingPoint(),
) -> Outcome:
    """The whole chain, from a source to its estimate; one key, or one per UAV."""
    batch, num_uavs = source.lead()
    keys = uav_keys(key, num_uavs)
    encoded = encode(scheme, params, source, keys, point.knobs)
    draws = links_room.draw(link, keys, batch, *scheme.frames(), point)
    return transmit(scheme, params, encoded, (link,), (draws,), point)
